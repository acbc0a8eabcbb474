-- SPDX-License-Identifier: MIT
--
-- pattern.lua -- weights and images that are a pattern, as golden/trunks.py and golden/mobilenetv2.py make them, and
-- the check of what networks make of them.

local la <const> = require "lualign"
local assert <const> = require "luassert"
local compare <const> = require "lib.compare"

local PERIOD <const> = 2003

local pattern <const> = {}

--- n numbers of the pattern from number `first` on.
function pattern.numbers(n, first)
  local list <const> = {}
  for i = 0, PERIOD - 1 do
    local k <const> = (i + first) % PERIOD
    list[i + 1] = ((17 * k * k + 7 * k) % PERIOD) / PERIOD - 0.5
  end
  local times <const> = (n + PERIOD - 1) // PERIOD
  return la.tensor(list):unsqueeze(1):expand(times, PERIOD):reshape(times * PERIOD):narrow(1, 1, n)
end

--- Tensor j, from 1, of a state whose names are sorted, in PyTorch's shape and layout.
function pattern.tensor(name, shape, j)
  local count = 1
  for _, n in ipairs(shape) do
    count = count * n
  end
  local p <const> = pattern.numbers(count, 31 * (j - 1))
  if #shape == 4 then
    return (p * math.sqrt(24 / (shape[2] * shape[3] * shape[4]))):reshape(table.unpack(shape))
  elseif name:find "bias$" or name:find "running_mean$" then
    return p * 0.1
  end
  return (p * 0.5 + 1):reshape(table.unpack(shape))
end

--- The image, (1, h, w, 3).
function pattern.image(h, w)
  return (pattern.numbers(h * w * 3, 0) * 2):reshape(1, h, w, 3)
end

--- That an output has the shape, the root mean square, and at some places the values expected.
function pattern.check(y, expected, label)
  assert.same(expected.shape, y:shape())
  local flat <const>, got <const> = y:flat(), {}
  for k, i in ipairs(expected.at) do
    got[k] = flat[i + 1]
  end
  local square = 0
  for _, v in ipairs(flat) do
    square = square + v * v
  end
  compare.close(got, expected.values, 1e-4, label)
  compare.close({ math.sqrt(square / #flat) }, { expected.rms }, 1e-5, label .. ", rms")
end

return pattern
