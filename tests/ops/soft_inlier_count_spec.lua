-- SPDX-License-Identifier: MIT

local la <const> = require "lualign"
local optest <const> = require "lib.optest"
local sampling <const> = require "lib.sampling"
local P <const> = optest.P

-- Whether source cells (r, c) and (s, d) are the same, or neighbours by the dilation.
local function covers(dr, dc, dilation)
  local far <const> = math.abs(dr) + math.abs(dc)
  return far == 0 or dilation == 4 and far == 1 or dilation == 8 and math.abs(dr) <= 1 and math.abs(dc) <= 1
end

-- (1 2 1; 2 4 2; 1 2 1) / 16 at an offset of its middle.
local function smoothed(dr, dc)
  return math.max(0, 2 - math.abs(dr)) * math.max(0, 2 - math.abs(dc)) / 16
end

-- The mask images of all source cells, (N, h, w, K).
local function masks(N, h, w, order, dilation, smooth)
  return P.build({ N, h, w, h * w }, function(_, r, c, k)
    local row, column = (k - 1) % h + 1, (k - 1) // h + 1
    if order == "row" then
      row, column = (k - 1) // w + 1, (k - 1) % w + 1
    end
    if smooth then
      return smoothed(r - row, c - column)
    end
    return covers(r - row, c - column, dilation) and 1 or 0
  end)
end

local function reference(s, grid, opts)
  opts = opts or {}
  local N <const>, hB <const>, wB <const>, K <const> = table.unpack(s.shape)
  local h <const>, w <const> = table.unpack(opts.source or { hB, wB })
  local m <const> = sampling.sample(masks(N, h, w, opts.order, opts.dilation or 0, opts.smooth), grid)
  local out <const> = P.zeros(N)
  local each <const> = hB * wB * K
  for n = 1, N do
    local top, bottom = 0, 0
    for k = (n - 1) * each + 1, n * each do
      top = top + m.data[k] * s.data[k]
      bottom = bottom + m.data[k] + 1e-5
    end
    out:put(opts.normalize == false and top or top / bottom, n)
  end
  return out
end

local function case(N, hB, wB, h, w, opts)
  return function(rng)
    return rng.uniform(0, 1, N, hB, wB, h * w), sampling.grid(rng, N, hB, wB, h, w), opts
  end
end

for _, mode in ipairs { "fused", "plain" } do
  optest("soft_inlier_count", {
    args = case(2, 3, 5, 4, 3, { source = { 4, 3 }, mode = mode }),
    ref = reference,
    grad = true,
    sizes = {
      { "the target's size", case(2, 3, 4, 3, 4, { mode = mode }) },
      { "row by row", case(2, 3, 4, 5, 2, { source = { 5, 2 }, order = "row", mode = mode }) },
      { "not normalised", case(2, 3, 4, 5, 2, { source = { 5, 2 }, normalize = false, mode = mode }) },
      { "4 neighbours", case(2, 3, 4, 5, 3, { source = { 5, 3 }, dilation = 4, mode = mode }) },
      { "8 neighbours", case(2, 3, 4, 5, 3, { source = { 5, 3 }, dilation = 8, mode = mode }) },
      { "8 neighbours, row by row", case(1, 2, 3, 4, 5, {
        source = { 4, 5 }, dilation = 8, order = "row", normalize = false, mode = mode,
      }) },
      { "smoothed", case(2, 3, 4, 5, 3, { source = { 5, 3 }, smooth = true, mode = mode }) },
      { "smoothed, row by row, not normalised", case(1, 3, 2, 4, 7, {
        source = { 4, 7 }, smooth = true, order = "row", normalize = false, mode = mode,
      }) },
      { "one source cell, smoothed", case(1, 2, 3, 1, 1, { source = { 1, 1 }, smooth = true, mode = mode }) },
      { "one source cell", case(1, 3, 3, 1, 1, { source = { 1, 1 }, mode = mode }) },
      { "no samples", case(0, 3, 3, 3, 3, { mode = mode }) },
      { "many cells", case(1, 9, 11, 7, 8, { source = { 7, 8 }, mode = mode }) },
    },
    rejects = {
      { "another source", function(rng)
        return rng.randn(1, 2, 2, 6), rng.randn(1, 2, 2, 2), { source = { 2, 2 } }
      end, "source must be { rows, columns } with 6 cells" },
      { "no source where it is needed", function(rng)
        return rng.randn(1, 2, 2, 6), rng.randn(1, 2, 2, 2)
      end, "6 cells" },
      { "another grid", function(rng) return rng.randn(1, 2, 2, 4), rng.randn(1, 2, 3, 2) end, "each target cell" },
      { "another batch", function(rng)
        return rng.randn(2, 2, 2, 4), rng.randn(1, 2, 2, 2)
      end, "grid must be (2, h, w, 2)" },
      { "a dilation of 3", function(rng)
        return rng.randn(1, 2, 2, 4), rng.randn(1, 2, 2, 2), { dilation = 3 }
      end, "0, 4 or 8" },
      { "smoothing and dilation", function(rng)
        return rng.randn(1, 2, 2, 4), rng.randn(1, 2, 2, 2), { dilation = 4, smooth = true }
      end, "smooth must be false where dilation is 4" },
    },
  })
end

describe("soft_inlier_count", function()
  it("is the same, with the same gradients, in both modes", function()
    for _, dilation in ipairs { 0, 4, 8, "smooth" } do
      la.scope(function()
        local rng <const> = optest.rng("modes" .. dilation)
        local smooth <const> = dilation == "smooth"
        local s <const>, grid <const> = case(3, 7, 5, 5, 6)(rng)
        local function run(mode)
          local a <const>, b <const> = optest.tensor(s):requires_grad_(true), optest.tensor(grid):requires_grad_(true)
          local score <const> = la.soft_inlier_count(a, b, {
            source = { 5, 6 }, dilation = smooth and 0 or dilation, smooth = smooth, mode = mode,
          })
          score:backward(la.tensor { 1, -2, 0.5 })
          return P(score), P(a.grad), P(b.grad)
        end
        local fused <const>, plain <const> = { run "fused" }, { run "plain" }
        for k = 1, 3 do
          optest.close(fused[k], plain[k], 2e-6)
        end
      end)
    end
  end)

  it("counts nothing under points that are no places", function()
    la.scope(function()
      local grid <const> = la.tensor { { { { -1e10, -1e10 }, { 0 / 0, 0 } } } }:requires_grad_(true)
      local s <const> = la.ones(1, 1, 2, 6):requires_grad_(true)
      local score <const> = la.soft_inlier_count(s, grid, { source = { 2, 3 } })
      score:backward()
      assert.are.equal(0, score:flat()[1])
      assert.are.same({ 0, 0, 0, 0 }, grid.grad:flat())
      optest.close(s.grad, P.zeros(1, 1, 2, 6), 0)
    end)
  end)
end)
