-- SPDX-License-Identifier: MIT

local la <const> = require "lualign"
local optest <const> = require "lib.optest"
local P <const> = optest.P

local NAN <const>, INF <const> = 0 / 0, math.huge

-- Neumaier's sum.
local function sum(values)
  local s, low = 0.0, 0.0
  for _, v in ipairs(values) do
    local t <const> = s + v
    low = low + (math.abs(s) >= math.abs(v) and (s - t) + v or (v - t) + s)
    s = t
  end
  return s + low
end

local function mean(values)
  return sum(values) / #values
end

local function mapped(values, fn)
  local out <const> = {}
  for i, v in ipairs(values) do
    out[i] = fn(v)
  end
  return out
end

local function extreme(values, better)
  local best, place = values[1], 1
  for i, v in ipairs(values) do
    if best == best and (better(v, best) or v ~= v) then
      best, place = v, i
    end
  end
  return best, place
end

local function larger(a, b) return a > b end
local function smaller(a, b) return a < b end

local formula <const> = {
  sum = sum,
  mean = mean,
  max = function(values) return (extreme(values, larger)) end,
  min = function(values) return (extreme(values, smaller)) end,
  argmax = function(values) return (select(2, extreme(values, larger))) end,
  argmin = function(values) return (select(2, extreme(values, smaller))) end,
  var = function(values, options)
    local m <const> = mean(values)
    return sum(mapped(values, function(v) return (v - m) ^ 2 end)) / (#values - (options.unbiased == false and 0 or 1))
  end,
  norm = function(values, options)
    if options.p == 1 then
      return sum(mapped(values, math.abs))
    elseif options.p == INF then
      return (extreme(mapped(values, math.abs), larger))
    end
    return math.sqrt(sum(mapped(values, function(v) return v * v end)))
  end,
}

-- fn of the list of elements behind every element of the result. dims: nil, a number or a list; then options.
local function reduce(fn, x, dims, options)
  if type(dims) == "table" and #dims == 0 and next(dims) then
    dims, options = nil, dims
  end
  options = options or {}
  local n <const>, reduced <const> = #x.shape, {}
  for _, d in ipairs(type(dims) == "table" and dims or { dims }) do
    reduced[d < 0 and d + n + 1 or d] = true
  end
  local all <const> = dims == nil
  local shape <const> = {}
  for d = 1, n do
    if not (all or reduced[d]) then
      shape[#shape + 1] = x.shape[d]
    elseif options.keepdim then
      shape[#shape + 1] = 1
    end
  end
  local groups <const> = {}
  local out <const> = P.build(shape, function() groups[#groups + 1] = {}; return 0 end)
  local index <const> = {}
  for k = 0, #x.data - 1 do
    local rest, at, step = k, 0, 1
    for d = n, 1, -1 do
      index[d] = rest % x.shape[d]
      rest = rest // x.shape[d]
      if not (all or reduced[d]) then
        at = at + index[d] * step
        step = step * x.shape[d]
      end
    end
    local g <const> = groups[at + 1]
    g[#g + 1] = x.data[k + 1]
  end
  for i, g in ipairs(groups) do
    out.data[i] = fn(g, options)
  end
  return out
end

local function values(name, rng, ...)
  if name == "sum" or name == "mean" or name == "var" then
    return rng.randn(...)
  end
  return rng.distinct(...)
end

local shapes <const> = {
  { "the last dimension", { 5, 33 }, -1 },
  { "the first dimension", { 33, 5 }, 1 },
  { "a middle dimension", { 3, 17, 5 }, 2 },
  { "the middle two", { 2, 5, 7, 3 }, { 2, 3 } },
  { "all but channels", { 2, 5, 7, 3 }, { 1, 2, 3 } },
  { "dimensions apart", { 2, 5, 7, 3 }, { 1, 4 } },
  { "dimensions apart, backwards", { 3, 5, 7 }, { -1, 1 } },
  { "dimensions with a single one between", { 5, 1, 7 }, { 1, 3 } },
  { "every dimension by name", { 3, 5 }, { 1, 2 } },
  { "kept dimensions", { 2, 5, 3 }, { 1, 3 }, { keepdim = true } },
  { "everything kept", { 2, 5, 3 }, nil, { keepdim = true } },
  { "without dimensions", {} },
  { "one element", { 1, 1 }, 2 },
  { "rows of one element", { 7, 1 }, 2 },
  { "many channels", { 3, 5, 37 }, 2 },
  { "six dimensions", { 2, 1, 3, 2, 1, 5 }, { 3, 4 } },
  { "no rows", { 0, 3 }, 2 },
}

local large <const> = {
  { "rows in chunks", { 3, 5003 }, 2 },
  { "columns in chunks", { 1031, 19 }, 1 },
  { "two rounds of chunks", { 301, 331 } },
  { "many short rows", { 20011, 3 }, 2 },
}

local small <const> = os.getenv "LUALIGN_TEST_SMALL" == "1"

-- One argument list; dims and options are left out where they are nil.
local function arguments(x, dims, options)
  if dims == nil then
    return x, options
  end
  return x, dims, options
end

local function spec_of(name)
  local single <const> = name:match "^arg" ~= nil
  local sizes <const> = {}
  local function add(s, grad)
    local one <const> = name == "var" and s[1]:match "one element$" or name == "var" and #s[2] == 0
    if not one and not (single and type(s[3]) == "table") then
      sizes[#sizes + 1] = { s[1], function(rng)
        return arguments(values(name, rng, table.unpack(s[2])), s[3], s[4])
      end, grad = grad }
    end
  end
  for _, s in ipairs(shapes) do
    add(s, not single)
  end
  for _, s in ipairs(large) do
    add(s, false)
  end
  return {
    args = function(rng) return values(name, rng, 3, 5, 7), 2 end,
    ref = function(...) return reduce(formula[name], ...) end,
    grad = not single,
    sizes = sizes,
    rejects = {
      { "a dimension that is not there", function(rng) return rng.randn(2, 3), 3 end, "from 1 to 2" },
      { "dimension 0", function(rng) return rng.randn(2, 3), 0 end, "counts from 1" },
      { "a dimension twice", function(rng) return rng.randn(2, 3), { 1, -2 } end,
        single and "one dimension, got 2" or "dims name dimension 1 twice" },
      { "an unknown option", function(rng)
        return rng.randn(2, 3), 1, { keepdims = true }
      end, "did you mean 'keepdim'?" },
    },
  }
end

for _, name in ipairs { "sum", "mean", "max", "min", "argmax", "argmin", "var", "norm" } do
  local spec <const> = spec_of(name)
  if name == "var" then
    spec.sizes[#spec.sizes + 1] = { "biased", function(rng) return rng.randn(5, 7), 1, { unbiased = false } end }
    spec.sizes[#spec.sizes + 1] = { "a mean far from 0", function(rng)
      return rng.uniform(4096, 4098, 333), 1
    end, grad = false }
    spec.sizes[#spec.sizes + 1] = { "one element, biased", function(rng)
      return rng.randn(3, 1), 2, { unbiased = false }
    end }
  elseif name == "norm" then
    for _, p in ipairs { 1, INF } do
      spec.sizes[#spec.sizes + 1] = { "p = " .. p, function(rng) return rng.away(0.01, 5, 7), 2, { p = p } end }
      spec.sizes[#spec.sizes + 1] = { "p = " .. p .. " of all", function(rng)
        return rng.away(0.01, 3, 5), { p = p }
      end }
      spec.sizes[#spec.sizes + 1] = { "p = " .. p .. " of columns", function(rng)
        return rng.away(0.01, 3, 5, 18), { 1, 2 }, { p = p }
      end }
    end
    spec.rejects[#spec.rejects + 1] = { "p = 3", function(rng) return rng.randn(2), { p = 3 } end,
      "p must be 1, 2 or math.huge, got 3" }
  elseif name ~= "sum" and name ~= "mean" then
    spec.rejects[#spec.rejects + 1] = { "nothing to choose from", function(rng) return rng.randn(2, 0), 2 end,
      "have no elements" }
  end
  optest(name, spec)
end

local function same(list, want)
  assert.are.equal(#want, #list)
  for i, w in ipairs(want) do
    local got <const> = list[i]
    assert(got == w or got ~= got and w ~= w, string.format("element %d is %s, expected %s", i, got, w))
  end
end

describe("reductions", function()
  it("add a million numbers to a few parts in ten million", function()
    if small then
      return
    end
    la.scope(function()
      la.device.seed(3)
      local x <const> = la.rand(1000, 1000)
      local all <const> = x:flat()
      assert.is_true(math.abs(x:sum():item() / sum(all) - 1) < 3e-7)
      assert.is_true(math.abs(x:mean():item() / mean(all) - 1) < 3e-7)
      local v <const> = formula.var(all, {})
      assert.is_true(math.abs(x:var():item() / v - 1) < 1e-6)
      assert.is_true(math.abs(x:norm():item() / formula.norm(all, {}) - 1) < 1e-6)
      local columns <const> = x:reshape(-1, 4):sum(1):flat()
      for c = 1, 4 do
        local list <const> = {}
        for i = c, #all, 4 do
          list[#list + 1] = all[i]
        end
        assert.is_true(math.abs(columns[c] / sum(list) - 1) < 1e-6)
      end
    end)
  end)

  it("give 0 for the sum of nothing, NaN for its mean", function()
    la.scope(function()
      local x <const> = la.zeros(3, 0, 2):requires_grad_(true)
      same(x:sum():flat(), { 0 })
      same(x:sum(2):flat(), { 0, 0, 0, 0, 0, 0 })
      same(x:mean(2):flat(), { NAN, NAN, NAN, NAN, NAN, NAN })
      same(x:norm():flat(), { 0 })
      x:sum():backward()
      assert.are.same({ 3, 0, 2 }, x.grad:shape())
    end)
  end)

  it("let NaN win in max and min, wherever it is", function()
    la.scope(function()
      for _, n in ipairs { 3, 16, 33, 70 } do
        for _, at in ipairs { 1, n // 2, n } do
          local list <const> = {}
          for i = 1, n do
            list[i] = i == at and NAN or i
          end
          local row <const>, column <const> = la.tensor { list, list }, la.tensor { list, list }:transpose(1, 2)
          for _, name in ipairs { "max", "min" } do
            same(la[name](row, 2):flat(), { NAN, NAN })
            same(la[name](column, 1):flat(), { NAN, NAN })
            same(la["arg" .. name](row, 2):flat(), { at, at })
            same(la["arg" .. name](column, 1):flat(), { at, at })
          end
        end
      end
    end)
  end)

  it("find infinite extremes, and the first of equal ones", function()
    la.scope(function()
      local x <const> = la.tensor { { -INF, -INF, -INF }, { INF, INF, INF }, { 2, 2, 1 } }
      same(x:max(2):flat(), { -INF, INF, 2 })
      same(x:min(2):flat(), { -INF, INF, 1 })
      same(x:argmax(2):flat(), { 1, 1, 1 })
      same(x:argmin(2):flat(), { 1, 1, 3 })
      same(la.zeros(5000):argmax():flat(), { 1 })
    end)
  end)

  it("share the gradient among equal extremes", function()
    la.scope(function()
      local x <const> = la.tensor({ { 3, 1, 3 }, { 2, 2, 2 } }):requires_grad_(true)
      x:max(2):sum():backward()
      same(x.grad:select(1, 1):flat(), { 0.5, 0, 0.5 })
      optest.close(x.grad:select(1, 2), { 1 / 3, 1 / 3, 1 / 3 }, 1e-6)
      local y <const> = la.tensor({ -4, 4, 1 }):requires_grad_(true)
      y:norm({ p = INF }):backward()
      same(y.grad:flat(), { -0.5, 0.5, 0 })
    end)
  end)

  it("have a gradient of 0 at the norm of zeros", function()
    la.scope(function()
      for _, p in ipairs { 1, 2 } do
        local x <const> = la.zeros(3):requires_grad_(true)
        x:norm({ p = p }):backward()
        same(x.grad:flat(), { 0, 0, 0 })
      end
    end)
  end)

  it("take integers", function()
    la.scope(function()
      local i <const> = la.tensor({ { 16777217, -5, 16777216 }, { 7, 9, 8 } }, "int32")
      local u <const> = la.tensor({ 250, 200, 3 }, "uint8")
      assert.are.equal("int32", i:sum().dtype)
      same(i:sum(2):flat(), { 33554428, 24 })
      same(u:sum():flat(), { 453 })
      same(i:max(2):flat(), { 16777217, 9 })
      same(i:argmax(2):flat(), { 1, 2 })
      same(i:argmin(1):flat(), { 2, 1, 2 })
      same(i:min():flat(), { -5 })
      assert.are.equal("uint8", u:max().dtype)
      same(u:max():flat(), { 250 })
      assert.are.equal("float32", u:mean().dtype)
      same(u:mean():flat(), { 151 })
      same(la.gt(la.arange(5000), 2500):sum():flat(), { 2499 })
      same(la.arange(5000, { dtype = "int32" }):reshape(50, 100):max(1):sum():flat(), { 494950 })
    end)
  end)
end)
