-- SPDX-License-Identifier: MIT
local la <const> = require "lualign"

describe("a tensor", function()
  it("comes from nested tables and goes back", function()
    local t <const> = la.tensor { { 1, 2, 3 }, { 4, 5, 6 } }
    assert.same({ 2, 3 }, t:shape())
    assert.same({ { 1, 2, 3 }, { 4, 5, 6 } }, t:totable())
    assert.equal("float32", t.dtype)
    assert.equal(6, t:numel())
    assert.equal(2, #t)
    assert.equal(3, t:size(-1))
    assert.equal(5, la.tensor(5):item())
    assert.same({ 0, 255 }, la.tensor({ 0, 255 }, "uint8"):flat())
    assert.same({ 2, 0 }, la.tensor({ {}, {} }):shape())
  end)

  it("refuses ragged tables, wrong elements and values that do not fit", function()
    assert.error_matches(function() la.tensor { { 1, 2 }, { 3 } } end, "ragged")
    assert.error_matches(function() la.tensor { 1, "x" } end, "element 2 is a string")
    assert.error_matches(function() la.tensor({ 256 }, "uint8") end, "does not fit uint8")
    assert.error_matches(function() la.tensor({ 1.5 }, "int32") end, "does not fit int32")
  end)

  it("goes through bytes", function()
    local t <const> = la.from_bytes(string.pack("<i4i4", 7, -8), "int32", { 2, 1 })
    assert.same({ { 7 }, { -8 } }, t:totable())
    assert.equal(string.pack("<i4i4", 7, -8), t:bytes())
    assert.error_matches(function() la.from_bytes("abc", "float32", { 1 }) end, "asks for 4 bytes, got 3")
    local u <const> = la.zeros(2)
    u:write(string.pack("<ff", 1, 2))
    assert.same({ 1, 2 }, u:flat())
  end)

  it("is indexed from 1, and from -1 backwards", function()
    local t <const> = la.tensor { { 1, 2 }, { 3, 4 } }
    assert.same({ 3, 4 }, t[2]:flat())
    assert.equal(4, t[-1][-1]:item())
    t[1] = 9
    t[2][1] = 8
    assert.same({ 9, 9, 8, 4 }, t:flat())
    assert.error_matches(function() return t[0] end, "count from 1")
    assert.error_matches(function() return t[3] end, "element 3 of dimension 1, which has 2")
  end)

  it("shares its elements with views", function()
    local t <const> = la.zeros(3, 4)
    t:narrow(2, 2, 2):select(1, 3):fill_(5)
    t:permute(2, 1)[1][2]:fill_(7)
    assert.same({ { 0, 0, 0, 0 }, { 7, 0, 0, 0 }, { 0, 5, 5, 0 } }, t:totable())
    assert.same({ 5, 5 }, t:narrow(2, 2, 2)[3]:flat())
    assert.equal(5, t:reshape(2, 6)[2][4]:item())
    assert.same({ 0, 5, 5, 0 }, t:flip(2)[3]:flat())
  end)

  it("prints its shape, and only the edges of what is large", function()
    assert.matches("tensor float32 %(2%)", tostring(la.ones(2)))
    assert.matches("tensor float32 %(%) 3.0000", tostring(la.tensor(3)))
    local text <const> = tostring(la.zeros(300, 400))
    local _, lines <const> = text:gsub("\n", "")
    assert.is_true(lines < 24)
    assert.matches("%.%.%.", text)
    assert.equal("tensor float32 (0, 3)", tostring(la.zeros(0, 3)))
  end)

  it("names what is wrong in a call", function()
    local x <const> = la.zeros(2, 3)
    assert.error_matches(function() la.narrow(x, { dim = 1, strat = 1 }) end,
      "unknown option 'strat', did you mean 'start'")
    assert.error_matches(function() la.sum(x, 3) end, "dims must be a dimension from 1 to 2 .*got 3")
    assert.error_matches(function() la.relu(3) end, "relu: x must be a tensor, got number")
    assert.error_matches(function() return x + la.zeros(4) end, "add: shapes %(2, 3%) and %(4%) do not broadcast")
    assert.error_matches(function() x:reshape(4, 2) end, "has 6 elements, the shape asked for 8")
    assert.error_matches(function() x:reshape(3 / 2, 4) end, "must be whole")
    assert.error_matches(function() la.matmul(x) end, "b is missing")
    assert.error_matches(function() la.relu(x, x) end, "too many arguments")
  end)
end)

describe("random tensors", function()
  it("repeat with the seed and go on without it", function()
    la.seed(5)
    local a <const>, b <const> = la.rand(7):flat(), la.rand(7):flat()
    la.seed(5)
    assert.same(a, la.rand(7):flat())
    local seed <const>, counter <const> = la.device.seed_state()
    assert.same(b, la.rand(7):flat())
    la.device.seed(seed, counter)
    assert.same(b, la.rand(7):flat())
    assert.not_same(a, b)
  end)
end)

describe("gradients", function()
  it("gather over uses, branches and calls", function()
    local x <const> = la.tensor({ 1, 2, 3 }):requires_grad_()
    local y <const> = x * x + 3 * x
    y:sum():backward()
    assert.same({ 5, 7, 9 }, x.grad:flat())
    local z <const> = x * 2
    z:sum():backward()
    assert.same({ 7, 9, 11 }, x.grad:flat())
    x.grad = nil
    assert.is_nil(x.grad)
  end)

  it("take a gradient to start from, and refuse to guess one", function()
    local x <const> = la.tensor({ 1, 2 }):requires_grad_()
    local y <const> = x * 3
    assert.error_matches(function() y:backward() end, "needs a tensor of one element")
    y:backward(la.tensor { 1, 10 })
    assert.same({ 3, 30 }, x.grad:flat())
  end)

  it("stop at detach and under no_grad", function()
    local x <const> = la.tensor({ 2 }):requires_grad_()
    local y <const> = x:detach() * x
    y:sum():backward()
    assert.same({ 2 }, x.grad:flat())
    local z <const> = la.no_grad(function() return x * x end)
    assert.is_false(z.requires_grad)
    assert.error_matches(function() z:sum():backward() end, "depends on nothing")
    assert.is_true(la.no_grad(la.enable_grad, function() return (x * x).requires_grad end))
  end)

  it("come back on after an error under no_grad", function()
    pcall(la.no_grad, function() error "stop" end)
    assert.is_true(la.grad_enabled())
  end)

  it("free the graph, and say so when it is walked again", function()
    local x <const> = la.tensor({ 2 }):requires_grad_()
    local y <const> = (x * x):sum()
    y:backward()
    assert.error_matches(function() y:backward() end, "already freed")
  end)

  it("notice a tensor that was changed after its use", function()
    local x <const>, w <const> = la.tensor({ 2 }):requires_grad_(), la.tensor { 3 }
    local y <const> = (x * w):sum()
    w:fill_(4)
    assert.error_matches(function() y:backward() end, "changed in place")
    assert.error_matches(function() x:fill_(1) end, "part of a gradient graph")
    la.no_grad(function() x:fill_(1) end)
    assert.same({ 1 }, x:flat())
  end)

  it("do not grow memory over a long chain", function()
    local x <const> = la.ones(1000):requires_grad_()
    local function step()
      la.scope(function()
        local y = x
        for _ = 1, 20 do
          y = y * 1.01
        end
        y:sum():backward()
      end)
      x.grad = nil
    end
    step()
    step()
    local before <const> = la.device.memory()
    for _ = 1, 5 do
      step()
    end
    local after <const> = la.device.memory()
    assert.equal(before.allocations, after.allocations)
    assert.equal(before.used, after.used)
  end)
end)

describe("the tape", function()
  -- Both of them made by operations, so that their elements may be forgotten.
  local function check(fn, ...)
    local inputs <const> = {}
    for k, shape in ipairs { ... } do
      inputs[k] = la.randn(table.unpack(shape))
    end
    assert.is_true(la.gradcheck(function(...)
      local made <const> = {}
      for k, x in ipairs { ... } do
        made[k] = x * (k + 0.5)
      end
      return fn(table.unpack(made))
    end, inputs) < 1e-2)
  end

  it("gives gradients of inputs of which it kept the shape alone", function()
    check(function(a, b) return (a + b):exp() end, { 2, 3 }, { 3 })
    check(function(a, b) return (a - b) * (b - a) end, { 4, 1 }, { 1, 3 })
    check(function(a, b) return la.cat({ a, b }, 2):sin() end, { 2, 3 }, { 2, 1 })
    check(function(a, b) return la.stack({ a, b }, 2):sin() end, { 2, 3 }, { 2, 3 })
    check(function(a) return a:sum(1):exp() end, { 3, 2 })
    check(function(a) return a:mean({ 1, 3 }):exp() end, { 3, 2, 2 })
    check(function(a) return la.pad(a, { 2, 1, 0, 1 }):sin() end, { 1, 2, 2, 2 })
    check(function(a) return la.resize(a, { height = 4, width = 3 }):sin() end, { 1, 3, 2, 2 })
    check(function(x, w, r)
      return la.conv2d_fused(x, w, nil, nil, nil, nil, nil, r, { padding = 1 }):sin()
    end, { 1, 3, 3, 2 }, { 3, 3, 3, 2 }, { 1, 3, 3, 3 })
  end)

  it("holds no elements that it does not need", function()
    la.scope(function()
      local x <const> = la.keep(la.zeros(100000):requires_grad_())
      local before <const> = la.device.memory().used
      local sum <const> = la.scope(function()
        local y = x
        for _ = 1, 10 do
          y = y + 1
        end
        return y:sum()
      end)
      assert.is_true(la.device.memory().used - before < 400000)
      sum:backward()
      assert.equal(1, x.grad[100000]:item())
    end)
  end)

  it("collects what a script has lost before it walks back", function()
    la.scope(function()
      local x <const> = la.ones(2^20 // 4 * 40):requires_grad_()
      collectgarbage()
      collectgarbage "stop"
      local y = x
      for _ = 1, 6 do
        y = y:sin()
      end
      y:sum():backward()
      collectgarbage "restart"
      assert.is_true(la.device.memory().used < 2^20 * 40 * 4) -- x, its gradient, and what y holds
    end)
  end)
end)

describe("gradcheck", function()
  it("accepts a right gradient and finds a wrong one", function()
    local x <const> = la.tensor { 0.3, -0.7, 1.1 }
    assert.is_true(la.gradcheck(function(a) return a:exp() * a end, { x }) < 1e-3)
    assert.error_matches(function()
      la.gradcheck(function(a) return a * a:detach() end, { x })
    end, "gradcheck: input 1, element")
  end)
end)

describe("a scope", function()
  it("releases what was made inside, but not its results or what is kept", function()
    local kept, lost
    local result <const> = la.scope(function()
      lost = la.ones(3)
      kept = la.keep(la.ones(3) * 2)
      return { deep = { lost + kept } }
    end)
    assert.error_matches(function() return lost:sum() end, "released when its scope ended")
    assert.equal("tensor (released)", tostring(lost))
    assert.same({ 2, 2, 2 }, kept:flat())
    assert.same({ 3, 3, 3 }, result.deep[1]:flat())
  end)

  it("nests: results of an inner scope belong to the outer one", function()
    local inner
    la.scope(function()
      inner = la.scope(function() return la.ones(2) end)
      assert.same({ 1, 1 }, inner:flat())
    end)
    assert.error_matches(function() return inner:flat() end, "released")
  end)

  it("releases also when the function fails", function()
    local lost
    local ok <const>, message <const> = pcall(la.scope, function()
      lost = la.ones(2)
      error("stop here", 0)
    end)
    assert.is_false(ok)
    assert.equal("stop here", message)
    assert.error_matches(function() return lost:flat() end, "released")
  end)
end)
