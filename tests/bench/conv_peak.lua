-- SPDX-License-Identifier: MIT
--
-- conv_peak.lua -- how near convolutions and matrix products come to what the device can do at most.
--
--   lualign tests/bench/conv_peak.lua [batch] [repeats] [busy]
--
-- One row per layer of ResNet-101 for images of 240 x 240: forward, data gradient and weight gradient as shares of the
-- multiply-adds per second of a probe kernel that does nothing else, measured in the same run. The best of the repeats;
-- each repeat queues a few calls and waits once, as a training step does. Meant for an idle machine; `busy` takes the
-- processor time of this process over the device's units instead of real time, for CPU devices that others use too.

local la <const> = require "lualign"

local BATCH <const> = math.tointeger(arg and arg[1] or 8)
local REPEATS <const> = math.tointeger(arg and arg[2] or 7)
local IN_A_ROW <const> = 4
local BUSY <const> = arg and arg[3] == "busy"

-- pixels, channels in, channels out, kernel, stride
local LAYERS <const> = {
  { 240, 3, 64, 7, 2 }, { 60, 64, 64, 1, 1 }, { 60, 64, 256, 1, 1 }, { 60, 256, 64, 1, 1 }, { 60, 64, 64, 3, 1 },
  { 60, 128, 128, 3, 2 }, { 30, 128, 128, 3, 1 }, { 30, 128, 512, 1, 1 }, { 30, 512, 128, 1, 1 },
  { 60, 256, 512, 1, 2 }, { 30, 256, 256, 3, 2 }, { 15, 256, 256, 3, 1 }, { 15, 256, 1024, 1, 1 },
  { 15, 1024, 256, 1, 1 }, { 30, 512, 1024, 1, 2 },
}
-- batch, m, n, k; b transposed
local PRODUCTS <const> = {
  { 1, 1024, 1024, 1024, false }, { 1, 1008, 1024, 1152, false }, { 8, 225, 225, 1024, true },
  { 1, 225, 225, 1024, true },
}

local function now()
  return BUSY and os.clock() / la.device.info().units or la.device.clock()
end

-- The least seconds that fn takes.
local function best(fn)
  local least = math.huge
  for _ = 0, REPEATS do
    la.device.finish()
    local start <const> = now()
    for _ = 1, IN_A_ROW do
      la.scope(fn) -- gives memory back at once, not when the collector comes
    end
    la.device.finish()
    least = math.min(least, (now() - start) / IN_A_ROW)
  end
  collectgarbage()
  return least
end

-- Seconds of one gradient of y = op(a, b) alone, where only `leaf` asks for one: forward and backward together, less
-- the forward pass measured apart.
local function gradient(op, leaf, seed, forward)
  leaf:requires_grad_(true)
  local both <const> = best(function()
    leaf.grad = nil
    op():backward(seed)
  end)
  leaf:requires_grad_(false)
  leaf.grad = nil
  return both - forward
end

local rows <const> = {}
local peak = la.device.peak()

for _, layer in ipairs(LAYERS) do
  local size <const>, cin <const>, cout <const>, k <const>, stride <const> = table.unpack(layer)
  local x <const>, w <const> = la.randn(BATCH, size, size, cin), la.randn(cout, k, k, cin)
  local options <const> = { stride = stride, padding = k // 2 }
  local function op()
    return la.conv2d(x, w, options)
  end
  local out <const> = (size + 2 * (k // 2) - k) // stride + 1
  local seed <const> = la.randn(BATCH, out, out, cout)
  local forward <const> = best(function() op() end)
  rows[#rows + 1] = {
    label = string.format("%3d  %4d -> %4d  %dx%d/%d", size, cin, cout, k, k, stride),
    flops = 2 * seed:numel() * k * k * cin,
    forward, gradient(op, x, seed, forward), gradient(op, w, seed, forward),
  }
  peak = math.max(peak, la.device.peak())
end

for _, product in ipairs(PRODUCTS) do
  local batch <const>, m <const>, n <const>, k <const>, tb <const> = table.unpack(product)
  local a <const> = la.randn(batch, m, k)
  local b <const> = tb and la.randn(batch, n, k) or la.randn(batch, k, n)
  local function op()
    return la.matmul(a, b, { tb = tb })
  end
  local seed <const> = la.randn(batch, m, n)
  local forward <const> = best(function() op() end)
  rows[#rows + 1] = {
    label = string.format("matmul %dx %dx%dx%d%s", batch, m, n, k, tb and " tb" or ""), flops = 2 * batch * m * n * k,
    forward, gradient(op, a, seed, forward), gradient(op, b, seed, forward),
  }
  peak = math.max(peak, la.device.peak())
end

print(string.format("%s, batch %d, %s time; the probe reaches %.0f GFLOP/s, a multiply-add counting as two",
  la.device.info().name, BATCH, BUSY and "processor" or "real", peak * 1e-9))
print(string.format("%-28s %8s %8s %8s", "layer", "forward", "data", "weight"))
for _, row in ipairs(rows) do
  print(string.format("%-28s %8.2f %8.2f %8.2f", row.label, row.flops / row[1] / peak, row.flops / row[2] / peak,
    row.flops / row[3] / peak))
end
