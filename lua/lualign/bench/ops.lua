-- SPDX-License-Identifier: MIT
--
-- lualign bench ops: operations one by one. Those that multiply are measured against the multiply-adds that a probe
-- kernel reaches, those that move memory against a copy of as many bytes; probe and operation take turns.

local la <const> = require "lualign"
local report <const> = require "lualign.bench.report"
local timing <const> = require "lualign.bench.timing"

local ops <const> = {}

-- ---- what there is ----

local function matmul(group, name, batch, m, n, k, options)
  return {
    name = name, group = group, flops = 2 * batch * m * n * k,
    product = { batch = batch, m = m, n = n, k = k, ta = options.ta, tb = options.tb },
    make = function()
      local function matrix(rows, columns, turned)
        local r, c = rows, columns
        if turned then
          r, c = c, r
        end
        return batch > 1 and la.randn(batch, r, c) or la.randn(r, c)
      end
      local a <const>, b <const> = matrix(m, k, options.ta), matrix(k, n, options.tb)
      return function() return la.matmul(a, b, options) end, { a, b }
    end,
  }
end

-- A 1x1 convolution as a product: of pixels with weights (n, k), which stay as they are and so are packed once.
local function pointwise_layer(name, m, n, k)
  local entry <const> = matmul("pointwise", name, 1, m, n, k, { tb = true })
  entry.make = function()
    local x <const>, weight <const> = la.randn(m, k), la.randn(n, k)
    return function() return la.linear(x, weight) end, { x, weight }
  end
  return entry
end

-- ResNet-101's 1x1 convolutions at 240 x 240: pixels of an image, channels in and out.
local POINTWISE <const> = {
  { 3600, 64, 64 }, { 3600, 64, 256 }, { 3600, 256, 64 }, { 3600, 256, 128 }, { 900, 128, 512 }, { 900, 512, 128 },
  { 900, 512, 256 }, { 225, 256, 1024 }, { 225, 1024, 256 },
}

local function products(list)
  local function add(...)
    list[#list + 1] = matmul(...)
  end
  add("square", "matmul 1024x1024x1024", 1, 1024, 1024, 1024, {})
  for _, images in ipairs { 2, 8 } do
    for _, s in ipairs(POINTWISE) do
      list[#list + 1] = pointwise_layer(string.format("1x1 %dx%d %d->%d", images, s[1], s[2], s[3]), images * s[1],
        s[3], s[2])
    end
  end
  add("odd", "matmul 1000x777x1153", 1, 1000, 777, 1153, {})
  add("odd", "matmul 1000x777x1153 a^T", 1, 1000, 777, 1153, { ta = true })
  add("odd", "matmul 1000x777x1153 b^T", 1, 1000, 777, 1153, { tb = true })
  add("correlation", "products 8x 225x225x1024", 8, 225, 225, 1024, { tb = true })
  add("small", "matmul 1x 18x1600", 1, 1, 18, 1600, { tb = true })
  add("small", "matmul 64x 12x12x12", 64, 12, 12, 12, {})
end

-- Elements of x and y moved, and how they are computed. `gradients`: bytes moved backward, if that is timed.
local function memory(list, name, bytes, make, gradients)
  list[#list + 1] = { name = name, group = "memory", bytes = bytes, make = make, gradients = gradients }
end

local N <const>, H <const>, C <const> = 8, 60, 256 -- ResNet's largest maps
local MAP <const> = 4 * N * H * H * C

local function map()
  return la.randn(N, H, H, C)
end

local function pointwise(list)
  memory(list, "x + y", 3 * MAP, function()
    local x <const>, y <const> = map(), map()
    return function() return x + y end
  end)
  memory(list, "x * scale + shift", 4 * MAP, function()
    local x <const>, s <const>, b <const> = map(), la.randn(C), la.randn(C)
    return function() return x * s + b end
  end)
  memory(list, "relu", 2 * MAP, function()
    local x <const> = map()
    return function() return la.relu(x) end, { x }
  end, 3 * MAP)
  memory(list, "batch_norm, frozen", 2 * MAP, function()
    local x <const>, ones <const>, zeros <const> = map(), la.ones(C), la.zeros(C)
    return function() return la.batch_norm(x, ones, zeros, zeros, ones, {}) end, { x }
  end, 2 * MAP)
  memory(list, "batch_norm, training", 3 * MAP, function()
    local x <const>, w <const>, b <const> = map(), la.ones(C), la.zeros(C)
    local mean <const>, var <const> = la.zeros(C), la.ones(C)
    return function() return la.batch_norm(x, w, b, mean, var, { training = true }) end, { x, w, b }
  end, 5 * MAP)
  memory(list, "sum", MAP, function()
    local x <const> = map()
    return function() return x:sum() end
  end)
  memory(list, "softmax over channels", 2 * MAP, function()
    local x <const> = map()
    return function() return x:softmax(-1) end, { x }
  end, 3 * MAP)
  memory(list, "permute to channels first", 2 * MAP, function()
    local x <const> = map()
    return function() return x:permute({ 1, 4, 2, 3 }):contiguous() end
  end)
  memory(list, "adam_step_", 7 * MAP, function()
    local p <const>, g <const>, m <const>, v <const> = map(), map(), map(), map():mul_(0)
    return function() la.adam_step_(p, g, m, v, { lr = 1e-9, step = 3 }) end
  end)
end

-- Four affine grids of size x size.
local function grids(size)
  local one <const> = la.affine_grid(la.tensor { { 0.9, 0.1, 0.05, -0.1, 0.9, 0.02 } }, { height = size, width = size })
  return one:expand({ 4, size, size, 2 }):contiguous()
end

local function spatial(list)
  memory(list, "max_pool2d 3x3/2", MAP * 5 // 4, function()
    local x <const> = map()
    return function() return la.max_pool2d(x, { kernel = 3, stride = 2, padding = 1 }) end, { x }
  end, MAP * 9 // 4)
  memory(list, "avg_pool2d 2x2", MAP * 5 // 4, function()
    local x <const> = map()
    return function() return la.avg_pool2d(x, { kernel = 2 }) end, { x }
  end, MAP * 5 // 4)
  memory(list, "l2_normalize 15x15x1024", 2 * 4 * 16 * 225 * 1024, function()
    local x <const> = la.rand(16, 15, 15, 1024)
    return function() return la.l2_normalize(x) end, { x }
  end, 3 * 4 * 16 * 225 * 1024)
  memory(list, "resize 480x640 to 240x240", 4 * 4 * 3 * (480 * 640 + 240 * 240), function()
    local x <const> = la.rand(4, 480, 640, 3)
    return function() return la.resize(x, { height = 240, width = 240 }) end, { x }
  end, 4 * 4 * 3 * (480 * 640 + 240 * 240))
  memory(list, "grid_sample 240x240", 4 * 4 * 240 * 240 * (3 + 2 + 3), function()
    local x <const> = la.rand(4, 240, 240, 3)
    local grid <const> = grids(240)
    return function() return la.grid_sample(x, grid) end, { x, grid }
  end, 4 * 4 * 240 * 240 * (3 + 3 + 2 + 3 + 2))
  memory(list, "tps_grid 240x240", 4 * 4 * 240 * 240 * 2, function()
    local theta <const> = la.randn(4, 18)
    return function() return la.tps_grid(theta, { height = 240, width = 240 }) end, { theta }
  end, 4 * 4 * 240 * 240 * 2)
  local S <const> = 4 * 4 * 225 * 225
  memory(list, "soft_inlier_count, 4 pairs", S, function()
    local s <const> = la.rand(4, 15, 15, 225)
    local grid <const> = grids(15)
    return function() return la.soft_inlier_count(s, grid) end, { s, grid }
  end, 2 * S)
  list[#list + 1] = {
    name = "correlation, 4 pairs", group = "multiply", flops = 2 * 4 * 225 * 225 * 1024,
    make = function()
      local a <const>, b <const> = la.rand(4, 15, 15, 1024), la.rand(4, 15, 15, 1024)
      return function() return la.correlation(a, b) end, { a, b }
    end,
  }
end

--- All of them: { name, group, flops or bytes, make() -> function, leaves; gradients = bytes backward }.
function ops.list()
  local list <const> = {}
  products(list)
  pointwise(list)
  spatial(list)
  return list
end

-- ---- measuring ----

-- What the operation and its gradient are measured against: seconds an operation, or seconds a byte.
local function probe_for(entry, bytes)
  return entry.flops and timing.peak() or timing.copy(bytes)
end

local function shares(row, prefix, amount, times, entry)
  row[prefix .. "_ms"] = timing.median(times[2]) * 1e3
  row[prefix .. "_percent"] = 100 * amount * timing.ratio(times[1], times[2])
  local rate <const> = amount / timing.median(times[2]) * 1e-9
  row[entry.flops and prefix .. "_gflops" or prefix .. "_gbs"] = rate
end

--- One row, of forward and, unless o.forward_only, backward.
function ops.row(entry, o)
  return la.scope(function()
    local fn <const>, leaves <const> = entry.make()
    local row <const> = { op = entry.name, group = entry.group }
    local peer <const> = o.peer and entry.product and o.peer:contender { kind = "matmul", product = entry.product }
    local amount <const> = entry.flops or entry.bytes
    local times <const> = timing.turns({ probe_for(entry, amount), timing.call(fn), peer }, o.rounds)
    shares(row, "forward", amount, times, entry)
    row.peak = entry.flops and 1e-9 / timing.median(times[1]) or nil
    row.copy = entry.bytes and 1e-9 / timing.median(times[1]) or nil
    if peer then
      row.peer_ms, row.ratio = timing.median(times[3]) * 1e3, timing.ratio(times[2], times[3])
      peer.done()
    end
    if leaves and not o.forward_only then
      local back <const> = entry.flops and #leaves * entry.flops or entry.gradients
      local seed <const> = la.no_grad(function() return la.full(fn():shape(), 0.01) end)
      shares(row, "backward", back, timing.turns({ probe_for(entry, back), timing.gradient(fn, seed, leaves) },
        o.rounds), entry)
    end
    return row
  end)
end

local COLUMNS <const> = {
  { "op" },
  { "forward_ms", title = "forward ms", digits = 3 }, { "forward_gflops", title = "GFLOP/s", digits = 0 },
  { "forward_gbs", title = "GB/s", digits = 1 }, { "forward_percent", title = "% probe", digits = 1 },
  { "backward_ms", title = "backward ms", digits = 3 }, { "backward_gflops", title = "GFLOP/s", digits = 0 },
  { "backward_gbs", title = "GB/s", digits = 1 }, { "backward_percent", title = "% probe", digits = 1 },
  { "peer_ms", title = "peer ms", digits = 3 }, { "ratio", digits = 2 },
}

--- o: rounds, match (part of the names), peer, tick.
function ops.run(o)
  local list <const> = {}
  for _, entry in ipairs(ops.list()) do
    if not o.match or entry.name:find(o.match, 1, true) then
      list[#list + 1] = entry
    end
  end
  if #list == 0 then
    error(string.format("bench: no operation's name holds '%s'", o.match), 0)
  end
  local r <const> = report.new {
    title = "operations", columns = COLUMNS, bars = { "forward_percent", "backward_percent" },
    unit = "% of the probe: multiply-add peak, or a copy of as many bytes", mark = 100,
  }
  local peaks <const>, copies <const> = {}, {}
  for i, entry in ipairs(list) do
    local row <const> = ops.row(entry, o)
    peaks[#peaks + 1], copies[#copies + 1] = row.peak, row.copy
    r:add(row)
    o.tick(i, #list, entry.name)
  end
  r.facts.peak_gflops, r.facts.copy_gbs = timing.median(peaks), timing.median(copies)
  return r
end

return ops
