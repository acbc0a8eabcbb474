-- SPDX-License-Identifier: MIT
--
-- PyTorch's default for convolutions and linear layers: weights and biases uniform within 1 / sqrt(fan_in).

local la <const> = require "lualign"

--- Registers the parameter weight, of a shape whose dimensions after the first multiply to the fan-in, and bias.
return function(module, shape, bias)
  local fan_in = 1
  for d = 2, #shape do
    fan_in = fan_in * shape[d]
  end
  local bound <const> = 1 / math.sqrt(math.max(fan_in, 1))
  module:parameter("weight", la.rand(shape, { low = -bound, high = bound }))
  if bias then
    module:parameter("bias", la.rand({ shape[1] }, { low = -bound, high = bound }))
  end
end
