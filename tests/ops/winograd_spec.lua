-- SPDX-License-Identifier: MIT
--
-- Winograd's kernels under conv2d and conv2d_fused. The bounds are those of the direct sums: with the points that it
-- evaluates polynomials in, F(4x4, 3x3) has less than twice their error (rms), F(2x2, 3x3) less than theirs.

local optest <const> = require "lib.optest"
local convolution <const> = require "lib.convolution"
local la <const> = require "lualign"
local P <const> = optest.P

local METHODS <const> = { "winograd4", "winograd2" }

-- relu6(norm(conv(x, w) + bias) + residual), in double precision.
local function reference(x, w, bias, norm_weight, norm_bias, mean, variance, residual, opts)
  local y <const> = convolution(x, w, bias, opts)
  local O <const> = w.shape[1]
  for i, v in ipairs(y.data) do
    local o <const> = (i - 1) % O + 1
    local scale <const> = norm_weight.data[o] / math.sqrt(variance.data[o] + 1e-5)
    y.data[i] = math.min(math.max((v - mean.data[o]) * scale + norm_bias.data[o] + residual.data[i], 0), 6)
  end
  return y
end

-- The same without bounds, which make gradients jump.
local function unbounded(x, w, bias, norm_weight, norm_bias, mean, variance, residual, opts)
  local y <const> = convolution(x, w, bias, opts)
  local O <const> = w.shape[1]
  for i, v in ipairs(y.data) do
    local o <const> = (i - 1) % O + 1
    local scale <const> = norm_weight.data[o] / math.sqrt(variance.data[o] + 1e-5)
    y.data[i] = (v - mean.data[o]) * scale + norm_bias.data[o] + residual.data[i]
  end
  return y
end

local function case(n, h, w, c, o, padding, method, activation)
  return function(rng)
    local x <const>, weight <const> = rng.randn(n, h, w, c), rng.randn(o, 3, 3, c)
    local opts <const> = { padding = padding, method = method, activation = activation }
    local residual <const> = rng.randn(table.unpack(convolution(x, weight, opts).shape))
    return x, weight, rng.randn(o), rng.randn(o), rng.randn(o), rng.randn(o), rng.uniform(0.3, 2, o), residual, opts
  end
end

local SIZES <const> = { -- n, h, w, c, o, padding
  { "no images", 0, 4, 4, 3, 5, 1 },
  { "one pixel", 1, 3, 3, 1, 1, 0 },
  { "whole tiles, vectors and panels", 1, 8, 8, 16, 32, 1 },
  { "one more than vectors and panels", 2, 5, 9, 17, 33, 1 },
  { "one less", 1, 6, 7, 15, 31, { 0, 1, 1, 0 } },
  { "uneven padding", 1, 4, 3, 3, 2, { 2, 0, 1, 3 } },
  { "padding beyond the taps", 1, 2, 3, 3, 4, 4 },
  { "a row", 2, 1, 21, 5, 6, { 1, 1, 0, 0 } },
}

for _, method in ipairs(METHODS) do
  local clamped <const>, differentiated <const> = {}, {}
  for k, size in ipairs(SIZES) do
    local label <const>, n <const>, h <const>, w <const>, c <const>, o <const>, padding <const> = table.unpack(size)
    clamped[k] = { method .. ": " .. label, case(n, h, w, c, o, padding, method, "relu6") }
    differentiated[k] = { method .. ": " .. label, case(n, h, w, c, o, padding, method) }
  end
  optest("conv2d_fused", {
    args = case(2, 9, 7, 19, 5, 1, method, "relu6"), ref = reference, tol = 1e-5, sizes = clamped,
    deterministic = true,
  })
  optest("conv2d_fused", {
    args = case(1, 6, 5, 3, 4, 1, method), ref = unbounded, tol = 1e-5, grad = { 1, 2, 3, 4, 5, 8 }, elements = 6,
    sizes = differentiated,
    rejects = {
      { "5 x 5 taps", function(rng) return rng.randn(1, 6, 6, 2), rng.randn(2, 5, 5, 2), { method = method } end,
        "method " .. method .. " cannot do this convolution" },
      { "stride 2", function(rng)
        return rng.randn(1, 6, 6, 2), rng.randn(2, 3, 3, 2), { method = method, stride = 2 }
      end, "cannot do this convolution" },
      { "groups", function(rng)
        return rng.randn(1, 6, 6, 4), rng.randn(2, 3, 3, 2), { method = method, groups = 2 }
      end, "cannot do this convolution" },
    },
  })
end

describe("Winograd's convolution", function()
  local layers <const> = { -- n, h, w, c, o; the register tiles are full, items have several blocks and panels
    { 2, 15, 15, 64, 96 }, { 8, 15, 15, 256, 256 }, { 1, 31, 29, 130, 70 }, { 1, 62, 61, 33, 64 }, { 3, 6, 5, 40, 300 },
    { 7, 58, 61, 17, 33 }, -- several chunks of tiles for the weight gradient, the last one shorter
  }
  for k, size in ipairs(os.getenv "LUALIGN_TEST_SMALL" == "1" and {} or layers) do
    local n <const>, h <const>, w <const>, c <const>, o <const> = table.unpack(size)
    local function results(method)
      la.seed(k)
      local leaf <const> = { x = la.randn(n, h, w, c), weight = la.randn(o, 3, 3, c), bias = la.randn(o) }
      for _, t in pairs(leaf) do
        t:requires_grad_(true)
      end
      local y <const> = la.conv2d(leaf.x, leaf.weight, leaf.bias, { padding = 1, method = method })
      y:backward(la.randn(table.unpack(y:shape())))
      return { result = y:detach(), x = leaf.x.grad, weight = leaf.weight.grad, bias = leaf.bias.grad }
    end
    for _, method in ipairs(METHODS) do
      it(("%s, %d x %d x %d x %d to %d: agrees with plain"):format(method, n, h, w, c, o), function()
        local expected <const>, got <const> = results("plain"), results(method)
        for name, value in pairs(expected) do
          local off <const> = (got[name] - value):abs():max():item() / value:abs():max():item()
          assert(off < 1e-5, string.format("%s: relative error %.3g", name, off))
        end
      end)
    end
  end

  -- Of normal numbers, with the channels of ResNet's last 3 x 3 layers.
  local ceiling <const> = { winograd4 = 2.5e-6, winograd2 = 1e-6 }
  for _, method in ipairs(os.getenv "LUALIGN_TEST_SMALL" == "1" and {} or METHODS) do
    it(method .. ": the error is that of float32 sums", function()
      la.seed(11)
      local x <const>, w <const> = la.randn(1, 7, 7, 256), la.randn(16, 3, 3, 256)
      local got <const> = P(la.conv2d(x, w, { padding = 1, method = method })).data
      local want <const> = convolution(P(x), P(w), { padding = 1 }).data
      local off, size = 0.0, 0.0
      for i, v in ipairs(want) do
        off = off + (got[i] - v) ^ 2
        size = size + v ^ 2
      end
      assert(math.sqrt(off / size) < ceiling[method], string.format("relative error %.3g", math.sqrt(off / size)))
    end)
  end

  -- The gradient of a 3 x 3 weight from sums in double precision; padding 1.
  local function weight_gradient(x, dy)
    local N <const>, H <const>, W <const>, C <const> = table.unpack(x.shape)
    local O <const>, dw <const> = dy.shape[4], {}
    for i = 1, O * 9 * C do
      dw[i] = 0.0
    end
    for at = 0, N * H * W - 1 do
      local n <const>, i <const>, j <const> = at // (H * W), at // W % H, at % W
      for tap = 0, 8 do
        local row <const>, column <const> = i + tap // 3 - 1, j + tap % 3 - 1
        local from <const> = ((n * H + row) * W + column) * C
        for k = 1, row >= 0 and row < H and column >= 0 and column < W and O * C or 0 do
          local o <const>, c <const> = (k - 1) // C, (k - 1) % C + 1
          local to <const> = (o * 9 + tap) * C + c
          dw[to] = dw[to] + dy.data[at * O + o + 1] * x.data[from + c]
        end
      end
    end
    return dw
  end

  local function gradient_of(x, dy, options)
    local w <const> = la.zeros(dy:size(4), 3, 3, x:size(4)):requires_grad_(true)
    options.padding = 1
    la.conv2d_fused(x, w, options):backward(dy)
    return w.grad
  end

  local exact <const> = { winograd4 = 1.5e-6, winograd2 = 8e-7 }
  for method, bound in pairs(os.getenv "LUALIGN_TEST_SMALL" == "1" and {} or exact) do
    it(method .. ": the weight gradient's error is that of float32 sums", function()
      la.seed(12)
      local x <const>, dy <const> = la.randn(2, 15, 15, 24), la.randn(2, 15, 15, 16)
      local want <const>, got <const> = weight_gradient(P(x), P(dy)), P(gradient_of(x, dy, { method = method })).data
      local off, size = 0.0, 0.0
      for i, v in ipairs(want) do
        off = off + (got[i] - v) ^ 2
        size = size + v ^ 2
      end
      assert(math.sqrt(off / size) < bound, string.format("relative error %.3g", math.sqrt(off / size)))
    end)
  end

  it("the weight gradient has the same bits each time, and strict ones are the direct sums", function()
    local n, h, w, c, o = 3, 33, 30, 50, 40
    if os.getenv "LUALIGN_TEST_SMALL" == "1" then
      n, h, w, c, o = 1, 9, 10, 18, 17
    end
    local x <const>, dy <const> = la.randn(n, h, w, c), la.randn(n, h, w, o)
    for _, method in ipairs { "winograd4", "winograd2", "auto" } do
      local first <const> = gradient_of(x, dy, { method = method })
      for _ = 1, 3 do
        assert.equal(0, (gradient_of(x, dy, { method = method }) - first):abs():max():item())
      end
    end
    local strict <const> = gradient_of(x, dy, { precision = "strict" })
    local direct <const> = os.getenv "LUALIGN_METHOD" or la.device.kind():match "^cpu"
    if direct then
      assert.equal(0, (gradient_of(x, dy, { method = direct }) - strict):abs():max():item())
    end
  end)

  for _, method in ipairs(METHODS) do
    it(method .. ": NaN and infinities reach the weight gradients that depend on them, and no others", function()
      for _, value in ipairs { 0 / 0, 1 / 0 } do
        local x <const>, dy <const> = la.randn(1, 9, 9, 20), la.randn(1, 9, 9, 36)
        x:narrow(2, 5, 1):narrow(3, 5, 1):narrow(4, 3, 1):fill_(value)
        dy:narrow(2, 1, 1):narrow(3, 9, 1):narrow(4, 36, 1):fill_(value)
        local dw <const> = gradient_of(x, dy, { method = method }):totable()
        for o = 1, 36 do
          for tap = 0, 8 do
            for c = 1, 20 do
              local v <const> = dw[o][tap // 3 + 1][tap % 3 + 1][c]
              local finite <const> = v - v == 0
              if c == 3 then
                assert(not finite, ("%d, %d, %d is finite"):format(o, tap, c))
              elseif o < 36 then
                assert(finite, ("%d, %d, %d is %s"):format(o, tap, c, v))
              end
            end
          end
        end
      end
    end)
  end

  for _, method in ipairs(METHODS) do
    it(method .. ": what was made of the weights is made again when they change", function()
      local x <const>, w <const> = la.randn(1, 6, 6, 20), la.randn(36, 3, 3, 20)
      for round = 1, 3 do
        for _ = 1, 2 do
          local y <const> = la.conv2d(x, w, { padding = 1, method = method })
          local expected <const> = la.conv2d(x, w, { padding = 1, method = "plain" })
          assert((y - expected):abs():max():item() < 1e-4 * round, "round " .. round)
        end
        w:mul_(-1.25)
      end
    end)

    it(method .. ": NaN reaches every result that depends on it", function()
      local x <const>, w <const> = la.randn(1, 9, 9, 20), la.randn(36, 3, 3, 20)
      x:narrow(2, 5, 1):narrow(3, 5, 1):narrow(4, 3, 1):fill_(0 / 0)
      local y <const> = la.conv2d_fused(x, w, { padding = 1, method = method, activation = "relu6" }):totable()
      for i = 4, 6 do
        for j = 4, 6 do
          for o = 1, 36 do
            assert(y[1][i][j][o] ~= y[1][i][j][o], ("%d, %d, %d is a number"):format(i, j, o))
          end
        end
      end
      assert(y[1][1][1][1] == y[1][1][1][1] and y[1][9][9][36] == y[1][9][9][36])
    end)
  end
end)
