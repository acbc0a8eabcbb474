-- SPDX-License-Identifier: MIT
--
-- The regression network of CNNGeometric (CVPR 2017): correlation (N, h, w, k) -> theta (N, outputs). Two convolutions of
-- 7x7 and 5x5 without padding, each with batch norm and ReLU, and a linear layer on what is left, channels first. On 15x15
-- cells with 225 channels its weights are those of the authors' files: conv.0, conv.1, conv.3, conv.4, linear.

local la <const> = require "lualign"
local nn <const> = la.nn
local options <const> = require "lualign.util.options"

local Regressor <const> = nn.Module.class "Regressor"

function Regressor:init(given)
  local o <const> = options.check("Regressor", given, {
    model = "affine",        -- or "tps", "homography": how many numbers, and which are the identity
    grid = { 15, 15 },       -- cells of the correlation, { h, w }, at least 11 x 11
    channels = options.optional "number", -- of the correlation; h * w if left out
    identity = true,         -- start at the identity: it is added to the bias, and the weights are made 10 times smaller
  })
  local h <const>, w <const> = o.grid[1], o.grid[2]
  if h < 11 or w < 11 then
    error(string.format("Regressor: grid must be at least 11 x 11, got %d x %d", h, w), 3)
  end
  local identity <const> = la.geometry.identity_theta(o.model)
  self:child("conv", nn.Sequential {
    nn.Conv2d { o.channels or h * w, 128, kernel = 7 }, nn.BatchNorm2d { 128 }, nn.ReLU(),
    nn.Conv2d { 128, 64, kernel = 5 }, nn.BatchNorm2d { 64 }, nn.ReLU(),
  })
  self:child("linear", nn.Linear { 64 * (h - 10) * (w - 10), #identity })
  self.flatten = nn.Flatten { order = "chw" }
  if o.identity then
    la.no_grad(function()
      self.linear.weight:mul_(0.1)
      self.linear.bias:copy_(la.tensor(identity))
    end)
  end
end

function Regressor:forward(correlation)
  return self.linear(self.flatten(self.conv(correlation)))
end

return Regressor
