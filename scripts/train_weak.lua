-- SPDX-License-Identifier: MIT
--
-- lualign train_weak: trains a two-stage network from image pairs alone, by the soft inlier count (Rocco et al., CVPR
-- 2018).

local la <const> = require "lualign"
local cli <const> = require "lualign.cli"

-- The published recipe: everything trains, also through the warped picture, on random crops; the best model is the one
-- with the highest PCK on validation pairs after an epoch.
local PAPER <const> = { lr = 5e-8, epochs = 15, batch = 16, train = "everything", augment = "crop", power = 1 }
-- Gentle and short, for regressors on a fixed trunk.
local SHORT <const> = { lr = 1e-5, steps = 100, batch = 16, train = "regressors", augment = "flip", power = 1 }

local parser <const> = cli.parser("train_weak", "Trains from image pairs of one category, with no other annotation.")
parser:option("--pairs", "CSV with source_image and target_image, relative to ROOT; may be repeated")
  :argname("ROOT:FILE"):count("+")
parser:option("--model", "checkpoint to start from, as train_strong writes it, or one of the authors'")
  :argname("FILE"):count(1)
parser:option("--second", "a single-stage checkpoint for the second stage"):argname("FILE")
parser:option("--validate", "keypoint pairs (source_image, target_image, XA, YA, XB, YB) to choose the best model by")
  :argname("ROOT:FILE")
parser:option("--out", "folder for checkpoints and the log", "runs/weak"):argname("DIR")
parser:option("--recipe", "short, or paper: as published (--lr 5e-8, 15 epochs, everything trained, crops)", "short")
  :choices { "short", "paper" }
parser:option("--steps", "optimiser steps (default: 100, or the recipe's epochs)"):argname("N"):convert(cli.count)
parser:option("--batch", "pairs in a step (default: 16)"):argname("N"):convert(cli.count)
parser:option("--lr", "learning rate; the short recipe's falls to 0 by a cosine (default: 1e-5, paper 5e-8)")
  :convert(cli.positive)
parser:option("--train", "regressors, or everything: all weights, and through the warped picture, as in the paper")
  :choices { "regressors", "everything" }
parser:option("--finetune", "with everything: only the trunk's parameters whose names hold one of these, by commas")
  :argname("LIST")
parser:flag("--freeze-bn", "with everything: not the scales and shifts of the trunk's batch norms")
parser:flag("--authors-names", "--finetune and --freeze-bn as the authors' code does it: by its own names, where only "
  .. "what holds 'bn' is a batch norm")
parser:flag("--batch-statistics", "batch norms use the batch's statistics and renew their own; not in the paper")
parser:option("--augment", "none, crop, flip or crop_flip"):choices { "none", "crop", "flip", "crop_flip" }
parser:option("--power", "sharpening of the correlation that is counted on; 1 is the paper's"):convert(cli.positive)
parser:option("--dilation", "of the mask that is counted on: 0 (the paper's), 4 or 8 neighbours", 0)
  :argname("N"):convert(cli.count)
parser:flag("--smooth", "smooth the mask by 3 x 3 instead")
parser:option("--reg", "of the spline in the count", 0.2):argname("R"):convert(cli.number)
parser:option("--offset", "of the grid in the count (default: the model's)"):argname("O"):convert(cli.positive)
parser:flag("--unnormalized", "do not divide the count by the sum of the mask")
parser:option("--negatives", "margin of the count of pairs over that of pairs of other categories, which join the "
  .. "loss; difference: count minus count, without a margin"):argname("MARGIN")
parser:flag("--symmetric", "count from target to source too")
parser:option("--cycle", "weight of how far there and back again is from where it began; implies --symmetric", 0)
  :argname("W"):convert(cli.number)
parser:flag("--resume", "go on where an interrupted run stopped")
local args <const> = cli.parse(parser, arg)
for name, value in pairs(args.recipe == "paper" and PAPER or SHORT) do
  if args[name] == nil and not (name == "epochs" and args.steps) then
    args[name] = value
  end
end

la.seed(args.seed)
local model = la.models.load(args.model)
if args.second then
  model = la.models.join(model, la.models.load(args.second))
end
model:eval() -- frozen statistics, as in the paper
model:requires_grad_(args.train == "everything")
if args.train == "everything" then
  local names <const> = {}
  for part in (args.finetune or ""):gmatch "[^,]+" do
    names[#names + 1] = part
  end
  la.models.finetune(model, {
    names = args.finetune and names or { "" }, batch_norm = not args.freeze_bn, authors = args.authors_names,
  })
end
for k = 1, #model.stages do
  model:regressor(k):requires_grad_(true)
end
-- With a fixed trunk the first stage learns from its own two counts alone: the way through the warped picture costs
-- as much as the rest of the step.
model.through_warp = args.train == "everything"

local function root_and_list(text, option)
  local root <const>, list <const> = text:match "^(.-):([^:]+)$"
  if not root then
    cli.fail("%s must be ROOT:FILE, got '%s'", option, text)
  end
  return root, root .. "/" .. list
end

local lists <const> = {}
for k, text in ipairs(args.pairs) do
  local root <const>, list <const> = root_and_list(text, "--pairs")
  lists[k] = { root = root, list = list }
end

-- Mean PCK at 0.1 by the paper's procedure, which has the loss's regulariser in the spline too.
local function validation()
  local root <const>, path <const> = root_and_list(args.validate, "--validate")
  local list <const> = la.data.benchmarks.pf_pascal(root, { list = path })
  return function()
    model:eval()
    local aligner <const> = la.align.aligner { model = model }
    local method <const> = la.evaluate.aligned(aligner)
    local rows <const> = la.evaluate.run(list, function(pair)
      local result <const> = method(pair)
      local stages <const> = {}
      for k, stage in ipairs(la.geometry.stages(result.map)) do
        stages[k] = {
          model = stage.model, theta = stage.theta, grid = stage.grid, reg = stage.model == "tps" and 0.2 or nil,
        }
      end
      return { map = stages }
    end, { alphas = { 0.1 } })
    return { pck = la.metrics.means(rows, { { "pck", function(row) return row.pck[1] end } }).pck }
  end
end

local parameters <const> = {}
for _, p in ipairs(model:parameters()) do
  if p.requires_grad then
    parameters[#parameters + 1] = p
  end
end

-- The stages and what they are counted on.
local function answer(source, target)
  local t <const> = model(source, target)
  return {
    stages = t:compose(), correlation = la.refine.sharpen(
      la.correlation(t.source_features, t.target_features, { normalize = false }), args.power),
  }
end

local how <const> = {
  offset = args.offset or model.config.offset, dilation = args.dilation, smooth = args.smooth, reg = args.reg,
  normalize = not args.unnormalized,
}

-- `how` with more in it.
local function with(name, value)
  local out <const> = { [name] = value }
  for key, other in pairs(how) do
    out[key] = other
  end
  return out
end

local margin <const> = args.negatives ~= "difference" and args.negatives and (tonumber(args.negatives)
  or cli.fail("--negatives must be a number or difference, got '%s'", args.negatives)) or nil
if args.negatives and (args.symmetric or args.cycle ~= 0) then
  cli.fail "--negatives and --symmetric or --cycle exclude each other"
end

local function loss_of(pair)
  if args.batch_statistics then
    model:train()
  end
  local positive <const> = answer(pair.source, pair.target)
  if args.negatives then
    return la.losses.weak_contrast(positive, answer(pair.source, pair.negative), with("margin", margin))
  elseif args.symmetric or args.cycle ~= 0 then
    return la.losses.weak_symmetric(positive, answer(pair.target, pair.source), with("cycle", args.cycle))
  end
  return la.losses.weak(positive.correlation, positive.stages, how)
end

la.train.run {
  model = model,
  data = la.data.pairs {
    lists = lists, size = model.config.size, augment = args.augment, negatives = args.negatives ~= nil,
  },
  optimizer = la.optim.Adam(parameters, { lr = args.lr }),
  schedule = args.recipe == "short" and la.optim.schedule.cosine { steps = args.steps } or nil,
  steps = args.steps, epochs = args.epochs, batch = args.batch, out = args.out, seed = args.seed, resume = args.resume,
  validate = args.validate and validation() or nil, best = args.validate and "pck" or nil,
  step = loss_of,
}
local path <const> = args.out .. "/model.safetensors"
la.models.save(path, model)
print("wrote " .. path)
