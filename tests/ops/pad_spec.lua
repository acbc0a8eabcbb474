-- SPDX-License-Identifier: MIT

local optest <const> = require "lib.optest"
local P <const> = optest.P

-- Row i of the padded image (from 1) in the image, walking back and forth one step at a time.
local function mirrored(i, n)
  while i < 1 or i > n do
    i = i < 1 and 1 - i or 2 * n + 1 - i
  end
  return i
end

local function reference(x, opts)
  local p = opts.padding
  p = type(p) == "number" and { p, p, p, p } or p
  local N <const>, H <const>, W <const>, C <const> = table.unpack(x.shape)
  return P.build({ N, H + p[1] + p[2], W + p[3] + p[4], C }, function(n, i, j, c)
    i, j = i - p[1], j - p[3]
    if opts.mode == "symmetric" then
      return x:at(n, mirrored(i, H), mirrored(j, W), c)
    end
    return i >= 1 and i <= H and j >= 1 and j <= W and x:at(n, i, j, c) or 0
  end)
end

local function case(N, H, W, C, padding, mode)
  return function(rng) return rng.randn(N, H, W, C), { padding = padding, mode = mode } end
end

optest("pad", {
  args = case(2, 3, 5, 3, { 1, 2, 0, 3 }, "symmetric"),
  ref = reference,
  grad = true,
  sizes = {
    { "zeros", case(2, 3, 5, 3, { 1, 2, 0, 3 }, "zeros") },
    { "one number", case(1, 4, 3, 2, 2) },
    { "nothing", case(1, 4, 3, 2, 0, "symmetric") },
    { "wider than the image", case(1, 2, 3, 1, { 7, 3, 8, 11 }, "symmetric") },
    { "one pixel", case(1, 1, 1, 2, 3, "symmetric") },
    { "zeros around an empty image", case(1, 0, 2, 1, 1, "zeros") },
    { "no samples", case(0, 2, 3, 1, 1, "symmetric") },
    { "more than a work-group", case(1, 17, 9, 3, { 8, 8, 4, 5 }, "symmetric") },
  },
  rejects = {
    { "a negative border", function(rng) return rng.randn(1, 2, 2, 1), { padding = { 0, -1, 0, 0 } } end, "negative" },
    { "two numbers", function(rng)
      return rng.randn(1, 2, 2, 1), { padding = { 1, 2 } }
    end, "top, bottom, left, right" },
    { "nothing to mirror", function(rng)
      return rng.randn(1, 0, 2, 1), { padding = 1, mode = "symmetric" }
    end, "nothing to mirror" },
    { "no padding", function(rng) return rng.randn(1, 2, 2, 1) end, "padding is missing" },
  },
})
