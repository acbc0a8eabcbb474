-- SPDX-License-Identifier: MIT

local la <const> = require "lualign"
local optest <const> = require "lib.optest"
local P <const> = optest.P

-- The two input rows (from 1) around output row i (from 1) and the weight of the second.
local function locate(i, from, to, mode)
  local at = mode == "half_pixel" and (i - 0.5) * from / to - 0.5 or to > 1 and (i - 1) * (from - 1) / (to - 1) or 0
  at = math.max(at, 0)
  local low <const> = math.min(math.floor(at), from - 1)
  return low + 1, math.min(low + 1, from - 1) + 1, math.min(at, from - 1) - low
end

local function reference(x, opts)
  local N <const>, H <const>, W <const>, C <const> = table.unpack(x.shape)
  return P.build({ N, opts.height, opts.width, C }, function(n, i, j, c)
    local t <const>, b <const>, fy <const> = locate(i, H, opts.height, opts.mode)
    local l <const>, r <const>, fx <const> = locate(j, W, opts.width, opts.mode)
    return (1 - fy) * ((1 - fx) * x:at(n, t, l, c) + fx * x:at(n, t, r, c))
      + fy * ((1 - fx) * x:at(n, b, l, c) + fx * x:at(n, b, r, c))
  end)
end

local function case(N, H, W, C, height, width, mode)
  return function(rng) return rng.randn(N, H, W, C), { height = height, width = width, mode = mode } end
end

local sizes <const> = {}
for _, mode in ipairs { "aligned", "half_pixel" } do
  for label, new in pairs {
    ["larger in " .. mode] = case(1, 3, 5, 2, 11, 17, mode),
    ["smaller in " .. mode] = case(2, 17, 13, 1, 5, 3, mode),
    ["much smaller in " .. mode] = case(1, 65, 33, 1, 2, 7, mode),
    ["both ways in " .. mode] = case(1, 3, 31, 3, 33, 5, mode),
    ["the same in " .. mode] = case(1, 7, 5, 3, 7, 5, mode),
    ["to one pixel in " .. mode] = case(1, 5, 4, 3, 1, 1, mode),
    ["from one pixel in " .. mode] = case(1, 1, 1, 3, 4, 5, mode),
    ["by a whole factor in " .. mode] = case(1, 4, 6, 1, 8, 18, mode),
  } do
    sizes[#sizes + 1] = { label, new }
  end
end
table.sort(sizes, function(a, b) return a[1] < b[1] end)
sizes[#sizes + 1] = { "no samples", case(0, 3, 3, 2, 5, 5, "aligned") }

optest("resize", {
  args = case(2, 5, 7, 3, 8, 3),
  ref = reference,
  grad = true,
  sizes = sizes,
  rejects = {
    { "no height", function(rng) return rng.randn(1, 2, 2, 1), { width = 2 } end, "height is missing" },
    { "an empty image", function(rng) return rng.randn(1, 0, 2, 1), { height = 2, width = 2 } end, "got (1, 0, 2, 1)" },
    { "no rows", function(rng) return rng.randn(1, 2, 2, 1), { height = 0, width = 2 } end, "from 1 to" },
    { "another mode", function(rng)
      return rng.randn(1, 2, 2, 1), { height = 2, width = 2, mode = "cubic" }
    end, "half_pixel" },
    { "bytes", function(rng) return rng.bytes(1, 2, 2, 1), { height = 2, width = 2 } end, "x must be float32" },
  },
})

describe("resize", function()
  it("equals sampling at the identity grid when aligned", function()
    la.scope(function()
      local x <const> = optest.tensor(optest.rng("sampled").randn(1, 23, 31, 3))
      local grid <const> = la.affine_grid(la.tensor { { 1, 0, 0, 0, 1, 0 } }, { height = 17, width = 41 })
      optest.close(la.resize(x, { height = 17, width = 41 }), P(la.grid_sample(x, grid)), 1e-5)
    end)
  end)
end)
