-- SPDX-License-Identifier: MIT
--
-- A soft arg-max that is trained: a 1x1 convolution on fixed features and a temperature, so that the expected match of
-- each cell of a synthetically warped picture is where the warp says (in the manner of SFNet, CVPR 2019, without
-- masks).
--
--   lualign scripts/variants/soft_argmax.lua --images DIR --root DIR --steps 200

local la <const> = require "lualign"
local cli <const> = require "lualign.cli"

local parser <const> = cli.parser("scripts/variants/soft_argmax.lua", "Trains a soft arg-max on synthetic warps.")
parser:option("--images", "CSV with a column image, or a folder; may be repeated"):argname("FILE|DIR"):count("+")
parser:option("--root", "folder of PF-WILLOW, to score before and after"):argname("DIR")
parser:option("--out", "folder for checkpoints and the log", "runs/soft_argmax"):argname("DIR")
parser:option("--steps", "optimiser steps", 200):argname("N"):convert(cli.count)
parser:option("--batch", "pairs in a step", 8):argname("N"):convert(cli.count)
parser:option("--lr", "learning rate", 1e-3):convert(cli.positive)
parser:flag("--resume", "go on where an interrupted run stopped")
local args <const> = cli.parse(parser, arg)

la.seed(args.seed)
local consensus <const>, nn <const> = la.consensus, la.nn
local features <const> = la.align.default_features():fuse()

-- Starts as the identity on the features, at a temperature of 0.03.
local Adapted <const> = nn.Module.class "Adapted"

function Adapted:init(channels)
  self:child("conv", nn.Conv2d { channels, channels, kernel = 1, bias = false })
  self:parameter("log_beta", la.tensor { math.log(1 / 0.03) })
  la.no_grad(function()
    self.conv.weight:copy_(la.eye(channels):reshape(channels, 1, 1, channels))
  end)
end

--- Source coordinates (N, hB, wB, 2) of two feature maps.
function Adapted:forward(a, b)
  local c <const> = consensus.mutual(consensus.correlate(la.l2_normalize(self.conv(a)), la.l2_normalize(self.conv(b))))
  return consensus.soft_argmax(c * la.exp(self.log_beta), 1)
end

local images <const> = la.data.synthetic.find_images(args.images)
local net <const> = Adapted(features.channels)

local function score(name)
  if args.root then
    local list <const> = la.data.benchmarks.pf_willow(args.root)
    local rows <const> = la.evaluate.run(list, consensus.method(features, function(a, b) return net(a, b) end))
    local pck <const> = la.metrics.summary(rows, 3)
    print(string.format("%-24s PCK@0.05 %.3f PCK@0.10 %.3f PCK@0.15 %.3f", name, pck[1], pck[2], pck[3]))
  end
end

-- Where the centres of h x w cells are under the warp, and 1 where that is within the picture.
local function truth(theta, h, w)
  local edge <const> = (h - 1) / h
  local centres <const> = la.geometry.grid("affine", { edge, 0, 0, 0, edge, 0 }, h, w)
  local where <const> = la.geometry.map_points({ { model = "tps", theta = theta } }, centres)
  local inside <const> = la.le(la.max(la.abs(where), -1), 0.95):astype "float32"
  return where, inside:reshape(theta:size(1), h, w, 1)
end

score("before")
la.train.run {
  model = net,
  data = la.data.synthetic { images = images, model = "tps", canvas = { 300, 400 } },
  optimizer = la.optim.Adam(net:parameters(), { lr = args.lr }),
  schedule = la.optim.schedule.cosine { steps = args.steps }, steps = args.steps, batch = args.batch, out = args.out,
  seed = args.seed, resume = args.resume,
  step = function(batch)
    local a <const>, b <const> = la.no_grad(features, batch.source), la.no_grad(features, batch.target)
    local grid <const> = net(a, b)
    local where <const>, inside <const> = la.no_grad(truth, batch.theta, grid:size(2), grid:size(3))
    local off <const> = (grid - where) * inside
    return (off * off):sum() / la.clamp(inside:sum(), { min = 1 })
  end,
}
net:eval()
score("after")
