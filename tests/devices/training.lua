-- SPDX-License-Identifier: MIT
--
-- training.lua -- a short training run on whatever device is chosen, for training_spec.lua: a small feature network and
-- a regressor learn to align noise images that were shifted, by the soft inlier count. Prints the loss of each step and
-- then, line by line, the sum and the norm of every parameter.

local la <const> = require "lualign"
local nn <const> = la.nn

la.seed(7)
local STEPS <const>, SIZE <const>, BATCH <const> = 8, 32, 3

local features <const> = nn.Sequential {
  nn.Conv2d { 3, 8, kernel = 3, stride = 2, padding = 1, bias = false }, nn.BatchNorm2d { 8 }, nn.ReLU(),
  nn.MaxPool2d { kernel = 2 },
  nn.Conv2d { 8, 17, kernel = 3, padding = 1 },
}
local cells <const> = SIZE // 4
local regressor <const> = nn.Sequential {
  nn.Conv2d { cells * cells, 16, kernel = 3 }, nn.ReLU(),
  nn.Flatten(), nn.Linear { (cells - 2) ^ 2 // 1 * 16, 6 },
}

local parameters <const> = features:parameters()
table.move(regressor:parameters(), 1, #regressor:parameters(), #parameters + 1, parameters)
local optimizer <const> = la.optim.Adam(parameters, { lr = 1e-3 })

local target <const> = la.rand(BATCH, SIZE, SIZE, 3)
local shift <const> = la.tensor { 1, 0, 0.2, 0, 1, -0.1 }
local grid <const> = la.affine_grid(shift:reshape(1, 6):expand(BATCH, 6), { height = SIZE, width = SIZE })
local source <const> = la.grid_sample(target, grid)
local identity <const> = la.tensor { 1, 0, 0, 0, 1, 0 }

for _ = 1, STEPS do
  la.scope(function()
    optimizer:zero_grad()
    local a <const> = la.l2_normalize(features(source))
    local b <const> = la.l2_normalize(features(target))
    local s <const> = la.correlation(a, b)
    local theta <const> = regressor(s) * 0.1 + identity
    local score <const> = la.soft_inlier_count(s, la.affine_grid(theta, { height = cells, width = cells }))
    local loss <const> = -score:mean()
    loss:backward()
    optimizer:step()
    print(("loss %.9g"):format(loss:item()))
  end)
end
for i, p in ipairs(parameters) do
  print(("parameter %d sum %.9g norm %.9g"):format(i, p:detach():sum():item(), p:detach():norm():item()))
end
