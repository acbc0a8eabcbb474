-- SPDX-License-Identifier: MIT
--
-- mapping.lua -- references of the <family>_points and <family>_grid ops from a map of single points in double
-- precision.

local P <const> = require "lib.plain"

local mapping <const> = {}

-- The numbers of sample n of a plain theta, and how many samples there are.
local function theta_of(theta, n)
  local samples <const> = #theta.shape > 1 and theta.shape[1] or 1
  local count <const> = samples > 0 and #theta.data // samples or 0
  return table.move(theta.data, (n - 1) * count + 1, n * count, 1, {}), samples
end

-- Cell i of n along an axis.
local function position(i, n)
  return n > 1 and -1 + 2 * (i - 1) / (n - 1) or 0
end

--- { points = function(theta, points, opts), grid = function(theta, opts) } from make(theta, opts, is_grid) -> map.
function mapping.reference(make)
  local reference <const> = {}

  function reference.points(theta, points, opts)
    local _ <const>, samples <const> = theta_of(theta, 1)
    local shape <const> = table.move(points.shape, 1, #points.shape, 1, {})
    local own <const> = points.shape[1] == samples
    local each <const> = points.shape[1] > 0 and #points.data // points.shape[1] or 0
    shape[1] = samples
    local data <const> = {}
    for n = 1, samples do
      local map <const> = make(theta_of(theta, n), opts or {}, false)
      local start <const> = own and (n - 1) * each or 0
      for k = 1, each, 2 do
        data[#data + 1], data[#data + 2] = map(points.data[start + k], points.data[start + k + 1])
      end
    end
    return P.new(shape, data)
  end

  function reference.grid(theta, opts)
    local _ <const>, samples <const> = theta_of(theta, 1)
    local h <const>, w <const>, o <const> = opts.height, opts.width, opts.offset or 1
    local data <const> = {}
    for n = 1, samples do
      local map <const> = make(theta_of(theta, n), opts, true)
      for i = 1, h do
        for j = 1, w do
          local x <const>, y <const> = map(position(j, w) / o, position(i, h) / o)
          data[#data + 1] = o * x
          data[#data + 1] = o * y
        end
      end
    end
    return P.new({ samples, h, w, 2 }, data)
  end

  return reference
end

return mapping
