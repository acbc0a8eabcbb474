-- SPDX-License-Identifier: MIT
--
-- lualign bench layers: every distinct convolution of a network, forward and both gradients, each as a share of the
-- multiply-adds that a probe kernel reaches in turn with it.

local la <const> = require "lualign"
local report <const> = require "lualign.bench.report"
local timing <const> = require "lualign.bench.timing"
local work <const> = require "lualign.bench.work"

local layers <const> = {}

layers.PASSES = { "forward", "data", "weight" }

--- Contenders for the passes of a convolution, by name. method: the op's.
function layers.contenders(layer, method)
  local x <const>, weight <const> = la.randn(layer.x), la.randn(layer.weight)
  local seed <const> = la.randn(layer.y)
  local o <const> = layer.options
  local options <const> = {
    stride = o.stride, padding = o.padding, dilation = o.dilation, groups = o.groups, method = method or "auto",
  }
  local function run()
    return la.conv2d(x, weight, nil, options)
  end
  return {
    forward = function() return timing.call(run) end,
    data = function() return timing.gradient(run, seed, { x }) end,
    weight = function() return timing.gradient(run, seed, { weight }) end,
  }
end

local COLUMNS <const> = { { "layer" }, { "batch" }, { "calls" } }
for _, pass in ipairs(layers.PASSES) do
  COLUMNS[#COLUMNS + 1] = { pass .. "_ms", title = pass .. " ms", digits = 3 }
  COLUMNS[#COLUMNS + 1] = { pass .. "_gflops", title = "GFLOP/s", digits = 0 }
  COLUMNS[#COLUMNS + 1] = { pass .. "_percent", title = "% peak", digits = 1 }
end
for _, pass in ipairs(layers.PASSES) do
  COLUMNS[#COLUMNS + 1] = { pass .. "_peer_ms", title = pass .. " peer ms", digits = 3 }
  COLUMNS[#COLUMNS + 1] = { pass .. "_ratio", title = "ratio", digits = 2 }
end

--- One row: every pass of the layer in turn with the probe and, if there is one, the peer on the same work.
function layers.row(layer, o)
  return la.scope(function()
    local row <const> = { layer = layer.label, batch = layer.x[1], calls = layer.count }
    local make <const> = layers.contenders(layer, o.method)
    for _, pass in ipairs(layers.PASSES) do
      if o.passes[pass] then
        local turn <const> = { timing.peak(), make[pass]() }
        local peer <const> = o.peer and o.peer:contender { kind = "conv", pass = pass, layer = layer }
        turn[#turn + 1] = peer
        local times <const> = timing.turns(turn, o.rounds)
        row[pass .. "_ms"] = timing.median(times[2]) * 1e3
        row[pass .. "_gflops"] = layer.flops / timing.median(times[2]) * 1e-9
        row[pass .. "_percent"] = timing.ratio(times[1], times[2]) * layer.flops * 100
        row.peak = 1e-9 / timing.median(times[1])
        if peer then
          row[pass .. "_peer_ms"] = timing.median(times[3]) * 1e3
          row[pass .. "_ratio"] = timing.ratio(times[2], times[3])
          peer.done()
        end
      end
    end
    return row
  end)
end

--- o: model, images, size, passes (a set), rounds, method, peer, tick(done, total, text).
function layers.run(o)
  local net <const> = work.network(o.model, { images = o.images, size = o.size })
  local list <const> = net.convolutions
  local r <const> = report.new {
    title = "layers of " .. net.title, columns = COLUMNS, bars = {}, unit = "% of the multiply-add peak", mark = 100,
  }
  for _, pass in ipairs(layers.PASSES) do
    if o.passes[pass] then
      r.bars[#r.bars + 1] = pass .. "_percent"
    end
  end
  local peaks <const> = {}
  for i, layer in ipairs(list) do
    local row <const> = layers.row(layer, o)
    peaks[i] = row.peak
    r:add(row)
    o.tick(i, #list, layer.label)
  end
  r.facts.peak_gflops = timing.median(peaks)
  r.facts.method = o.method
  return r
end

return layers
