-- SPDX-License-Identifier: MIT
--
-- nn.Linear { inputs, outputs, bias = true }: x (..., inputs) -> (..., outputs). Weights are (outputs, inputs).

local la <const> = require "lualign"
local Module <const> = require "lualign.nn.module"
local init_weights <const> = require "lualign.nn.init_weights"
local options <const> = require "lualign.util.options"

local Linear <const> = Module.class "Linear"

function Linear:init(given)
  local o <const> = options.check("Linear", given, {
    [1] = options.required "number", [2] = options.required "number", bias = true,
  }, 3)
  self.inputs, self.outputs = o[1], o[2]
  init_weights(self, { o[2], o[1] }, o.bias)
end

function Linear:forward(x)
  return la.linear(x, self.weight, self.bias)
end

function Linear:extra()
  return string.format("%d -> %d%s", self.inputs, self.outputs, self.bias and "" or ", no bias")
end

return Linear
