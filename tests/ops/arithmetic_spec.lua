-- SPDX-License-Identifier: MIT

local broadcast <const> = require "lib.broadcast"
local la <const> = require "lualign"
local optest <const> = require "lib.optest"

local NAN <const>, INF <const> = 0 / 0, math.huge

local formula <const> = {
  add = function(a, b) return a + b end,
  sub = function(a, b) return a - b end,
  mul = function(a, b) return a * b end,
  div = function(a, b) return a / b end,
  pow = function(a, b) return a ^ b end,
  maximum = function(a, b) return math.max(a, b) end,
  minimum = function(a, b) return math.min(a, b) end,
}

-- Positive operands from 0.5 to 2 where the op needs them. For maximum and minimum, multiples of 1/32 on one side and
-- odd multiples of 1/64 on the other: never within a step of each other.
local function operand(name, rng, side, ...)
  if name == "pow" or name == "div" then
    return rng.uniform(0.5, 2, ...)
  end
  if name ~= "maximum" and name ~= "minimum" then
    return rng.randn(...)
  end
  local out <const> = rng.randn(...)
  for i, v in ipairs(out.data) do
    out.data[i] = math.floor(v * 32) / 32 + (side - 1) / 64
  end
  return out
end

-- Cases of two shapes; a number stands for itself.
local shapes <const> = {
  { "a row", { 17, 33 }, { 33 } },
  { "a row on the left", { 33 }, { 17, 33 } },
  { "a column", { 17, 33 }, { 17, 1 } },
  { "a row and a column", { 1, 33 }, { 17, 1 } },
  { "a tensor without dimensions", { 3, 5 }, {} },
  { "two without dimensions", {}, {} },
  { "one element", { 1 }, { 1, 1 } },
  { "dimensions in turn", { 5, 1, 3 }, { 1, 7, 1 } },
  { "six dimensions", { 2, 3, 1, 5, 2, 3 }, { 3, 4, 1, 1, 3 } },
  { "channels", { 2, 5, 7, 3 }, { 3 } },
  { "a number", { 3, 65 }, 1.25 },
  { "a number on the left", 0.75, { 3, 65 } },
  { "no elements", { 0, 3 }, { 3 } },
  { "no columns", { 3, 0 }, { 3, 1 } },
}

local function make(name, shape, rng, side)
  return type(shape) == "number" and shape + 0.005 or operand(name, rng, side, table.unpack(shape))
end

local function sizes_of(name)
  local list <const> = {}
  for i, s in ipairs(shapes) do
    list[i] = { s[1], function(rng) return make(name, s[2], rng, 1), make(name, s[3], rng, 2) end }
  end
  list[#list + 1] = {
    "more than one work-group",
    function(rng) return operand(name, rng, 1, 65, 1031), operand(name, rng, 2, 65, 1031) end,
    grad = false,
  }
  return list
end

for name, fn in pairs(formula) do
  optest(name, {
    args = function(rng) return operand(name, rng, 1, 3, 5, 7), operand(name, rng, 2, 3, 5, 7) end,
    ref = function(a, b) return broadcast(fn, a, b) end,
    grad = true,
    sizes = sizes_of(name),
    rejects = {
      { "shapes that do not fit", function(rng) return rng.randn(2, 3), rng.randn(4) end,
        "shapes (2, 3) and (4) do not broadcast" },
      { "a string", function(rng) return rng.randn(2), "2" end, "b must be a tensor or a number, got string" },
      { "two numbers", function() return 1, 2 end, "at least one tensor" },
      { "one operand", function(rng) return rng.randn(2) end, "b is missing" },
    },
  })
end

local function same(list, want)
  assert.are.equal(#want, #list)
  for i, w in ipairs(want) do
    local got <const> = list[i]
    assert(got == w or got ~= got and w ~= w, string.format("element %d is %s, expected %s", i, got, w))
  end
end

local function ints(...)
  return la.tensor({ ... }, "int32")
end

describe("arithmetic", function()
  it("gives int32 for two integers, and float32 for quotients, powers and mixed types", function()
    la.scope(function()
      local i <const>, u <const>, f <const> = ints(7, -3), la.tensor({ 250, 2 }, "uint8"), la.tensor { 0.5, 2 }
      for _, name in ipairs { "add", "sub", "mul", "maximum", "minimum" } do
        assert.are.equal("int32", la[name](i, i).dtype)
        assert.are.equal("int32", la[name](i, u).dtype)
        assert.are.equal("int32", la[name](u, u).dtype)
        assert.are.equal("int32", la[name](i, 3).dtype)
        assert.are.equal("float32", la[name](i, 0.5).dtype)
        assert.are.equal("float32", la[name](i, f).dtype)
        assert.are.equal("float32", la[name](f, u).dtype)
      end
      assert.are.equal("float32", la.div(i, i).dtype)
      assert.are.equal("float32", la.pow(i, 2).dtype)
      same((u + u):flat(), { 500, 4 })
      same((i - u):flat(), { -243, -5 })
      same((i * 1000000):flat(), { 7000000, -3000000 })
      same((1 - i):flat(), { -6, 4 })
      same((i / 2):flat(), { 3.5, -1.5 })
      same((i + 0.5):flat(), { 7.5, -2.5 })
      same((i ^ 2):flat(), { 49, 9 })
      same(la.maximum(i, 0):flat(), { 7, 0 })
      same(la.minimum(i, u):flat(), { 7, -3 })
    end)
  end)

  it("keeps integers beyond 2^24 exact", function()
    la.scope(function()
      same((ints(123456789, -2147483647) + ints(1, -1)):flat(), { 123456790, -2147483648 })
      same(la.maximum(ints(123456789), 123456788):flat(), { 123456789 })
    end)
  end)

  it("passes NaN on, from either side", function()
    la.scope(function()
      local a <const>, b <const> = la.tensor { NAN, 1, NAN }, la.tensor { 1, NAN, NAN }
      for _, name in ipairs { "add", "sub", "mul", "div", "maximum", "minimum" } do
        same(la[name](a, b):flat(), { NAN, NAN, NAN })
        same(la[name](a, 2):flat(), { NAN, la[name](la.tensor { 1 }, 2):item(), NAN })
        same(la[name](2, b):flat(), { la[name](2, la.tensor { 1 }):item(), NAN, NAN })
      end
    end)
  end)

  it("treats infinities and zeros as floats do", function()
    la.scope(function()
      same((la.tensor { 1, -1, 0 } / 0):flat(), { INF, -INF, NAN })
      same((la.tensor { INF, 0 } * 0):flat(), { NAN, 0 })
      same((la.tensor { 0, 0, 2, -2, INF } ^ la.tensor { 0, 2, -1, 3, 0.5 }):flat(), { 1, 0, 0.5, -8, INF })
      same((la.tensor { -2, 0, 3 } ^ 2):flat(), { 4, 0, 9 })
      same((2 ^ la.tensor { -1, 0, 3 }):flat(), { 0.5, 1, 8 })
    end)
  end)

  it("shares the gradient of equal operands between them", function()
    la.scope(function()
      for _, name in ipairs { "maximum", "minimum" } do
        local a <const> = la.tensor({ 1, 2 }):requires_grad_(true)
        local b <const> = la.tensor({ 1, 2 }):requires_grad_(true)
        la[name](a, b):sum():backward()
        same(a.grad:flat(), { 0.5, 0.5 })
        same(b.grad:flat(), { 0.5, 0.5 })
      end
    end)
  end)

  it("has finite gradients of powers at 0 where they exist", function()
    la.scope(function()
      local a <const> = la.tensor({ 0, 0, 0, -2 }):requires_grad_(true)
      local b <const> = la.tensor({ 2, 1, 0, 3 }):requires_grad_(true)
      la.pow(a, b):sum():backward()
      same(a.grad:flat(), { 0, 1, 0, 12 })
      same({ table.unpack(b.grad:flat(), 1, 3) }, { 0, 0, 0 })
      local x <const> = la.tensor({ 0, 3, -3 }):requires_grad_(true);
      (x ^ 2):sum():backward()
      same(x.grad:flat(), { 0, 6, -6 })
    end)
  end)

  it("adds up the gradients of a tensor used on both sides", function()
    la.scope(function()
      local x <const> = la.tensor({ 2, 3 }):requires_grad_(true);
      (x * x + x - x / 2):sum():backward()
      same(x.grad:flat(), { 4.5, 6.5 })
    end)
  end)
end)
