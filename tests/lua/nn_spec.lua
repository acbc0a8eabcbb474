-- SPDX-License-Identifier: MIT

local la <const> = require "lualign"
local cases <const> = require "lib.cases"
local optest <const> = require "lib.optest"
local nn <const> = la.nn
local fails <const>, scoped <const> = cases.fails, cases.scoped
local Module <const> = nn.Module

local function names(list)
  local out <const> = {}
  for i, entry in ipairs(list) do
    out[i] = entry[1]
  end
  return out
end

local function small_net()
  return nn.Sequential {
    nn.Conv2d { 3, 4, kernel = 3, padding = 1 }, nn.BatchNorm2d { 4 }, nn.ReLU(),
    nn.Residual { nn.Sequential { nn.Conv2d { 4, 4, kernel = 1, bias = false }, nn.BatchNorm2d { 4 } } },
    nn.Flatten(), nn.Linear { 4 * 5 * 6, 2 },
  }
end

describe("a module", function()
  scoped("names its state in the order of definition", function()
    local net <const> = small_net()
    assert.same({
      "0.weight", "0.bias", "1.weight", "1.bias", "3.body.0.weight", "3.body.1.weight", "3.body.1.bias", "5.weight",
      "5.bias",
    }, names(net:named_parameters()))
    assert.same({ "1.running_mean", "1.running_var", "3.body.1.running_mean", "3.body.1.running_var" },
      names(net:named_buffers()))
    assert.equal(13, #net:state_dict())
    assert.equal(108 + 4 + 8 + 16 + 8 + 240 + 2, net:parameter_count())
    assert.same({ "", "0", "1", "2", "3", "3.body", "3.body.0", "3.body.1", "4", "5" }, names(net:named_modules()))
  end)

  scoped("runs forward when called, and trains", function()
    local net <const> = small_net()
    local y <const> = net(la.randn(2, 5, 6, 3))
    assert.same({ 2, 2 }, y:shape())
    y:sum():backward()
    for _, entry in ipairs(net:named_parameters()) do
      assert.truthy(entry[2].grad, entry[1])
      assert.same(entry[2]:shape(), entry[2].grad:shape())
    end
    net:zero_grad()
    assert.is_nil(net[1].weight.grad)
  end)

  scoped("copies its state into another", function()
    local a <const>, b <const> = small_net(), small_net()
    a(la.randn(2, 5, 6, 3)) -- moves the running statistics
    local x <const> = la.randn(1, 5, 6, 3)
    local kept <const> = b[1].weight
    b:load_state_dict(a:state_dict())
    a:eval()
    b:eval()
    assert.equal(a(x):bytes(), b(x):bytes())
    assert.is_true(kept:same(b[1].weight))
    -- a copy, not the same tensors
    la.no_grad(function() b[1].weight:zero_() end)
    assert.not_equal(a(x):bytes(), b(x):bytes())
  end)

  scoped("refuses state that does not fit, and then changes nothing", function()
    local net <const> = nn.Sequential { nn.Linear { 3, 2 }, nn.Linear { 2, 1 } }
    local before <const> = net[1].weight:bytes()
    local good <const> = {}
    for _, entry in ipairs(net:state_dict()) do
      good[entry[1]] = la.ones(entry[2]:shape())
    end
    local function changed(key, value)
      local dict <const> = {}
      for k, v in pairs(good) do
        dict[k] = v
      end
      dict[key] = value
      return dict
    end
    fails("missing: 1.bias", net.load_state_dict, net, changed("1.bias", nil))
    fails("unexpected: 2.weight", net.load_state_dict, net, changed("2.weight", la.ones(1)))
    fails("0.weight must be (2, 3), got (3, 2)", net.load_state_dict, net, changed("0.weight", la.ones(3, 2)))
    fails("0.weight must be (2, 3)", net.load_state_dict, net, changed("0.weight", la.ones(3, 2)), { strict = false })
    fails("'0.weight' must be a tensor, got number", net.load_state_dict, net, changed("0.weight", 1))
    fails("unknown option 'stict', did you mean 'strict'?", net.load_state_dict, net, good, { stict = false })
    assert.equal(before, net[1].weight:bytes())
    local missing <const>, unexpected <const> = net:load_state_dict(changed("1.bias", nil), { strict = false })
    assert.same({ "1.bias" }, missing)
    assert.same({}, unexpected)
    assert.not_equal(before, net[1].weight:bytes())
    good["0.num_batches_tracked"] = la.ones(1) -- PyTorch's, no business of ours
    net:load_state_dict(good)
  end)

  scoped("switches modes and gradients for all within it", function()
    local net <const> = small_net()
    assert.is_true(net.training)
    net:eval()
    assert.is_false(net[4].body[2].training)
    net:train()
    assert.is_true(net[4].body[2].training)
    net:requires_grad_(false)
    assert.is_false(net[1].weight.requires_grad)
    assert.is_false(net(la.randn(2, 5, 6, 3)).requires_grad)
    net:requires_grad_(true)
    assert.is_true(net[4].body[2].bias.requires_grad)
  end)

  scoped("prints as a tree with sizes and counts", function()
    assert.equal([[
Sequential  394 parameters
  0: Conv2d(3 -> 4, 3x3, stride {2, 1}, padding same, no bias)  108 parameters
  1: BatchNorm2d(4, frozen)  8 parameters
  2: ReLU6
  3: MaxPool2d(3, stride 2, padding 1)
  4: Dropout(0.25)
  5: Linear(138 -> 2)  278 parameters]], tostring(nn.Sequential {
      nn.Conv2d { 3, 4, kernel = 3, stride = { 2, 1 }, padding = "same", bias = false },
      nn.BatchNorm2d { 4, frozen = true }, nn.ReLU6(), nn.MaxPool2d { kernel = 3, stride = 2, padding = 1 },
      nn.Dropout { p = 0.25 }, nn.Linear { 138, 2 },
    }))
  end)

  it("outlives the scope that it is made in", function()
    local net <const> = la.scope(function()
      local made <const> = { small_net() }
      return function() return made[1] end
    end)()
    assert.same({ 1, 2 }, net:eval()(la.ones(1, 5, 6, 3)):shape())
  end)

  it("says what is wrong where it is made", function()
    fails("Conv2d: unknown option 'strid', did you mean 'stride'?", nn.Conv2d, { 3, 4, kernel = 1, strid = 2 })
    fails("nn_spec.lua", function()
      local _ = nn.Conv2d { 3, 4 }
    end)
    fails("Conv2d: option 'kernel' is missing", nn.Conv2d, { 3, 4 })
    fails("Conv2d: argument 2 is missing", nn.Conv2d, { 3, kernel = 1 })
    fails("Conv2d: groups must divide 3 and 4 channels, got 2", nn.Conv2d, { 3, 4, kernel = 1, groups = 2 })
    fails("Linear: argument 1 must be a number, got '3'", nn.Linear, { "3", 4 })
    fails("Flatten: order must be hwc or chw, got 'cwh'", nn.Flatten, { order = "cwh" })
    fails("child '0' must be a module, got number", nn.Sequential, { 1 })
    local Twice <const> = Module.class "Twice"
    function Twice:init()
      self:child("a", nn.Identity())
      self:child("a", nn.Identity())
    end
    fails("Twice: the name 'a' is taken", Twice)
  end)
end)

describe("initialisation", function()
  scoped("is uniform within 1 / sqrt(fan-in)", function()
    la.seed(3)
    local conv <const> = nn.Conv2d { 18, 40, kernel = { 3, 5 }, groups = 2 }
    assert.same({ 40, 3, 5, 9 }, conv.weight:shape())
    local bound <const> = 1 / math.sqrt(3 * 5 * 9)
    for _, t in ipairs { conv.weight, conv.bias } do
      assert.is_true(t:abs():max():item() <= bound)
      assert.is_true(t:abs():max():item() > 0.9 * bound)
    end
    assert.is_true(math.abs(conv.weight:var():item() / (bound ^ 2 / 3) - 1) < 0.05)
    assert.is_true(nn.Linear { 9, 4 }.weight:abs():max():item() <= 1 / 3)
  end)

  scoped("repeats with the seed", function()
    la.seed(5)
    local a <const> = nn.Linear { 9, 4 }.weight:bytes()
    la.seed(5)
    assert.equal(a, nn.Linear { 9, 4 }.weight:bytes())
  end)
end)

describe("the layers", function()
  scoped("BatchNorm2d uses the batch, the running statistics, or those for good", function()
    local x <const> = la.randn(4, 3, 3, 2) * 3 + 5
    local bn <const> = nn.BatchNorm2d { 2, momentum = 1 }
    local y <const> = bn(x)
    optest.close(y:mean { 1, 2, 3 }, { 0, 0 }, 1e-5, "mean", 1)
    optest.close(bn.running_mean, x:mean { 1, 2, 3 }, 1e-6)
    bn:eval()
    optest.close(bn(bn.running_mean:reshape(1, 1, 1, 2)), la.zeros(1, 1, 1, 2), 1e-6, "mean", 1)
    local frozen <const> = nn.BatchNorm2d { 2, frozen = true }
    local before <const> = frozen.running_mean:bytes()
    optest.close(frozen(x), x / math.sqrt(1 + 1e-5), 1e-6)
    assert.equal(before, frozen.running_mean:bytes())
  end)

  scoped("Conv2d pads as TensorFlow does", function()
    -- sizes, kernel, stride, dilation -> zeros before and after
    for _, case in ipairs {
      { 240, 3, 2, 1, 0, 1 }, { 15, 3, 2, 1, 1, 1 }, { 15, 5, 2, 1, 2, 2 }, { 30, 5, 2, 1, 1, 2 },
      { 15, 5, 1, 2, 4, 4 }, { 7, 1, 2, 1, 0, 0 }, { 8, 2, 1, 1, 0, 1 },
    } do
      local n <const>, k <const>, stride <const>, dilation <const>, before <const>, after <const> = table.unpack(case)
      local conv <const> = nn.Conv2d { 1, 1, kernel = k, stride = stride, dilation = dilation, padding = "same" }
      assert.same({ before, after, before, after }, conv:padding_of(la.zeros(1, n, n, 1)))
      assert.equal((n + stride - 1) // stride, conv(la.zeros(1, n, n, 1)):size(2))
    end
  end)

  scoped("Flatten keeps or turns the order", function()
    local x <const> = la.arange(12):reshape(1, 2, 2, 3)
    assert.same({ 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 }, nn.Flatten()(x):flat())
    assert.same({ 0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11 }, nn.Flatten { order = "chw" }(x):flat())
  end)

  scoped("Residual adds, by way of a shortcut and an activation", function()
    local x <const> = la.tensor { { -1, 2 } }
    assert.same({ -2, 4 }, nn.Residual { nn.Identity() }(x):flat())
    assert.same({ 0, 4 }, nn.Residual { nn.Identity(), activation = nn.ReLU() }(x):flat())
    assert.same({ -1, 4 }, nn.Residual { nn.Identity(), shortcut = nn.ReLU() }(x):flat())
  end)

  scoped("pools and activations are those of the ops", function()
    local x <const> = la.randn(1, 4, 4, 3) * 5
    assert.equal(la.max_pool2d(x, { kernel = 2 }):bytes(), nn.MaxPool2d { kernel = 2 }(x):bytes())
    assert.equal(la.avg_pool2d(x, { kernel = 3, padding = 1 }):bytes(),
      nn.AvgPool2d { kernel = 3, padding = 1 }(x):bytes())
    assert.equal(la.relu6(x):bytes(), nn.ReLU6()(x):bytes())
  end)

  scoped("Dropout keeps the mean, in training only", function()
    la.seed(1)
    local drop <const>, x <const> = nn.Dropout { p = 0.3 }, la.ones(100, 100)
    local y <const> = drop(x)
    assert.is_true(math.abs(y:mean():item() - 1) < 0.03)
    assert.is_true(math.abs(y:eq(0):astype("float32"):mean():item() - 0.3) < 0.03)
    assert.is_true(drop:eval()(x):same(x))
  end)

  scoped("Sequential counts its modules from 1", function()
    local net <const> = nn.Sequential { nn.ReLU(), nn.Identity() }
    assert.equal(2, #net)
    assert.is_true(net[1] == net["0"])
  end)
end)
