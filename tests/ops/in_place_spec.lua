-- SPDX-License-Identifier: MIT

local broadcast <const> = require "lib.broadcast"
local la <const> = require "lualign"
local optest <const> = require "lib.optest"
local P <const> = optest.P

local function in_place(name, spec)
  spec.in_place = true
  optest(name, spec)
end

in_place("fill_", {
  args = function(rng) return rng.randn(3, 5, 7), 0.25 end,
  ref = function(x, value)
    return P.build(x.shape, function() return value end, x.dtype)
  end,
  sizes = {
    { "bytes", function(rng) return rng.bytes(33), 200 end },
    { "integers", function(rng) return rng.ints(0, 9, 5, 3), -7 end },
    { "no elements", function(rng) return rng.randn(0), 1 end },
    { "more than one work-group", function(rng) return rng.randn(65, 1031), -1 end },
  },
  rejects = { { "no value", function(rng) return rng.randn(3) end, "value is missing" } },
})

in_place("zero_", {
  args = function(rng) return rng.randn(3, 5, 7) end,
  ref = function(x) return P.zeros(table.unpack(x.shape)) end,
})

in_place("copy_", {
  args = function(rng) return rng.randn(3, 5, 7), rng.randn(3, 5, 7) end,
  ref = function(x, y)
    return broadcast(function(_, b) return b end, x, y)
  end,
  sizes = {
    { "a row", function(rng) return rng.randn(17, 33), rng.randn(33) end },
    { "a column", function(rng) return rng.randn(17, 33), rng.randn(17, 1) end },
    { "a number", function(rng) return rng.randn(5, 3), rng.randn() end },
    { "bytes", function(rng) return rng.randn(5, 3), rng.bytes(5, 3) end },
    { "integers", function(rng) return rng.randn(5, 3), rng.ints(-9, 9, 5, 1) end },
    { "no elements", function(rng) return rng.randn(0, 3), rng.randn(3) end },
    { "more than one work-group", function(rng) return rng.randn(65, 1031), rng.randn(65, 1031) end },
  },
  rejects = {
    { "another shape", function(rng) return rng.randn(2, 3), rng.randn(4) end, "do not broadcast", "copy" },
    { "a larger one", function(rng) return rng.randn(3), rng.randn(2, 3) end, "(2, 3) does not fit into (3)", "copy" },
  },
})

in_place("add_", {
  args = function(rng) return rng.randn(3, 5, 7), rng.randn(3, 5, 7) end,
  ref = function(x, y, options)
    local alpha <const> = options and options.alpha or 1
    return broadcast(function(a, b) return a + alpha * b end, x, y)
  end,
  sizes = {
    { "a factor", function(rng) return rng.randn(17, 33), rng.randn(17, 33), { alpha = -0.3 } end },
    { "a row and a factor", function(rng) return rng.randn(17, 33), rng.randn(33), { alpha = 2.5 } end },
    { "a column", function(rng) return rng.randn(17, 33), rng.randn(17, 1) end },
    { "a number", function(rng) return rng.randn(65), 1.5 end },
    { "a number and a factor", function(rng) return rng.randn(65), 1.5, { alpha = 0.1 } end },
    { "integers", function(rng) return rng.randn(5, 3), rng.ints(-9, 9, 5, 3), { alpha = 0.5 } end },
    { "no elements", function(rng) return rng.randn(0, 3), rng.randn(3) end },
  },
  rejects = {
    { "another shape", function(rng) return rng.randn(2, 3), rng.randn(4) end, "add_" },
    { "a larger one", function(rng) return rng.randn(3), rng.randn(2, 3) end, "has more dimensions" },
  },
})

in_place("mul_", {
  args = function(rng) return rng.randn(3, 5, 7), rng.randn(3, 5, 7) end,
  ref = function(x, y)
    return broadcast(function(a, b) return a * b end, x, y)
  end,
  sizes = {
    { "a row", function(rng) return rng.randn(17, 33), rng.randn(33) end },
    { "a number", function(rng) return rng.randn(65), -1.5 end },
    { "no elements", function(rng) return rng.randn(0, 3), 2 end },
  },
  rejects = { { "another shape", function(rng) return rng.randn(2, 3), rng.randn(4) end, "do not broadcast", "mul" } },
})

in_place("scale_", {
  args = function(rng) return rng.randn(3, 5, 7), rng.randn() end,
  ref = function(x, f)
    return P.build(x.shape, function(...) return x:at(...) * f.data[1] end)
  end,
  sizes = { { "a list of one", function(rng) return rng.randn(33), rng.randn(1) end } },
  rejects = {
    { "two factors", function(rng) return rng.randn(3), rng.randn(2) end, "factor must have one element, got (2)" },
    { "integers", function(rng) return rng.ints(0, 9, 3), rng.randn() end, "x must be float32, got int32" },
  },
})

describe("writing in place", function()
  it("keeps integers what they are", function()
    la.scope(function()
      local i <const> = la.tensor({ 16777217, -5 }, "int32")
      assert.are.same({ 16777220, -2 }, i:add_(3):flat())
      assert.are.same({ 33554440, -4 }, i:mul_(2):flat())
      assert.are.equal("int32", i.dtype)
      local u <const> = la.tensor({ 250, 3 }, "uint8")
      assert.are.same({ 255, 13 }, u:add_(10):flat())
    end)
  end)

  it("returns the tensor itself", function()
    la.scope(function()
      local x <const> = la.zeros(3)
      assert.is_true(x:add_(1):same(x))
      assert.is_true(x:fill_(2):same(x))
    end)
  end)

  it("copies within a tensor as if the source stood still", function()
    la.scope(function()
      local x <const> = la.arange(6):reshape(2, 3)
      x:copy_(x:flip(2))
      assert.are.same({ { 2, 1, 0 }, { 5, 4, 3 } }, x:totable())
      local y <const> = la.arange(6)
      y:narrow(1, 2, 5):copy_(y:narrow(1, 1, 5))
      assert.are.same({ 0, 0, 1, 2, 3, 4 }, y:flat())
      local z <const> = la.arange(4):reshape(2, 2)
      z:add_(z:transpose(1, 2))
      assert.are.same({ { 0, 3 }, { 3, 6 } }, z:totable())
      z:mul_(z)
      assert.are.same({ { 0, 9 }, { 9, 36 } }, z:totable())
      z:scale_(z:select(1, 1):select(1, 2))
      assert.are.same({ { 0, 81 }, { 81, 324 } }, z:totable())
    end)
  end)

  it("is refused inside a graph, and allowed without one", function()
    la.scope(function()
      local x <const> = la.ones(3):requires_grad_(true)
      local y <const> = x * 2
      for name, args in pairs { fill_ = { 1 }, zero_ = {}, add_ = { 1 }, mul_ = { 2 }, copy_ = { x } } do
        for _, t in ipairs { x, y } do
          local ok <const>, message <const> = pcall(la[name], t, table.unpack(args))
          assert.is_false(ok)
          assert.is_truthy(message:find(name .. ": writes in place", 1, true))
        end
      end
      la.no_grad(function() x:add_(1) end)
      assert.are.same({ 2, 2, 2 }, x:flat())
    end)
  end)

  it("is noticed by a backward pass that needs the old values", function()
    la.scope(function()
      local w <const> = la.ones(3):requires_grad_(true)
      local x <const> = la.ones(3)
      local y <const> = (w * x):sum()
      x:mul_(2)
      local ok <const>, message <const> = pcall(y.backward, y)
      assert.is_false(ok)
      assert.is_truthy(message:find("changed in place", 1, true))
    end)
  end)
end)
