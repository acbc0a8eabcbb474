-- SPDX-License-Identifier: MIT
--
-- lualign train_strong: trains the regressors on synthetic warps of single images (CNNGeometric, CVPR 2017). The
-- features stay as they are; affine and thin-plate spline train each on its own warps, in the two stages of one
-- model.

local la <const> = require "lualign"
local cli <const> = require "lualign.cli"

local parser <const> = cli.parser("train_strong", "Trains from synthetic warps of single images.")
parser:option("--images", "CSV with a column image, or a folder; may be repeated"):argname("FILE|DIR"):count("+")
parser:option("--out", "folder for checkpoints and the log", "runs/strong"):argname("DIR")
parser:option("--backbone", "mobilenetv2, efficientnet_lite0, resnet101 or vgg16", "mobilenetv2")
parser:option("--stage", "which regressor to train: affine, tps, or both one after the other", "both")
  :choices { "affine", "tps", "both" }
parser:option("--steps", "optimiser steps of each stage", 1000):argname("N"):convert(cli.count)
parser:option("--batch", "pairs in a step", 16):argname("N"):convert(cli.count)
parser:option("--lr", "learning rate (falls to 0 by a cosine)", 1e-3):convert(cli.positive)
parser:option("--model", "start from this checkpoint"):argname("FILE")
parser:option("--validate", "PF-WILLOW-like folder whose keypoints are scored after each stage"):argname("DIR")
parser:flag("--resume", "go on where an interrupted run stopped")
local args <const> = cli.parse(parser, arg)

la.seed(args.seed)
local model <const> = args.model and la.models.load(args.model) or la.models.weakalign {
  backbone = args.backbone, stages = { "affine", "tps" },
}
local images <const> = la.data.synthetic.find_images(args.images)

-- One stage: its regressor trains on warps of its own kind, with batch statistics; everything else is frozen.
local function train(stage, seed)
  local out <const> = args.out .. "/" .. stage
  model:requires_grad_(false)
  model:eval()
  local regressor <const> = model:regressor(stage)
  regressor:requires_grad_(true)
  local data <const> = la.data.synthetic { images = images, model = stage, canvas = { 300, 400 } }
  la.train.run {
    model = model, data = data, optimizer = la.optim.Adam(regressor:parameters(), { lr = args.lr }),
    schedule = la.optim.schedule.cosine { steps = args.steps },
    steps = args.steps, batch = args.batch, out = out, seed = seed,
    resume = args.resume,
    step = function(batch)
      regressor:train()
      local correlation <const> = la.no_grad(model.correlate, model, batch.source, batch.target)
      local theta <const> = regressor(correlation)
      return la.losses.transformed_grid(theta, batch.theta, stage)
    end,
  }
  regressor:eval()
end

for k, stage in ipairs { "affine", "tps" } do
  if args.stage == "both" or args.stage == stage then
    train(stage, args.seed + k - 1)
  end
end
local path <const> = args.out .. "/model.safetensors"
la.models.save(path, model)
print("wrote " .. path)
