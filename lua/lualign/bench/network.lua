-- SPDX-License-Identifier: MIT
--
-- lualign bench network: whole networks, forward or a training step: time, operations of the convolutions against the
-- probe's, and the memory of the device.

local la <const> = require "lualign"
local report <const> = require "lualign.bench.report"
local timing <const> = require "lualign.bench.timing"
local work <const> = require "lualign.bench.work"

local network <const> = {}

network.DEFAULT = { "resnet101", "forward", "weak_step", "mobilenetv2", "efficientnet_lite0" }

-- Which of the peer's ways a kind of work is measured against.
local function peers_of(net, o)
  local list <const> = {}
  for _, way in ipairs(o.peer and o.peer.ways or {}) do
    if o.peer:can(way, net.name) then
      list[#list + 1] = way
    end
  end
  return list
end

--- Times a network in turn with the probe and, if there is one, the peer in each of its ways. Returns a row.
function network.row(name, o)
  local row
  la.scope(function()
    local net <const> = work.network(name, { images = o.images, size = o.size, precision = o.precision })
    la.device.reset_peak()
    local turn <const> = { timing.peak(), timing.call(net.run) }
    local ways <const> = peers_of(net, o)
    for _, way in ipairs(ways) do
      turn[#turn + 1] = o.peer:contender({ kind = net.name, images = net.images, size = net.size }, way)
    end
    local times <const> = timing.turns(turn, o.rounds)
    row = {
      network = net.title, images = net.images, size = net.size, ms = timing.median(times[2]) * 1e3,
      each_ms = timing.median(times[2]) * 1e3 / net.images, gflop = net.flops * 1e-9,
      gflops = net.flops / timing.median(times[2]) * 1e-9, percent = 100 * net.flops * timing.ratio(times[1], times[2]),
      memory_mb = la.device.memory().peak / 2 ^ 20, peak = 1e-9 / timing.median(times[1]),
    }
    for k, way in ipairs(ways) do
      row[way .. "_ms"] = timing.median(times[2 + k]) * 1e3
      row[way .. "_ratio"] = timing.ratio(times[2], times[2 + k])
      turn[2 + k].done()
    end
  end)
  collectgarbage()
  return row
end

local COLUMNS <const> = {
  { "network" }, { "size" }, { "ms", digits = 1 }, { "each_ms", title = "ms each", digits = 1 },
  { "gflop", title = "GFLOP", digits = 1 }, { "gflops", title = "GFLOP/s", digits = 0 },
  { "percent", title = "% peak", digits = 1 }, { "memory_mb", title = "peak MB", digits = 0 },
}

--- o: networks (names), images, size, rounds, peer, tick.
function network.run(o)
  local columns <const>, bars <const> = table.move(COLUMNS, 1, #COLUMNS, 1, {}), { "each_ms" }
  for _, way in ipairs(o.peer and o.peer.ways or {}) do
    columns[#columns + 1] = { way .. "_ms", title = way .. " ms", digits = 1 }
    columns[#columns + 1] = { way .. "_ratio", title = "ratio", digits = 2 }
    bars[#bars + 1] = way .. "_each_ms"
    columns[#columns + 1] = { way .. "_each_ms", title = way .. " ms each", digits = 1, hidden = true }
  end
  local r <const> = report.new {
    title = "networks", columns = columns, bars = bars, unit = "ms for an image or a pair",
  }
  local peaks <const> = {}
  for i, name in ipairs(o.networks) do
    local row <const> = network.row(name, o)
    for _, way in ipairs(o.peer and o.peer.ways or {}) do
      row[way .. "_each_ms"] = row[way .. "_ms"] and row[way .. "_ms"] / row.images
    end
    peaks[i] = row.peak
    r:add(row)
    o.tick(i, #o.networks, row.network)
  end
  r.facts.peak_gflops = timing.median(peaks)
  return r
end

return network
