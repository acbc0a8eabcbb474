-- SPDX-License-Identifier: MIT
--
-- The harness of the op tests must itself fail where it should.

local la <const> = require "lualign"
local cases <const> = require "lib.cases"
local optest <const> = require "lib.optest"
local fails <const> = cases.fails
local P <const> = optest.P

-- A case of fn at random points, as optest makes them.
local function case(spec)
  spec.args = spec.args or function(rng) return rng.randn(3, 4) end
  return optest.case("mul", spec, "args", spec.args)
end

local function square(x)
  return P.build(x.shape, function(i, j) return x:at(i, j) ^ 2 end)
end

describe("plain arrays", function()
  it("index, write and nest", function()
    local p <const> = P { { 1, 2, 3 }, { 4, 5, 6 } }
    assert.same({ 2, 3 }, p.shape)
    assert.equal(6, p:at(2, 3))
    p:put(9, 1, 2)
    p:add(1, 1, 2)
    assert.same({ { 1, 10, 3 }, { 4, 5, 6 } }, p:nested())
    assert.equal(3, p:size(-1))
    fails("out of range", p.at, p, 3, 1)
    fails("indexed with", p.at, p, 3)
    fails("ragged", P, { { 1, 2 }, { 3 } })
  end)

  it("come back from tensors as they went", function()
    for _, p in ipairs { optest.rng(1).randn(2, 3), optest.rng(2).ints(-9, 9, 4), optest.rng(3).bytes(2, 1, 2) } do
      local q <const> = P(optest.tensor(p))
      assert.same(p.data, q.data)
      assert.same(p.shape, q.shape)
      assert.equal(p.dtype, q.dtype)
    end
  end)
end)

describe("comparison", function()
  it("is relative to the largest expected element", function()
    assert.near(0.01, (optest.error({ 1, 101 }, { 1, 100 })), 1e-12)
    assert.near(0.01, (optest.error({ 2, 100 }, { 1, 100 })), 1e-12)
    assert.near(1, (optest.error({ 1e-4 }, { 0 })), 1e-12)
  end)

  it("fails on shapes, NaN and infinities", function()
    assert.equal(math.huge, (optest.error({ 1, 2 }, { { 1, 2 } })))
    assert.equal(math.huge, (optest.error({ 0 / 0 }, { 1 })))
    assert.equal(math.huge, (optest.error({ 1 }, { 0 / 0 })))
    assert.equal(math.huge, (optest.error({ math.huge }, { 1 })))
    assert.equal(0, (optest.error({ 0 / 0, math.huge }, { 0 / 0, math.huge })))
  end)

  it("of integers is exact", function()
    fails("allowed none", optest.close, la.tensor({ 1000001 }, "int32"), { 1000000 }, 1e-3)
  end)
end)

describe("the harness accepts", function()
  local spec <const> = { fn = function(x) return x * x end, ref = square, grad = true }
  for name, check in pairs(optest.checks) do
    if name ~= "identity" and name ~= "rejects" and name ~= "layout" then
      it("a right op: " .. name, function() check(case(spec), 20) end)
    end
  end
  for _, layout in ipairs { "permuted", "narrowed", "strided" } do
    it("a right op: " .. layout .. " inputs", function() optest.checks.layout(case(spec), layout) end)
  end
end)

describe("the harness rejects", function()
  local checks <const> = optest.checks

  it("a wrong result", function()
    fails("forward: element", checks.forward, case { fn = function(x) return x * x + 1e-3 end, ref = square })
  end)

  it("a wrong shape", function()
    fails("shape (12)", checks.forward, case { fn = function(x) return (x * x):reshape(12) end, ref = square })
  end)

  it("a changed input", function()
    fails("changed its input", checks.forward, case {
      fn = function(x)
        local y <const> = x * x
        x[1] = 7
        return y
      end,
      ref = square,
    })
  end)

  it("a wrong gradient", function()
    local half <const> = { fn = function(x) return x * x:detach() end, ref = square, grad = true }
    fails("gradient of argument 1", checks.gradient, case(half), 20)
  end)

  it("a gradient wrong in one element that is not sampled", function()
    local mask <const> = P.full(0, 40, 40)
    mask:put(1, 17, 23)
    local fn <const> = function(x)
      local m <const> = optest.tensor(mask)
      return x * x * (1 - m) + x * x:detach() * m
    end
    local args <const> = function(rng) return rng.uniform(1, 2, 40, 40) end
    fails("along a random direction", checks.gradient, case { fn = fn, ref = square, grad = true, args = args }, 2)
  end)

  it("a gradient that is missing", function()
    local none <const> = { fn = function(x, y) return x * x + y:detach() end, grad = true,
      ref = function(x) return square(x) end, args = function(rng) return rng.randn(2, 2), rng.randn(2, 2) end }
    fails("no gradient reached argument 2", checks.gradient, case(none), 20)
  end)

  it("an op that reads memory past a view", function()
    local fn <const> = function(x)
      return x:is_contiguous() and x * x or x * x + 1
    end
    fails("permuted inputs", checks.layout, case { fn = fn, ref = square }, "permuted")
  end)

  it("results that differ between runs", function()
    local runs = 0
    local fn <const> = function(x)
      runs = runs + 1
      return x * runs
    end
    fails("differs between two runs", checks.deterministic, case { fn = fn })
  end)

  it("a message without the cause, and a call that goes through", function()
    local bad <const> = { fn = function() error("mul: no") end }
    checks.rejects(case(bad), "mul", "no")
    fails("expected", checks.rejects, case(bad), "mul", "shapes")
    fails("does not name the op", checks.rejects, case(bad), "div", "no")
    fails("accepted", checks.rejects, case { fn = function(x) return x end }, "mul", "no")
  end)
end)
