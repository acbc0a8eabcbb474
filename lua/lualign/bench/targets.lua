-- SPDX-License-Identifier: MIT
--
-- lualign bench targets: what the compute engine must reach, what it reaches here, and whether that holds. A row's
-- measure(o) returns { measured = text, holds = true, false or nil (could not be measured), notes = { lines } }.
--
-- The rows on speed are here, those on starts, memory and other devices in targets_system.lua. Shares are of the
-- multiply-add peak that probes reach in turn with the work; ratios are our time over the peer's, the median of pairs.

local child <const> = require "lualign.bench.child"
local la <const> = require "lualign"
local layers <const> = require "lualign.bench.layers"
local network <const> = require "lualign.bench.network"
local ops <const> = require "lualign.bench.ops"
local report <const> = require "lualign.bench.report"
local timing <const> = require "lualign.bench.timing"
local work <const> = require "lualign.bench.work"

local targets <const> = {}

local NEEDS_PEER <const> = "needs --peer"
local NEEDS_OPENVINO <const> = "needs --peer with OpenVINO"

-- ---- 1: products ----

local SHARES <const> = {
  { "square", "1024^3", 90 }, { "pointwise", "1x1", 85 }, { "odd", "1000x777x1153", 75 },
  { "correlation", "225x225x1024", 80 },
}

local function products(o)
  local least <const>, notes <const> = {}, {}
  local list <const> = ops.list()
  for i, entry in ipairs(list) do
    local counts = false
    for _, share in ipairs(SHARES) do
      counts = counts or share[1] == entry.group
    end
    if counts then
      local row <const> = ops.row(entry, { rounds = o.rounds, forward_only = true })
      notes[#notes + 1] = string.format("%-28s %8.3f ms  %5.1f %%", row.op, row.forward_ms, row.forward_percent)
      least[entry.group] = math.min(row.forward_percent, least[entry.group] or math.huge)
      o.tick(i / #list, row.op)
    end
  end
  local parts <const>, holds = {}, true
  for k, share in ipairs(SHARES) do
    parts[k] = string.format("%s %.0f %%", share[2], least[share[1]])
    holds = holds and least[share[1]] >= share[3]
  end
  return { measured = table.concat(parts, ", "), holds = holds, notes = notes }
end

-- ---- 2: layers ----

local DIRECT <const> = { forward = 85, data = 75, weight = 75 }
local WINOGRAD <const> = "15x15 256->256 3x3" -- of batch 8: at most half of the peer's time

-- One pass of a layer: the probe, ours by choice, ours direct, the peer.
local function layer_pass(layer, pass, o)
  return la.scope(function()
    local turn <const> = {
      timing.peak(), layers.contenders(layer, "auto")[pass](), layers.contenders(layer, "cpu")[pass](),
      o.peer and o.peer:contender { kind = "conv", pass = pass, layer = layer },
    }
    local times <const> = timing.turns(turn, o.rounds)
    if turn[4] then
      turn[4].done()
    end
    return {
      ms = timing.median(times[2]) * 1e3, direct = 100 * layer.flops * timing.ratio(times[1], times[3]),
      ratio = turn[4] and timing.ratio(times[2], times[4]),
    }
  end)
end

local function count_layer(sum, layer, pass, r)
  local name <const> = string.format("%s %s, batch %d", layer.label, pass, layer.x[1])
  sum.notes[#sum.notes + 1] = string.format("%-46s %8.3f ms  direct %5.1f %%%s", name, r.ms, r.direct,
    r.ratio and string.format("  peer x %.2f", r.ratio) or "")
  sum.passes = sum.passes + 1
  sum.weak = sum.weak + (r.direct < DIRECT[pass] and 1 or 0)
  sum.slower = sum.slower + (r.ratio and r.ratio > 1 and 1 or 0)
  sum.worst = math.max(sum.worst, r.ratio or 0)
  if layer.label == WINOGRAD and layer.x[1] == 8 and pass == "forward" then
    sum.winograd = r.ratio
  end
end

local function convolutions(o)
  local sum <const> = { notes = {}, passes = 0, weak = 0, slower = 0, worst = 0 }
  for k, images in ipairs { 2, 8 } do
    local list <const> = work.network("resnet101", { images = images, size = 240 }).convolutions
    for i, layer in ipairs(list) do
      for _, pass in ipairs(layers.PASSES) do
        count_layer(sum, layer, pass, layer_pass(layer, pass, o))
      end
      o.tick((k - 1 + i / #list) / 2, layer.label)
    end
  end
  local measured = string.format("direct below the mark in %d of %d passes", sum.weak, sum.passes)
  if not o.peer then
    return { measured = measured .. "; " .. NEEDS_PEER, notes = sum.notes }
  end
  measured = string.format("slower in %d of %d passes (worst %.2fx); %s; Winograd %.2fx", sum.slower, sum.passes,
    sum.worst, measured, sum.winograd)
  return { measured = measured, holds = sum.slower == 0 and sum.weak == 0 and sum.winograd <= 0.5, notes = sum.notes }
end

-- ---- 3 to 6: networks ----

-- A row of `bench network`; the ways are those of the peer that count for it.
local function timed(name, o, ways, precision)
  local only <const> = o.peer and setmetatable({ ways = {} }, { __index = o.peer })
  for _, way in ipairs(o.peer and ways or {}) do
    if o.peer.info.openvino or not way:find "^openvino" then
      only.ways[#only.ways + 1] = way
    end
  end
  return network.row(name, { rounds = o.rounds, peer = only, precision = precision })
end

local function note(row, ways)
  local text = string.format("%s: %.1f ms, peak %.0f MB", row.network, row.ms, row.memory_mb)
  for _, way in ipairs(ways) do
    if row[way .. "_ms"] then
      text = string.format("%s; %s %.1f ms, ratio %.2f", text, way, row[way .. "_ms"], row[way .. "_ratio"])
    end
  end
  return text
end

local TRUNK_WAYS <const> = { "installed", "best", "openvino" }

-- The trunk in bfloat16 against OpenVINO's; nil where the device or the library cannot.
local function in_bfloat16(o, notes)
  local ok <const>, row <const> = pcall(timed, "resnet101", o, { "openvino_bf16" }, "bfloat16")
  if not ok then
    notes[#notes + 1] = "bfloat16: " .. tostring(row)
    return nil
  end
  notes[#notes + 1] = "bfloat16: " .. note(row, { "openvino_bf16" })
  return row
end

local function trunk(o)
  local row <const> = timed("resnet101", o, TRUNK_WAYS)
  local notes <const> = { note(row, TRUNK_WAYS) }
  o.tick(0.6, "bfloat16")
  local half <const> = in_bfloat16(o, notes)
  local measured = string.format("%.1f ms%s", row.ms, half and string.format(", bfloat16 %.1f ms", half.ms) or "")
  if not row.openvino_ratio then
    return { measured = measured .. "; " .. NEEDS_OPENVINO, notes = notes }
  end
  measured = string.format("%s; %.2fx OpenVINO (%.1f ms)%s", measured, row.openvino_ratio, row.openvino_ms,
    half and string.format(", bfloat16 %.2fx", half.openvino_bf16_ratio) or ", no bfloat16")
  return {
    measured = measured, notes = notes,
    holds = row.openvino_ratio < 1 and half ~= nil and half.openvino_bf16_ratio <= 1.1,
  }
end

local function forward(o)
  local ways <const> = { "installed", "best" }
  local row <const> = timed("forward", o, ways)
  if not row.best_ratio then
    return { measured = string.format("%.1f ms; %s", row.ms, NEEDS_PEER), notes = { note(row, ways) } }
  end
  return {
    measured = string.format("%.1f ms; %.2fx PyTorch's best (%.1f ms)", row.ms, row.best_ratio, row.best_ms),
    holds = row.best_ratio <= 0.6, notes = { note(row, ways) },
  }
end

-- Largest resident sets of processes that do nothing but train.
local function resident(o)
  local ours <const> = child.run("steps", { network = "weak_step", steps = 3 }, { device = o.device }).resident
  return ours, o.peer and o.peer:memory_of({ kind = "weak_step", images = 4, size = 240 }, "installed")
end

local function weak_step(o)
  local ways <const> = { "installed", "best" }
  local row <const> = timed("weak_step", o, ways)
  o.tick(0.7, "memory")
  local ours <const>, theirs <const> = resident(o)
  local notes <const> = { note(row, ways), string.format("resident: ours %.2f GB%s", (ours or 0) / 1e9,
    theirs and string.format(", PyTorch %.2f GB", theirs / 1e9) or "") }
  local measured <const> = string.format("%.0f ms a pair, %.2f GB", row.each_ms, (ours or 0) / 1e9)
  if not row.best_ratio or not ours then
    return { measured = measured .. "; " .. NEEDS_PEER, notes = notes }
  end
  return {
    measured = string.format("%s; %.2fx PyTorch's best (%.0f ms a pair), %.2fx its memory", measured, row.best_ratio,
      row.best_ms / row.images, ours / theirs),
    holds = row.best_ratio <= 0.65 and ours / theirs <= 0.5, notes = notes,
  }
end

local function small_trunks(o)
  local parts <const>, notes <const>, holds = {}, {}, true
  for k, name in ipairs { "mobilenetv2", "efficientnet_lite0" } do
    local row <const> = timed(name, o, TRUNK_WAYS)
    notes[k] = note(row, TRUNK_WAYS)
    parts[k] = string.format("%.1f ms%s", row.ms,
      row.openvino_ratio and string.format(" = %.2fx OpenVINO", row.openvino_ratio) or "")
    if not row.openvino_ratio then
      holds = nil
    else
      holds = holds and row.openvino_ratio < 1
    end
    o.tick(k / 2, name)
  end
  return { measured = table.concat(parts, ", ") .. (holds == nil and "; " .. NEEDS_OPENVINO or ""), holds = holds,
    notes = notes }
end

-- ---- the table ----

--- The rows on speed; targets_system.lua adds the rest.
targets.ROWS = {
  { "products", "90 / 85 / 75 / 80 % of the multiply-add peak", products },
  { "convolutions of ResNet-101", "none slower than PyTorch; direct 85 / 75 %; Winograd 0.5x", convolutions },
  { "ResNet-101, two images", "below OpenVINO; bfloat16 at most 1.1x", trunk },
  { "two-stage network, a pair", "at most 0.6x PyTorch's best", forward },
  { "weak training step, 4 pairs", "at most 0.65x PyTorch's best, 0.5x its memory", weak_step },
  { "small trunks, two images", "below OpenVINO", small_trunks },
}

local VERDICT <const> = { [true] = "holds", [false] = "short" }

local COLUMNS <const> = {
  { "number", title = "#" }, { "work" }, { "target" }, { "measured" }, { "verdict" },
  { "seconds", digits = 1, hidden = true },
}

--- Measures the rows whose numbers are in o.only (a set; nil: all) and returns the report, and whether all that could
-- be measured holds. o: rounds, peer, device, other (a second device, for row 9), tick, rows (default: all there are).
function targets.run(o)
  local r <const> = report.new { title = "targets", columns = COLUMNS, bars = {}, notes = {} }
  local rows <const>, good = o.rows or targets.ROWS, true
  for number, row in ipairs(rows) do
    if not o.only or o.only[number] then
      local start <const> = la.device.clock()
      local how <const> = setmetatable({
        tick = function(share, text) o.tick(number - 1 + share, #rows, row[1] .. ": " .. text) end,
      }, { __index = o })
      o.tick(number - 1, #rows, row[1])
      local result <const> = row[3](how)
      r:add {
        number = number, work = row[1], target = row[2], measured = result.measured,
        verdict = VERDICT[result.holds] or "not measured", seconds = la.device.clock() - start,
      }
      good = good and result.holds ~= false
      for _, line in ipairs(result.notes or {}) do
        r.notes[#r.notes + 1] = string.format("%2d  %s", number, line)
      end
      collectgarbage()
    end
  end
  return r, good
end

table.move(require "lualign.bench.targets_system", 1, 5, #targets.ROWS + 1, targets.ROWS)

return targets
