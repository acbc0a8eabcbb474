-- SPDX-License-Identifier: MIT
--
-- nn.BatchNorm2d { channels, eps = 1e-5, momentum = 0.1, frozen = false }
-- In training mode channels are normalised by the statistics of the batch, which are mixed into the running ones; in
-- evaluation mode by the running ones. Frozen, it uses the running ones in both modes; weight and bias train still.

local la <const> = require "lualign"
local Module <const> = require "lualign.nn.module"
local options <const> = require "lualign.util.options"

local BatchNorm2d <const> = Module.class "BatchNorm2d"

function BatchNorm2d:init(given)
  local o <const> = options.check("BatchNorm2d", given, {
    [1] = options.required "number", eps = 1e-5, momentum = 0.1, frozen = false,
  }, 3)
  self.channels, self.eps, self.momentum, self.frozen = o[1], o.eps, o.momentum, o.frozen
  self:parameter("weight", la.ones(o[1]))
  self:parameter("bias", la.zeros(o[1]))
  self:buffer("running_mean", la.zeros(o[1]))
  self:buffer("running_var", la.ones(o[1]))
end

--- Whether it normalises by the running statistics now.
function BatchNorm2d:uses_running()
  return self.frozen or not self.training
end

function BatchNorm2d:forward(x)
  return la.batch_norm(x, self.weight, self.bias, self.running_mean, self.running_var, {
    training = not self:uses_running(), momentum = self.momentum, eps = self.eps,
  })
end

function BatchNorm2d:extra()
  return self.channels .. (self.frozen and ", frozen" or "")
end

return BatchNorm2d
