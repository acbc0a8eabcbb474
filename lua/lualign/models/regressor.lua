-- SPDX-License-Identifier: MIT
--
-- The regression network of CNNGeometric (CVPR 2017): correlation (N, h, w, k) -> theta (N, outputs). Two convolutions,
-- of 7x7 and 5x5 without padding, each with batch norm and ReLU, and a linear layer on what is left, channels first. On
-- 15 x 15 cells with 225 channels its weights are those of the authors' files: conv.0, conv.1, conv.3, conv.4, linear.

local la <const> = require "lualign"
local nn <const> = require "lualign.nn"
local Module <const> = require "lualign.nn.module"
local options <const> = require "lualign.util.options"

local Regressor <const> = Module.class "Regressor"

local CUT <const> = 10 -- cells that the two convolutions take off each axis
local MATRIX <const> = { 1, 0, 0, 0, 1, 0, 0, 0, 1 }

-- The parameters that change nothing, as many as the network is to give.
local function identity_of(o)
  if o.model == "homography" and o.outputs == #MATRIX then
    return MATRIX
  end
  local identity <const> = la.geometry.identity_theta(o.model, { grid = o.model == "tps" and o.tps_grid or 3 })
  if o.outputs and o.outputs ~= #identity then
    error(string.format("regressor: %s has %d parameters, got outputs %s", o.model, #identity, tostring(o.outputs)), 4)
  end
  return identity
end

--- model: affine, tps or homography. outputs: 8 or 9, for a homography. tps_grid: control points along each axis, or
-- { rows, columns }. grid: cells { h, w } of the target. channels: source cells, h * w if left out. identity: start
-- there: it becomes the bias, and the weights are made ten times smaller; without it PyTorch's initialisation stays, as
-- in the papers.
function Regressor:init(given)
  local o <const> = options.check("regressor", given, {
    model = "affine", outputs = options.optional "number", tps_grid = options.any(3), grid = { 15, 15 },
    channels = options.optional "number", identity = true,
  }, 3)
  local h <const>, w <const> = o.grid[1], o.grid[2]
  if h <= CUT or w <= CUT then
    error(string.format("regressor: grid must be more than %d x %d cells, got %d x %d", CUT, CUT, h, w), 3)
  end
  local identity <const> = identity_of(o)
  self.expected = { h, w, o.channels or h * w }
  self:child("conv", nn.Sequential {
    nn.Conv2d { self.expected[3], 128, kernel = 7 }, nn.BatchNorm2d { 128 }, nn.ReLU(),
    nn.Conv2d { 128, 64, kernel = 5 }, nn.BatchNorm2d { 64 }, nn.ReLU(),
  })
  self.flatten = nn.Flatten { order = "chw" }
  self:child("linear", nn.Linear { 64 * (h - CUT) * (w - CUT), #identity })
  if o.identity then
    la.no_grad(function()
      self.linear.weight:mul_(0.1)
      self.linear.bias:copy_(la.tensor(identity))
    end)
  end
end

function Regressor:forward(correlation)
  for d = 1, 3 do
    if correlation:dim() ~= 4 or correlation:size(d + 1) ~= self.expected[d] then
      error(string.format("regressor: the correlation must be (N, %s), got (%s)", table.concat(self.expected, ", "),
        table.concat(correlation:shape(), ", ")), 2)
    end
  end
  return self.linear(self.flatten(self.conv(correlation)))
end

return Regressor
