-- SPDX-License-Identifier: MIT
--
-- lualign evaluate: keypoint transfer on a data set. The last line is the mean over all pairs.

local la <const> = require "lualign"
local cli <const> = require "lualign.cli"

local parser <const> = cli.parser("evaluate", "Scores an alignment by how many keypoints it transfers (PCK).")
parser:option("--dataset", "pf-willow, or pairs (with --list)", "pf-willow"):choices { "pf-willow", "pairs" }
parser:option("--root", "folder of the data set"):argname("DIR"):count(1)
parser:option("--list", "for pairs: CSV with source_image, target_image, XA, YA, XB, YB"):argname("FILE")
parser:option("--model", "a trained network, identity, nearest, or untrained (features and --refine alone)", "identity")
  :argname("FILE|identity|nearest|untrained")
parser:option("--refine", "gradient steps on each pair's own soft inlier count"):argname("N"):convert(cli.count)
parser:flag("--starts", "let --refine begin also from eleven affine starts, not from the network's answer alone")
parser:option("--power", "sharpening of the correlation that --refine counts on", 4):argname("P"):convert(cli.positive)
parser:option("--precision", "of convolutions: bfloat16 is faster on devices that compute with it", "default")
  :choices { "default", "strict", "bfloat16" }
parser:option("--json", "write every pair's transformations and scores there"):argname("FILE")
local args <const> = cli.parse(parser, arg)

local function pairs_of_dataset()
  if args.dataset == "pf-willow" then
    return la.data.keypoints.pf_willow(args.root)
  elseif not args.list then
    cli.fail("--dataset pairs needs --list")
  end
  return la.data.keypoints.list(args.list, args.root)
end

local function method()
  local evaluate <const> = la.evaluate
  if args.model == "identity" then
    return evaluate.identity()
  elseif args.model == "nearest" then
    return evaluate.nearest(la.align.default_features():fuse { precision = args.precision }, 240, "antialias")
  end
  local model = args.model
  if model == "untrained" then
    model = nil
  end
  local starts = nil
  if model and args.starts then
    starts = true
  end
  return evaluate.aligned(la.align.aligner {
    model = model, refine = args.refine, starts = starts, power = args.power, precision = args.precision,
  })
end

local list <const> = pairs_of_dataset()
local meter <const> = cli.progress("evaluate", #list)
local rows <const> = la.evaluate.run(list, method(), { progress = function(i) meter:update(i) end })
meter:finish()

local function line(name, count, pck)
  return string.format("%-20s %5d pairs  PCK@0.05 %.3f PCK@0.10 %.3f PCK@0.15 %.3f", name, count,
    pck[1], pck[2], pck[3])
end

local all <const>, categories <const> = la.metrics.summary(rows, 3)
for _, c in ipairs(categories) do
  print(line(c.category, c.pairs, c.pck))
end
if args.json then
  la.io.write_file(args.json, la.io.json_encode({
    dataset = args.dataset, model = args.model, refine = args.refine, alphas = la.evaluate.ALPHAS, pck = all,
    pairs = rows,
  }) .. "\n")
end
print(string.format("PCK@0.05 %.3f PCK@0.10 %.3f PCK@0.15 %.3f", all[1], all[2], all[3]))
