-- SPDX-License-Identifier: MIT

local host <const> = require "lualign.geometry.host"
local mapping <const> = require "lib.mapping"
local optest <const> = require "lib.optest"
local P <const> = optest.P

local reference <const> = mapping.reference(function(theta, _, is_grid)
  return host.homography(theta, is_grid and 0 or 1e-5)
end)

local function float32(v)
  return (string.unpack("<f", string.pack("<f", v)))
end

local function corners(rng, N)
  local base <const> = { -1, -1, 1, 1, -1, 1, -1, 1 }
  return P.build({ N, 8 }, function(_, k) return float32(base[k] + rng.number(-0.4, 0.4)) end)
end

-- Matrices near the identity, the denominator away from 0 on [-1, 1]^2.
local function matrix(rng, N)
  local base <const> = { 1, 0, 0, 0, 1, 0, 0, 0, 1 }
  return P.build({ N, 9 }, function(_, k) return float32(base[k] + rng.number(-0.3, 0.3)) end)
end

optest("homography_points", {
  args = function(rng) return corners(rng, 2), rng.uniform(-1, 1, 2, 5, 2) end,
  ref = reference.points,
  grad = true,
  sizes = {
    { "matrices", function(rng) return matrix(rng, 3), rng.uniform(-1, 1, 3, 7, 2) end },
    { "matrices as such", function(rng)
      local m <const> = matrix(rng, 2)
      return P.new({ 2, 3, 3 }, m.data), rng.uniform(-1, 1, 2, 3, 5, 2)
    end },
    { "points for all", function(rng) return corners(rng, 3), rng.uniform(-1, 1, 1, 7, 2) end },
    { "several chunks", function(rng) return corners(rng, 2), rng.uniform(-1, 1, 2, 19, 31, 2) end },
    { "a negative denominator", function(rng)
      local m <const> = matrix(rng, 1)
      for k, v in ipairs(m.data) do
        m.data[k] = -v
      end
      return m, rng.uniform(-1, 1, 1, 5, 2)
    end },
  },
  rejects = {
    { "seven numbers", function(rng) return rng.randn(2, 7), rng.randn(2, 3, 2) end, "(N, 8), (N, 9) or (N, 3, 3)" },
    { "flat points", function(rng) return rng.randn(2, 8), rng.randn(3, 2) end, "points must be" },
  },
})

optest("homography_grid", {
  args = function(rng) return corners(rng, 2), { height = 3, width = 5 } end,
  ref = reference.grid,
  grad = true,
  sizes = {
    { "matrices", function(rng) return matrix(rng, 2), { height = 5, width = 3, offset = 1.1 } end },
    { "several chunks", function(rng) return corners(rng, 1), { height = 33, width = 17 } end },
    { "the corners", function(rng) return corners(rng, 1), { height = 2, width = 2 } end },
  },
  rejects = { { "no size", function(rng) return rng.randn(2, 8) end, "height is missing" } },
})
