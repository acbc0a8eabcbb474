-- SPDX-License-Identifier: MIT
--
-- sampling.lua -- what the specs of grids, sampling and soft inlier counts share: bilinear sampling written plainly in
-- double precision, and random grids whose points keep away from the lines between cells, where its derivative jumps.

local P <const> = require "lib.plain"

local sampling <const> = {}

--- The corners around (x, y) of [-1, 1]^2 on an h x w array: a list of { row, column, weight }, those outside left out.
function sampling.corners(x, y, h, w)
  local px <const>, py <const> = (x + 1) / 2 * (w - 1), (y + 1) / 2 * (h - 1)
  local list <const> = {}
  if not (px > -1 and px < w and py > -1 and py < h) then
    return list
  end
  local x0 <const>, y0 <const> = math.floor(px), math.floor(py)
  for dy = 0, 1 do
    for dx = 0, 1 do
      local row <const>, column <const> = y0 + dy, x0 + dx
      local weight <const> = (dx == 1 and px - x0 or 1 - (px - x0)) * (dy == 1 and py - y0 or 1 - (py - y0))
      if row >= 0 and row < h and column >= 0 and column < w then
        list[#list + 1] = { row + 1, column + 1, weight }
      end
    end
  end
  return list
end

--- Bilinear sampling of a plain image (N, H, W, C) at a plain grid (N, h, w, 2), zeros outside.
function sampling.sample(image, grid)
  local H <const>, W <const>, C <const> = image:size(2), image:size(3), image:size(4)
  local out <const> = P.zeros(image:size(1), grid:size(2), grid:size(3), C)
  for n = 1, image:size(1) do
    for i = 1, grid:size(2) do
      for j = 1, grid:size(3) do
        for _, corner in ipairs(sampling.corners(grid:at(n, i, j, 1), grid:at(n, i, j, 2), H, W)) do
          for c = 1, C do
            out:add(corner[3] * image:at(n, corner[1], corner[2], c), n, i, j, c)
          end
        end
      end
    end
  end
  return out
end

--- A random grid (N, h, w, 2) over an image of H x W cells: every coordinate lies 0.1 to 0.9 of the way between two
-- cells, or up to `beyond` cells (2 if left out) outside.
function sampling.grid(rng, N, h, w, H, W, beyond)
  beyond = beyond or 2
  local to_float32 <const> = function(v) return (string.unpack("<f", string.pack("<f", v))) end
  return P.build({ N, h, w, 2 }, function(_, _, _, k)
    local size <const> = k == 1 and W or H
    local at <const> = rng.integer(-beyond, size - 2 + beyond) + rng.number(0.1, 0.9)
    return to_float32(size > 1 and at / (size - 1) * 2 - 1 or rng.number(-0.9, 0.9))
  end)
end

return sampling
