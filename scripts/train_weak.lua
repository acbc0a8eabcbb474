-- SPDX-License-Identifier: MIT
--
-- lualign train_weak: trains a two-stage network from image pairs alone, by the soft inlier count (Rocco et al., CVPR
-- 2018).

local la <const> = require "lualign"
local cli <const> = require "lualign.cli"

local parser <const> = cli.parser("train_weak", "Trains from image pairs of one category, with no other annotation.")
parser:option("--pairs", "CSV with source_image and target_image, relative to ROOT; may be repeated")
  :argname("ROOT:FILE"):count("+")
parser:option("--model", "checkpoint to start from, as train_strong writes it"):argname("FILE"):count(1)
parser:option("--out", "folder for checkpoints and the log", "runs/weak"):argname("DIR")
parser:option("--steps", "optimiser steps", 100):argname("N"):convert(cli.count)
parser:option("--batch", "pairs in a step", 16):argname("N"):convert(cli.count)
parser:option("--lr", "learning rate (falls to 0 by a cosine)", 1e-5):convert(cli.positive)
parser:option("--train", "regressors, or everything: all weights, and through the warped picture, as in the paper",
  "regressors")
  :choices { "regressors", "everything" }
parser:option("--augment", "none, crop, flip or crop_flip", "flip"):choices { "none", "crop", "flip", "crop_flip" }
parser:option("--power", "sharpening of the correlation that is counted on; 1 is the paper's", 1):convert(cli.positive)
parser:flag("--resume", "go on where an interrupted run stopped")
local args <const> = cli.parse(parser, arg)

la.seed(args.seed)
local model <const> = la.models.load(args.model)
model:eval() -- frozen statistics, as in the paper
model:requires_grad_(args.train == "everything")
model:regressor("affine"):requires_grad_(true)
model:regressor("tps"):requires_grad_(true)
-- With a fixed trunk the first stage learns from its own two counts alone: the way through the warped picture costs
-- as much as the rest of the step.
model.through_warp = args.train == "everything"

local lists <const> = {}
for k, text in ipairs(args.pairs) do
  local root <const>, list <const> = text:match "^(.-):([^:]+)$"
  if not root then
    cli.fail(string.format("--pairs must be ROOT:FILE, got '%s'", text))
  end
  lists[k] = { root = root, list = root .. "/" .. list }
end

local parameters <const> = {}
for _, p in ipairs(model:parameters()) do
  if p.requires_grad then
    parameters[#parameters + 1] = p
  end
end

la.train.run {
  model = model,
  data = la.data.pairs { lists = lists, size = model.config.size, augment = args.augment },
  optimizer = la.optim.Adam(parameters, { lr = args.lr }),
  schedule = la.optim.schedule.cosine { steps = args.steps },
  steps = args.steps, batch = args.batch, out = args.out, seed = args.seed, resume = args.resume,
  step = function(pair)
    local t <const> = model(pair.source, pair.target)
    local counted <const> = la.refine.sharpen(
      la.correlation(t.source_features, t.target_features, { normalize = false }), args.power)
    return la.losses.weak(counted, t, { offset = model.config.offset })
  end,
}
local path <const> = args.out .. "/model.safetensors"
la.models.save(path, model)
print("wrote " .. path)
