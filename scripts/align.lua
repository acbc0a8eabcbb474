-- SPDX-License-Identifier: MIT
--
-- lualign align A B -o DIR: aligns two pictures and writes what a person would look at.

local la <const> = require "lualign"
local cli <const> = require "lualign.cli"

local parser <const> = cli.parser("align", "Aligns picture A (the source) to picture B (the target).")
parser:argument("source", "the picture to be warped"):args(1)
parser:argument("target", "the picture to align it to"):args(1)
parser:option("-o --out", "folder for the results", "aligned"):argname("DIR")
parser:option("--model", "a trained network; without it the shipped features are aligned by gradient ascent")
  :argname("FILE")
parser:option("--refine", "gradient steps on the pair's own soft inlier count (default: 60 without a model, 0 with)")
  :argname("N"):convert(cli.count)
parser:option("--power", "sharpening of the correlation that --refine counts on", 4):argname("P"):convert(cli.positive)
parser:option("--precision", "of convolutions: bfloat16 is faster on devices that compute with it", "default")
  :choices { "default", "strict", "bfloat16" }
parser:flag("--inverse", "also the target as seen in the source's frame, by the numerical inverse")
local args <const> = cli.parse(parser, arg)

local t <const> = la.align(args.source, args.target, {
  model = args.model, refine = args.refine, power = args.power, precision = args.precision,
})
la.io.mkdirs(args.out)

local function write(name, image)
  local path <const> = args.out .. "/" .. name
  la.image.save(path, image)
  print("wrote " .. path)
end

write("warped.png", t:warped())
write("overlay.png", t:overlay())
write("matches.png", t:matches())
if args.inverse then
  write("unwarped.png", t:unwarped())
end

-- The stages in the paper's order: the map from target to source is affine(tps(p)), normalised coordinates, corners
-- aligned.
local result <const> = {
  source = args.source, target = args.target, soft_inliers = t.scores, stages = la.geometry.plain_stages(t.stages),
}
la.io.write_file(args.out .. "/transformation.json", la.io.json_encode(result, { indent = true }) .. "\n")
print("wrote " .. args.out .. "/transformation.json")
print(t)
