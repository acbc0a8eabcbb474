-- SPDX-License-Identifier: MIT
--
-- lualign bench WHAT: measures how fast layers, operations, networks and training run here, against what the device
-- could do at most.

local la <const> = require "lualign"
local cli <const> = require "lualign.cli"

local WHAT <const> = { "layers", "ops", "network", "start", "data", "targets" }

local parser <const> = cli.parser("bench", "Measures how fast things run on a device, against what it could do at most."
  .. "\n\nlayers: every distinct convolution of a network; ops: operations one by one; network: whole networks; start: "
  .. "what comes before the first result; data: how long training waits for pictures; targets: what must hold.")
parser:argument("what", "what to measure"):args(1):choices(WHAT)
parser:option("--model", "layers: of which network; network: which one (may be repeated)"):argname("NAME"):count("*")
parser:option("--images", "images, or pairs of them, at once (may be repeated for layers)"):argname("N")
  :convert(cli.count):count("*")
parser:option("--size", "height and width of images"):argname("PIXELS"):convert(cli.count)
parser:option("--pass", "layers: forward, data (gradient) or weight (gradient); all by default")
  :choices { "forward", "data", "weight" }:count("*")
parser:option("--method", "layers: which kernels; plain, cpu, gpu, ...", "auto")
parser:option("--match", "ops: only those whose name holds this"):argname("TEXT")
parser:option("--rounds", "samples of each, taken in turn; the median counts (default 7, for targets 5)"):argname("N")
  :convert(cli.count)
parser:option("--only", "targets: the numbers of the rows, as 1,3"):argname("LIST")
parser:option("--other", "targets: the second device of row 9, as --device has it"):argname("D")
parser:option("--peer", "a Python with PyTorch, and perhaps OpenVINO, to be timed on the same work in turn")
  :argname("PYTHON")
parser:option("--ways", "network: how the peer does it: installed,best,compile,openvino,openvino_bf16"):argname("LIST")
parser:option("--json", "writes the results as JSON"):argname("FILE")
parser:option("--csv", "writes the results as a table"):argname("FILE")
parser:option("--svg", "writes a bar chart"):argname("FILE")
local args <const> = cli.parse(parser, arg)

-- ---- the arguments ----

local function set_of(list, all)
  local set <const> = {}
  for _, name in ipairs(#list > 0 and list or all) do
    set[name] = true
  end
  return set
end

-- The words of "a,b".
local function words(text)
  local list <const> = {}
  for word in (text or ""):gmatch "[^,%s]+" do
    list[#list + 1] = word
  end
  return list
end

-- --only as a set of numbers; nil: all.
local function only(count)
  if not args.only then
    return nil
  end
  local set <const> = {}
  for _, word in ipairs(words(args.only)) do
    local n <const> = math.tointeger(tonumber(word))
    if not n or n < 1 or n > count then
      cli.fail("--only must be numbers from 1 to %d, got '%s'", count, args.only)
    end
    set[n] = true
  end
  return set
end

local function rounds(default)
  local n <const> = args.rounds or default or 7
  if n < 1 then
    cli.fail("--rounds must be at least 1, got %d", n)
  end
  return n
end

local function open_peer()
  if not args.peer then
    return nil
  end
  local Peer <const> = require "lualign.bench.peer"
  local known <const> = {}
  for _, way in ipairs(Peer.all()) do
    known[way] = true
  end
  for _, way in ipairs(words(args.ways)) do
    if not known[way] then
      cli.fail("--ways must be of %s, got '%s'", table.concat(Peer.all(), ", "), way)
    end
  end
  return Peer.open { python = args.peer, ways = args.ways and words(args.ways) }
end

-- A tick(done, total, text) that draws a line of progress.
local meter
local function tick(done, total, text)
  meter = meter or cli.progress("bench " .. args.what, total)
  meter:update(math.floor(done), text)
end

local function end_meter()
  if meter then
    meter:finish()
    meter = nil
  end
end

-- ---- what can be measured ----

local run <const> = {}

function run.layers(peer)
  local layers <const> = require "lualign.bench.layers"
  local report
  for _, images in ipairs(#args.images > 0 and args.images or { 2, 8 }) do
    end_meter()
    local more <const> = layers.run {
      model = args.model[1] or "resnet101", images = images, size = args.size, rounds = rounds(),
      passes = set_of(args.pass, layers.PASSES), method = args.method, peer = peer, tick = tick,
    }
    for _, row in ipairs(report and more.rows or {}) do
      report:add(row)
    end
    report = report or more
  end
  return report
end

function run.ops(peer)
  return require "lualign.bench.ops".run { rounds = rounds(), match = args.match, peer = peer, tick = tick }
end

function run.network(peer)
  local network <const> = require "lualign.bench.network"
  return network.run {
    networks = #args.model > 0 and args.model or network.DEFAULT, images = args.images[1], size = args.size,
    rounds = rounds(), peer = peer, tick = tick,
  }
end

function run.start()
  return require "lualign.bench.start".run {
    rounds = rounds(), images = args.images[1], size = args.size, network = args.model[1], device = args.device,
    tick = tick,
  }
end

function run.data()
  return require "lualign.bench.data".run {
    rounds = rounds(), images = args.images[1], size = args.size, tick = tick,
  }
end

function run.targets(peer)
  local targets <const> = require "lualign.bench.targets"
  return targets.run {
    rounds = rounds(5), only = only(#targets.ROWS), peer = peer, device = args.device, other = args.other, tick = tick,
  }
end

-- ---- the run ----

la.seed(args.seed)
local peer <const> = open_peer()
local ok <const>, report, holds = pcall(run[args.what], peer)
end_meter()
if peer then
  peer:close()
end
if not ok then
  error(report, 0)
end
report:print()
report:write { json = args.json, csv = args.csv, svg = args.svg }
if holds == false then
  cli.exit(1)
end
