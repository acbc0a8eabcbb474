-- SPDX-License-Identifier: MIT

local optest <const> = require "lib.optest"
local la <const> = require "lualign"
local reference <const> = require "lib.convolution"

-- Arguments of a case: the shapes of x and weight, and the options; a bias unless told.
local function case(x, w, opts, without_bias)
  return function(rng)
    local a <const>, b <const> = rng.randn(table.unpack(x)), rng.randn(table.unpack(w))
    if without_bias then
      return a, b, opts
    end
    return a, b, rng.randn(w[1]), opts
  end
end

local function with(method, opts)
  local all <const> = { method = method }
  for key, value in pairs(opts) do
    all[key] = value
  end
  return all
end

for _, method in ipairs { "auto", "plain", "cpu", "gpu" } do
  local function sized(label, x, w, opts, without_bias)
    return { method .. ": " .. label, case(x, w, with(method, opts), without_bias) }
  end
  optest("conv2d", {
    args = case({ 2, 5, 7, 3 }, { 4, 3, 3, 3 }, { padding = 1, method = method }),
    ref = reference,
    tol = 1e-5,
    grad = true,
    elements = 12,
    sizes = {
      sized("without bias", { 1, 4, 5, 2 }, { 3, 2, 3, 2 }, {}, true),
      sized("one pixel", { 1, 1, 1, 1 }, { 1, 1, 1, 1 }, {}),
      sized("no images", { 0, 4, 4, 3 }, { 5, 3, 3, 3 }, { padding = 1 }),
      sized("pointwise", { 2, 5, 3, 17 }, { 33, 1, 1, 17 }, {}),
      sized("pointwise, stride 2", { 1, 5, 7, 6 }, { 5, 1, 1, 6 }, { stride = 2 }),
      sized("pointwise, padded", { 1, 2, 3, 6 }, { 5, 1, 1, 6 }, { padding = 1 }),
      sized("stride 2", { 2, 6, 7, 3 }, { 5, 3, 3, 3 }, { stride = 2, padding = 1 }),
      sized("stride 3 and 2, kernel 2 x 3", { 1, 9, 8, 2 }, { 3, 2, 3, 2 },
        { stride = { 3, 2 }, padding = { 1, 0 } }),
      sized("uneven padding", { 1, 4, 3, 3 }, { 2, 3, 2, 3 }, { padding = { 2, 0, 1, 3 } }),
      sized("padding beyond the kernel", { 1, 2, 2, 3 }, { 2, 2, 2, 3 }, { padding = 4, stride = 3 }),
      sized("dilation", { 1, 9, 8, 3 }, { 2, 3, 2, 3 }, { dilation = { 2, 3 }, padding = 2 }),
      sized("dilation that shares a factor with the stride", { 1, 9, 11, 3 }, { 2, 3, 3, 3 },
        { dilation = { 2, 4 }, stride = { 2, 6 }, padding = 3 }),
      sized("stride wider than the kernel", { 1, 8, 7, 3 }, { 2, 2, 2, 3 }, { stride = 4 }),
      sized("first layer of a network", { 1, 11, 12, 3 }, { 5, 7, 7, 3 }, { stride = 2, padding = 3 }),
      sized("groups", { 2, 4, 5, 6 }, { 9, 3, 2, 2 }, { groups = 3, padding = 1 }),
      sized("groups, stride 2", { 1, 7, 6, 8 }, { 4, 3, 3, 4 }, { groups = 2, stride = 2, padding = { 0, 1, 1, 0 } }),
      sized("depthwise", { 2, 5, 11, 5 }, { 5, 3, 3, 1 }, { groups = 5, padding = 1 }),
      sized("depthwise, stride 2, 19 channels", { 1, 7, 6, 19 }, { 19, 3, 3, 1 },
        { groups = 19, stride = 2, padding = 1 }),
      sized("depthwise, dilated, uneven", { 1, 6, 9, 8 }, { 8, 3, 2, 1 },
        { groups = 8, dilation = { 1, 3 }, padding = { 2, 0, 1, 2 } }),
      sized("depthwise, 3 channels", { 1, 4, 4, 3 }, { 3, 2, 2, 1 }, { groups = 3 }),
      sized("depthwise with a multiplier", { 1, 4, 5, 3 }, { 6, 3, 3, 1 }, { groups = 3, padding = 1 }),
    },
  })
end

optest("conv2d", {
  args = case({ 1, 3, 4, 2 }, { 2, 2, 2, 2 }, {}),
  rejects = {
    { "integers", function(rng) return rng.ints(0, 9, 1, 3, 3, 2), rng.randn(2, 2, 2, 2) end, "x must be float32" },
    { "three dimensions", case({ 3, 4, 2 }, { 2, 2, 2, 2 }, {}, true), "x must be 4-D, got (3, 4, 2)" },
    { "a flat weight", case({ 1, 3, 4, 2 }, { 2, 8 }, {}, true), "weight must be 4-D, got (2, 8)" },
    { "other channels", case({ 1, 3, 4, 2 }, { 5, 2, 2, 3 }, {}),
      "weight must be (out, rows, columns, 2) for x (1, 3, 4, 2) in 1 group, got (5, 2, 2, 3)" },
    { "groups that do not divide", case({ 1, 3, 4, 6 }, { 5, 2, 2, 3 }, { groups = 2 }),
      "groups must divide the 6 channels of x and the 5 of weight, got 2" },
    { "no groups", case({ 1, 3, 4, 6 }, { 5, 2, 2, 3 }, { groups = 0 }), "groups must divide" },
    { "a long bias", function(rng) return rng.randn(1, 3, 4, 2), rng.randn(3, 2, 2, 2), rng.randn(4) end,
      "bias must be (3), got (4)" },
    { "a large kernel", case({ 1, 3, 4, 2 }, { 1, 3, 3, 2 }, { dilation = 2, padding = { 0, 1, 0, 0 } }),
      "the kernel covers 5 x 5 pixels, the padded x has 4 x 4" },
    { "three strides", case({ 1, 3, 4, 2 }, { 1, 2, 2, 2 }, { stride = { 1, 1, 1 } }),
      "stride must be 1 or 2 numbers, got 3" },
    { "no stride", case({ 1, 3, 4, 2 }, { 1, 2, 2, 2 }, { stride = 0 }), "stride must be at least 1, got 0" },
    { "three paddings", case({ 1, 3, 4, 2 }, { 1, 2, 2, 2 }, { padding = { 1, 2, 3 } }), "padding must be 1, 2" },
    { "negative padding", case({ 1, 3, 4, 2 }, { 1, 2, 2, 2 }, { padding = -1 }),
      "padding must be at least 0, got -1" },
    { "a fractional dilation", case({ 1, 3, 4, 2 }, { 1, 2, 2, 2 }, { dilation = 1.5 }), "dilation" },
    { "an unknown option", case({ 1, 3, 4, 2 }, { 1, 2, 2, 2 }, { strides = 2 }), "did you mean 'stride'" },
    { "an unknown method", case({ 1, 3, 4, 2 }, { 1, 2, 2, 2 }, { method = "fast" }), "auto|plain|cpu|gpu" },
  },
})

-- Larger problems, where the register tiles are full: every method against the plain kernels, values and gradients.
describe("conv2d of real layers", function()
  local layers <const> = {
    { "3 x 3, 64 channels", { 2, 15, 15, 64 }, { 64, 3, 3, 64 }, { padding = 1 } },
    { "3 x 3, 70 to 130 channels, stride 2", { 2, 15, 13, 70 }, { 130, 3, 3, 70 }, { padding = 1, stride = 2 } },
    { "3 x 3, 40 to 48 channels", { 1, 17, 9, 40 }, { 48, 3, 3, 40 }, { padding = 1 } },
    { "7 x 7, stride 2, from 3 channels", { 2, 33, 31, 3 }, { 64, 7, 7, 3 }, { padding = 3, stride = 2 } },
    { "3 x 4, stride 1, dilated, from 5 channels", { 2, 40, 71, 5 }, { 70, 3, 4, 5 }, { padding = { 2, 0, 1, 3 },
      dilation = { 2, 1 } } },
    { "5 x 5, stride 3, from 1 channel", { 3, 50, 29, 1 }, { 33, 5, 5, 1 }, { padding = 1, stride = 3 } },
    { "pointwise, 256 to 100 channels", { 2, 15, 15, 256 }, { 100, 1, 1, 256 }, {} },
    { "pointwise, stride 2, 300 to 520 channels", { 1, 15, 15, 300 }, { 520, 1, 1, 300 }, { stride = 2 } },
    { "pointwise, 64 channels, in several splits", { 3, 17, 19, 64 }, { 64, 1, 1, 64 }, {} },
    { "pointwise, 64 to 290 channels", { 1, 16, 19, 64 }, { 290, 1, 1, 64 }, {} },
    { "3 x 3, 64 to 4 channels", { 1, 9, 31, 64 }, { 4, 3, 3, 64 }, { padding = 1 } },
    { "7 x 7, 225 to 128 channels", { 2, 9, 10, 225 }, { 128, 7, 7, 225 }, {} },
    { "depthwise, 96 channels", { 2, 30, 29, 96 }, { 96, 3, 3, 1 }, { padding = 1, groups = 96 } },
    { "depthwise, 144 channels, stride 2", { 2, 30, 29, 144 }, { 144, 3, 3, 1 },
      { padding = 1, groups = 144, stride = 2 } },
    { "4 groups", { 2, 14, 15, 64 }, { 96, 3, 3, 16 }, { padding = 1, groups = 4 } },
  }
  local small <const> = { -- the same on a simulated device: every kernel, full and cut tiles
    { "3 x 3, 20 to 36 channels", { 1, 7, 6, 20 }, { 36, 3, 3, 20 }, { padding = 1 } },
    { "7 x 7, stride 2, from 3 channels", { 1, 9, 11, 3 }, { 17, 7, 7, 3 }, { padding = 3, stride = 2 } },
    { "pointwise, 64 to 70 channels", { 1, 5, 7, 64 }, { 70, 1, 1, 64 }, {} },
    { "pointwise, 40 to 33 channels", { 1, 5, 7, 40 }, { 33, 1, 1, 40 }, {} },
    { "depthwise, 20 channels, stride 2", { 1, 9, 7, 20 }, { 20, 3, 3, 1 }, { padding = 1, groups = 20, stride = 2 } },
    { "4 groups", { 1, 5, 6, 16 }, { 24, 3, 3, 4 }, { padding = 1, groups = 4 } },
  }
  for k, layer in ipairs(os.getenv "LUALIGN_TEST_SMALL" == "1" and small or layers) do
    local label <const>, xs <const>, ws <const>, opts <const> = table.unpack(layer)
    local function results(method)
      la.seed(k)
      local leaf <const> = { la.randn(table.unpack(xs)), la.randn(table.unpack(ws)), la.randn(ws[1]) }
      for _, t in ipairs(leaf) do
        t:requires_grad_(true)
      end
      local y <const> = la.conv2d(leaf[1], leaf[2], leaf[3], with(method, opts))
      y:backward(la.randn(table.unpack(y:shape())))
      return {
        result = y:detach(), ["gradient of x"] = leaf[1].grad, ["gradient of weight"] = leaf[2].grad,
        ["gradient of bias"] = leaf[3].grad,
      }
    end
    for _, method in ipairs { "cpu", "gpu" } do
      it(label .. ": " .. method .. " agrees with plain", function()
        local expected <const>, got <const> = results("plain"), results(method)
        for name, value in pairs(expected) do
          local off <const> = (got[name] - value):abs():max():item() / value:abs():max():item()
          assert(off < 1e-5, string.format("%s: relative error %.3g", name, off))
        end
      end)
    end
    it(label .. ": the same bits twice", function()
      local first <const>, second <const> = results("auto"), results("auto")
      for name, value in pairs(first) do
        assert.are.equal(0, (second[name] - value):abs():max():item(), name)
      end
    end)
  end
end)
