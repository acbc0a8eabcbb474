-- SPDX-License-Identifier: MIT

local optest <const> = require "lib.optest"
local convolution <const> = require "lib.convolution"
local la <const> = require "lualign"

local BOUNDS <const> = { none = { -math.huge, math.huge }, relu = { 0, math.huge }, relu6 = { 0, 6 } }

local function bounded(y, opts)
  local low <const>, high <const> = table.unpack(BOUNDS[opts.activation or "relu6"])
  for i, v in ipairs(y.data) do
    y.data[i] = v < low and low or v > high and high or v
  end
  return y
end

local function reference(x, depthwise, depthwise_bias, project, project_bias, expand, expand_bias, opts)
  local y = expand and bounded(convolution(x, expand, expand_bias), opts) or x
  y = bounded(convolution(y, depthwise, depthwise_bias, {
    stride = opts.stride, padding = opts.padding, dilation = opts.dilation, groups = depthwise.shape[1],
  }), opts)
  y = convolution(y, project, project_bias)
  for i, v in ipairs(opts.residual and x.data or {}) do
    y.data[i] = y.data[i] + v
  end
  return y
end

-- x = { n, h, w, c }; which of the biases there are: "e", "d", "p". No `wide`: no expand.
local function case(x, wide, o, kernel, which, opts)
  return function(rng)
    local m <const> = wide or x[4]
    local scale <const> = 1 / math.sqrt(x[4])
    local function bias(letter, count)
      return which:find(letter) and rng.randn(count) or nil
    end
    local expand <const> = wide and rng.uniform(-2 * scale, 3 * scale, m, 1, 1, x[4]) or nil
    return rng.randn(table.unpack(x)), rng.uniform(-1, 1, m, kernel, kernel, 1), bias("d", m),
      rng.randn(o, 1, 1, m), bias("p", o), expand, wide and bias("e", m) or nil, opts
  end
end

for _, method in ipairs { "auto", "plain", "cpu" } do
  local sizes <const> = {}
  local function sized(label, x, wide, o, kernel, which, opts)
    opts.method = method
    sizes[#sizes + 1] = { method .. ", " .. label, case(x, wide, o, kernel, which, opts) }
  end
  sized("residual", { 2, 9, 7, 17 }, 35, 17, 3, "edp", { padding = 1, residual = true })
  sized("no expansion", { 1, 6, 8, 19 }, nil, 16, 3, "dp", { padding = 1 })
  sized("no expansion, no bias, residual", { 1, 6, 5, 34 }, nil, 34, 5, "", { padding = 2, residual = true })
  sized("stride 2, uneven padding", { 1, 14, 13, 6 }, 33, 18, 3, "ep", { padding = { 0, 1, 0, 1 }, stride = 2 })
  sized("stride 2, 5 x 5", { 2, 13, 14, 5 }, 50, 49, 5, "edp", { padding = { 1, 2, 1, 2 }, stride = 2 })
  sized("5 x 5 without padding, relu", { 1, 8, 9, 4 }, 16, 33, 5, "d", { activation = "relu" })
  sized("no activation, wide padding", { 1, 4, 5, 3 }, 20, 21, 3, "edp", {
    padding = { 3, 4, 5, 6 }, activation = "none",
  })
  sized("padding above all rows", { 1, 1, 6, 16 }, 16, 16, 3, "edp", { padding = { 5, 0, 1, 1 } })
  sized("dilation", { 1, 9, 8, 3 }, 17, 18, 3, "edp", { padding = 2, dilation = 2 })
  sized("few channels", { 1, 5, 6, 2 }, 3, 4, 3, "edp", { padding = 1, stride = 2 })
  sized("few columns", { 1, 5, 4, 16 }, 20, 16, 3, "edp", { padding = 1, residual = true })
  sized("2 x 2 taps, stride 3", { 1, 8, 9, 16 }, 16, 17, 2, "e", { stride = 3 })
  sized("one pixel", { 1, 1, 1, 1 }, 1, 1, 1, "edp", {})
  sized("no images", { 0, 6, 6, 16 }, 16, 16, 3, "edp", { padding = 1 })
  sized("wide rows", { 1, 30, 41, 3 }, 16, 16, 3, "edp", { padding = 1 }) -- several bands
  optest("inverted_residual", {
    args = case({ 2, 13, 11, 16 }, 48, 40, 3, "edp", { padding = 1, method = method }),
    ref = reference, sizes = sizes,
  })
end

local function changed(at, value)
  return function(rng)
    local args <const> = table.pack(case({ 1, 6, 7, 3 }, 4, 5, 3, "edp", { padding = 1 })(rng))
    args[at] = type(value) == "function" and value(rng) or value
    return table.unpack(args, 1, args.n)
  end
end

local function tensor(...)
  local shape <const> = { ... }
  return function(rng) return rng.randn(table.unpack(shape)) end
end

optest("inverted_residual", {
  args = case({ 1, 6, 7, 3 }, 4, 5, 3, "edp", { padding = 1 }), ref = reference,
  rejects = {
    { "another depthwise", changed(2, tensor(3, 3, 3, 1)),
      "depthwise must be (4, rows, columns, 1), got (3, 3, 3, 1)" },
    { "a flat depthwise", changed(2, tensor(4, 3, 3)), "depthwise must be 4-D" },
    { "a long depthwise bias", changed(3, tensor(5)), "depthwise_bias must be (4), got (5)" },
    { "a project with taps", changed(4, tensor(5, 3, 3, 4)), "project must be (5, 1, 1, 4), got (5, 3, 3, 4)" },
    { "a long project bias", changed(5, tensor(4)), "project_bias must be (5), got (4)" },
    { "another expand", changed(6, tensor(4, 1, 1, 2)), "expand must be (4, 1, 1, 3), got (4, 1, 1, 2)" },
    { "no expand", function(rng)
      return rng.randn(1, 6, 7, 3), rng.randn(4, 3, 3, 1), nil, rng.randn(5, 1, 1, 4)
    end, "x must have the 4 channels that project takes" },
    { "the bias of no expand", function(rng)
      return rng.randn(1, 6, 7, 4), rng.randn(4, 3, 3, 1), nil, rng.randn(5, 1, 1, 4), nil, nil, rng.randn(4)
    end, "expand_bias is given, but not expand" },
    { "integers", changed(1, function(rng) return rng.ints(0, 9, 1, 6, 7, 3) end), "x must be float32" },
    { "a residual of another shape", changed(8, { padding = 1, residual = true }), "residual needs a result" },
    { "stride 0", changed(8, { stride = 0 }), "stride and dilation must be from 1" },
    { "three paddings", changed(8, { padding = { 1, 1, 1 } }), "padding must be 1, 2 or 4 numbers" },
    { "negative padding", changed(8, { padding = -1 }), "padding must be from 0" },
    { "a kernel too large", changed(8, { dilation = 4 }), "the kernel does not fit" },
    { "an unknown method", changed(8, { method = "gpu" }), "auto|plain|cpu" },
  },
})

describe("inverted_residual", function()
  it("keeps NaN where it was and nowhere else", function()
    for _, method in ipairs { "plain", "cpu" } do
      local x <const> = la.randn(1, 9, 9, 16)
      x:select(1, 1):select(1, 5):select(1, 5)[3] = 0 / 0
      local y <const> = la.inverted_residual(x, la.ones(16, 3, 3, 1), nil, la.ones(16, 1, 1, 16), nil,
        la.ones(16, 1, 1, 16), nil, { padding = 1, method = method })
      for i, row in ipairs(y:totable()[1]) do
        for j, pixel in ipairs(row) do
          local near <const> = math.abs(i - 5) <= 1 and math.abs(j - 5) <= 1
          assert.equal(near, pixel[1] ~= pixel[1], method .. " " .. i .. " " .. j)
        end
      end
    end
  end)

  it("refuses to cut a graph", function()
    local x <const>, w <const> = la.rand(1, 8, 8, 16), la.ones(16, 3, 3, 1)
    local project <const> = la.rand(16, 1, 1, 16):requires_grad_(true)
    local opts <const> = { padding = 1 }
    local ok <const>, message <const> = pcall(la.inverted_residual, x, w, nil, project, nil, opts)
    assert.is_false(ok)
    assert.truthy(message:find("is for inference, but project asks for a gradient", 1, true), message)
    assert.is_false(la.no_grad(la.inverted_residual, x, w, nil, project, nil, opts).requires_grad)
  end)

  it("follows weights that change in place", function()
    local x <const>, w <const> = la.rand(1, 8, 8, 16), la.ones(16, 3, 3, 1)
    local project <const> = la.rand(16, 1, 1, 16)
    local opts <const> = { padding = 1, activation = "none", method = "cpu" }
    local before <const> = la.inverted_residual(x, w, nil, project, nil, opts):sum():item()
    w:mul_(2)
    local after <const> = la.inverted_residual(x, w, nil, project, nil, opts):sum():item()
    assert.near(2, after / before, 1e-5)
  end)

  it("is what a trunk's blocks compute in parts when they are trained", function()
    local trunk <const> = la.models.mobilenetv2 { weights = false, last = 3 }
    local x <const> = la.rand(1, 96, 96, 3)
    trunk:requires_grad_(false)
    local whole <const> = trunk(x)
    trunk:requires_grad_(true)
    local parts <const> = trunk(x)
    assert.is_false(whole.requires_grad)
    assert.is_true(parts.requires_grad)
    local scale <const> = parts:abs():max():item()
    assert.is_true(scale > 0)
    assert.is_true((whole - parts:detach()):abs():max():item() <= 1e-5 * scale)
  end)
end)
