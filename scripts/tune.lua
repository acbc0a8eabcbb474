-- SPDX-License-Identifier: MIT
--
-- lualign tune: measures which kernels are best for the shapes of a network on this device, and keeps a record that all
-- later runs obey.

local la <const> = require "lualign"
local cli <const> = require "lualign.cli"
local tune <const> = require "lualign.bench.tune"
local work <const> = require "lualign.bench.work"

local parser <const> = cli.parser("tune", "Measures which kernels are best for the shapes that a network calls, and"
  .. " keeps a record that all later runs on this device obey. Every choice is checked against the plain kernels. What"
  .. " is done is kept when it is interrupted.")
parser:option("--model", "whose shapes: " .. table.concat(work.networks(), ", ") .. " (may be repeated; default: "
  .. "resnet101, forward, weak_step)"):argname("NAME"):count("*")
parser:option("--images", "images, or pairs of them, at once"):argname("N"):convert(cli.count)
parser:option("--size", "height and width of images"):argname("PIXELS"):convert(cli.count)
parser:option("--minutes", "time for all of it; the shapes with most work come first", 2):argname("M")
  :convert(cli.positive)
parser:option("--op", "only the shapes of conv2d, or of gemm (matmul, linear, 1x1 convolutions)")
  :choices { "conv2d", "gemm" }
parser:flag("--list", "prints the record and measures nothing")
parser:flag("--forget", "empties the record and measures nothing")
parser:option("--json", "writes the results as JSON"):argname("FILE")
local args <const> = cli.parse(parser, arg)

if args.forget then
  la.device.forget_choices()
  print "the record is empty"
  return
end

if args.list then
  for _, c in ipairs(la.device.choices()) do
    print(string.format("%s\t%s\t%s\t%.4g ms", c.pass, c.shape, c.method, c.milliseconds))
  end
  return
end

la.seed(args.seed)
local shapes <const>, known <const> = {}, {}
for _, name in ipairs(#args.model > 0 and args.model or { "resnet101", "forward", "weak_step" }) do
  local run <const> = work.runner(name, { images = args.images, size = args.size })
  for _, choice in ipairs(tune.shapes(run)) do
    local key <const> = choice.pass .. " " .. choice.shape
    if not known[key] and (not args.op or choice.pass:sub(1, #args.op) == args.op) then
      known[key] = true
      shapes[#shapes + 1] = choice
    end
  end
  collectgarbage()
end

local meter
local report <const> = tune.run {
  shapes = shapes, seconds = 60 * args.minutes, save = la.device.save_choices,
  tick = function(i, n, text)
    meter = meter or cli.progress("tune", n)
    meter:update(i, text)
  end,
}
if meter then
  meter:finish()
end
report:print()
if report.left > 0 then
  print(string.format("%d shapes with less work were not reached", report.left))
end
report:write { json = args.json }
if require "lualign.interrupt".pending() then
  require "lualign.interrupt".stop()
end
