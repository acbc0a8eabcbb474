-- SPDX-License-Identifier: MIT

local host <const> = require "lualign.geometry.host"
local mapping <const> = require "lib.mapping"
local optest <const> = require "lib.optest"

local reference <const> = mapping.reference(function(theta) return host.affine(theta) end)

optest("affine_points", {
  args = function(rng) return rng.randn(2, 6), rng.randn(2, 5, 2) end,
  ref = reference.points,
  grad = true,
  sizes = {
    { "a matrix", function(rng) return rng.randn(3, 2, 3), rng.randn(3, 7, 2) end },
    { "one theta without a batch", function(rng) return rng.randn(6), rng.randn(1, 3, 2) end },
    { "points for all", function(rng) return rng.randn(3, 6), rng.randn(1, 7, 2) end },
    { "a grid", function(rng) return rng.randn(2, 6), rng.randn(2, 3, 5, 2) end },
    { "several chunks", function(rng) return rng.randn(2, 6), rng.randn(2, 19, 31, 2) end },
    { "no points", function(rng) return rng.randn(2, 6), rng.randn(2, 0, 2) end },
    { "no samples", function(rng) return rng.randn(0, 6), rng.randn(0, 3, 2) end },
  },
  rejects = {
    { "five numbers", function(rng)
      return rng.randn(2, 5), rng.randn(2, 3, 2)
    end, "theta must be (N, 6) or (N, 2, 3)" },
    { "points of three", function(rng) return rng.randn(2, 6), rng.randn(2, 3, 3) end, "points must be (N, ..., 2)" },
    { "another batch", function(rng)
      return rng.randn(2, 6), rng.randn(3, 3, 2)
    end, "one set for each of the 2 thetas" },
    { "integers", function(rng) return rng.randn(2, 6), rng.ints(0, 9, 2, 3, 2) end, "points must be float32" },
  },
})

optest("affine_grid", {
  args = function(rng) return rng.randn(2, 6), { height = 3, width = 5 } end,
  ref = reference.grid,
  grad = true,
  sizes = {
    { "one cell", function(rng) return rng.randn(2, 6), { height = 1, width = 1 } end },
    { "one row", function(rng) return rng.randn(1, 2, 3), { height = 1, width = 7 } end },
    { "an offset", function(rng) return rng.randn(2, 6), { height = 5, width = 3, offset = 227 / 210 } end },
    { "several chunks", function(rng) return rng.randn(2, 6), { height = 33, width = 17 } end },
  },
  rejects = {
    { "no height", function(rng) return rng.randn(2, 6), { width = 3 } end, "height is missing" },
    { "no rows", function(rng) return rng.randn(2, 6), { height = 0, width = 3 } end, "at least 1" },
    { "an offset of 0", function(rng) return rng.randn(2, 6), { height = 2, width = 2, offset = 0 } end, "positive" },
    { "a spline's theta", function(rng) return rng.randn(2, 18), { height = 2, width = 2 } end, "got (2, 18)" },
  },
})
