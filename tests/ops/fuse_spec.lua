-- SPDX-License-Identifier: MIT
--
-- la.fuse. Random trees are compared with lib.expressions, in double precision; functions, at kinks, ties and NaN, with
-- the ops of their names.

local busted <const> = require "busted"
local la <const> = require "lualign"
local optest <const> = require "lib.optest"
local P <const> = optest.P
local expressions <const> = require "lib.expressions"
local make_rng <const> = require "lib.rng"
local describe <const>, it <const> = busted.describe, busted.it

local SMALL <const> = os.getenv "LUALIGN_TEST_SMALL" ~= nil
local NAN <const>, INF <const> = 0 / 0, math.huge

local OPERANDS <const> = expressions.operands

-- ---- shapes ----

local function count_of(shape)
  local n = 1
  for _, size in ipairs(shape) do
    n = n * size
  end
  return n
end

-- A random shape, and a shape that broadcasts to it.
local function random_shape(rng)
  local sizes <const> = SMALL and { 1, 2, 3, 5 } or { 1, 2, 3, 5, 17, 33 }
  local shape <const> = {}
  for d = 1, rng.integer(0, 4) do
    shape[d] = sizes[rng.integer(1, #sizes)]
  end
  while count_of(shape) > (SMALL and 200 or 3000) do
    table.remove(shape, 1)
  end
  return shape
end

local function narrower_shape(rng, shape)
  local out <const> = {}
  for d = rng.integer(1, 2) == 1 and 1 or rng.integer(1, #shape + 1), #shape do
    out[#out + 1] = rng.integer(1, 3) == 1 and 1 or shape[d]
  end
  return out
end

-- The flat place in an operand for each flat place of the result.
local function places(shape, own)
  local out <const>, lead <const> = {}, #shape - #own
  for i = 1, count_of(shape) do
    local rest, at, step = i - 1, 0, 1
    for d = #shape, 1, -1 do
      local index <const> = rest % shape[d]
      rest = rest // shape[d]
      if d > lead and own[d - lead] ~= 1 then
        at = at + index * step
      end
      step = step * (d > lead and own[d - lead] or 1)
    end
    out[i] = at + 1
  end
  return out
end

-- The same elements as a view that is not dense.
local function as_view(rng, t)
  local n <const> = t:dim()
  local way <const> = rng.integer(1, 4)
  if n == 0 or way == 1 then
    return t
  elseif way == 2 and n > 1 then
    return t:transpose(1, -1):contiguous():transpose(1, -1)
  end
  local d <const> = rng.integer(1, n)
  local more <const> = la.cat({ t:narrow(d, 1, 1) * NAN, t, t:narrow(d, 1, 1) * NAN }, d)
  return more:narrow(d, 2, t:size(d))
end

-- ---- one comparison with the reference ----

local function evaluate(tree, shape, operands)
  local at <const>, value <const>, slope <const> = {}, {}, {}
  for k = 1, OPERANDS do
    at[k] = places(shape, operands[k].shape)
  end
  expressions.nearest_kink = INF
  local largest = 0
  for i = 1, count_of(shape) do
    local x <const> = {}
    for k = 1, OPERANDS do
      x[k] = expressions.operand(operands[k].data[at[k][i]], k)
    end
    local y <const> = tree(x)
    value[i], slope[i] = y[1], y
    for k = 1, OPERANDS + 1 do
      largest = math.max(largest, math.abs(y[k]))
      if y[k] ~= y[k] then
        largest = INF
      end
    end
  end
  return value, slope, at, largest
end

-- A tree with inputs on which float32 takes the same branches as double precision.
local function random_case(rng)
  while true do
    local text <const>, tree <const> = expressions.random(rng, rng.integer(1, 5))
    local used <const> = {}
    local shape <const> = random_shape(rng)
    local operands <const> = {}
    for k = 1, OPERANDS do
      operands[k] = rng.uniform(-2, 2, table.unpack(k == 1 and shape or narrower_shape(rng, shape)))
    end
    local bare <const> = text:gsub("%l%l+", "")
    for k = 1, OPERANDS do
      used[k] = bare:find(("xyz"):sub(k, k), 1, true) ~= nil
    end
    if used[1] then
      local value <const>, slope <const>, at <const>, largest <const> = evaluate(tree, shape, operands)
      if largest < 100 and expressions.nearest_kink > 1e-4 then
        return { text = text, shape = shape, operands = operands, used = used, value = value, slope = slope, at = at }
      end
    end
  end
end

local function check_case(rng, case)
  local names <const>, args <const>, leaves <const> = {}, {}, {}
  for k = 1, OPERANDS do
    if case.used[k] then
      local p <const> = case.operands[k]
      names[#names + 1] = ("xyz"):sub(k, k)
      if k > 1 and #p.data == 1 and rng.integer(1, 2) == 1 then
        args[#args + 1] = p.data[1]
      else
        local leaf <const> = as_view(rng, optest.tensor(p)):detach():requires_grad_(k == 1 or rng.integer(1, 4) > 1)
        args[#args + 1] = leaf
        leaves[k] = leaf.requires_grad and leaf or nil
      end
    end
  end
  local f <const> = la.fuse(case.text, names)
  local y <const> = f(table.unpack(args))
  optest.close(y, P.new(case.shape, case.value), 1e-4, case.text, 1e-2)
  local weight <const> = rng.uniform(-1, 1, table.unpack(case.shape))
  if not y.requires_grad then -- nothing passes: the reference says the same
    for _, slope in ipairs(case.slope) do
      for k in pairs(leaves) do
        assert(slope[k + 1] == 0, case.text .. ": no gradient")
      end
    end
    return
  end
  y:backward(optest.tensor(weight))
  for k, leaf in pairs(leaves) do
    local p <const> = case.operands[k]
    local want <const>, scale = P.full(0.0, table.unpack(p.shape)), 1e-2
    for i, w in ipairs(weight.data) do
      local j <const> = case.at[k][i]
      want.data[j] = want.data[j] + w * case.slope[i][k + 1]
      scale = math.max(scale, math.abs(case.slope[i][k + 1]))
    end
    optest.close(leaf.grad or P.full(0.0, table.unpack(p.shape)), want, 2e-4, case.text .. ", gradient " .. k, scale)
  end
end

describe("fuse: random expressions", function()
  for seed = 1, SMALL and 12 or 60 do
    it("agree with double precision, " .. seed, function()
      local rng <const> = make_rng("fuse " .. seed)
      check_case(rng, random_case(rng))
    end)
  end
end)

-- ---- the ops of the same names ----

local SPECIAL <const> = {
  NAN, INF, -INF, 0.0, -0.0, 1, -1, 0.5, -0.5, 2, 3, -3, 6, 5.5, 7, 1e-30, -1e-30, 80, 1e20, 0.25,
}

-- Values and gradients of both on the same leaves, NaN and infinities included.
local function same(fused, op, lists, label, tol, floor)
  local g <const> = {}
  for i = 1, #lists[1] do
    g[i] = i % 5 - 2.5
  end
  local results <const> = {}
  for which, fn in ipairs { fused, op } do
    local leaves <const> = {}
    for k, list in ipairs(lists) do
      leaves[k] = la.tensor(list):requires_grad_()
    end
    local y <const> = fn(table.unpack(leaves))
    local out <const> = { P(y) }
    if y.requires_grad then
      y:backward(la.tensor(g))
    end
    for _, leaf in ipairs(leaves) do
      out[#out + 1] = leaf.grad and P(leaf.grad) or P.full(0.0, #g)
    end
    results[which] = out
  end
  for k, want in ipairs(results[2]) do
    for i, b in ipairs(want.data) do
      local a <const> = results[1][k].data[i]
      local allowed <const> = (tol or 1e-6) * math.max(math.abs(b), floor or 1e-6)
      local close <const> = a == b or a ~= a and b ~= b or math.abs(a - b) <= allowed
      if not close then
        local at <const> = {}
        for n, list in ipairs(lists) do
          at[n] = tostring(list[i])
        end
        error(("%s at (%s): %s gives %.9g, fused %.9g"):format(label, table.concat(at, ", "),
          k == 1 and "the op" or "gradient " .. k - 1 .. " of the op", b, a), 2)
      end
    end
  end
end

describe("fuse: functions mean what the ops of their names mean", function()
  local unary <const> = {
    "abs", "sign", "floor", "exp", "log", "sqrt", "sin", "cos", "tanh", "sigmoid", "relu", "relu6",
  }
  for _, name in ipairs(unary) do
    it(name, function()
      local list <const> = table.move(SPECIAL, 1, #SPECIAL, 1, {})
      if name == "sin" or name == "cos" then
        list[19] = 30 -- how a device reduces 1e20 is its own affair
      end
      same(la.fuse(name .. "(x)"), la[name], { list }, name, nil, name == "tanh" and 1)
    end)
  end
  local all_a <const>, all_b <const> = {}, {}
  for _, a in ipairs(SPECIAL) do
    for _, b in ipairs(SPECIAL) do
      all_a[#all_a + 1], all_b[#all_b + 1] = a, b
    end
  end
  local binary <const> = {
    ["a + b"] = la.add, ["a - b"] = la.sub, ["a * b"] = la.mul, ["max(a, b)"] = la.maximum, ["min(a, b)"] = la.minimum,
    ["a < b"] = la.lt, ["a <= b"] = la.le, ["a > b"] = la.gt, ["a >= b"] = la.ge, ["a == b"] = la.eq,
    ["a ~= b"] = la.ne, ["a != b"] = la.ne,
    ["where(a, a, b)"] = function(a, b) return la.where(a, a, b) end,
    ["where(a > b, b, a)"] = function(a, b) return la.where(la.gt(a, b), b, a) end,
    ["max(a, 0)"] = function(a) return la.maximum(a, 0) end,
    ["max(1, a) * b"] = function(a, b) return la.maximum(1, a) * b end,
    ["min(a, 1)"] = function(a) return la.minimum(a, 1) end,
    ["clamp(a, -1, 2)"] = function(a) return la.clamp(a, -1, 2) end,
    ["-a * b"] = function(a, b) return -a * b end,
    ["a * -b - -a"] = function(a, b) return a * -b - -a end,
    ["2 * a + b * 0"] = function(a, b) return 2 * a + b * 0 end,
    ["a ^ 2"] = function(a) return a ^ 2 end,
    ["a ^ 1 + a ^ 0"] = function(a) return a ^ 1 + a ^ 0 end,
  }
  for text, op in pairs(binary) do
    it(text, function()
      local one <const> = not text:find "b"
      same(la.fuse(text), op, one and { SPECIAL } or { all_a, all_b }, text)
    end)
  end
  it("a / b and powers, where nothing is beyond float32 on the way", function()
    local values <const> = { NAN, 0.0, 1, -1, 0.5, 2, 3, -3, 1e-3, 7 }
    local a <const>, b <const> = {}, {}
    for _, x in ipairs(values) do
      for _, y in ipairs(values) do
        a[#a + 1], b[#b + 1] = x, y
      end
    end
    same(la.fuse "a ^ b", la.pow, { a, b }, "a ^ b", 1e-5)
    same(la.fuse "a ^ 3", function(x) return x ^ 3 end, { values }, "a ^ 3", 1e-5)
    same(la.fuse "a ^ 2.5", function(x) return x ^ 2.5 end, { values }, "a ^ 2.5", 1e-5)
    same(la.fuse "2 ^ a", function(x) return la.pow(2, x) end, { values }, "2 ^ a", 1e-5)
    for i = #b, 1, -1 do
      if b[i] == 0 then
        table.remove(a, i)
        table.remove(b, i)
      end
    end
    same(la.fuse "a / b", la.div, { a, b }, "a / b", 1e-5)
  end)
  it("rsqrt", function()
    same(la.fuse "rsqrt(x)", function(x) return 1 / la.sqrt(x) end, { { NAN, 1, 4, 0.3, 1e-6, 1e6 } }, "rsqrt", 1e-5)
  end)
end)

-- ---- operands and the tape ----

describe("fuse: operands", function()
  local rng <const> = make_rng "fuse operands"
  local function leaf(...)
    return optest.tensor(rng.randn(...)):requires_grad_()
  end

  it("of sizes past one work-item, summed down in any direction", function()
    local f <const> = la.fuse "max(x * s + b, 0) * t"
    local shapes <const> = SMALL and { { { 3, 5, 17 }, { 17 }, { 5, 1 }, {} } } or {
      { { 3, 70, 65 }, { 65 }, { 70, 1 }, {} }, { { 5, 9000 }, { 9000 }, { 5, 1 }, { 1, 1 } },
      { { 40001 }, { 1 }, {}, { 40001 } },
      { { 7, 5, 3, 4, 2, 6 }, { 5, 1, 4, 1, 6 }, { 7, 1, 3, 1, 2, 1 }, { 1, 5, 1, 1, 1, 1 } },
      { { 4001, 3 }, { 3 }, { 4001, 1 }, { 1, 3 } }, { { 2, 900, 40 }, { 2, 1, 40 }, { 900, 1 }, { 2, 1, 1 } },
    }
    for _, list in ipairs(shapes) do
      local x <const>, s <const> = leaf(table.unpack(list[1])), leaf(table.unpack(list[2]))
      local b <const>, t <const> = leaf(table.unpack(list[3])), leaf(table.unpack(list[4]))
      local g <const> = optest.tensor(rng.randn(table.unpack(list[1])))
      local function run(fn)
        for _, v in ipairs { x, s, b, t } do
          v.grad = nil
        end
        local y <const> = fn(x, s, b, t)
        y:backward(g)
        return { y, x.grad, s.grad, b.grad, t.grad }
      end
      local want <const> = run(function(x1, s1, b1, t1) return la.maximum(x1 * s1 + b1, 0) * t1 end)
      local once <const>, twice <const> = run(f), run(f)
      for k, label in ipairs { "result", "x", "s", "b", "t" } do
        optest.close(once[k], P(want[k]), 2e-5, label .. " of " .. table.concat(list[1], " x "))
        assert(once[k]:bytes() == twice[k]:bytes(), label .. ": the same bits")
      end
    end
  end)
  it("may be one tensor twice, integers and numbers", function()
    local f <const> = la.fuse "a * b + c"
    local x <const> = leaf(4, 5)
    f(x, x, 1):backward(la.ones(4, 5))
    optest.close(x.grad, P(2 * x:detach()), 1e-6)
    local mask <const>, count <const> = optest.tensor(rng.bytes(33)), optest.tensor(rng.ints(-9, 9, 4, 33))
    local y <const> = f(mask, count, { c = 0.5 })
    optest.close(y, P(mask:astype "float32" * count:astype "float32" + 0.5), 1e-6)
    assert(y.dtype == "float32" and not y.requires_grad)
  end)
  it("may have no elements, or no dimensions", function()
    local f <const> = la.fuse "x * s + b"
    local x <const>, s <const>, b <const> = leaf(0, 3), leaf(3), leaf()
    local y <const> = f(x, s, b)
    assert.same({ 0, 3 }, y:shape())
    y:backward(la.zeros(0, 3))
    assert.same({ 0, 3 }, x.grad:shape())
    assert.same({ 0, 0, 0 }, s.grad:flat())
    assert.equal(0, b.grad:item())
    assert.near(7, f(la.tensor(2), la.tensor(3), 1):item(), 1e-6)
  end)
  it("that ask for nothing get nothing", function()
    local f <const> = la.fuse "x * s + floor(b)"
    local x <const>, s <const>, b <const> = leaf(4), leaf(4), leaf(4)
    s:requires_grad_(false)
    f(x, s, b):sum():backward()
    assert(x.grad and not s.grad and not b.grad)
    assert.is_false(la.fuse "floor(x) + (x > 0)"(x).requires_grad)
    assert.is_false(la.no_grad(f, x, s, b).requires_grad)
  end)
  it("are views of every kind", function()
    local f <const> = la.fuse "x * y + x"
    local base <const> = leaf(6, 7, 8)
    local wide <const> = leaf(1, 7, 1):expand({ 6, 7, 8 })
    local cases <const> = { base:permute({ 3, 1, 2 }), base:narrow(3, 2, 5), base:select(2, 3), base:transpose(1, 2),
      wide, base:flip(2) }
    for _, x in ipairs(cases) do
      local y <const> = optest.tensor(rng.randn(table.unpack(x:shape())))
      base.grad = nil
      optest.close(f(x, y), P(x:contiguous() * y + x:contiguous()), 1e-6)
      f(x, y):sum():backward()
    end
    local e <const> = leaf(3, 1)
    f(e:expand({ 3, 4 }), la.ones(4)):sum():backward()
    optest.close(e.grad, P.full(8.0, 3, 1), 1e-6)
    local row <const>, one <const> = leaf(1, 5):expand({ 60, 5 }), leaf(1, 1):expand({ 60, 1 })
    for _, t in ipairs { row, one } do
      local own <const> = t:detach():requires_grad_()
      local weight <const> = optest.tensor(rng.randn(60, 5))
      f(own, weight):backward(weight)
      local want <const> = weight * weight + weight
      optest.close(own.grad, P(own:size(2) == 1 and want:sum(2, true) or want), 1e-5)
    end
  end)
end)

describe("fuse: the tape", function()
  it("keeps the expression, refuses a second backward and inputs changed in place", function()
    local x <const> = la.tensor({ 1, 2, 3 }):requires_grad_()
    local y <const> = la.fuse "x ^ 2"(x):sum()
    collectgarbage()
    collectgarbage()
    y:backward()
    assert.same({ 2, 4, 6 }, x.grad:flat())
    assert.has_error(function() y:backward() end)
    local z <const> = la.fuse "x ^ 2"(x)
    la.no_grad(function() x:add_(1) end)
    local ok <const>, message <const> = pcall(z.sum(z).backward, z:sum())
    assert.is_false(ok)
    assert.matches("x of 'fuse' was changed in place", message)
  end)
  it("passes gradcheck", function()
    local rng <const> = make_rng "fuse gradcheck"
    local f <const> = la.fuse "tanh(x * s) / (1 + exp(-b)) + sqrt(x ^ 2 + 1)"
    la.gradcheck(f, { optest.tensor(rng.randn(3, 4)), optest.tensor(rng.randn(4)), optest.tensor(rng.randn(3, 1)) })
  end)
end)

-- ---- texts ----

describe("fuse: errors", function()
  local cases <const> = {
    { "max(x, 0", "expected ')' at column 9 of 'max(x, 0'" },
    { "x +", "expected a number, a name or '(' at column 4 of 'x +'" },
    { "", "expected a number, a name or '(' at column 1 of ''" },
    { "x y", "expected an operator at column 3" },
    { "x = 2", "expected an operator at column 3" },
    { "x $ y", "expected an operator at column 3" },
    { "exq(x)", "no function is called 'exq', did you mean 'exp'?, at column 1" },
    { "2 * max", "max is a function: expected '(' at column 8" },
    { "a < b < c", "comparisons do not chain: put one in parentheses, at column 7" },
    { "x and y", "there is no 'and', but where(c, a, b), min and max, at column 3" },
    { "not x", "there is no 'not'" },
    { "min(x)", "min takes 2 arguments: expected ',' at column 6" },
    { "relu(x, 2)", "relu takes 1 argument, and there are more at column 10" },
    { "clamp(x, 2, 1)", "the lower bound is above the upper one" },
    { "1 + 2", "'1 + 2' has no operand" },
    { "x * 1e39", "the number is not one that float32 holds at column 5" },
    { ("("):rep(300) .. "x", "nested more than 100 deep at column 101" },
    { ("-"):rep(100000) .. "x", "nested more than 100 deep" },
    { "x" .. ("^x"):rep(1000), "nested more than 100 deep" },
    { ("x"):rep(40), "a name of more than 31 letters at column 1" },
    { "a+b+c+d+e+f+g+h+i+j+k+l+m+n+o+p+q", "more than 16 operands at column 33" },
    { "x\0y", "a byte 0 at column 2" },
    { "x \1", "expected an operator at column 3 of 'x ?'" },
  }
  for _, case in ipairs(cases) do
    it(case[2], function()
      local ok <const>, message <const> = pcall(la.fuse, case[1])
      assert.is_false(ok)
      assert(message:find("fuse: ", 1, true) and message:find(case[2], 1, true), message)
    end)
  end
  it("about names and arguments", function()
    local function fails(text, fn, ...)
      local ok <const>, message <const> = pcall(fn, ...)
      assert(not ok and message:find(text, 1, true), message)
    end
    fails("'x' is none of the names given at column 1", la.fuse, "x + y", { "y" })
    fails("'z' is given as a name but is not in the expression", la.fuse, "x", { "x", "z" })
    fails("the name 'x' is given twice", la.fuse, "x", { "x", "x" })
    fails("'1x' cannot be an operand's name", la.fuse, "x", { "1x" })
    fails("the expression must be a string, got no value", la.fuse)
    fails("names must be a list of strings, got string", la.fuse, "x", "x")
    local f <const> = la.fuse "x * s"
    fails("fuse: s is missing: an operand of 'x * s'", f, la.ones(2))
    fails("fuse: s must be a tensor or a number, got string", f, la.ones(2), "a")
    fails("fuse: too many arguments (3)", f, la.ones(2), 1, 2)
    fails("fuse: unknown option 't'", f, la.ones(2), { t = 1 })
    fails("fuse: needs at least one tensor", f, 1, 2)
    fails("do not broadcast", f, la.ones(2), la.ones(3))
  end)
  it("never crash: random bytes, random tokens", function()
    local rng <const> = make_rng "fuse fuzz"
    local tokens <const> = {
      "x", "y", "max", "min", "where", "clamp", "(", ")", "(", ")", ",", "+", "-", "*", "/", "^", "<", "<=", "==", "~=",
      "!", "1", "0", "2.5", "1e3", ".", " ", "relu", "sign", "\n", "and", "0x1p3", "-", "x", "abs(x)", "(x)",
    }
    local good = 0
    for _ = 1, SMALL and 300 or 5000 do
      local list <const> = {}
      local bytes <const> = rng.integer(1, 4) == 1
      for i = 1, rng.integer(0, 24) do
        list[i] = bytes and string.char(rng.integer(0, 255)) or tokens[rng.integer(1, #tokens)]
      end
      local ok <const>, result <const> = pcall(la.fuse, table.concat(list))
      good = good + (ok and 1 or 0)
      assert(ok and type(result) == "function" or not ok and result:find("fuse: ", 1, true), tostring(result))
    end
    assert(good > 0, "some are expressions")
  end)
  it("a large expression is refused or runs", function()
    local list <const> = {}
    for i = 1, 150 do
      list[i] = ("sin(x * %d)"):format(i)
    end
    local x <const> = la.tensor({ 0.1, 0.2 }):requires_grad_()
    local y <const> = la.fuse(table.concat(list, " + "))(x)
    local want = 0
    for i = 1, 150 do
      want = want + math.sin(0.1 * i)
    end
    assert.near(want, y:flat()[1], 1e-3)
    for i = 1, 3000 do
      list[i] = ("sin(x * %d)"):format(i)
    end
    local ok <const>, message <const> = pcall(la.fuse, table.concat(list, " + "))
    assert(not ok and message:find("the expression has more than 2048 parts", 1, true), message)
  end)
end)
