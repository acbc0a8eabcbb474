-- SPDX-License-Identifier: MIT

local la <const> = require "lualign"
local optest <const> = require "lib.optest"
local P <const> = optest.P

local function picked(x, d, shape, index_of)
  d = d < 0 and d + #x.shape + 1 or d
  return P.build(shape(d), function(...)
    local at <const> = { ... }
    at[d] = index_of(d, ...)
    if at[d] < 1 or at[d] > x.shape[d] then
      return 0 / 0
    end
    return x:at(table.unpack(at))
  end)
end

local function index_select(x, d, index)
  return picked(x, d, function(dim)
    local shape <const> = { table.unpack(x.shape) }
    shape[dim] = index.shape[1]
    return shape
  end, function(dim, ...) return index:at((select(dim, ...))) end)
end

local function gather(x, d, index)
  return picked(x, d, function() return index.shape end, function(_, ...) return index:at(...) end)
end

local function ints(...)
  local list <const> = { ... }
  return P.new({ #list }, list, "int32")
end

optest("index_select", {
  args = function(rng) return rng.randn(3, 5, 7), 2, rng.ints(1, 5, 9) end,
  ref = index_select,
  grad = true,
  sizes = {
    { "rows", function(rng) return rng.randn(17, 33), 1, rng.perm(17) end },
    { "columns", function(rng) return rng.randn(17, 33), -1, rng.ints(1, 33, 65) end },
    { "a list", function(rng) return rng.randn(33), 1, rng.ints(1, 33, 131) end },
    { "always the same", function(rng) return rng.randn(5, 3), 1, ints(4, 4, 4, 4) end },
    { "long rows", function(rng) return rng.randn(3, 1031), 1, ints(3, 1, 3) end, grad = false },
    { "nothing", function(rng) return rng.randn(5, 3), 1, rng.ints(1, 5, 0) end },
    { "from nothing", function(rng) return rng.randn(5, 0), 1, rng.ints(1, 5, 3) end },
    { "integers", function(rng) return rng.ints(-9, 9, 5, 3), 2, ints(3, 1) end, grad = false },
    { "bytes", function(rng) return rng.bytes(5, 3), 1, ints(5, 5, 1) end, grad = false },
    { "outside", function(rng) return rng.randn(3, 2), 1, ints(0, 1, 4, -1) end, grad = false },
  },
  rejects = {
    { "a float index", function(rng) return rng.randn(3), 1, rng.randn(2) end, "index must be int32, got float32" },
    { "a matrix of indices", function(rng)
      return rng.randn(3), 1, rng.ints(1, 3, 2, 2)
    end, "index must be 1-D, got (2, 2)" },
    { "no index", function(rng) return rng.randn(3), 1 end, "index is missing" },
    { "a wrong dimension", function(rng) return rng.randn(3), 2, ints(1) end, "from 1 to 1" },
  },
})

optest("gather", {
  args = function(rng) return rng.randn(3, 5, 7), 2, rng.ints(1, 5, 3, 9, 7) end,
  ref = gather,
  grad = true,
  sizes = {
    { "rows", function(rng) return rng.randn(17, 5), 1, rng.ints(1, 17, 9, 5) end },
    { "the last dimension", function(rng) return rng.randn(9, 33), -1, rng.ints(1, 33, 9, 65) end },
    { "a list", function(rng) return rng.randn(33), 1, rng.ints(1, 33, 131) end },
    { "fewer rows", function(rng) return rng.randn(5, 7, 3), 2, rng.ints(1, 7, 2, 4, 3) end },
    { "fewer of all", function(rng) return rng.randn(5, 7, 3), 3, rng.ints(1, 3, 2, 4, 5) end },
    { "nothing", function(rng) return rng.randn(5, 3), 1, rng.ints(1, 5, 0, 3) end },
    { "integers", function(rng) return rng.ints(-9, 9, 5, 3), 2, rng.ints(1, 3, 5, 2) end, grad = false },
    { "bytes", function(rng) return rng.bytes(5, 3), 1, rng.ints(1, 5, 2, 3) end, grad = false },
    { "outside", function(rng) return rng.randn(3, 2), 1, P.new({ 2, 2 }, { 0, 1, 4, -1 }, "int32") end, grad = false },
  },
  rejects = {
    { "a byte index", function(rng) return rng.randn(3, 2), 1, rng.bytes(3, 2) end, "index must be int32, got uint8" },
    { "another number of dimensions", function(rng) return rng.randn(3, 2), 1, ints(1) end, "got (1) for x of (3, 2)" },
    { "more columns", function(rng) return rng.randn(3, 2), 1, rng.ints(1, 3, 3, 3) end, "got (3, 3) for x of (3, 2)" },
  },
})

describe("index tensors", function()
  it("from argmax find the largest elements", function()
    la.scope(function()
      local x <const> = la.tensor { { 1, 5, 2 }, { 7, 3, 4 } }
      assert.are.same({ { 5 }, { 7 } }, x:gather(2, x:argmax(2, { keepdim = true })):totable())
    end)
  end)

  it("outside give 0 among integers, and send no gradient", function()
    la.scope(function()
      local i <const> = la.tensor({ 1, 3 }, "int32")
      assert.are.same({ 8, 0 }, la.tensor({ 8, 9 }, "int32"):index_select(1, i):flat())
      local x <const> = la.tensor({ 8, 9 }):requires_grad_(true)
      x:index_select(1, i):sum():backward()
      assert.are.same({ 1, 0 }, x.grad:flat())
      local y <const> = la.tensor({ 8, 9 }):requires_grad_(true)
      y:gather(1, i):sum():backward()
      assert.are.same({ 1, 0 }, y.grad:flat())
    end)
  end)
end)
