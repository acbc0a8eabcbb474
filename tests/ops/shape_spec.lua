-- SPDX-License-Identifier: MIT

local la <const> = require "lualign"
local optest <const> = require "lib.optest"
local P <const> = optest.P

local function reshaped(x, ...)
  return P.new({ ... }, x.data, x.dtype)
end

-- A plain array of another shape whose element at an index is x's at from(index).
local function moved(x, shape, from)
  return P.build(shape, function(...) return x:at(table.unpack(from({ ... }))) end, x.dtype)
end

local function copy(list)
  return { table.unpack(list) }
end

optest("reshape", {
  args = function(rng) return rng.randn(3, 5, 4), { 2, -1, 6 } end,
  ref = function(x, shape)
    local known, n = 1, #x.data
    for _, size in ipairs(shape) do
      known = size == -1 and known or known * size
    end
    local out <const> = {}
    for i, size in ipairs(shape) do
      out[i] = size == -1 and n // known or size
    end
    return P.new(out, x.data, x.dtype)
  end,
  grad = true,
  sizes = {
    { "to no dimensions", function(rng) return rng.randn(1, 1), {} end },
    { "from no dimensions", function(rng) return rng.randn(), { 1, 1, 1 } end },
    { "no elements", function(rng) return rng.randn(0, 3), { 3, 0, 2 } end },
    { "bytes", function(rng) return rng.bytes(6, 4), { 8, 3 } end, grad = false },
  },
  rejects = {
    { "another number of elements", function(rng) return rng.randn(2, 3), { 4, 2 } end, "has 6 elements" },
    { "two open dimensions", function(rng) return rng.randn(2, 3), { -1, -1 } end, "reshape" },
    { "what does not divide", function(rng) return rng.randn(2, 3), { 4, -1 } end, "times an unknown" },
    { "seven dimensions", function(rng) return rng.randn(1), { 1, 1, 1, 1, 1, 1, 1 } end, "more than 6" },
    { "a fraction", function(rng) return rng.randn(2), { 0.5, 4 } end, "shape must be whole" },
  },
})

optest("permute", {
  args = function(rng) return rng.randn(2, 3, 5, 4), { 1, 4, 2, 3 } end,
  ref = function(x, order)
    local shape <const> = {}
    for d, o in ipairs(order) do
      shape[d] = x.shape[o < 0 and o + #x.shape + 1 or o]
    end
    return moved(x, shape, function(index)
      local from <const> = {}
      for d, o in ipairs(order) do
        from[o < 0 and o + #x.shape + 1 or o] = index[d]
      end
      return from
    end)
  end,
  grad = true,
  sizes = {
    { "reversed", function(rng) return rng.randn(17, 3, 33), { 3, 2, 1 } end },
    { "a tile and more", function(rng) return rng.randn(3, 37, 21), { 1, 3, 2 } end },
    { "from the end", function(rng) return rng.randn(3, 5), { -1, -2 } end },
    { "bytes", function(rng) return rng.bytes(19, 17), { 2, 1 } end, grad = false },
    { "integers", function(rng) return rng.ints(-9, 9, 19, 17, 2), { 2, 1, 3 } end, grad = false },
    { "no elements", function(rng) return rng.randn(0, 3), { 2, 1 } end },
    { "six dimensions", function(rng) return rng.randn(2, 3, 1, 2, 5, 2), { 6, 4, 1, 3, 5, 2 } end },
  },
  rejects = {
    { "too few", function(rng) return rng.randn(2, 3), { 1 } end, "order must name all 2 dimensions, got 1" },
    { "one twice", function(rng) return rng.randn(2, 3), { 1, 1 } end, "each of the 2 dimensions once" },
  },
})

optest("transpose", {
  args = function(rng) return rng.randn(3, 5, 7), 1, 3 end,
  ref = function(x, a, b)
    a, b = a or #x.shape - 1, b or #x.shape
    local shape <const> = copy(x.shape)
    shape[a], shape[b] = shape[b], shape[a]
    return moved(x, shape, function(index)
      index[a], index[b] = index[b], index[a]
      return index
    end)
  end,
  grad = true,
  sizes = {
    { "the last two", function(rng) return rng.randn(2, 33, 17) end },
    { "the same", function(rng) return rng.randn(2, 3), 2, 2 end },
  },
  rejects = {
    { "a dimension too far", function(rng) return rng.randn(2, 3), 1, 3 end, "b must be a dimension from 1 to 2" },
  },
})

optest("flip", {
  args = function(rng) return rng.randn(3, 5, 7), 2 end,
  ref = function(x, d)
    d = d < 0 and d + #x.shape + 1 or d
    return moved(x, x.shape, function(index)
      index[d] = x.shape[d] + 1 - index[d]
      return index
    end)
  end,
  grad = true,
  sizes = {
    { "the last dimension", function(rng) return rng.randn(5, 65), -1 end },
    { "one element", function(rng) return rng.randn(1, 3), 1 end },
    { "no elements", function(rng) return rng.randn(0, 3), 1 end },
    { "bytes", function(rng) return rng.bytes(3, 5), 1 end, grad = false },
  },
  rejects = { { "no dimension", function(rng) return rng.randn(3) end, "dim is missing" } },
})

optest("expand", {
  args = function(rng) return rng.randn(3, 1, 5), { 3, 4, 5 } end,
  ref = function(x, shape)
    local full <const>, lead <const> = {}, #shape - #x.shape
    for d, size in ipairs(shape) do
      full[d] = size == -1 and x.shape[d - lead] or size
    end
    return moved(x, full, function(index)
      local from <const> = {}
      for d = 1, #x.shape do
        from[d] = x.shape[d] == 1 and 1 or index[d + lead]
      end
      return from
    end)
  end,
  grad = true,
  sizes = {
    { "new dimensions", function(rng) return rng.randn(3), { 2, 5, 3 } end },
    { "kept sizes", function(rng) return rng.randn(1, 7), { 33, -1 } end },
    { "a number", function(rng) return rng.randn(), { 3, 5 } end },
    { "to nothing", function(rng) return rng.randn(1, 3), { 0, 3 } end },
  },
  rejects = {
    { "another size", function(rng) return rng.randn(2, 3), { 2, 4 } end, "dimension 2 of (2, 3) cannot become 4" },
    { "fewer dimensions", function(rng) return rng.randn(2, 3), { 3 } end, "has more dimensions than the 1" },
  },
})

optest("narrow", {
  args = function(rng) return rng.randn(3, 7, 5), 2, 3, 4 end,
  ref = function(x, d, start, length)
    d = d < 0 and d + #x.shape + 1 or d
    start = start < 0 and start + x.shape[d] + 1 or start
    local shape <const> = copy(x.shape)
    shape[d] = length
    return moved(x, shape, function(index)
      index[d] = index[d] + start - 1
      return index
    end)
  end,
  grad = true,
  sizes = {
    { "from the end", function(rng) return rng.randn(3, 7), -1, -2, 2 end },
    { "everything", function(rng) return rng.randn(3, 7), 1, 1, 3 end },
    { "nothing", function(rng) return rng.randn(3, 7), 1, 2, 0 end },
  },
  rejects = {
    { "too much", function(rng) return rng.randn(3, 7), 2, 5, 4 end, "elements 5 to 8 of dimension 2, which has 7" },
    { "an index of 0", function(rng) return rng.randn(3, 7), 2, 0, 4 end, "start counts from 1" },
    { "less than nothing", function(rng) return rng.randn(3, 7), 2, 1, -1 end, "narrow" },
  },
})

optest("select", {
  args = function(rng) return rng.randn(3, 7, 5), 2, 4 end,
  ref = function(x, d, i)
    d = d < 0 and d + #x.shape + 1 or d
    i = i < 0 and i + x.shape[d] + 1 or i
    local shape <const> = copy(x.shape)
    table.remove(shape, d)
    return moved(x, shape, function(index)
      table.insert(index, d, i)
      return index
    end)
  end,
  grad = true,
  sizes = {
    { "the last of the last", function(rng) return rng.randn(3, 7), -1, -1 end },
    { "of a list", function(rng) return rng.randn(7), 1, 1 end },
  },
  rejects = {
    { "past the end", function(rng) return rng.randn(3, 7), 2, 8 end, "element 8 of dimension 2, which has 7" },
    { "an index of 0", function(rng) return rng.randn(3, 7), 2, 0 end, "index counts from 1" },
  },
})

optest("squeeze", {
  args = function(rng) return rng.randn(1, 5, 1, 3) end,
  ref = function(x, d)
    local shape <const> = {}
    for k, size in ipairs(x.shape) do
      if size ~= 1 or d and k ~= d then
        shape[#shape + 1] = size
      end
    end
    return reshaped(x, table.unpack(shape))
  end,
  grad = true,
  sizes = {
    { "one dimension", function(rng) return rng.randn(1, 5, 1), 3 end },
    { "to no dimensions", function(rng) return rng.randn(1, 1) end },
  },
  rejects = {
    { "several elements", function(rng) return rng.randn(1, 5), 2 end, "dimension 2 has 5 elements, not 1" },
  },
})

optest("unsqueeze", {
  args = function(rng) return rng.randn(5, 3), 2 end,
  ref = function(x, d)
    local shape <const> = copy(x.shape)
    table.insert(shape, d < 0 and d + #shape + 2 or d, 1)
    return reshaped(x, table.unpack(shape))
  end,
  grad = true,
  sizes = {
    { "at the end", function(rng) return rng.randn(5, 3), -1 end },
    { "at the beginning", function(rng) return rng.randn(5, 3), -3 end },
    { "of a number", function(rng) return rng.randn(), 1 end },
  },
  rejects = {
    { "too far", function(rng) return rng.randn(5, 3), 4 end, "from 1 to 3" },
    { "seven dimensions", function(rng) return rng.randn(1, 1, 1, 1, 1, 1), 1 end, "at most 6 dimensions, got 7" },
  },
})

optest("contiguous", {
  args = function(rng) return rng.randn(3, 5, 7) end,
  ref = function(x) return x end,
  grad = true,
})

-- The list's elements along dimension d, one after the other.
local function cat(list, d)
  d = d or 1
  d = d < 0 and d + #list[1].shape + 1 or d
  local shape <const> = copy(list[1].shape)
  shape[d] = 0
  for _, x in ipairs(list) do
    shape[d] = shape[d] + x.shape[d]
  end
  return P.build(shape, function(...)
    local index <const> = { ... }
    for _, x in ipairs(list) do
      if index[d] <= x.shape[d] then
        return x:at(table.unpack(index))
      end
      index[d] = index[d] - x.shape[d]
    end
  end, list[1].dtype)
end

optest("cat", {
  args = function(rng) return { rng.randn(3, 2, 5), rng.randn(3, 7, 5), rng.randn(3, 1, 5) }, 2 end,
  ref = cat,
  grad = true,
  sizes = {
    { "the first dimension", function(rng) return { rng.randn(2, 3), rng.randn(5, 3) } end },
    { "channels", function(rng) return { rng.randn(2, 3, 33), rng.randn(2, 3, 17) }, -1 end },
    { "one tensor", function(rng) return { rng.randn(2, 3) }, 2 end },
    { "with nothing", function(rng) return { rng.randn(2, 0), rng.randn(2, 3) }, 2 end },
    { "bytes", function(rng) return { rng.bytes(3), rng.bytes(4) } end, grad = false },
    { "thirty-two tensors", function(rng)
      local list <const> = {}
      for i = 1, 32 do
        list[i] = rng.randn(i % 3, 2)
      end
      return list
    end, grad = false },
  },
  rejects = {
    { "another size", function(rng) return { rng.randn(2, 3), rng.randn(2, 4) }, 1 end, "tensor 2 is float32 (2, 4)" },
    { "another type", function(rng) return { rng.randn(2), rng.ints(1, 2, 2) } end, "tensor 2 is int32 (2)" },
    { "other dimensions", function(rng) return { rng.randn(2), rng.randn(2, 2) } end, "tensor 2 is float32 (2, 2)" },
    { "an empty list", function() return {} end, "1 to 32 tensors" },
    { "no list", function(rng) return rng.randn(2) end, "list must be a list of tensors, got a tensor" },
  },
})

optest("stack", {
  args = function(rng) return { rng.randn(3, 5), rng.randn(3, 5), rng.randn(3, 5) }, 2 end,
  ref = function(list, d)
    d = d or 1
    local n <const> = #list[1].shape + 1
    d = d < 0 and d + n + 1 or d
    local parts <const> = {}
    for i, x in ipairs(list) do
      local shape <const> = copy(x.shape)
      table.insert(shape, d, 1)
      parts[i] = P.new(shape, x.data, x.dtype)
    end
    return cat(parts, d)
  end,
  grad = true,
  sizes = {
    { "images", function(rng) return { rng.randn(3, 5, 2), rng.randn(3, 5, 2) } end },
    { "at the end", function(rng) return { rng.randn(33), rng.randn(33) }, -1 end },
    { "numbers", function(rng) return { rng.randn(), rng.randn(), rng.randn() } end },
    { "nothing", function(rng) return { rng.randn(0, 3), rng.randn(0, 3) }, 1 end },
  },
  rejects = {
    { "another size", function(rng) return { rng.randn(2, 3), rng.randn(2, 4) } end, "tensor 2 is float32 (2, 4)" },
    { "too far", function(rng) return { rng.randn(2), rng.randn(2) }, 3 end, "from 1 to 2" },
  },
})

optest("astype", {
  args = function(rng) return rng.uniform(-9, 9, 3, 5, 7), "int32" end,
  ref = function(x, dtype)
    local data <const> = {}
    for i, v in ipairs(x.data) do
      local whole <const> = v < 0 and math.ceil(v) or math.floor(v)
      local low <const>, high <const> = dtype == "uint8" and 0 or -2147483648, dtype == "uint8" and 255 or 2147483647
      data[i] = dtype == "float32" and v or math.max(low, math.min(high, whole))
    end
    return P.new(x.shape, data, dtype)
  end,
  sizes = {
    { "bytes", function(rng) return rng.uniform(-50, 350, 33), "uint8" end },
    { "integers to bytes", function(rng) return rng.ints(-50, 350, 33), "uint8" end },
    { "bytes to integers", function(rng) return rng.bytes(5, 3), "int32" end },
    { "bytes to floats", function(rng) return rng.bytes(65, 31), "float32" end },
    { "the same", function(rng) return rng.randn(5), "float32" end },
    { "no elements", function(rng) return rng.randn(0), "uint8" end },
    { "values out of range", function() return P.new({ 3 }, { 1e20, -1e20, 3e9 }), "int32" end },
  },
  rejects = {
    { "an unknown type", function(rng) return rng.randn(2), "double" end, "dtype must be one of float32|int32|uint8" },
    { "no type", function(rng) return rng.randn(2) end, "dtype is missing" },
  },
})

describe("views", function()
  it("share their elements with what they view", function()
    la.scope(function()
      local x <const> = la.zeros(3, 4)
      x:narrow(2, 2, 2):fill_(1)
      x:select(1, -1):fill_(2)
      x:transpose(1, 2):select(1, 1):add_(5)
      x:flip(1):select(1, 1):narrow(1, 4, 1):fill_(9)
      assert.are.same({ { 5, 1, 1, 0 }, { 5, 1, 1, 0 }, { 7, 2, 2, 9 } }, x:totable())
      x:reshape(12):narrow(1, 1, 2):fill_(-1)
      assert.are.same({ -1, -1, 1, 0 }, x:select(1, 1):flat())
    end)
  end)

  it("pass gradients through chains of them", function()
    la.scope(function()
      local x <const> = la.arange(24):requires_grad_(true)
      local y <const> = x:reshape(2, 3, 4):permute(3, 1, 2):narrow(1, 2, 2):select(2, -1):flip(2)
      assert.are.same({ { 21, 17, 13 }, { 22, 18, 14 } }, y:totable())
      y:backward(la.tensor { { 1, 2, 3 }, { 4, 5, 6 } })
      local want <const> = {}
      for i = 1, 24 do
        want[i] = 0
      end
      want[22], want[18], want[14], want[23], want[19], want[15] = 1, 2, 3, 4, 5, 6
      assert.are.same(want, x.grad:flat())
    end)
  end)

  it("reshape without a copy where the strides allow it", function()
    la.scope(function()
      local x <const> = la.zeros(2, 3, 4)
      x:narrow(1, 2, 1):reshape(12):fill_(1)
      assert.are.equal(12, x:sum():item())
      x:transpose(2, 3):reshape(24):fill_(7) -- this one had to copy
      assert.are.equal(12, x:sum():item())
    end)
  end)

  it("convert NaN to 0", function()
    la.scope(function()
      assert.are.same({ 0, 2147483647 }, la.tensor({ 0 / 0, math.huge }):astype("int32"):flat())
      assert.are.same({ 0, 0 }, la.tensor({ 0 / 0, -math.huge }):astype("uint8"):flat())
    end)
  end)

  it("let gradients through a conversion that changes nothing, and none through others", function()
    la.scope(function()
      local x <const> = la.tensor({ 1, 2 }):requires_grad_(true);
      (x:astype("float32") * 3):sum():backward()
      assert.are.same({ 3, 3 }, x.grad:flat())
      assert.is_false(x:astype("int32").requires_grad)
    end)
  end)
end)
