-- SPDX-License-Identifier: MIT
--
-- lualign bench: tables with rows of numbers, files that parse. How fast anything is, no test says.

local chart <const> = require "lualign.bench.chart"
local la <const> = require "lualign"
local run <const> = require "lib.run"
local timing <const> = require "lualign.bench.timing"
local tmp <const> = require "lib.tmp"
local work <const> = require "lualign.bench.work"

-- Raises unless the text is well-formed as far as SVG without comments and CDATA goes; returns the count of each tag.
local function parse_xml(text)
  local open <const>, counts <const> = {}, {}
  local at = 1
  while true do
    local from <const>, to <const>, close, name, attributes, empty = text:find("<(/?)([%w]+)([^<>]-)(/?)>", at)
    local between <const> = text:sub(at, (from or #text + 1) - 1)
    assert(not between:find "[<>]", "a stray bracket in: " .. between)
    assert(not between:gsub("&%a+;", ""):gsub("&#%d+;", ""):find "&", "a stray & in: " .. between)
    if not from then
      break
    end
    assert(attributes:gsub('%s+[%w:-]+="[^"<&]*"', "") == "", "attributes: " .. attributes)
    if close == "/" then
      assert.equal(table.remove(open), name)
    else
      counts[name] = (counts[name] or 0) + 1
      if empty == "" then
        open[#open + 1] = name
      end
    end
    at = to + 1
  end
  assert.equal(0, #open)
  return counts
end

local function positive(value, what)
  assert(math.type(value) and value > 0 and value < math.huge, what .. " is " .. tostring(value))
end

describe("timing", function()
  it("takes medians, and medians of ratios pair by pair", function()
    assert.equal(2, timing.median { 9, 1, 2 })
    assert.equal(3, timing.median { 4, 2 })
    assert.is_nil(timing.median {})
    assert.equal(3, timing.ratio({ 3, 60, 1 }, { 1, 10, 1 }))
  end)

  it("lets contenders take turns, from either end", function()
    local order <const> = {}
    local function contender(name)
      return {
        sample = function()
          order[#order + 1] = name
          return #order
        end,
      }
    end
    local times <const> = timing.turns({ contender "a", contender "b" }, 3)
    assert.equal("abbaab", table.concat(order))
    assert.same({ { 1, 4, 5 }, { 2, 3, 6 } }, times)
  end)

  it("times calls and backward passes, and leaves leaves as they were", function()
    local x <const> = la.randn(5, 7)
    positive(timing.call(function() return x * x end).sample(), "a call")
    local back <const> = timing.gradient(function() return x * x end, la.ones(5, 7), { x })
    positive(back.sample(), "a gradient")
    assert.is_false(x.requires_grad)
    assert.is_nil(x.grad)
    positive(timing.peak().sample(), "the peak")
    positive(timing.copy(1000).sample(), "a copy")
  end)
end)

describe("work", function()
  it("finds the distinct convolutions of a network", function()
    local w <const>, v <const> = la.randn(4, 3, 3, 6), la.randn(4, 3, 3, 2)
    local x <const> = la.randn(2, 9, 7, 6)
    local original <const> = la.conv2d
    local list <const>, flops <const> = work.convolutions(function()
      for _ = 1, 3 do
        la.conv2d(x, w, nil, { stride = 2, padding = 1 })
      end
      la.conv2d(x, w)
      la.conv2d(la.randn(2, 9, 7, 4), v, nil, { groups = 2, padding = { 1, 0, 2, 1 }, dilation = { 1, 2 } })
    end)
    assert.equal(original, la.conv2d)
    assert.equal(3, #list)
    assert.same({ 3, 1, 1 }, { list[1].count, list[2].count, list[3].count })
    assert.same({ 2, 5, 4, 4 }, list[1].y)
    assert.same({ 2, 8, 6, 4 }, list[3].y)
    assert.equal(2 * 2 * 5 * 4 * 4 * 9 * 6, list[1].flops)
    assert.equal(3 * list[1].flops + list[2].flops + list[3].flops, flops)
    assert.equal("9x7 6->4 3x3/2", list[1].label)
    assert.equal("9x7 4->4 3x3 in 2 groups", list[3].label)
  end)

  it("puts the op back after an error", function()
    local original <const> = la.conv2d
    assert.has_error(function() work.convolutions(function() error("stop", 0) end) end, "stop")
    assert.equal(original, la.conv2d)
  end)
end)

describe("chart", function()
  it("is well-formed whatever the names hold", function()
    local counts <const> = parse_xml(chart {
      title = "a < b & c", unit = "%", mark = 100, footnote = "\"quoted\" 'text'",
      series = { { title = "<one>" }, { title = "two" } },
      groups = { { label = "é & <x>", values = { 3.5, 120 } }, { label = "none", values = { nil, 0 } } },
    })
    assert.equal(1, counts.svg)
    assert.equal(1 + 2 + 3, counts.rect) -- the ground, the legend, the values there are
    parse_xml(chart { title = "empty", series = {}, groups = {} })
  end)
end)

describe("lualign bench", function()
  local dir

  before_each(function() dir = tmp.dir() end)
  after_each(function() tmp.remove(dir) end)

  local function bench(...)
    local r <const> = run {
      "bench", "--json", dir .. "/r.json", "--csv", dir .. "/r.csv", "--svg", dir .. "/r.svg", ...,
    }
    assert.equal(0, r.status, r.err)
    local json <const> = la.io.json_decode(tmp.read(dir .. "/r.json"))
    parse_xml(tmp.read(dir .. "/r.svg"))
    local _, lines <const> = tmp.read(dir .. "/r.csv"):gsub("\r\n", "")
    assert.equal(#json.rows + 1, lines)
    assert.equal("string", type(json.facts.device))
    return json, r.out
  end

  it("layers: a row for each layer, with all passes", function()
    local json <const>, out <const> = bench("layers", "--model=mobilenetv2", "--images=1", "--size=32", "--rounds=1")
    assert(#json.rows > 20)
    for _, row in ipairs(json.rows) do
      for _, pass in ipairs { "forward", "data", "weight" } do
        positive(row[pass .. "_ms"], row.layer .. " " .. pass)
        positive(row[pass .. "_percent"], row.layer .. " " .. pass)
      end
      assert(out:find(row.layer, 1, true))
    end
    positive(json.facts.peak_gflops, "the peak")
  end)

  it("layers: only the passes that are asked for", function()
    local json <const>, out <const> = bench("layers", "--model=mobilenetv2", "--images=1", "--size=32", "--rounds=1",
      "--pass=forward", "--method=plain")
    assert.is_nil(json.rows[1].data_ms)
    positive(json.rows[1].forward_ms, "forward")
    assert.is_nil(out:find "data ms")
  end)

  it("ops: shares of the probe that suits", function()
    local json <const> = bench("ops", "--match=12", "--rounds=1")
    for _, row in ipairs(json.rows) do
      assert(row.op:find "12")
      positive(row.forward_percent, row.op)
    end
    local memory <const> = bench("ops", "--match=soft_inlier", "--rounds=1").rows[1]
    positive(memory.forward_gbs, "GB/s")
    positive(memory.backward_percent, "backward")
    assert.is_nil(memory.forward_gflops)
  end)

  it("network: time and memory", function()
    local row <const> = bench("network", "--model=mobilenetv2", "--images=1", "--size=64", "--rounds=1").rows[1]
    for _, key in ipairs { "ms", "gflop", "gflops", "percent", "memory_mb" } do
      positive(row[key], key)
    end
    assert.equal(64, row.size)
  end)

  it("refuses what it does not know", function()
    local function refuses(message, ...)
      local r <const> = run { "bench", ... }
      assert.equal(1, r.status)
      assert(r.err:find(message, 1, true), r.err)
    end
    refuses("layer", "layer")
    refuses("no network 'alexnet', but efficientnet_lite0, forward", "network", "--model=alexnet")
    refuses("no operation's name holds 'zzz'", "ops", "--match=zzz")
    refuses("--rounds must be at least 1", "ops", "--rounds=0")
  end)
end)
