-- SPDX-License-Identifier: MIT

local la <const> = require "lualign"
local optest <const> = require "lib.optest"
local sampling <const> = require "lib.sampling"
local P <const> = optest.P

local FAR <const> = -1e10

local function inside(x, y)
  return x > -1 and x < 1 and y > -1 and y < 1
end

-- As the paper's code does it, step by step.
local function reference(outer, inner)
  local masked <const> = outer:copy()
  for k = 1, #masked.data, 2 do
    if not inside(masked.data[k], masked.data[k + 1]) then
      masked.data[k], masked.data[k + 1] = FAR, FAR
    end
  end
  local out <const> = sampling.sample(masked, inner)
  for k = 1, #out.data, 2 do
    if not inside(inner.data[k], inner.data[k + 1]) then
      out.data[k], out.data[k + 1] = FAR, FAR
    end
  end
  return out
end

-- Results far outside are cut off at -2: how far is of no meaning, and they carry no gradient.
local function cut(fn)
  return function(outer, inner)
    return la.clamp(fn(outer, inner), { min = -2, max = 2 })
  end
end

local function cut_reference(outer, inner)
  local out <const> = reference(outer, inner)
  for k, v in ipairs(out.data) do
    out.data[k] = math.max(-2, math.min(2, v))
  end
  return out
end

-- Outer cells of which some are outside; inner points between cells, some outside.
local function case(N, h, w, hi, wi, spread)
  return function(rng) return rng.uniform(-spread, spread, N, h, w, 2), sampling.grid(rng, N, hi, wi, h, w, 1) end
end

optest("compose_sampled", {
  args = case(2, 5, 7, 3, 11, 0.99),
  fn = cut(la.compose_sampled),
  ref = cut_reference,
  grad = true,
  sizes = {
    { "some outer cells outside", case(2, 5, 7, 9, 5, 1.1) },
    { "most outer cells outside", case(1, 3, 3, 5, 5, 2) },
    { "more points than a work-group", case(1, 5, 5, 17, 33, 1.02) },
    { "no samples", case(0, 3, 3, 5, 5, 1) },
  },
  rejects = {
    { "another batch", function(rng)
      return rng.randn(2, 3, 3, 2), rng.randn(1, 2, 2, 2)
    end, "inner must be (2, h, w, 2)" },
    { "a flat grid", function(rng) return rng.randn(9, 2), rng.randn(1, 2, 2, 2) end, "outer must be" },
  },
})

describe("compose_sampled", function()
  it("puts what leaves the image far outside", function()
    la.scope(function()
      local outer <const> = la.tensor { { { { 0.5, 0.5 }, { 0.25, 0.5 } }, { { 1, 0 }, { 0, 0.5 } } } }
      local inner <const> = la.tensor { { { { 0, -0.5 }, { 0, 0.5 }, { -1, 0 }, { 0.5, -1.5 } } } }
      local out <const> = la.compose_sampled(outer, inner):totable()[1][1]
      for i = 1, 4 do
        assert.is_true(out[i][1] < -1e8 and out[i][2] < -1e8)
      end
    end)
  end)

  -- On a cell exactly: a neighbour outside has weight 0, changes nothing, and its place gives no slope.
  it("is not disturbed by an outside neighbour of weight 0", function()
    la.scope(function()
      local outer <const> = la.tensor { {
        { { -0.5, -0.5 }, { 0, -0.5 }, { 2, -0.5 } },
        { { -0.5, 0 }, { 0.125, 0.25 }, { 2, 0 } },
        { { -0.5, 0.5 }, { 0, 0.5 }, { 2, 0.5 } },
      } }
      local inner <const> = la.tensor { { { { 0, 0 } } } }:requires_grad_(true)
      local out <const> = la.compose_sampled(outer, inner)
      assert.are.same({ 0.125, 0.25 }, out:totable()[1][1][1])
      out:backward(la.ones(1, 1, 1, 2))
      local g <const> = inner.grad:flat()
      assert.is_true(math.abs(g[1]) < 10 and math.abs(g[2]) < 10)
    end)
  end)

  it("equals the exact composition for affine transformations that stay inside", function()
    la.scope(function()
      local a <const> = la.tensor { { 0.5, 0.1, 0.05, -0.08, 0.6, -0.04 } }
      local b <const> = la.tensor { { 0.7, -0.1, 0.02, 0.1, 0.6, 0.1 } }
      local size <const> = { height = 15, width = 13 }
      local inner <const> = la.affine_grid(b, size)
      local sampled <const> = la.compose_sampled(la.affine_grid(a, size), inner)
      optest.close(sampled, P(la.affine_points(a, inner)), 1e-5)
    end)
  end)
end)
