-- SPDX-License-Identifier: MIT

local optest <const> = require "lib.optest"
local convolution <const> = require "lib.convolution"
local la <const> = require "lualign"
local P <const> = optest.P

local BOUNDS <const> = {
  none = { -math.huge, math.huge }, relu = { 0, math.huge }, relu6 = { 0, 6 },
}

local function reference(x, w, bias, norm_weight, norm_bias, mean, variance, residual, opts)
  local y <const> = convolution(x, w, bias or opts, bias and opts)
  local low <const>, high <const> = table.unpack(BOUNDS[opts.activation or "none"])
  local O <const> = w.shape[1]
  for i, v in ipairs(y.data) do
    local o <const> = (i - 1) % O + 1
    if norm_weight then
      local scale <const> = norm_weight.data[o] / math.sqrt(variance.data[o] + (opts.eps or 1e-5))
      v = (v - mean.data[o]) * scale + norm_bias.data[o]
    end
    v = residual and v + residual.data[i] or v
    y.data[i] = v < low and low or v > high and high or v
  end
  return y
end

-- Which optional inputs there are: "bnr" is bias, norm and residual.
local function case(x, w, which, opts)
  return function(rng)
    local a <const>, b <const> = rng.randn(table.unpack(x)), rng.randn(table.unpack(w))
    local bias <const> = which:find "b" and rng.randn(w[1]) or nil
    local norm = {}
    if which:find "n" then
      norm = { rng.randn(w[1]), rng.randn(w[1]), rng.randn(w[1]), rng.uniform(0.3, 2, w[1]) }
    end
    local shape <const> = convolution(a, b, opts).shape
    local residual <const> = which:find "r" and rng.randn(table.unpack(shape)) or nil
    return a, b, bias, norm[1], norm[2], norm[3], norm[4], residual, opts
  end
end

local function with(method, opts)
  local all <const> = { method = method }
  for key, value in pairs(opts) do
    all[key] = value
  end
  return all
end

local METHODS <const> = { "auto", "plain", "cpu", "gpu" }
local DIFFERENTIATED <const> = { 1, 2, 3, 4, 5, 8 } -- not the statistics

for _, method in ipairs(METHODS) do
  local sizes <const> = {}
  local function sized(label, x, w, which, opts)
    sizes[#sizes + 1] = { method .. ": " .. label, case(x, w, which, with(method, opts)) }
  end
  for _, which in ipairs { "", "b", "n", "r", "bn", "br", "nr", "bnr" } do
    for _, activation in ipairs { "none", "relu", "relu6" } do
      sized(("'%s', %s"):format(which, activation), { 1, 4, 5, 3 }, { 4, 3, 3, 3 }, which,
        { padding = 1, activation = activation })
      sized(("'%s', %s, depthwise"):format(which, activation), { 1, 4, 5, 5 }, { 5, 3, 3, 1 }, which,
        { padding = 1, activation = activation, groups = 5 })
    end
  end
  local all <const> = "bnr"
  sized("one pixel", { 1, 1, 1, 1 }, { 1, 1, 1, 1 }, all, { activation = "relu" })
  sized("no images", { 0, 4, 4, 3 }, { 5, 3, 3, 3 }, all, { padding = 1, activation = "relu" })
  sized("another eps", { 1, 3, 4, 2 }, { 3, 2, 2, 2 }, "n", { eps = 0.5 })
  sized("pointwise", { 2, 5, 3, 17 }, { 33, 1, 1, 17 }, all, { activation = "relu" })
  sized("pointwise, stride 2", { 1, 5, 7, 6 }, { 5, 1, 1, 6 }, all, { stride = 2, activation = "relu6" })
  sized("stride 2", { 2, 6, 7, 3 }, { 17, 3, 3, 3 }, all, { stride = 2, padding = 1, activation = "relu" })
  sized("stride 3 and 2, kernel 2 x 3", { 1, 9, 8, 2 }, { 3, 2, 3, 2 }, all, { stride = { 3, 2 }, padding = { 1, 0 } })
  sized("dilation", { 1, 9, 8, 3 }, { 2, 3, 2, 3 }, all, { dilation = { 2, 3 }, padding = 2, activation = "relu" })
  sized("stride wider than the kernel", { 1, 8, 7, 3 }, { 2, 2, 2, 3 }, all, { stride = 4, activation = "relu" })
  sized("first layer of a network", { 1, 11, 12, 3 }, { 5, 7, 7, 3 }, all,
    { stride = 2, padding = 3, activation = "relu" })
  sized("groups, stride 2", { 1, 7, 6, 8 }, { 4, 3, 3, 4 }, all,
    { groups = 2, stride = 2, padding = { 0, 1, 1, 0 }, activation = "relu" })
  sized("depthwise, stride 2, 19 channels", { 1, 7, 6, 19 }, { 19, 3, 3, 1 }, all,
    { groups = 19, stride = 2, padding = 1, activation = "relu6" })
  sized("depthwise, 5 x 5, dilated", { 1, 9, 12, 8 }, { 8, 5, 5, 1 }, all,
    { groups = 8, dilation = { 1, 2 }, padding = 2, activation = "relu6" })
  sized("depthwise, 3 x 3, 33 channels", { 1, 4, 7, 33 }, { 33, 3, 3, 1 }, all,
    { groups = 33, padding = 1, activation = "relu6" })
  sized("depthwise, 5 x 5, 35 channels", { 1, 4, 7, 35 }, { 35, 5, 5, 1 }, all,
    { groups = 35, padding = 2, activation = "relu" })
  sized("depthwise, 5 x 5, stride 2, 17 channels", { 1, 7, 11, 17 }, { 17, 5, 5, 1 }, all,
    { groups = 17, padding = 2, stride = 2, activation = "relu" })
  sized("depthwise, 3 x 3, stride 1 and 2, 34 channels", { 1, 4, 13, 34 }, { 34, 3, 3, 1 }, all,
    { groups = 34, padding = { 0, 2, 2, 0 }, stride = { 1, 2 }, activation = "relu" })
  optest("conv2d_fused", {
    args = case({ 2, 5, 7, 3 }, { 4, 3, 3, 3 }, all, { padding = 1, activation = "relu", method = method }),
    ref = reference, grad = DIFFERENTIATED, elements = 12, sizes = sizes,
    step = 1e-6, -- few activations have a kink that near
  })
end

local small <const> = { { 1, 3, 4, 2 }, { 2, 2, 2, 2 } }

optest("conv2d_fused", {
  args = case(small[1], small[2], "bnr", {}),
  rejects = {
    { "half a norm", function(rng)
      return rng.randn(1, 3, 4, 2), rng.randn(2, 2, 2, 2), nil, rng.randn(2), rng.randn(2), nil, rng.randn(2)
    end, "norm_weight, norm_bias, norm_mean and norm_variance come together, norm_mean is missing" },
    { "a norm without its weight", function(rng)
      return rng.randn(1, 3, 4, 2), rng.randn(2, 2, 2, 2), nil, nil, rng.randn(2), rng.randn(2), rng.randn(2)
    end, "norm_weight is missing" },
    { "a long norm", function(rng)
      return rng.randn(1, 3, 4, 2), rng.randn(2, 2, 2, 2), nil, rng.randn(2), rng.randn(3), rng.randn(2), rng.randn(2)
    end, "norm_bias must be (2), got (3)" },
    { "another residual", function(rng)
      return rng.randn(1, 3, 4, 2), rng.randn(2, 2, 2, 2), nil, nil, nil, nil, nil, rng.randn(1, 2, 3, 1)
    end, "residual must be (1, 2, 3, 2) like the result, got (1, 2, 3, 1)" },
    { "an integer residual", function(rng)
      return rng.randn(1, 3, 4, 2), rng.randn(2, 2, 2, 2), nil, nil, nil, nil, nil, rng.ints(0, 9, 1, 2, 3, 2)
    end, "residual must be float32" },
    { "an unknown activation", case(small[1], small[2], "", { activation = "gelu" }), "none|relu|relu6" },
    { "Winograd with a stride", case({ 1, 5, 5, 2 }, { 2, 3, 3, 2 }, "", { stride = 2, method = "winograd4" }),
      "method winograd4 cannot do this convolution" },
    { "Winograd for single pixels", case({ 1, 5, 5, 2 }, { 2, 1, 1, 2 }, "", { method = "winograd2" }),
      "method winograd2 cannot do this convolution" },
    { "CLBlast for what is no product", case({ 1, 5, 5, 2 }, { 2, 3, 3, 2 }, "", { method = "clblast" }),
      "method clblast cannot do this convolution" },
    { "an unknown precision", case(small[1], small[2], "", { precision = "half" }), "default|strict|bfloat16" },
    { "a long bias", function(rng) return rng.randn(1, 3, 4, 2), rng.randn(3, 2, 2, 2), rng.randn(4) end,
      "bias must be (3), got (4)" },
  },
})

describe("conv2d_fused", function()
  local function list(t)
    return t:reshape(-1):totable()
  end

  for _, method in ipairs(METHODS) do
    for _, kind in ipairs {
      { "general", la.tensor { { { { 1 } } } }, {} },
      { "depthwise", la.tensor { { { { 1 } } }, { { { 1 } } }, { { { 1 } } }, { { { 1 } } } }, { groups = 4 } },
    } do
      local label <const>, weight <const>, options <const> = table.unpack(kind)
      it(("%s, %s: at the bounds the gradient stops, NaN passes"):format(method, label), function()
        local nan <const> = 0 / 0
        local values <const> = { -1, 0, 3, 6, 7, nan, 5.5, -0.25 }
        local shape <const> = options.groups and { 1, 1, 2, 4 } or { 1, 1, 8, 1 }
        for activation, expected in pairs {
          relu = { { 0, 0, 3, 6, 7, nan, 5.5, 0 }, { 0, 0, 3, 4, 5, 6, 7, 0 } },
          relu6 = { { 0, 0, 3, 6, 6, nan, 5.5, 0 }, { 0, 0, 3, 0, 0, 6, 7, 0 } },
        } do
          local x <const> = la.tensor(values):reshape(table.unpack(shape)):contiguous():requires_grad_(true)
          local r <const> = la.zeros(table.unpack(shape)):requires_grad_(true)
          local y <const> = la.conv2d_fused(x, weight, nil, nil, nil, nil, nil, r,
            with(method, { activation = activation, groups = options.groups }))
          local seed <const> = la.tensor { 1, 2, 3, 4, 5, 6, 7, 8 }:reshape(table.unpack(shape)):contiguous()
          y:backward(seed)
          for i, v in ipairs(list(y:detach())) do
            local want <const> = expected[1][i]
            assert.is_true(v == want or (v ~= v and want ~= want), ("%s %d: %g"):format(activation, i, v))
          end
          assert.are.same(expected[2], list(x.grad))
          assert.are.same(expected[2], list(r.grad))
          assert.are.same({ 1, 2, 3, 4, 5, 6, 7, 8 }, list(seed)) -- not written to
        end
      end)
    end

    it(method .. ": what was made of the weights is made again when they change", function()
      local x <const> = la.randn(1, 5, 6, 3)
      for _, groups in ipairs { 1, 3 } do
        local w <const>, b <const> = la.randn(3, 3, 3, 3 // groups), la.randn(3)
        local norm <const> = { la.randn(3), la.randn(3), la.randn(3), la.rand(3) }
        local function run(eps)
          return la.conv2d_fused(x, w, b, norm[1], norm[2], norm[3], norm[4],
            { groups = groups, padding = 1, eps = eps, method = method })
        end
        local function expect(eps)
          local y <const> = la.conv2d(x, w:contiguous(), b, { groups = groups, padding = 1, method = "plain" })
          return la.batch_norm(y, norm[1], norm[2], norm[3], norm[4], { eps = eps })
        end
        local function check(eps)
          for _ = 1, 2 do
            optest.close(run(eps), P(expect(eps)), 1e-5, "result")
          end
        end
        check(1e-5)
        check(0.1)
        w:mul_(2)
        check(0.1)
        b:add_(1)
        check(0.1)
        for _, t in ipairs(norm) do
          t:mul_(1.5)
          check(0.1)
        end
      end
    end)
  end

  it("leaves a gradient alone that others hold", function()
    local x <const> = la.tensor { { { { -1 }, { 2 } } } }:requires_grad_(true)
    local w <const> = la.tensor { { { { 3 } } } }:requires_grad_(true)
    local a <const> = la.conv2d_fused(x, w, { activation = "relu" })
    local b <const> = la.conv2d_fused(x, w, { activation = "relu" })
    local seed <const> = la.tensor { { { { 5 }, { 7 } } } }
    la.add(a, b):backward(seed) -- one gradient for both
    assert.are.same({ 0, 42 }, list(x.grad))
    assert.are.same({ 28 }, list(w.grad))
    assert.are.same({ 5, 7 }, list(seed))
    x.grad = nil
    local c <const> = la.conv2d_fused(x, w, { activation = "relu" })
    local d <const> = la.add(c, x) -- x gets the very tensor that c gets
    la.mul(d, d):sum():backward()
    assert.are.same({ -2, 64 }, list(x.grad)) -- d = { -1, 8 }; 2 d (1 + 3 [x > 0])
  end)
end)

-- Factors rounded to bfloat16, sums in float: the products are exact, so that the reference needs no wider tolerance.
describe("conv2d_fused in bfloat16", function()
  local function rounded(p)
    local data <const> = {}
    for i, v in ipairs(p.data) do
      local bits <const> = string.unpack("<I4", string.pack("<f", v))
      local even <const> = bits + 0x7fff + (bits >> 16 & 1)
      data[i] = v ~= v and v or (string.unpack("<f", string.pack("<I4", even & 0xffff0000)))
    end
    return P.new(p.shape, data)
  end

  local bfloat16 <const> = { precision = "bfloat16" }
  local possible <const>, message <const> = pcall(la.conv2d, la.ones(1, 1, 1, 2), la.ones(3, 1, 1, 2), bfloat16)

  it("says where it is not possible", function()
    assert.is_true(possible or message:find "conv2d: precision must be default or strict here" ~= nil, message)
    local ok <const>, refusal <const> = pcall(la.conv2d, la.ones(1, 1, 1, 2), la.ones(3, 1, 1, 2),
      { precision = "bfloat16", method = "gpu" })
    assert.is_false(ok)
    assert.is_truthy(refusal:find "bfloat16 needs a processor")
  end)

  for _, layer in ipairs {
    { "one pixel", { 1, 1, 1, 1 }, { 1, 1, 1, 1 }, {} },
    { "no images", { 0, 4, 4, 3 }, { 5, 3, 3, 3 }, { padding = 1 } },
    { "pointwise, 37 to 33 channels", { 2, 5, 5, 37 }, { 33, 1, 1, 37 }, {} },
    { "pointwise, a long run", { 1, 5, 5, 531 }, { 40, 1, 1, 531 }, {} },
    { "3 x 3, 100 channels, many panels", { 1, 4, 3, 100 }, { 290, 3, 3, 100 }, { padding = 1 } },
    { "3 x 3, stride 2, 17 channels", { 2, 7, 9, 17 }, { 64, 3, 3, 17 }, { padding = 1, stride = 2 } },
    { "dilation", { 1, 9, 8, 6 }, { 5, 3, 2, 6 }, { dilation = { 2, 3 }, padding = 2 } },
    { "first layer of a network", { 1, 11, 12, 3 }, { 20, 7, 7, 3 }, { padding = 3, stride = 2 } },
    { "groups", { 1, 6, 5, 10 }, { 14, 3, 3, 5 }, { padding = 1, groups = 2 } },
  } do
    local label <const>, xs <const>, ws <const>, settings <const> = table.unpack(layer)
    it(label, function()
      if not possible then
        pending(message)
      end
      local rng <const> = optest.rng("bfloat16 " .. label)
      local x <const>, w <const>, b <const> = rng.randn(table.unpack(xs)), rng.randn(table.unpack(ws)), rng.randn(ws[1])
      local want <const> = convolution(rounded(x), rounded(w), b, settings)
      local residual <const> = rng.randn(table.unpack(want.shape))
      for i, v in ipairs(want.data) do
        want.data[i] = math.max(v + residual.data[i], 0)
      end
      local options <const> = { precision = "bfloat16", method = "cpu", activation = "relu" }
      for key, value in pairs(settings) do
        options[key] = value
      end
      local t <const> = optest.tensor
      for _ = 1, 2 do -- packed, then kept
        local y <const> = la.conv2d_fused(t(x), t(w), t(b), nil, nil, nil, nil, t(residual), options)
        optest.close(y, want, 1e-5, "result")
      end
    end)
  end

  -- Winograd's transforms are rounded, not x and the weights: no exact reference, but an error that is known. A
  -- factor's is 2^-9 / sqrt(3) of it (rms); F(4x4, 3x3) makes five times the direct sum's of it.
  for _, layer in ipairs {
    { "3 x 3, as many channels as fill vectors", { 2, 8, 8, 32 }, { 32, 3, 3, 32 }, 1 },
    { "3 x 3, odd sizes, 37 to 45 channels", { 3, 11, 7, 37 }, { 45, 3, 3, 37 }, 1 },
    { "3 x 3, no padding, 16 to 70 channels", { 1, 15, 14, 16 }, { 70, 3, 3, 16 }, 0 },
  } do
    local label <const>, xs <const>, ws <const>, padding <const> = table.unpack(layer)
    it("by Winograd: " .. label, function()
      if not possible then
        pending(message)
      end
      local rng <const> = optest.rng("bfloat16 by Winograd " .. label)
      local x <const>, w <const>, b <const> = rng.randn(table.unpack(xs)), rng.randn(table.unpack(ws)), rng.randn(ws[1])
      local want <const> = convolution(x, w, b, { padding = padding })
      local residual <const> = rng.randn(table.unpack(want.shape))
      local square, worst, off = 0, 0, 0
      local t <const> = optest.tensor
      for _, method in ipairs { "winograd4", "auto" } do
        local got <const> = P(la.conv2d_fused(t(x), t(w), t(b), nil, nil, nil, nil, t(residual),
          { padding = padding, precision = "bfloat16", method = method })).data
        for i, v in ipairs(want.data) do
          local d <const> = math.abs(got[i] - v - residual.data[i])
          square, off, worst = square + v * v, off + d * d, math.max(worst, d == d and d or math.huge)
        end
      end
      local rms <const> = math.sqrt(square / #want.data / 2)
      off = math.sqrt(off / square)
      assert.is_true(off > 4e-3 and off < 2e-2, ("relative difference %g"):format(off))
      assert.is_true(worst < 0.08 * rms, ("worst difference %g of %g"):format(worst, rms))
    end)
  end

  it("leaves the first layer of a network in float32", function()
    if not possible then
      pending(message)
    end
    local rng <const> = optest.rng "bfloat16, first layer"
    local x <const>, w <const> = rng.randn(1, 14, 13, 3), rng.randn(33, 7, 7, 3)
    local settings <const> = { padding = 3, stride = 2 }
    local y <const> = la.conv2d(optest.tensor(x), optest.tensor(w), nil,
      { padding = 3, stride = 2, precision = "bfloat16" })
    optest.close(y, convolution(x, w, nil, settings), 1e-5, "result")
  end)

  it("refuses Winograd where it does not fit", function()
    if not possible then
      pending(message)
    end
    local ok <const>, refusal <const> = pcall(la.conv2d, la.ones(1, 9, 9, 16), la.ones(16, 3, 3, 16), nil,
      { precision = "bfloat16", method = "winograd4", stride = 2 })
    assert.is_false(ok)
    assert.is_truthy(refusal:find "winograd4")
  end)

  it("takes a norm, keeps NaN, and its gradient is that of float32", function()
    if not possible then
      pending(message)
    end
    local shape <const> = { 1, 6, 7, 20 }
    local x <const>, w <const> = la.randn(table.unpack(shape)), la.randn(33, 3, 3, 20)
    local norm <const> = { la.randn(33), la.randn(33), la.randn(33), la.rand(33) }
    local function run(precision)
      local leaf <const> = x:contiguous():detach():requires_grad_(true)
      local y <const> = la.conv2d_fused(leaf, w, nil, norm[1], norm[2], norm[3], norm[4],
        { padding = 1, precision = precision })
      y:backward(la.ones(table.unpack(y:shape())))
      return y:detach(), leaf.grad
    end
    local y <const>, g <const> = run "bfloat16"
    local z <const>, h <const> = run "default"
    local off <const> = (y - z):abs():max():item() / z:abs():max():item()
    assert.is_true(off > 1e-6 and off < 2e-2, ("relative difference %g"):format(off))
    optest.close(g, P(h), 1e-5, "gradient of x")
    local holed <const> = la.where(la.gt(x, 1), la.full({ 1 }, 0 / 0), x)
    local first <const> = la.conv2d_fused(holed, w, { padding = 1, activation = "relu6", precision = "bfloat16" })
    local second <const> = la.conv2d_fused(holed, w, { padding = 1, activation = "relu6", precision = "strict" })
    local function holes(t) return la.ne(t, t):sum():item() end
    assert.is_true(holes(second) > 0)
    assert.are.equal(holes(second), holes(first))
  end)
end)
