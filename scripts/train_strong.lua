-- SPDX-License-Identifier: MIT
--
-- lualign train_strong: trains the regressors on synthetic warps of single images (CNNGeometric, CVPR 2017). The
-- features stay as they are; the stages train each on its own warps, independently, in one model.

local la <const> = require "lualign"
local cli <const> = require "lualign.cli"

-- What the authors' scripts do. weakalign: two phases at a constant rate, the second from the first one's best.
-- cnngeometric, of 2019: one, its rate a cosine that goes down and up again every 1000 steps; the trunk's batch norms
-- use the batch's statistics and renew their own, although its weights are frozen.
local RECIPES <const> = {
  paper = {
    batch = 32, style = "weakalign", phases = { { lr = 1e-3, epochs = 50 }, { lr = 2e-4, epochs = 50 } },
  },
  cnngeometric = {
    batch = 16, style = "cnngeometric", batch_statistics = true,
    phases = { { lr = 1e-3, epochs = 20, schedule = function(step)
      return 1e-3 + (1 - 1e-3) * 0.5 * (1 + math.cos(math.pi * (step - 1) / 1000))
    end } },
  },
}

local parser <const> = cli.parser("train_strong", "Trains from synthetic warps of single images.")
parser:option("--images", "CSV with a column image, or a folder; may be repeated"):argname("FILE|DIR"):count("+")
parser:option("--validate", "the same, for the loss by which the best model is kept"):argname("FILE|DIR"):count("*")
parser:option("--root", "folder that pictures of lists are relative to (default: the list's own)"):argname("DIR")
parser:flag("--fixed", "take transformations from the lists, as the authors' oldest ones have them, not at random")
parser:option("--out", "folder for checkpoints and the log", "runs/strong"):argname("DIR")
parser:option("--recipe", "short: one phase of --steps, falling rate; paper: two phases of 50 epochs, as published; "
  .. "cnngeometric: one of 20, as that repository has it", "short"):choices { "short", "paper", "cnngeometric" }
parser:option("--style", "ranges of random warps: weakalign, or cnngeometric's narrower ones (default: the recipe's)")
  :choices { "weakalign", "cnngeometric" }
parser:option("--backbone", "mobilenetv2, efficientnet_lite0, resnet18 to resnet152, vgg16, vgg19 or densenet201",
  "mobilenetv2")
parser:option("--weights", "file of the backbone's weights"):argname("FILE")
parser:option("--layers", "of the backbone, joined by commas (default: those of the papers)"):argname("LIST")
parser:option("--stages", "transformations, joined by commas: affine, similarity, homography (:9 as a matrix), "
  .. "tps, tps:GRID, tps:GRID:REG", "affine,tps"):argname("LIST")
parser:option("--stage", "which of them to train: its name, or all one after the other", "all"):argname("NAME")
parser:option("--steps", "short: optimiser steps of each stage", 1000):argname("N"):convert(cli.count)
parser:option("--epochs", "epochs of each of the recipe's phases"):argname("N"):convert(cli.count)
parser:option("--batch", "pairs in a step (default: the recipe's; 16, paper 32)"):argname("N"):convert(cli.count)
parser:option("--lr", "short: learning rate (falls to 0 by a cosine)", 1e-3):convert(cli.positive)
parser:option("--loss", "grid: distance of transformed points; theta: of the parameters themselves", "grid")
  :choices { "grid", "theta" }
parser:flag("--batch-statistics", "the trunk's batch norms too use the batch's statistics and renew their own")
parser:option("--model", "start from this checkpoint"):argname("FILE")
parser:flag("--resume", "go on where an interrupted run stopped")
local args <const> = cli.parse(parser, arg)

la.seed(args.seed)
local recipe <const> = RECIPES[args.recipe]

-- "affine,tps:5:0.1,homography:9" -> { "affine", { model = "tps", grid = 5, reg = 0.1 }, { model =, outputs = 9 } }
local function stages_of(text)
  local list <const> = {}
  for word in text:gmatch "[^,]+" do
    local name <const>, grid <const>, reg <const> = word:match "^([^:]+):?([^:]*):?([^:]*)$"
    local count <const> = math.tointeger(tonumber(grid))
    if name ~= word and not (count and (reg == "" or tonumber(reg))) then
      cli.fail("--stages: '%s' must be a name, tps:GRID or tps:GRID:REG", word)
    end
    local outputs <const> = name == "homography"
    list[#list + 1] = name ~= word and {
      model = name, grid = not outputs and count or nil, outputs = outputs and count or nil, reg = tonumber(reg),
    } or word
  end
  return list
end

local function layers_of(text)
  local list <const> = {}
  for word in text:gmatch "[^,]+" do
    list[#list + 1] = math.tointeger(tonumber(word)) or word
  end
  return list
end

local model <const> = args.model and la.models.load(args.model) or la.models.weakalign {
  backbone = args.backbone, weights = args.weights, stages = stages_of(args.stages),
  layers = args.layers and layers_of(args.layers) or nil, identity = not recipe,
}
local images <const> = la.data.synthetic.find_images(args.images, args.root)
local held_out <const> = #args.validate > 0 and la.data.synthetic.find_images(args.validate, args.root) or nil

-- The transformations that lists fix for a stage.
local function fixed_thetas(places, stage)
  local all <const> = {}
  for _, place in ipairs(args.fixed and places or {}) do
    local _, thetas <const> = la.data.synthetic.read_list(place, args.root, stage.model)
    table.move(thetas, 1, #thetas, #all + 1, all)
  end
  return args.fixed and all or nil
end

local function data_of(list, stage)
  return la.data.synthetic {
    images = list, thetas = fixed_thetas(list == images and args.images or args.validate, stage),
    model = stage.model, grid = stage.grid, reg = stage.reg, size = model.config.size,
    style = args.style or (recipe or RECIPES.paper).style, flip = not recipe,
    canvas = recipe and { 480, 640 } or { 300, 400 },
  }
end

local function loss_of(regressor, stage, batch)
  local correlation <const> = la.no_grad(model.correlate, model, batch.source, batch.target)
  if args.loss == "theta" then
    return la.losses.theta_mse(regressor(correlation), batch.theta)
  end
  return la.losses.transformed_grid(regressor(correlation), batch.theta, stage.model, {
    grid = stage.grid, reg = stage.reg,
  })
end

-- The mean loss on the pictures held out, each warped once: the same warps every time.
local function validation(regressor, stage, batch)
  local data <const> = data_of(held_out, stage)
  local rng <const> = require "lualign.util.rng"
  return function()
    model:eval()
    local sum, count = 0, 0
    for first = 1, data:length(), batch do
      local indices <const> = {}
      for i = first, math.min(first + batch - 1, data:length()) do
        indices[#indices + 1] = i
      end
      la.scope(function()
        local loss <const> = loss_of(regressor, stage, data:batch(indices, function(i) return rng(0, 0, i) end))
        sum = sum + loss:item() * #indices
      end)
      count = count + #indices
    end
    return { loss = sum / count }
  end
end

-- One phase of one stage: its regressor trains on warps of its own kind, with batch statistics; the rest is frozen.
local function train(k, stage, phase, out)
  local regressor <const>, batch <const> = model:regressor(k), args.batch or recipe and recipe.batch or 16
  la.train.run {
    model = model, data = data_of(images, stage), optimizer = la.optim.Adam(regressor:parameters(), { lr = phase.lr }),
    schedule = phase.schedule or phase.steps and la.optim.schedule.cosine { steps = phase.steps } or nil,
    steps = phase.steps, epochs = phase.epochs, batch = batch, out = out, seed = args.seed + k - 1,
    resume = args.resume,
    validate = held_out and validation(regressor, stage, batch) or nil, best = held_out and "loss" or nil,
    best_is = "min",
    step = function(pairs_of_batch)
      regressor:train()
      model.FeatureExtraction:train(args.batch_statistics or recipe and recipe.batch_statistics or false)
      return loss_of(regressor, stage, pairs_of_batch)
    end,
  }
  if held_out then -- what follows starts from the best
    local best <const> = la.models.load(out .. "/best.safetensors")
    model:load_state_dict(best:state_dict())
  end
end

local function train_stage(k, stage, name)
  model:requires_grad_(false)
  model:eval()
  model:regressor(k):requires_grad_(true)
  if recipe then
    for p, phase in ipairs(recipe.phases) do
      train(k, stage, { lr = phase.lr, epochs = args.epochs or phase.epochs, schedule = phase.schedule },
        string.format("%s/%s/phase%d", args.out, name, p))
    end
  else
    train(k, stage, { lr = args.lr, steps = args.steps }, args.out .. "/" .. name)
  end
  model:eval()
end

local trained = 0
for k, stage in ipairs(model.stages) do
  if args.stage == "all" or args.stage == stage.model then
    train_stage(k, stage, stage.model)
    trained = trained + 1
  end
end
if trained == 0 then
  cli.fail("--stage must be all or one of %s, got '%s'", args.stages, args.stage)
end
local path <const> = args.out .. "/model.safetensors"
la.models.save(path, model)
print("wrote " .. path)
