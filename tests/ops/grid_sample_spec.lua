-- SPDX-License-Identifier: MIT

local la <const> = require "lualign"
local optest <const> = require "lib.optest"
local sampling <const> = require "lib.sampling"
local P <const> = optest.P

local function case(N, H, W, C, h, w)
  return function(rng) return rng.randn(N, H, W, C), sampling.grid(rng, N, h, w, H, W) end
end

optest("grid_sample", {
  args = case(2, 5, 7, 3, 3, 11),
  ref = sampling.sample,
  grad = true,
  sizes = {
    { "one channel", case(1, 3, 2, 1, 5, 5) },
    { "more channels than a block", case(2, 3, 5, 33, 4, 3) },
    { "an image higher than a band", case(1, 37, 3, 2, 9, 9) },
    { "one pixel", case(1, 1, 1, 3, 2, 3) },
    { "one row", case(1, 1, 5, 2, 3, 3) },
    { "no points", function(rng) return rng.randn(1, 3, 3, 2), rng.randn(1, 0, 4, 2) end },
    { "no samples", function(rng) return rng.randn(0, 3, 3, 2), rng.randn(0, 2, 4, 2) end },
    { "more points than a work-group", case(1, 5, 5, 2, 17, 33) },
  },
  rejects = {
    { "a flat image", function(rng) return rng.randn(3, 3, 2), rng.randn(1, 2, 2, 2) end, "image must be 4-D" },
    { "another batch", function(rng)
      return rng.randn(2, 3, 3, 2), rng.randn(1, 2, 2, 2)
    end, "grid must be (2, h, w, 2)" },
    { "points of three", function(rng) return rng.randn(1, 3, 3, 2), rng.randn(1, 2, 2, 3) end, "got (1, 2, 2, 3)" },
    { "bytes", function(rng) return rng.bytes(1, 3, 3, 2), rng.randn(1, 2, 2, 2) end, "image must be float32" },
  },
})

describe("grid_sample", function()
  -- Points that are no places: the result and both gradients are 0, and the neighbours are not disturbed.
  it("takes what is far outside or not a number as outside", function()
    la.scope(function()
      local inf <const>, nan <const> = math.huge, 0 / 0
      local bad <const> = {
        { -1e10, -1e10 }, { 1e30, 0 }, { nan, 0 }, { 0, nan }, { inf, 0 }, { 0, -inf }, { 0.25, 0.5 },
      }
      local image <const> = optest.tensor(optest.rng("bad").randn(1, 4, 5, 2)):requires_grad_(true)
      local grid <const> = la.tensor { { bad } }:requires_grad_(true)
      local out <const> = la.grid_sample(image, grid)
      local got <const> = out:totable()[1][1]
      for i = 1, #bad - 1 do
        assert.are.same({ 0, 0 }, got[i])
      end
      local want <const> = sampling.sample(P(image), P { { { bad[#bad] } } })
      optest.close(la.tensor { got[#bad] }, P { want.data }, 1e-6)
      out:backward(la.ones(1, 1, #bad, 2))
      local dgrid <const> = grid.grad:totable()[1][1]
      for i = 1, #bad - 1 do
        assert.are.same({ 0, 0 }, dgrid[i])
      end
      local sum = 0
      for _, v in ipairs(image.grad:flat()) do
        sum = sum + v
      end
      assert.is_true(math.abs(sum - 2) < 1e-5, "gradient of the image sums to " .. sum)
    end)
  end)

  it("gives the image back on the identity grid, to the last pixel", function()
    la.scope(function()
      local image <const> = optest.tensor(optest.rng("identity").randn(1, 7, 9, 3))
      local grid <const> = la.affine_grid(la.tensor { { 1, 0, 0, 0, 1, 0 } }, { height = 7, width = 9 })
      optest.close(la.grid_sample(image, grid), image, 1e-6)
    end)
  end)

  it("gives the image's gradient in the same bits twice", function()
    la.scope(function()
      local rng <const> = optest.rng("bits")
      local image <const>, grid <const> = rng.randn(2, 37, 5, 3), sampling.grid(rng, 2, 21, 23, 37, 5)
      local function gradient()
        local x <const> = optest.tensor(image):requires_grad_(true)
        la.grid_sample(x, optest.tensor(grid)):backward(la.ones(2, 21, 23, 3))
        return x.grad:bytes()
      end
      assert.is_true(gradient() == gradient())
    end)
  end)
end)
