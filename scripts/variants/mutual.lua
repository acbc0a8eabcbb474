-- SPDX-License-Identifier: MIT
--
-- Dense matches instead of one transformation, with nothing trained: nearest neighbours, mutual ones, and their soft
-- arg-max, scored on keypoints.
--
--   lualign scripts/variants/mutual.lua --root DIR        a folder of PF-WILLOW

local la <const> = require "lualign"
local cli <const> = require "lualign.cli"

local parser <const> = cli.parser("scripts/variants/mutual.lua", "Scores dense matches of the shipped features.")
parser:option("--root", "folder of PF-WILLOW"):argname("DIR"):count(1)
parser:option("--size", "side to which pictures are resized", 240):argname("N"):convert(cli.count)
parser:option("--temperature", "of the soft arg-max", 0.03):convert(cli.positive)
local args <const> = cli.parse(parser, arg)

local consensus <const> = la.consensus
local features <const> = la.align.default_features():fuse()
local list <const> = la.data.benchmarks.pf_willow(args.root)

local function score(name, matches)
  local rows <const> = la.evaluate.run(list, consensus.method(features, matches, args.size))
  local pck <const> = la.metrics.summary(rows, 3)
  print(string.format("%-24s PCK@0.05 %.3f PCK@0.10 %.3f PCK@0.15 %.3f", name, pck[1], pck[2], pck[3]))
end

score("nearest cells", function(a, b)
  return consensus.argmax(consensus.correlate(a, b))
end)
score("mutual nearest cells", function(a, b)
  return consensus.argmax(consensus.mutual(consensus.correlate(a, b)))
end)
score("mutual, soft arg-max", function(a, b)
  return consensus.soft_argmax(consensus.mutual(consensus.correlate(a, b)), args.temperature)
end)
