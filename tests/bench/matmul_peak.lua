-- SPDX-License-Identifier: MIT
--
-- matmul_peak.lua -- how near matrix products come to what the device can do at most.
--
--   lualign tests/bench/matmul_peak.lua [pattern] [repeats] [method]
--
-- One row per product whose label matches the Lua pattern: its time, and its multiply-adds per second as a share of
-- what a probe kernel of nothing else reaches in the same run (for matrix-vector products: its bytes per second as a
-- share of what a sum over 64 MiB reaches). The best of the repeats; each queues a few calls and waits once.

local la <const> = require "lualign"

local PATTERN <const> = arg and arg[1] or ""
local REPEATS <const> = math.tointeger(arg and arg[2] or 7)
local METHOD <const> = arg and arg[3] or "auto"
local SECONDS <const> = 0.004 -- one repeat takes about that long

-- { label, flops or false, bytes, function }
local rows <const> = {}

local function add(label, flops, bytes, make)
  if label:find(PATTERN) then
    rows[#rows + 1] = { label = label, flops = flops, bytes = bytes, make = make }
  end
end

-- c (m, n) = op(a) op(b), of `batch` such.
local function product(label, m, n, k, opts, batch)
  opts = opts or {}
  opts.method = METHOD
  batch = batch or 1
  local flops <const> = 2 * batch * m * n * k
  add(string.format("%s %s%dx%dx%d%s%s", label, batch > 1 and batch .. " of " or "", m, n, k, opts.ta and " ta" or "",
    opts.tb and " tb" or ""), flops, 4 * batch * (m * k + k * n + m * n), function()
    local function matrix(r, c)
      if batch > 1 then
        return la.randn(batch, r, c)
      end
      return la.randn(r, c)
    end
    local a <const> = opts.ta and matrix(k, m) or matrix(m, k)
    local b <const> = opts.tb and matrix(n, k) or matrix(k, n)
    return function() return la.matmul(a, b, opts) end
  end)
end

-- A layer y = x W^T with rows m: kept panels, packing, data and weight gradient.
local function layer(label, m, n, k)
  local flops <const>, bytes <const> = 2 * m * n * k, 4 * (m * k + k * n + m * n)
  local function forward(trained)
    return function()
      local x <const>, w <const>, b <const> = la.randn(m, k), la.randn(n, k), la.randn(n)
      w:requires_grad_(trained)
      return function()
        return la.no_grad(function() return la.linear(x, w, b, { method = METHOD }) end)
      end
    end
  end
  add(string.format("%s %d->%d, %d rows, kept", label, k, n, m), flops, bytes, forward(false))
  add(string.format("%s %d->%d, %d rows, packed", label, k, n, m), flops, bytes, forward(true))
  product(string.format("%s %d->%d, dx", label, k, n), m, k, n)
  product(string.format("%s %d->%d, dw", label, k, n), n, k, m, { ta = true })
end

for code = 0, 3 do
  product("square", 1024, 1024, 1024, { ta = code % 2 == 1, tb = code >= 2 })
end
for code = 0, 3 do
  product("odd", 1000, 777, 1153, { ta = code % 2 == 1, tb = code >= 2 })
end
product("correlation", 225, 225, 1024, { tb = true }, 8)
product("correlation", 225, 225, 1024, { tb = true }, 2)
product("correlation", 225, 225, 1024, { tb = true })
product("correlation da", 225, 1024, 225, { ta = true }, 8)
product("correlation db", 225, 1024, 225, {}, 8)
for _, batch in ipairs { 8, 2 } do
  add("correlation op " .. batch, 2 * batch * 225 * 225 * 1024, 0, function()
    local a <const>, b <const> = la.randn(batch, 15, 15, 1024), la.randn(batch, 15, 15, 1024)
    return function() return la.correlation(a, b) end
  end)
end
for _, batch in ipairs { 2, 8 } do
  for _, s in ipairs { { 60, 64, 64 }, { 60, 64, 256 }, { 60, 256, 64 }, { 60, 256, 128 }, { 30, 128, 512 },
    { 30, 512, 128 }, { 30, 512, 256 }, { 15, 256, 1024 }, { 15, 1024, 256 } } do
    layer("1x1/" .. batch, batch * s[1] * s[1], s[3], s[2])
  end
end
for _, s in ipairs { { 1, 18, 2304 }, { 2, 18, 2304 }, { 4, 6, 2304 }, { 16, 18, 2304 }, { 1, 4096, 4096 },
  { 2, 4096, 4096 }, { 4, 4096, 4096 }, { 4096, 1, 4096 }, { 4096, 6, 64 }, { 7200, 18, 128 }, { 64, 64, 16384 },
  { 16, 16, 65536 }, { 2000, 2000, 8 }, { 64, 64, 64 }, { 16, 256, 256 } } do
  product("small", s[1], s[2], s[3])
  product("small", s[1], s[2], s[3], { tb = true })
end

local function queue(fn, calls)
  la.device.finish()
  local start <const> = la.device.clock()
  for _ = 1, calls do
    la.scope(fn) -- gives memory back at once, not when the collector comes
  end
  la.device.finish()
  return (la.device.clock() - start) / calls
end

-- The least seconds that each of the rows takes: all in turn, so that none has the quiet moments to itself.
local function measure(list)
  for _, row in ipairs(list) do
    row.fn = row.make()
    queue(row.fn, 1)
    row.calls = math.max(2, math.min(400, SECONDS // queue(row.fn, 2)))
    row.seconds = math.huge
  end
  for _ = 1, REPEATS do
    for _, row in ipairs(list) do
      row.seconds = math.min(row.seconds, queue(row.fn, row.calls // 1))
    end
  end
  for _, row in ipairs(list) do
    row.fn = nil
  end
  collectgarbage()
end

local wide <const> = la.randn(16, 1024, 1024)
local function bandwidth()
  return wide:numel() * 4 / queue(function() return wide:sum() end, 4)
end

local peak, memory = la.device.peak(), math.max(bandwidth(), bandwidth())
for first = 1, #rows, 8 do
  measure(table.move(rows, first, math.min(first + 7, #rows), 1, {}))
  peak, memory = math.max(peak, la.device.peak()), math.max(memory, bandwidth())
end
print(string.format("%s; the probe reaches %.0f GFLOP/s, a multiply-add counting as two; sums read %.1f GB/s",
  la.device.info().name, peak * 1e-9, memory * 1e-9))
print(string.format("%-44s %9s %8s %8s", "product", "ms", "of peak", "of sums"))
for _, row in ipairs(rows) do
  print(string.format("%-44s %9.3f %8.2f %8.2f", row.label, row.seconds * 1e3, row.flops / row.seconds / peak,
    row.bytes / row.seconds / memory))
end
