-- SPDX-License-Identifier: MIT
--
-- The tiles of the GPU kernels, on whatever device runs the tests: against the plain kernels, where rows, columns and
-- the depth fill tiles and where they do not, where quads of floats are aligned and where they are not, where the depth
-- is dealt to several work-groups. The order of a sum does not depend on the tile, so that all give the same bits.

local la <const> = require "lualign"

local TILES <const> = { "gpu64x64", "gpu128x64", "gpu128x128" }
local simulated <const> = os.getenv "LUALIGN_TEST_SMALL" == "1"

local function difference(a, b)
  return a:numel() == 0 and 0 or (a - b):abs():max():item()
end

-- results(method) as a table of tensors: compares those of every tile.
local function compare(results)
  local expected <const> = results "plain"
  local first
  for _, method in ipairs(TILES) do
    local got <const> = results(method)
    for name, value in pairs(expected) do
      local off <const> = difference(got[name], value) / value:abs():max():item()
      assert(off < 1e-5, ("%s, %s: relative error %.3g"):format(method, name, off))
      if first then
        assert.are.equal(0, difference(got[name], first[name]), ("%s, %s: other bits"):format(method, name))
      end
    end
    first = first or got
  end
end

describe("matmul by GPU tiles", function()
  local shapes <const> = {
    { 1, 64, 64, 16 }, { 1, 128, 128, 8 }, { 2, 132, 68, 20 }, { 1, 131, 67, 21 }, { 1, 200, 132, 36 },
    { 1, 20, 36, 1100 }, { 2, 9, 33, 515 }, { 1, 1, 130, 40 }, { 1, 130, 1, 40 }, { 1, 65, 129, 1 },
  }
  local small <const> = { { 1, 64, 64, 16 }, { 2, 12, 68, 20 }, { 1, 9, 3, 515 } }
  for k, shape in ipairs(simulated and small or shapes) do
    local batch <const>, m <const>, n <const>, depth <const> = table.unpack(shape)
    for code = 0, simulated and 0 or 3 do
      local ta <const>, tb <const> = (code + k) % 2 == 1, (code + k) // 2 % 2 == 1
      it(("%d of %d x %d x %d%s%s"):format(batch, m, n, depth, ta and ", ta" or "", tb and ", tb" or ""), function()
        la.seed(k)
        local a <const> = ta and la.randn(batch, depth, m) or la.randn(batch, m, depth)
        local b <const> = tb and la.randn(batch, n, depth) or la.randn(batch, depth, n)
        compare(function(method) return { c = la.matmul(a, b, { ta = ta, tb = tb, method = method }) } end)
      end)
    end
  end
end)

-- That a method was not quietly replaced by the plain kernels.
describe("GPU tiles", function()
  it("are what runs", function()
    for _, method in ipairs { "gpu", table.unpack(TILES) } do
      la.device.profile_reset()
      la.device.profile(true)
      local x <const>, w <const> = la.randn(1, 5, 5, 6):requires_grad_(true), la.randn(7, 3, 3, 6):requires_grad_(true)
      la.conv2d(x, w, { padding = 1, method = method }):sum():backward()
      la.matmul(la.randn(3, 4), la.randn(4, 5), { method = method })
      la.device.profile(false)
      local ran <const> = {}
      for _, row in ipairs(la.device.profile_rows()) do
        ran[row.kernel] = row.calls
      end
      for _, kernel in ipairs { "conv2d_sweep_gpu", "conv2d_sweep_across_gpu", "conv2d_bwd_weight_gpu",
        "matmul_fwd_gpu" } do
        assert(ran[kernel], method .. " does not launch " .. kernel)
      end
      for _, kernel in ipairs { "conv2d_fwd", "conv2d_bwd_x", "conv2d_bwd_weight", "matmul_fwd" } do
        assert(not ran[kernel], method .. " launches " .. kernel)
      end
    end
  end)
end)

describe("conv2d_fused by GPU tiles", function()
  local layers <const> = {
    { "3 x 3, 16 to 64 channels", { 2, 9, 8, 16 }, { 64, 3, 3, 16 }, { padding = 1 } },
    { "3 x 3, 20 to 132 channels", { 1, 13, 11, 20 }, { 132, 3, 3, 20 }, { padding = 1 } },
    { "3 x 3, 19 to 67 channels", { 1, 13, 11, 19 }, { 67, 3, 3, 19 }, { padding = 1 } },
    { "3 x 3, 20 to 36 channels, stride 2", { 2, 9, 12, 20 }, { 36, 3, 3, 20 }, { padding = 1, stride = 2 } },
    { "3 x 2, dilated, uneven", { 1, 12, 9, 8 }, { 24, 3, 2, 8 }, { padding = { 2, 0, 1, 3 }, dilation = { 2, 3 } } },
    { "3 x 3, 128 to 32 channels, dealt", { 1, 5, 6, 128 }, { 32, 3, 3, 128 }, { padding = 1 } },
    { "3 x 3, 129 to 30 channels, dealt", { 1, 5, 6, 129 }, { 30, 3, 3, 129 }, { padding = 1 } },
    { "pointwise, stride 2", { 1, 9, 7, 36 }, { 40, 1, 1, 36 }, { stride = 2 } },
    { "first layer", { 1, 17, 15, 3 }, { 64, 7, 7, 3 }, { padding = 3, stride = 2 } },
    { "one channel", { 1, 6, 6, 1 }, { 4, 3, 3, 1 }, { padding = 1 } },
    { "4 groups of 8 to 12", { 2, 7, 6, 32 }, { 48, 3, 3, 8 }, { padding = 1, groups = 4 } },
    { "3 groups of 5 to 7", { 2, 7, 6, 15 }, { 21, 3, 3, 5 }, { padding = 1, groups = 3 } },
    { "many positions of few", { 2, 33, 31, 4 }, { 8, 3, 3, 4 }, { padding = 1 } },
  }
  local small <const> = {
    { "3 x 3, 8 to 20 channels", { 1, 5, 4, 8 }, { 20, 3, 3, 8 }, { padding = 1 } },
    { "3 x 3, 5 to 7 channels, stride 2", { 1, 6, 5, 5 }, { 7, 3, 3, 5 }, { padding = 1, stride = 2 } },
    { "3 x 3, 64 to 4 channels, dealt", { 1, 3, 3, 64 }, { 4, 3, 3, 64 }, { padding = 1 } },
  }
  for k, layer in ipairs(simulated and small or layers) do
    local label <const>, xs <const>, ws <const>, opts <const> = table.unpack(layer)
    it(label, function()
      compare(function(method)
        la.seed(k)
        local O <const> = ws[1]
        local x <const> = la.randn(table.unpack(xs)):requires_grad_(true)
        local w <const> = la.randn(table.unpack(ws)):requires_grad_(true)
        local bias <const>, gamma <const>, beta <const> = la.randn(O), la.randn(O), la.randn(O)
        local mean <const>, variance <const> = la.randn(O), la.rand(O) + 0.5
        local shape <const> = la.conv2d(x:detach(), w:detach(), opts):shape()
        local residual <const> = la.randn(table.unpack(shape))
        local all <const> = { method = method, activation = "relu6" }
        for key, value in pairs(opts) do
          all[key] = value
        end
        local y <const> = la.conv2d_fused(x, w, bias, gamma, beta, mean, variance, residual, all)
        all.activation = nil
        local z <const> = la.conv2d_fused(x, w, bias, gamma, beta, mean, variance, residual, all)
        z:backward(la.randn(table.unpack(shape))) -- without kinks, which rounding may cross
        return { y = y:detach(), ["gradient of x"] = x.grad, ["gradient of weight"] = w.grad }
      end)
    end)
  end
end)
