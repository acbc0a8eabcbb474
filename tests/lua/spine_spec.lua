-- SPDX-License-Identifier: MIT
-- What every op rests on: sizes at their limits, memory that is shared, graphs that are long, changed or left.
local la <const> = require "lualign"
local cases <const> = require "lib.cases"
local fails <const> = cases.fails

local function leaf(...)
  return la.ones(...):requires_grad_(true)
end

describe("sizes", function()
  it("that multiply past 32 bits are refused, also beside a 0 and without memory", function()
    fails("zeros: tensor: more than 2^31 - 1", function() la.zeros(0, 1 << 20, 1 << 20) end)
    fails("expand: tensor: more than 2^31 - 1", function() la.ones(1, 1):expand(1 << 20, 1 << 20) end)
    fails("expand: tensor: dimension 1 must not be negative", function() la.ones(1, 1):expand(-1, -1, 1) end)
    fails("reshape: dimension 1 is 4294967296", function() la.ones(4):reshape(1 << 32, 1 << 32, 4) end)
    fails("affine_grid: height and width must be at most", function() la.affine_grid(la.ones(1, 6), 1 << 62, 4) end)
    fails("narrow: elements 2 to", function() la.ones(3):narrow(1, 2, math.maxinteger) end)
    fails("max_pool2d: kernel must be one number", function() la.max_pool2d(la.ones(1, 4, 4, 1), {}) end)
    fails("max_pool2d: padding must be", function() la.max_pool2d(la.ones(1, 4, 4, 1), 2, { padding = {} }) end)
    fails("2^31 - 1", function() la.from_bytes("", "float32", { 1 << 32, 1 << 32 }) end)
  end)

  it("of tables that lie about themselves do no harm", function()
    local function liar(length, make)
      return setmetatable({}, { __len = function() return length end, __index = make })
    end
    local maker <const> = liar(3, function() return la.ones(2) end)
    fails("2^31 - 1", function() la.tensor(liar(1 << 62, function() return { 1, 2 } end)) end)
    fails("cat: list must hold 1 to 32 tensors, got 0", function() la.cat(maker) end)
  end)
end)

describe("messages", function()
  it("name the op and what is wrong with its argument", function()
    local t <const> = la.ones(2)
    t:release()
    fails("exp: x was released", function() la.exp(t) end)
    fails("softmax: dim names a dimension, but the tensor has none", function() la.tensor(1):softmax() end)
    fails("cat: list is missing", function() la.cat() end)
  end)
end)

describe("shared memory", function()
  it("is not written through an expanded tensor", function()
    fails("expanded tensor share memory", function() la.zeros(1, 3):expand(2, 3):copy_(la.ones(2, 3)) end)
    fails("add_: copy: the elements of an expanded", function() la.zeros(1, 3):expand(2, 3):add_(1) end)
  end)

  it("may be the source and the destination of an assignment", function()
    local x <const> = la.arange(6):reshape(2, 3)
    x[1] = x:flip(2)[1]
    assert.same({ 2, 1, 0, 3, 4, 5 }, x:flat())
  end)

  it("of a set gradient is the leaf's own where backward adds to it", function()
    local x <const>, row <const> = leaf(2, 3), la.ones(1, 3)
    x.grad = row:expand(2, 3)
    x:mul(2):sum():backward()
    assert.same({ 3, 3, 3, 3, 3, 3 }, x.grad:flat())
    assert.same({ 1, 1, 1 }, row:flat())
    x.grad = x:mul(3) -- a result that depends on x: no cycle, no graph
    assert.is_true(x.grad.is_leaf)
  end)
end)

describe("the graph", function()
  it("may be 20000 calls long, walked or dropped", function()
    local x <const> = leaf(1)
    for _, walk in ipairs { false, true } do
      la.scope(function()
        local y = x
        for _ = 1, 20000 do
          local next <const> = y + 1
          if y ~= x then y:release() end -- so that only the graph holds it
          y = next
        end
        if walk then y:backward() end
      end)
    end
    assert.equal(1, x.grad:item())
  end)

  it("starts from a float32 gradient of the result's shape", function()
    fails("backward: the gradient must be float32 of shape (2), got int32 (2)", function()
      leaf(2):mul(2):backward(la.ones({ 2 }, "int32"))
    end)
    fails("got float32 (3)", function() leaf(2):mul(2):backward(la.ones(3)) end)
  end)

  it("notices that a result it kept was changed", function()
    local y <const> = leaf(2):exp()
    y:detach():fill_(0)
    fails("the result of 'exp' was changed in place", function() y:sum():backward() end)
  end)
end)

describe("the core", function()
  it("may be loaded again: tensors of before live on, in their scopes", function()
    local core <const> = package.loaded["lualign.core"]
    local before <const>, inner = la.ones(3) * 2, nil
    la.scope(function()
      inner = la.ones(5)
      package.loaded["lualign.core"] = nil
      local again <const> = require "lualign.core"
      package.loaded["lualign.core"] = core
      collectgarbage()
      collectgarbage()
      assert.same({ 2, 2, 2 }, (before + again.zeros(3)):flat())
    end)
    assert.is_false(la.is_alive(inner))
    assert.same({ 2, 2, 2 }, before:flat())
  end)
end)

describe("a scope", function()
  it("holds across coroutines", function()
    local inner
    local co <const> = coroutine.wrap(function()
      inner = la.ones(2)
      coroutine.yield()
      return la.ones(3)
    end)
    la.scope(co)
    assert.is_false(la.is_alive(inner))
    assert.same({ 1, 1, 1 }, la.scope(co):flat())
    fails("yield", coroutine.wrap(function() la.scope(coroutine.yield) end))
  end)

  it("survives more results than the stack holds", function()
    local t
    pcall(la.scope, function()
      t = la.ones(2)
      return table.unpack({}, 1, 999900)
    end)
    assert.is_false(la.is_alive(t))
  end)
end)
