-- SPDX-License-Identifier: MIT
--
-- Fused modules against the same operations one by one, forward and backward.

local la <const> = require "lualign"
local cases <const> = require "lib.cases"
local compare <const> = require "lib.compare"
local nn <const> = la.nn
local Module <const> = nn.Module
local fuse <const> = require "lualign.nn.fuse"
local scoped <const> = cases.scoped

-- Running statistics and weights that are not the initial ones.
local function disturb(net)
  la.no_grad(function()
    for _, entry in ipairs(net:state_dict()) do
      local name <const>, t <const> = entry[1], entry[2]
      if name:find "running_var$" then
        t:copy_(la.rand(t:shape()) + 0.5)
      elseif t:dim() == 1 then
        t:copy_(la.randn(t:shape()))
      end
    end
  end)
  return net
end

-- Gradients of all parameters and of x, for the same weights of the output, as a list.
local function gradients(net, x, forward, weights)
  net:zero_grad()
  x.grad = nil
  local y <const> = forward(x);
  (y * weights):sum():backward()
  local list <const> = { y:detach(), x.grad:clone() }
  for _, p in ipairs(net:parameters()) do
    list[#list + 1] = p.grad:clone()
  end
  return list
end

local function same(expected, got, label)
  for k = 1, #expected do
    compare.close(got[k], expected[k], 2e-5, string.format("%s, tensor %d", label, k))
  end
end

local function one_by_one(net)
  return function(x)
    for k = 1, #net do
      x = net[k]:forward(x)
    end
    return x
  end
end

describe("Sequential", function()
  scoped("fuses convolution, batch norm and activation, with the same results", function()
    for _, act in ipairs { "ReLU", "ReLU6" } do
      for _, bias in ipairs { true, false } do
        local net <const> = disturb(nn.Sequential {
          nn.Conv2d { 5, 7, kernel = 3, padding = 1, stride = 2, bias = bias }, nn.BatchNorm2d { 7 }, nn[act](),
          nn.Conv2d { 7, 9, kernel = 1 }, nn.BatchNorm2d { 9, frozen = true },
          nn.Conv2d { 9, 9, kernel = 3, padding = "same", groups = 9 }, nn[act](), nn.Conv2d { 9, 3, kernel = 1 },
        }):eval()
        local x <const> = la.randn(2, 9, 7, 5):requires_grad_(true)
        local weights <const> = la.randn(2, 5, 4, 3)
        same(gradients(net, x, one_by_one(net), weights), gradients(net, x, net, weights), act)
      end
    end
  end)

  scoped("leaves batch statistics to the batch norm", function()
    local net <const> = disturb(nn.Sequential { nn.Conv2d { 3, 4, kernel = 3 }, nn.BatchNorm2d { 4 }, nn.ReLU() })
    local twin <const> = nn.Sequential { nn.Conv2d { 3, 4, kernel = 3 }, nn.BatchNorm2d { 4 }, nn.ReLU() }
    twin:load_state_dict(net:state_dict())
    local x <const> = la.randn(3, 6, 5, 3):requires_grad_(true)
    local weights <const> = la.randn(3, 4, 3, 4)
    same(gradients(twin, x, one_by_one(twin), weights), gradients(net, x, net, weights), "training")
    compare.close(net[2].running_mean, twin[2].running_mean, 1e-6)
    compare.close(net[2].running_var, twin[2].running_var, 1e-6)
  end)

  scoped("calls modules of other classes, inherited ones too", function()
    local Loud <const> = Module.class("Loud", nn.ReLU)
    function Loud.forward(_, x)
      return la.relu(x) + 100
    end
    local net <const> = nn.Sequential { nn.Conv2d { 2, 3, kernel = 1 }, Loud() }
    assert.is_true(net(la.randn(1, 2, 2, 2)):min():item() >= 100)
  end)
end)

describe("fuse.apply", function()
  scoped("adds the residual before the activation", function()
    local conv <const>, norm <const> = nn.Conv2d { 3, 4, kernel = 1, bias = false }, nn.BatchNorm2d { 4, frozen = true }
    disturb(norm)
    local x <const>, r <const> = la.randn(2, 3, 3, 3), la.randn(2, 3, 3, 4)
    for name, act in pairs { none = function(y) return y end, relu = la.relu, relu6 = la.relu6 } do
      compare.close(fuse.apply(conv, norm, x, { residual = r, activation = name }), act(norm(conv(x)) + r), 1e-5, name)
      norm.frozen = false
      local batch <const> = la.batch_norm(conv(x), norm.weight, norm.bias, la.zeros(4), la.ones(4), { training = true })
      compare.close(fuse.apply(conv, norm, x, { residual = r, activation = name }), act(batch + r), 1e-5,
        name .. ", batch statistics")
      norm.frozen = true
    end
  end)
end)

describe("model:fuse()", function()
  scoped("keeps the results, trains nothing, and follows weights that change", function()
    local net <const> = disturb(nn.Sequential {
      nn.Conv2d { 16, 32, kernel = 3, padding = 1 }, nn.BatchNorm2d { 32 }, nn.ReLU(), nn.Conv2d { 32, 8, kernel = 1 },
    })
    local x <const> = la.randn(2, 8, 8, 16)
    net:eval()
    local expected <const> = la.no_grad(one_by_one(net), x)
    assert.equal(net, net:fuse())
    for _ = 1, 3 do -- packed, then found packed
      compare.close(net(x), expected, 1e-5)
    end
    assert.is_false(net(x).requires_grad)
    for _, entry in ipairs(net:state_dict()) do
      la.no_grad(function()
        if entry[2]:dim() == 4 or entry[1]:find "running_var$" then
          entry[2]:mul_(2)
        end
      end)
      compare.close(net(x), la.no_grad(one_by_one(net), x), 1e-5, "after a change of " .. entry[1])
    end
  end)

  scoped("knows its precisions", function()
    local net <const> = nn.Sequential { nn.Conv2d { 16, 16, kernel = 3, padding = 1 } }
    local x <const> = la.randn(1, 9, 9, 16)
    local expected <const> = net(x):detach()
    compare.close(net:fuse { precision = "strict" }(x), expected, 1e-5)
    assert.has_error(function() net:fuse { precision = "half" } end,
      "fuse: precision must be default, strict or bfloat16, got 'half'")
  end)
end)

describe("trunks", function()
  scoped("give the same layers whether the ones between are asked for or not", function()
    local vgg <const> = la.models.vgg16 { weights = false }
    vgg:fuse()
    local x <const> = la.randn(1, 32, 48, 3)
    local all <const> = vgg:features(x, vgg.order)
    local few <const> = vgg:features(x, { "relu2_1", "pool4" })
    for k, name in ipairs(vgg.order) do
      if name == "relu2_1" then
        compare.close(few[1], all[k], 1e-5)
      end
    end
    compare.close(few[2], all[#all], 1e-5)
    compare.close(vgg(x), all[#all], 1e-5)
  end)
end)
