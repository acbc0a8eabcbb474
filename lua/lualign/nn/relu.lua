-- SPDX-License-Identifier: MIT
--
-- nn.ReLU {}: la.relu as a module.

local la <const> = require "lualign"
local Module <const> = require "lualign.nn.module"

local ReLU <const> = Module.class "ReLU"

function ReLU:forward(x) -- luacheck: no self
  return la.relu(x)
end

return ReLU
