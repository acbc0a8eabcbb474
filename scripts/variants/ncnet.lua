-- SPDX-License-Identifier: MIT
--
-- Neighbourhood consensus (Rocco et al., NeurIPS 2018): filters over the four dimensions of the correlation, trained
-- from image pairs alone: matches of a pair should be surer than those of its source with another pair's target.
--
--   lualign scripts/variants/ncnet.lua --pairs ROOT:FILE --root DIR --steps 100

local la <const> = require "lualign"
local cli <const> = require "lualign.cli"

local parser <const> = cli.parser("scripts/variants/ncnet.lua", "Trains neighbourhood consensus from image pairs.")
parser:option("--pairs", "CSV with source_image and target_image, relative to ROOT; may be repeated")
  :argname("ROOT:FILE"):count("+")
parser:option("--root", "folder of PF-WILLOW, to score before and after"):argname("DIR")
parser:option("--out", "folder for checkpoints and the log", "runs/ncnet"):argname("DIR")
parser:option("--steps", "optimiser steps", 100):argname("N"):convert(cli.count)
parser:option("--batch", "pairs in a step", 4):argname("N"):convert(cli.count)
parser:option("--lr", "learning rate", 5e-4):convert(cli.positive)
parser:option("--kernel", "of the filters, along each of the four dimensions", 3):argname("K"):convert(cli.count)
parser:option("--temperature", "of the soft arg-max", 0.03):convert(cli.positive)
parser:flag("--resume", "go on where an interrupted run stopped")
local args <const> = cli.parse(parser, arg)

la.seed(args.seed)
local consensus <const> = la.consensus
local SIZE <const> = 240
local features <const> = la.align.default_features():fuse()
local net <const> = consensus.Neighbourhood { channels = { 16, 1 }, kernel = args.kernel }

local lists <const> = {}
for k, text in ipairs(args.pairs) do
  local root <const>, list <const> = text:match "^(.-):([^:]+)$"
  if not root then
    cli.fail("--pairs must be ROOT:FILE, got '%s'", text)
  end
  lists[k] = { root = root, list = root .. "/" .. list }
end

local function score(name, filter)
  if not args.root then
    return
  end
  local method <const> = consensus.method(features, function(a, b)
    return consensus.soft_argmax(filter(consensus.mutual(consensus.correlate(a, b))), args.temperature)
  end, SIZE)
  local pck <const> = la.metrics.summary(la.evaluate.run(la.data.benchmarks.pf_willow(args.root), method), 3)
  print(string.format("%-24s PCK@0.05 %.3f PCK@0.10 %.3f PCK@0.15 %.3f", name, pck[1], pck[2], pck[3]))
end

-- The batch with its rows moved on by one: another pair's.
local function next_rows(t)
  local n <const> = t:size(1)
  return la.cat({ t:narrow(1, 2, n - 1), t:narrow(1, 1, 1) }, 1)
end

local function filtered(a, b)
  return net(consensus.mutual(consensus.correlate(a, b)))
end

score("mutual matches", function(c) return c end)
if args.batch < 2 then
  cli.fail("--batch must be at least 2: negatives are made within it")
end
la.train.run {
  model = net, data = la.data.pairs { lists = lists, size = SIZE, augment = "crop_flip" },
  optimizer = la.optim.Adam(net:parameters(), { lr = args.lr }), steps = args.steps, batch = args.batch,
  out = args.out, seed = args.seed, resume = args.resume,
  step = function(pair)
    local a <const>, b <const> = la.no_grad(features, pair.source), la.no_grad(features, pair.target)
    return consensus.weak_loss(filtered(a, b), filtered(a, next_rows(b)))
  end,
}
net:eval():requires_grad_(false)
score("filtered matches", net)
