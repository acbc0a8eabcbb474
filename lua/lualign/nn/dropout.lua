-- SPDX-License-Identifier: MIT
--
-- nn.Dropout { p = 0.5 }: in training each element becomes 0 with probability p, and the others grow by 1 / (1 - p).

local la <const> = require "lualign"
local Module <const> = require "lualign.nn.module"
local options <const> = require "lualign.util.options"

local Dropout <const> = Module.class "Dropout"

function Dropout:init(given)
  self.p = options.check("Dropout", given, { p = 0.5 }, 3).p
  if not (self.p >= 0 and self.p < 1) then
    error(string.format("Dropout: p must be from 0 to below 1, got %g", self.p), 3)
  end
end

function Dropout:forward(x)
  if not self.training or self.p == 0 then
    return x
  end
  local mask <const> = la.no_grad(function()
    return la.ge(la.rand(x:shape()), self.p):astype("float32") / (1 - self.p)
  end)
  return x * mask
end

function Dropout:extra()
  return tostring(self.p)
end

return Dropout
