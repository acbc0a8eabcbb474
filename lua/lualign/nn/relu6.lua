-- SPDX-License-Identifier: MIT
--
-- nn.ReLU6 {}: la.relu6 as a module.

local la <const> = require "lualign"
local Module <const> = require "lualign.nn.module"

local ReLU6 <const> = Module.class "ReLU6"

function ReLU6:forward(x) -- luacheck: no self
  return la.relu6(x)
end

return ReLU6
