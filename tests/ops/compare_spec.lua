-- SPDX-License-Identifier: MIT

local broadcast <const> = require "lib.broadcast"
local la <const> = require "lualign"
local optest <const> = require "lib.optest"
local P <const> = optest.P

local formula <const> = {
  eq = function(a, b) return a == b end,
  ne = function(a, b) return a ~= b end,
  lt = function(a, b) return a < b end,
  le = function(a, b) return a <= b end,
  gt = function(a, b) return a > b end,
  ge = function(a, b) return a >= b end,
}

-- Small whole numbers as floats, so that many pairs are equal.
local function whole(rng, ...)
  local out <const> = rng.ints(-2, 2, ...)
  return P.new(out.shape, out.data, "float32")
end

for name, fn in pairs(formula) do
  optest(name, {
    args = function(rng) return whole(rng, 3, 5, 7), whole(rng, 3, 5, 7) end,
    ref = function(a, b)
      return broadcast(function(x, y) return fn(x, y) and 1 or 0 end, a, b)
    end,
    sizes = {
      { "a row", function(rng) return whole(rng, 17, 33), whole(rng, 33) end },
      { "a column", function(rng) return whole(rng, 17, 1), whole(rng, 17, 33) end },
      { "dimensions in turn", function(rng) return whole(rng, 5, 1, 3), whole(rng, 1, 7, 1) end },
      { "a number", function(rng) return whole(rng, 65, 31), 1 end },
      { "a number on the left", function(rng) return -1, whole(rng, 65, 31) end },
      { "a number between", function(rng) return rng.ints(-3, 3, 17), 0.5 end },
      { "integers", function(rng) return rng.ints(-2, 2, 5, 3), rng.ints(-2, 2, 3) end },
      { "bytes and floats", function(rng) return rng.bytes(5, 3), rng.uniform(0, 255, 3) end },
      { "no elements", function(rng) return whole(rng, 0, 3), whole(rng, 3) end },
      { "without dimensions", function(rng) return rng.randn(), rng.randn() end },
      { "more than one work-group", function(rng) return whole(rng, 65, 1031), whole(rng, 65, 1031) end },
    },
    rejects = {
      { "shapes that do not fit", function(rng) return rng.randn(2, 3), rng.randn(2) end, "do not broadcast" },
      { "a boolean", function(rng) return rng.randn(2), true end, "b must be a tensor or a number, got boolean" },
    },
  })
end

-- As many ones as zeros, but for values other than 1.
local function mask(rng, ...)
  local out <const> = rng.ints(0, 3, ...)
  for i, v in ipairs(out.data) do
    out.data[i] = v < 2 and 0 or v * 63
  end
  return P.new(out.shape, out.data, "uint8")
end

optest("where", {
  args = function(rng) return mask(rng, 3, 5, 7), rng.randn(3, 5, 7), rng.randn(3, 5, 7) end,
  ref = function(c, a, b)
    return broadcast(function(z, x, y) return z ~= 0 and x or y end, c, a, b)
  end,
  grad = true,
  sizes = {
    { "all broadcast", function(rng) return mask(rng, 5, 1, 1), rng.randn(1, 7, 1), rng.randn(3) end },
    { "a mask over channels", function(rng) return mask(rng, 2, 5, 7, 1), rng.randn(2, 5, 7, 3), rng.randn(3) end },
    { "a number", function(rng) return mask(rng, 17, 33), rng.randn(17, 33), 0.25 end },
    { "a number on the left", function(rng) return mask(rng, 17, 33), -2, rng.randn(33) end },
    { "a float condition", function(rng)
      local c <const> = rng.uniform(-0.5, 0.5, 33)
      c.data[3], c.data[7] = 0, 0
      return c, rng.randn(33), rng.randn(33)
    end, grad = false },
    { "an integer condition", function(rng)
      return P.new({ 4 }, { 256, 0, -1, 512 }, "int32"), rng.randn(4), rng.randn(4)
    end },
    { "a mask of one element", function(rng) return mask(rng, 1), rng.randn(5, 3), rng.randn(5, 3) end },
    { "no elements", function(rng) return mask(rng, 0, 3), rng.randn(3), rng.randn(1) end },
    { "more than one work-group", function(rng) return mask(rng, 65, 1031), rng.randn(65, 1031), 0 end, grad = false },
  },
  rejects = {
    { "shapes that do not fit", function(rng) return mask(rng, 4), rng.randn(3), 1 end, "do not broadcast" },
  },
})

describe("comparisons", function()
  it("give uint8", function()
    la.scope(function()
      assert.are.equal("uint8", la.lt(la.tensor { 1 }, 2).dtype)
      assert.are.equal("uint8", la.tensor({ 1 }, "int32"):ge(2).dtype)
    end)
  end)

  it("are false for NaN, but for ne", function()
    la.scope(function()
      local a <const>, b <const> = la.tensor { 0 / 0, 0 / 0, 1 }, la.tensor { 0 / 0, 1, 0 / 0 }
      for name in pairs(formula) do
        local want <const> = name == "ne" and 1 or 0
        assert.are.same({ want, want, want }, la[name](a, b):flat())
      end
    end)
  end)

  it("carry no gradient", function()
    la.scope(function()
      local x <const> = la.tensor({ 1, 2 }):requires_grad_(true)
      assert.is_false(la.gt(x, 1.5).requires_grad)
    end)
  end)
end)

describe("where", function()
  it("keeps integers, and does not let a NaN through that was not chosen", function()
    la.scope(function()
      local c <const> = la.tensor({ 1, 0 }, "uint8")
      local i <const> = la.where(c, la.tensor({ 16777217, 2 }, "int32"), -1)
      assert.are.equal("int32", i.dtype)
      assert.are.same({ 16777217, -1 }, i:flat())
      local x <const> = la.tensor({ 3, 0 / 0 }):requires_grad_(true)
      local y <const> = la.where(c, x, 0)
      assert.are.same({ 3, 0 }, y:flat())
      y:sum():backward()
      assert.are.same({ 1, 0 }, x.grad:flat())
    end)
  end)
end)
