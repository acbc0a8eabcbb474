-- SPDX-License-Identifier: MIT
--
-- lualign bench WHAT: measures how fast layers, operations, networks and training run here, against what the device
-- could do at most.

local la <const> = require "lualign"
local cli <const> = require "lualign.cli"

local WHAT <const> = { "layers", "ops", "network" }

local parser <const> = cli.parser("bench", "Measures how fast things run on a device, against what it could do at most."
  .. "\n\nlayers: every distinct convolution of a network; ops: operations one by one; network: whole networks.")
parser:argument("what", "what to measure"):args(1):choices(WHAT)
parser:option("--model", "layers: of which network; network: which one (may be repeated)"):argname("NAME"):count("*")
parser:option("--images", "images, or pairs of them, at once (may be repeated for layers)"):argname("N")
  :convert(cli.count):count("*")
parser:option("--size", "height and width of images"):argname("PIXELS"):convert(cli.count)
parser:option("--pass", "layers: forward, data (gradient) or weight (gradient); all by default")
  :choices { "forward", "data", "weight" }:count("*")
parser:option("--method", "layers: which kernels; plain, cpu, gpu, ...", "auto")
parser:option("--match", "ops: only those whose name holds this"):argname("TEXT")
parser:option("--rounds", "samples of each, taken in turn; the median counts", 7):argname("N"):convert(cli.count)
parser:option("--json", "writes the results as JSON"):argname("FILE")
parser:option("--csv", "writes the results as a table"):argname("FILE")
parser:option("--svg", "writes a bar chart"):argname("FILE")
local args <const> = cli.parse(parser, arg)

local function set_of(list, all)
  local set <const> = {}
  for _, name in ipairs(#list > 0 and list or all) do
    set[name] = true
  end
  return set
end

-- A tick(done, total, text) that draws a line of progress.
local meter
local function tick(done, total, text)
  meter = meter or cli.progress("bench " .. args.what, total)
  meter:update(done, text)
end

local function rounds()
  if args.rounds < 1 then
    cli.fail("--rounds must be at least 1, got %d", args.rounds)
  end
  return args.rounds
end

local run <const> = {}

function run.layers()
  local layers <const> = require "lualign.bench.layers"
  local report
  for _, images in ipairs(#args.images > 0 and args.images or { 2, 8 }) do
    meter = nil
    local more <const> = layers.run {
      model = args.model[1] or "resnet101", images = images, size = args.size, rounds = rounds(),
      passes = set_of(args.pass, layers.PASSES), method = args.method, tick = tick,
    }
    meter:finish()
    for _, row in ipairs(report and more.rows or {}) do
      report:add(row)
    end
    report = report or more
  end
  return report
end

function run.ops()
  return require "lualign.bench.ops".run { rounds = rounds(), match = args.match, tick = tick }
end

function run.network()
  local network <const> = require "lualign.bench.network"
  return network.run {
    networks = #args.model > 0 and args.model or network.DEFAULT, images = args.images[1], size = args.size,
    rounds = rounds(), tick = tick,
  }
end

la.seed(args.seed)
local report <const> = run[args.what]()
if meter then
  meter:finish()
end
report:print()
report:write { json = args.json, csv = args.csv, svg = args.svg }
