-- SPDX-License-Identifier: MIT

local la <const> = require "lualign"
local optest <const> = require "lib.optest"
local P <const> = optest.P

local NAN <const>, INF <const> = 0 / 0, math.huge

local function tanh(x)
  local e <const> = math.exp(-2 * math.abs(x))
  local t <const> = (1 - e) / (1 + e)
  return x < 0 and -t or t
end

-- { function, values of rng for a shape }; the values stay away from kinks and poles
local normal <const> = function(rng, ...) return rng.randn(...) end
local positive <const> = function(rng, ...) return rng.uniform(0.1, 5, ...) end
local away <const> = function(rng, ...) return rng.away(0.01, ...) end

-- Values around 0 and 6, the corners of relu6, but not near them.
local function corners(rng, ...)
  local out <const> = rng.uniform(-4, 10, ...)
  for i, v in ipairs(out.data) do
    if math.abs(v) < 0.01 or math.abs(v - 6) < 0.01 then
      out.data[i] = v + 0.25
    end
  end
  return out
end

local function fraction(rng, ...)
  local out <const> = rng.randn(...)
  for i, v in ipairs(out.data) do
    out.data[i] = math.floor(v * 4) + 0.25
  end
  return out
end

local formula <const> = {
  neg = { function(x) return -x end, normal },
  abs = { math.abs, away },
  exp = { math.exp, normal },
  log = { math.log, positive },
  sqrt = { math.sqrt, positive },
  sin = { math.sin, function(rng, ...) return rng.uniform(-20, 20, ...) end },
  cos = { math.cos, function(rng, ...) return rng.uniform(-20, 20, ...) end },
  tanh = { tanh, function(rng, ...) return rng.uniform(-4, 4, ...) end },
  sigmoid = { function(x) return 1 / (1 + math.exp(-x)) end, function(rng, ...) return rng.uniform(-8, 8, ...) end },
  floor = { math.floor, fraction, no_grad = true },
  sign = { function(x) return x > 0 and 1 or x < 0 and -1 or 0 end, away, no_grad = true },
  relu = { function(x) return math.max(x, 0) end, away },
  relu6 = { function(x) return math.min(math.max(x, 0), 6) end, corners },
}

for name, f in pairs(formula) do
  local fn <const>, values <const> = f[1], f[2]
  optest(name, {
    args = function(rng) return values(rng, 3, 5, 7) end,
    ref = function(x)
      return P.build(x.shape, function(...) return fn(x:at(...)) end)
    end,
    grad = not f.no_grad,
    sizes = {
      { "without dimensions", function(rng) return values(rng) end },
      { "one element", function(rng) return values(rng, 1, 1) end },
      { "six dimensions", function(rng) return values(rng, 1, 3, 2, 1, 5, 3) end },
      { "no elements", function(rng) return values(rng, 3, 0, 2) end },
      { "more than one work-group", function(rng) return values(rng, 65, 1031) end, grad = false },
    },
    rejects = {
      { "a number", function() return 3 end, "x must be a tensor, got number" },
      { "two tensors", function(rng) return rng.randn(2), rng.randn(2) end, "too many arguments" },
    },
  })
end

local function clamped(lo, hi)
  return function(x)
    return P.build(x.shape, function(...) return math.max(lo, math.min(hi, x:at(...))) end)
  end
end

optest("clamp", {
  args = function(rng) return rng.uniform(-3, 3, 3, 5, 7), { min = -1.003, max = 0.507 } end,
  ref = function(x, bounds) return clamped(bounds.min or -INF, bounds.max or INF)(x) end,
  grad = true,
  sizes = {
    { "only a lower bound", function(rng) return rng.uniform(-3, 3, 33), { min = 0.503 } end },
    { "only an upper bound", function(rng) return rng.uniform(-3, 3, 33), { max = 0.503 } end },
    { "no bound", function(rng) return rng.randn(33), {} end },
    { "equal bounds", function(rng) return rng.away(0.01, 33), { min = 0, max = 0 } end },
    { "no elements", function(rng) return rng.randn(0), { min = 0 } end },
  },
  rejects = {
    { "crossed bounds", function(rng) return rng.randn(3), { min = 1, max = -1 } end,
      "min must not be above max, got 1 and -1" },
    { "a wrong option", function(rng) return rng.randn(3), { mim = 1 } end,
      "unknown option 'mim', did you mean 'min'?" },
  },
})

local function same(list, want)
  assert.are.equal(#want, #list)
  for i, w in ipairs(want) do
    local got <const> = list[i]
    assert(got == w or got ~= got and w ~= w, string.format("element %d is %s, expected %s", i, got, w))
  end
end

describe("functions of one tensor", function()
  it("pass NaN on, and its gradient", function()
    la.scope(function()
      for name, f in pairs(formula) do
        local x <const> = la.tensor({ NAN }):requires_grad_(true)
        local y <const> = la[name](x)
        same(y:flat(), { NAN })
        if not f.no_grad and name ~= "neg" and name ~= "relu" and name ~= "relu6" then
          y:sum():backward()
          same(x.grad:flat(), { NAN })
        end
      end
      same(la.clamp(la.tensor { NAN }, { min = 0, max = 1 }):flat(), { NAN })
    end)
  end)

  it("are right at infinities and zeros", function()
    la.scope(function()
      local x <const> = la.tensor { -INF, 0, INF }
      same(x:exp():flat(), { 0, 1, INF })
      same(x:abs():flat(), { INF, 0, INF })
      optest.close(x:tanh(), { -1, 0, 1 }, 1e-6)
      same(x:sigmoid():flat(), { 0, 0.5, 1 })
      same(x:relu():flat(), { 0, 0, INF })
      same(x:relu6():flat(), { 0, 0, 6 })
      same(x:sign():flat(), { -1, 0, 1 })
      same(x:floor():flat(), { -INF, 0, INF })
      same(x:log():flat(), { NAN, -INF, INF })
      same(x:sqrt():flat(), { NAN, 0, INF })
      same(la.sigmoid(la.tensor { -200, 200 }):flat(), { 0, 1 })
    end)
  end)

  it("have the usual gradients at their kinks", function()
    la.scope(function()
      local function slope(name, at, ...)
        local x <const> = la.tensor(at):requires_grad_(true)
        la[name](x, ...):sum():backward()
        return x.grad:flat()
      end
      same(slope("relu", { 0 }), { 0 })
      same(slope("relu6", { 0, 6 }), { 0, 0 })
      same(slope("abs", { 0 }), { 0 })
      same(slope("clamp", { -1, 2, -1.5 }, { min = -1, max = 2 }), { 1, 1, 0 })
    end)
  end)

  it("take integers where that has a meaning", function()
    la.scope(function()
      local i <const> = la.tensor({ 7, -2147483647, 0 }, "int32")
      assert.are.equal("int32", (-i).dtype)
      same((-i):flat(), { -7, 2147483647, 0 })
      same(la.abs(i):flat(), { 7, 2147483647, 0 })
      same(la.clamp(i, { min = -1, max = 5 }):flat(), { 5, -1, 0 })
      same(la.sign(i):flat(), { 1, -1, 0 })
      same((-la.tensor({ 200 }, "uint8")):flat(), { -200 })
      local ok <const>, message <const> = pcall(la.exp, i)
      assert.is_false(ok)
      assert.is_truthy(message:find("exp: x must be float32, got int32", 1, true))
    end)
  end)
end)
