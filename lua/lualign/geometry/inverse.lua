-- SPDX-License-Identifier: MIT
--
-- The inverse of a composition on a whole grid, by Newton's method on the device: la.geometry.inverse_grid.

local la <const> = require "lualign"

local STEP <const> = 5e-3 -- of the central differences, in float32

-- x and y of points (N, h, w, 2), each (N, h, w, 1).
local function parts(points)
  return points:narrow(4, 1, 1), points:narrow(4, 2, 1)
end

-- The solution d of J d = e, J given by its columns a and b; 0 where J is singular.
local function solve(a, b, e)
  local ax <const>, ay <const> = parts(a)
  local bx <const>, by <const> = parts(b)
  local ex <const>, ey <const> = parts(e)
  local det <const> = ax * by - bx * ay
  local good <const> = la.gt(la.abs(det), 1e-9)
  local safe <const> = la.where(good, det, la.ones(det:shape()))
  local dx <const>, dy <const> = (by * ex - bx * ey) / safe, (ax * ey - ay * ex) / safe
  local d <const> = la.cat({ dx, dy }, 4)
  return la.where(la.cat({ good, good }, 4), d, la.zeros(d:shape()))
end

-- The derivative of map at q along (dx, dy).
local function slope(map, q, dx, dy, h)
  local offset <const> = la.tensor { dx * h, dy * h }
  return (map(q + offset) - map(q - offset)) / (2 * h)
end

-- The lengths of (N, h, w, 2), each twice: (N, h, w, 2).
local function lengths(e)
  local x <const>, y <const> = parts(e)
  local r <const> = la.sqrt(x * x + y * y)
  return la.cat({ r, r }, 4)
end

--- Where map(q) = p: map takes and gives (N, h, w, 2). Starts from the inverse of the map's affine part at the middle.
-- Returns q and |map(q) - p|, (N, h, w).
return function(map, p, iterations)
  local middle <const> = p * 0
  local q = solve(slope(map, middle, 1, 0, 0.5), slope(map, middle, 0, 1, 0.5), p - map(middle))
  local e = p - map(q)
  local r, scale = lengths(e), la.ones(p:shape())
  for _ = 1, iterations do
    local d <const> = solve(slope(map, q, 1, 0, STEP), slope(map, q, 0, 1, STEP), e)
    local candidate <const> = q + d * scale
    local error_there <const> = p - map(candidate)
    local length <const> = lengths(error_there)
    local better <const> = la.lt(length, r)
    q, e, r = la.where(better, candidate, q), la.where(better, error_there, e), la.where(better, length, r)
    scale = la.where(better, la.clamp(scale * 2, { max = 1 }), scale * 0.5)
  end
  return q, r:narrow(4, 1, 1):squeeze(4)
end
