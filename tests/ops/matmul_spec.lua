-- SPDX-License-Identifier: MIT

local optest <const> = require "lib.optest"
local la <const> = require "lualign"
local P <const> = optest.P

-- Row-major strides and shape of the leading dimensions of a result of `ndim` dimensions: 0 where they broadcast.
local function leading(shape, ndim)
  local strides <const>, sizes <const>, n = {}, {}, shape[#shape - 1] * shape[#shape]
  for d = ndim - 2, 1, -1 do
    local size <const> = shape[d - (ndim - #shape)] or 1
    strides[d], sizes[d] = size == 1 and 0 or n, size
    n = n * size
  end
  return strides, sizes
end

local function reference(a, b, opts)
  opts = opts or {}
  local ndim <const> = math.max(#a.shape, #b.shape)
  local sa <const>, na <const> = leading(a.shape, ndim)
  local sb <const>, nb <const> = leading(b.shape, ndim)
  local ra <const>, ca <const> = a.shape[#a.shape - 1], a.shape[#a.shape]
  local rb <const>, cb <const> = b.shape[#b.shape - 1], b.shape[#b.shape]
  local m <const>, k <const> = opts.ta and ca or ra, opts.ta and ra or ca
  local n <const> = opts.tb and rb or cb
  local shape <const>, out <const> = {}, {}
  for d = 1, ndim - 2 do
    shape[d] = na[d] == 1 and nb[d] or na[d]
  end
  shape[ndim - 1], shape[ndim] = m, n
  local function one(oa, ob)
    for i = 0, m - 1 do
      for j = 0, n - 1 do
        local sum = 0
        for p = 0, k - 1 do
          sum = sum + a.data[oa + (opts.ta and p * ca + i or i * ca + p) + 1]
            * b.data[ob + (opts.tb and j * cb + p or p * cb + j) + 1]
        end
        out[#out + 1] = sum
      end
    end
  end
  local function each(d, oa, ob)
    if d > ndim - 2 then
      return one(oa, ob)
    end
    for i = 0, shape[d] - 1 do
      each(d + 1, oa + i * sa[d], ob + i * sb[d])
    end
  end
  each(1, 0, 0)
  return P.new(shape, out)
end

local function case(a, b, opts)
  return function(rng) return rng.randn(table.unpack(a)), rng.randn(table.unpack(b)), opts end
end

for _, method in ipairs { "auto", "plain", "cpu", "gpu" } do
  local sizes <const> = {}
  for _, ta in ipairs { false, true } do
    for _, tb in ipairs { false, true } do
      local opts <const> = { ta = ta, tb = tb, method = method }
      local function sized(label, a, b, m, k, n)
        local da <const>, db <const> = table.move(a, 1, #a, 1, {}), table.move(b, 1, #b, 1, {})
        da[#a + 1], da[#a + 2] = ta and k or m, ta and m or k
        db[#b + 1], db[#b + 2] = tb and n or k, tb and k or n
        local name <const> = string.format("%s: %s%s%s", method, label, ta and ", a transposed" or "",
          tb and ", b transposed" or "")
        sizes[#sizes + 1] = { name, case(da, db, opts) }
      end
      sized("odd sizes", {}, {}, 7, 5, 9)
      sized("a row by a column", {}, {}, 1, 17, 1)
      sized("a column by a row", {}, {}, 5, 1, 3)
      sized("a batch", { 3 }, { 3 }, 4, 6, 5)
      sized("a batch by one matrix", { 2, 3 }, {}, 4, 3, 5)
      sized("one matrix by a batch", {}, { 2 }, 4, 3, 5)
      sized("batches that broadcast", { 2, 1 }, { 3 }, 3, 4, 2)
      sized("more than a tile", {}, {}, 19, 33, 71)
      sized("no rows", {}, {}, 0, 3, 4)
      sized("nothing to sum", {}, {}, 3, 0, 4)
      sized("no batch", { 0 }, { 0 }, 3, 2, 4)
    end
  end
  optest("matmul", {
    args = case({ 5, 7 }, { 7, 3 }, { method = method }),
    ref = reference,
    grad = true,
    elements = 12,
    sizes = sizes,
  })
end

optest("matmul", {
  args = case({ 5, 7 }, { 7, 3 }),
  rejects = {
    { "integers", function(rng) return rng.ints(0, 9, 2, 2), rng.randn(2, 2) end, "a must be float32" },
    { "a vector", case({ 3 }, { 3, 4 }), "a must have at least 2 dimensions, got (3)" },
    { "inner sizes", case({ 2, 3 }, { 4, 5 }),
      "the inner sizes differ: a (2, 3) has 3 columns, b (4, 5) has 4 rows" },
    { "inner sizes, transposed", case({ 2, 3 }, { 3, 5 }, { ta = true }),
      "the inner sizes differ: a (2, 3) transposed has 2 columns, b (3, 5) has 3 rows" },
    { "batches", case({ 2, 3, 4 }, { 3, 4, 5 }),
      "the leading dimensions of a (2, 3, 4) and b (3, 4, 5) do not broadcast" },
    { "a method that convolutions have", case({ 2, 3 }, { 3, 5 }, { method = "winograd4" }),
      "method must be one for products of matrices, got winograd4" },
    { "an unknown option", case({ 2, 3 }, { 3, 5 }, { tc = true }), "unknown option 'tc'" },
  },
})

local METHODS <const> = {
  "auto", "cpu", "gpu", "cpu6x64", "cpu8x48", "cpu12x32", "cpu14x16",
}

-- Tiles full and cut, long sums, every method against the plain kernel.
describe("matmul of larger matrices", function()
  local shapes <const> = {
    { 1, 129, 65, 300 }, { 2, 225, 225, 128 }, { 1, 6, 256, 1025 }, { 3, 50, 96, 33 }, { 1, 64, 48, 77 },
    { 2, 3, 100, 1025 }, { 1, 50, 70, 2100 },
  }
  local small <const> = { { 1, 33, 17, 40 }, { 2, 14, 35, 9 }, { 1, 6, 66, 70 },
    { 1, 5, 7, 85 } } -- on a simulated device
  for _, s in ipairs(os.getenv "LUALIGN_TEST_SMALL" == "1" and small or shapes) do
    local batch <const>, m <const>, n <const>, k <const> = table.unpack(s)
    for code = 0, 3 do
      local ta <const>, tb <const> = code % 2 == 1, code >= 2
      it(string.format("%d of %d x %d x %d%s%s", batch, m, n, k, ta and ", ta" or "", tb and ", tb" or ""), function()
        la.seed(code)
        local a <const> = ta and la.randn(batch, k, m) or la.randn(batch, m, k)
        local b <const> = tb and la.randn(batch, n, k) or la.randn(batch, k, n)
        local expected <const> = la.matmul(a, b, { ta = ta, tb = tb, method = "plain" })
        for _, method in ipairs(METHODS) do
          local got <const> = la.matmul(a, b, { ta = ta, tb = tb, method = method })
          local off <const> = (got - expected):abs():max():item() / expected:abs():max():item()
          assert(off < 1e-5, string.format("%s: relative error %.3g", method, off))
        end
      end)
    end
  end
end)
