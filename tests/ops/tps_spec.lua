-- SPDX-License-Identifier: MIT

local host <const> = require "lualign.geometry.host"
local mapping <const> = require "lib.mapping"
local optest <const> = require "lib.optest"
local P <const> = optest.P

local reference <const> = mapping.reference(function(theta, opts) return host.tps(theta, opts.grid, opts.reg) end)

-- The identity and a little more, (N, 2 gy gx).
local function theta(rng, N, gy, gx, spread)
  local points <const> = host.control_points(gy, gx)
  local move <const> = rng.uniform(-spread, spread, N, 2 * #points)
  for n = 1, N do
    for k, p in ipairs(points) do
      for d = 1, 2 do
        local at <const> = (n - 1) * 2 * #points + (d - 1) * #points + k
        move.data[at] = string.unpack("<f", string.pack("<f", move.data[at] + p[d]))
      end
    end
  end
  return move
end

optest("tps_points", {
  args = function(rng) return theta(rng, 2, 3, 3, 0.4), rng.uniform(-1.2, 1.2, 2, 5, 2) end,
  ref = reference.points,
  grad = true,
  sizes = {
    { "regularised", function(rng) return theta(rng, 2, 3, 3, 0.4), rng.randn(2, 7, 2), { reg = 0.2 } end },
    { "points for all", function(rng) return theta(rng, 3, 3, 3, 0.4), rng.randn(1, 7, 2) end },
    { "an oblong control grid", function(rng)
      return theta(rng, 2, 4, 2, 0.3), rng.uniform(-1.2, 1.2, 2, 3, 5, 2), { grid = { 4, 2 }, reg = 0.01 }
    end },
    { "four control points", function(rng) return theta(rng, 1, 2, 2, 0.3), rng.randn(1, 5, 2), { grid = 2 } end },
    { "many control points", function(rng)
      return theta(rng, 1, 7, 5, 0.1), rng.uniform(-1, 1, 1, 9, 2), { grid = { 7, 5 } }
    end },
    { "several chunks", function(rng) return theta(rng, 2, 3, 3, 0.4), rng.uniform(-1, 1, 2, 19, 31, 2) end },
    { "no points", function(rng) return theta(rng, 2, 3, 3, 0.4), rng.randn(2, 0, 2) end },
    { "control points", function(rng)
      return theta(rng, 1, 3, 3, 0.4), P { { { -1, -1 }, { 0, 0 }, { 1, 0 } } }
    end, grad = false },
  },
  rejects = {
    { "too few numbers", function(rng) return rng.randn(1, 16), rng.randn(1, 3, 2) end, "theta must be (N, 18)" },
    { "a grid of one", function(rng) return rng.randn(1, 2), rng.randn(1, 3, 2), { grid = 1 } end, "from 2" },
    { "a negative reg", function(rng)
      return rng.randn(1, 18), rng.randn(1, 3, 2), { reg = -1 }
    end, "reg must not be" },
    { "three sizes", function(rng)
      return rng.randn(1, 54), rng.randn(1, 3, 2), { grid = { 3, 3, 3 } }
    end, "one or two" },
  },
})

optest("tps_grid", {
  args = function(rng) return theta(rng, 2, 3, 3, 0.4), { height = 3, width = 5 } end,
  ref = reference.grid,
  grad = true,
  sizes = {
    { "as the weak loss has it", function(rng)
      return theta(rng, 2, 3, 3, 0.4), { height = 7, width = 5, reg = 0.2, offset = 227 / 210 }
    end },
    { "an oblong control grid", function(rng)
      return theta(rng, 1, 3, 5, 0.2), { height = 5, width = 3, grid = { 3, 5 } }
    end },
    { "several chunks", function(rng) return theta(rng, 1, 3, 3, 0.4), { height = 33, width = 17 } end },
    { "one cell", function(rng) return theta(rng, 1, 3, 3, 0.4), { height = 1, width = 1 } end },
  },
  rejects = {
    { "no width", function(rng) return rng.randn(1, 18), { height = 3 } end, "width is missing" },
    { "another control grid", function(rng)
      return rng.randn(1, 18), { height = 3, width = 3, grid = 4 }
    end, "(N, 32)" },
  },
})

local la <const> = require "lualign"

describe("tps_grid", function()
  it("leaves everything in its place, exactly, whatever the regulariser", function()
    for _, reg in ipairs { 0, 0.2, 3 } do
      for _, gy in ipairs { 2, 3, 6 } do
        local data <const> = {}
        for k, p in ipairs(host.control_points(gy, 3)) do
          data[k], data[gy * 3 + k] = p[1], p[2]
        end
        local grid <const> = la.tps_grid(la.tensor { data }, { height = 7, width = 5, grid = { gy, 3 }, reg = reg })
        local want <const> = la.affine_grid(la.tensor { { 1, 0, 0, 0, 1, 0 } }, { height = 7, width = 5 })
        optest.close(grid, want, 1e-7)
      end
    end
  end)

  it("goes through its control points", function()
    local move <const> = optest.tensor(theta(optest.rng("through"), 1, 3, 3, 0.4))
    local grid <const> = la.tps_grid(move, { height = 3, width = 3 })
    optest.close(grid:permute({ 1, 4, 3, 2 }):reshape(1, 18), move, 1e-6)
  end)
end)
