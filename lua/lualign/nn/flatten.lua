-- SPDX-License-Identifier: MIT
--
-- nn.Flatten { order = "hwc" }: (N, H, W, C) -> (N, H*W*C). With order = "chw" the channels come first, as in networks
-- whose features lie channel by channel: a linear layer that was trained there fits then.

local Module <const> = require "lualign.nn.module"
local options <const> = require "lualign.util.options"

local Flatten <const> = Module.class "Flatten"

function Flatten:init(given)
  self.order = options.check("Flatten", given, { order = "hwc" }, 3).order
  if self.order ~= "hwc" and self.order ~= "chw" then
    error(string.format("Flatten: order must be hwc or chw, got '%s'", self.order), 3)
  end
end

function Flatten:forward(x)
  if self.order == "chw" then
    x = x:permute { 1, 4, 2, 3 }
  end
  return x:reshape(x:size(1), x:numel() // math.max(x:size(1), 1))
end

function Flatten:extra()
  return self.order
end

return Flatten
