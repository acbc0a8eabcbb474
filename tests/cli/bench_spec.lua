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

  it("start: seconds of processes of their own", function()
    local json <const> = bench("start", "--model=mobilenetv2", "--images=1", "--size=32", "--rounds=1")
    assert.equal(5, #json.rows)
    for _, row in ipairs(json.rows) do
      positive(row.ms, row.what)
    end
  end)

  it("data: how much of a step waits", function()
    local data <const> = require "lualign.bench.data"
    local r <const> = la.scope(function()
      return data.run { images = 2, size = 240, rounds = 2, kinds = 1, tick = function() end }
    end)
    assert.equal(1, #r.rows)
    positive(r.rows[1].step_ms, "the step")
    positive(r.rows[1].wait_ms, "the wait")
    positive(r.rows[1].decode_ms, "decoding")
    assert(r.rows[1].wait_ms < r.rows[1].step_ms)
  end)

  it("targets: status 1 if one is short, 0 if those that could be measured hold", function()
    local rows <const> = [[
      local targets <const> = require "lualign.bench.targets"
      local function row(name, holds)
        return { name, "a target", function() return { measured = name .. "!", holds = holds, notes = { "so" } } end }
      end
      targets.ROWS = { row("good", true), row("impossible", false), row("elsewhere", nil) }
    ]]
    local function targets(...)
      return run { "-e", rows, "bench", "targets", ... }
    end
    local all <const> = targets()
    assert.equal(1, all.status, all.err)
    assert(all.out:find "2 +impossible +a target +impossible! +short")
    assert(all.out:find "3 +elsewhere +a target +elsewhere! +not measured")
    assert(all.out:find " 1  so\n")
    local some <const> = targets("--only=1,3", "--json", dir .. "/t.json")
    assert.equal(0, some.status, some.err)
    local json <const> = la.io.json_decode(tmp.read(dir .. "/t.json"))
    assert.same({ "holds", "not measured" }, { json.rows[1].verdict, json.rows[2].verdict })
    assert(targets("--only=4").err:find("--only must be numbers from 1 to 3, got '4'", 1, true))
  end)

  it("targets: has the rows that it should, and can measure one", function()
    local r <const> = run { "bench", "targets", "--only=11" }
    assert(r.status == 0 or r.status == 1, r.err)
    assert(r.out:find "11 +GPU kernels")
    assert.equal(11, #require("lualign.bench.targets").ROWS)
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
    refuses("--peer must be a Python that can import torch, got '/bin/false'", "network", "--peer=/bin/false")
    refuses("--ways must be of installed, best", "network", "--peer=/bin/false", "--ways=worst")
  end)
end)

describe("a peer", function()
  local peer_of <const> = require "lualign.bench.peer"
  local dir

  before_each(function() dir = tmp.dir() end)
  after_each(function() tmp.remove(dir) end)

  -- A stand-in for Python: a shell script that answers whatever it is asked with the next of these lines.
  local function stand_in(...)
    local path <const> = dir .. "/python"
    tmp.write(path, "#!/bin/sh\n[ \"$1\" = -c ] && exit 0\n" .. table.concat({ ... }, "\n") .. "\n")
    os.execute("chmod +x " .. run.quote(path))
    return path
  end

  local function answers(...)
    local lines <const> = {}
    for i, text in ipairs { ... } do
      lines[i] = "read request; echo '" .. text .. "'"
    end
    return stand_in(table.concat(lines, "\n"))
  end

  it("is asked line by line", function()
    local peer <const> = peer_of.open {
      python = answers('{"torch":"2","threads":2}', '{"calls":3}', '{"seconds":0.25}', '{}'),
    }
    assert.same({ "installed", "best" }, peer.ways) -- no OpenVINO there
    local contender <const> = peer:contender({ kind = "matmul" }, "best")
    assert.equal(0.25, contender.sample())
    contender.done()
    peer:close()
    assert.is_true(peer:can("openvino", "resnet101"))
    assert.is_false(peer:can("openvino", "weak_step"))
    assert.is_false(peer:can("compile", "conv"))
  end)

  it("gives its errors, and says when it is gone", function()
    local peer <const> = peer_of.open { python = answers('{"threads":2}', '{"error":"no such thing"}') }
    assert.has_error(function() peer:contender { kind = "matmul" } end, "bench: the peer says: no such thing")
    peer:close()
    assert.error_matches(function() peer_of.open { python = stand_in "echo out of luck >&2" } end,
      "the peer, .*, ended: out of luck")
  end)
end)
