-- SPDX-License-Identifier: MIT
--
-- The main job from end to end, on figures that the library draws itself: train the two-stage network, first from
-- warps of single figures, then from pairs alone, and show on pairs that it has never seen what it learnt.

local la <const> = require "lualign"
local cli <const> = require "lualign.cli"

local parser <const> = cli.parser("demo", "Trains on drawn figures (or on your photographs) and shows what was learnt.")
parser:option("--out", "folder for pictures and checkpoints", "runs/demo"):argname("DIR")
parser:option("--photos", "train on these instead: a folder with one folder of pictures for each category")
  :argname("DIR")
parser:option("--strong", "steps on warps of single figures, for each stage", 100):argname("N"):convert(cli.count)
parser:option("--weak", "steps on pairs", 50):argname("N"):convert(cli.count)
parser:option("--batch", "pairs in a step", 16):argname("N"):convert(cli.count)
parser:option("--test", "held-out pairs", 40):argname("N"):convert(cli.count)
parser:option("--refine", "gradient steps on each test pair's own soft inlier count, at the end", 60)
  :argname("N"):convert(cli.count)
local args <const> = cli.parse(parser, arg)

-- How much pose, size and place differ between two figures: about as much as in photographs of one viewpoint.
local SPREAD <const> = 0.6

-- Held-out figures come from a seed that training never uses.
local held_out <const> = la.data.figures.pairs { count = args.test, seed = 1000003, spread = SPREAD }
local test <const> = {}
for i = 1, args.test do
  local p <const> = held_out:pair(i)
  local a <const>, b <const> = la.keep(p.source:tensor(), p.target:tensor())
  local size <const> = { a:size(2), a:size(1) }
  test[i] = {
    source = a, target = b, source_points = p.source_points, target_points = p.target_points, category = p.category,
    source_size = size, target_size = size,
  }
end

local function score(what, aligner)
  local rows <const> = la.evaluate.run(test, la.evaluate.aligned(aligner))
  local all <const> = la.metrics.summary(rows, 3)
  print(string.format("%-34s PCK@0.05 %.3f PCK@0.10 %.3f PCK@0.15 %.3f", what, all[1], all[2], all[3]))
  return all
end

la.seed(args.seed)
local model <const> = la.models.weakalign { backbone = "mobilenetv2", stages = { "affine", "tps" } }
model.through_warp = false -- half the cost of a step: only the regressors train
local network <const> = la.align.aligner { model = model }
local before <const> = score("before training", network)

-- The trained network, and then gradient steps on the pair itself, on features of twice the resolution.
local function refining()
  return la.align.aligner {
    model = model, refine = args.refine, starts = true,
    features = la.models.features({ trunks = { { "mobilenetv2", layers = { 5, 8, 14 } } } }):fuse(),
  }
end

-- Warps of single figures: each stage's regressor on warps of its own kind.
for k, stage in ipairs { "affine", "tps" } do
  model:requires_grad_(false)
  model:eval()
  local regressor <const> = model:regressor(stage)
  regressor:requires_grad_(true)
  la.train.run {
    model = model,
    data = la.data.figures.singles {
      count = math.max(args.strong * args.batch, 1), model = stage, style = "cnngeometric",
    },
    optimizer = la.optim.Adam(regressor:parameters(), { lr = 1e-3 }),
    schedule = la.optim.schedule.cosine { steps = math.max(args.strong, 1) },
    steps = args.strong, batch = args.batch, seed = args.seed + k, out = args.out .. "/strong_" .. stage,
    step = function(batch)
      regressor:train()
      local correlation <const> = la.no_grad(model.correlate, model, batch.source, batch.target)
      return la.losses.transformed_grid(regressor(correlation), batch.theta, stage)
    end,
  }
  regressor:eval()
end
score("after warps of single figures", network)

-- Pairs alone.
local pairs_ <const> = args.photos
  and la.data.pairs { root = args.photos, size = model.config.size, augment = "crop_flip" }
  or la.data.figures.pairs { count = math.max(args.weak * args.batch, 1), seed = 1, spread = SPREAD }
local regressors <const> = {}
for _, stage in ipairs { "affine", "tps" } do
  model:regressor(stage):requires_grad_(true)
  for _, p in ipairs(model:regressor(stage):parameters()) do
    regressors[#regressors + 1] = p
  end
end
la.train.run {
  model = model, data = pairs_, optimizer = la.optim.Adam(regressors, { lr = 1e-5 }),
  schedule = la.optim.schedule.cosine { steps = math.max(args.weak, 1) },
  steps = args.weak, batch = args.batch, seed = args.seed, out = args.out .. "/weak",
  step = function(pair)
    local t <const> = model(pair.source, pair.target)
    return la.losses.weak(t.correlation, t, { offset = model.config.offset })
  end,
}
local after = score("after pairs alone", network)
la.io.mkdirs(args.out)
la.models.save(args.out .. "/model.safetensors", model)
if args.refine > 0 then
  local refined <const> = refining()
  after = score(string.format("and %d steps on each pair itself", args.refine), refined)
end
print(string.format("held-out figures, PCK@0.10: %.3f before, %.3f after", before[2], after[2]))

-- One row of pictures for a pair of each category: source, target, source warped, overlay.
local function picture_rows()
  local cells <const>, seen <const> = {}, {}
  local aligner <const> = args.refine > 0 and refining() or network
  for i = 1, #test do
    local p <const> = test[i]
    if not seen[p.category] then
      seen[p.category] = true
      local t <const> = la.align(p.source, p.target, aligner)
      for _, image in ipairs { p.source, p.target, t:warped(), t:overlay() } do
        cells[#cells + 1] = image
      end
      la.image.save(string.format("%s/matches_%s.png", args.out, p.category), t:matches())
    end
  end
  return cells
end

local sheet <const> = la.vis.grid { images = picture_rows(), columns = 4 }
la.image.save(args.out .. "/pairs.png", sheet)
print("pictures: " .. args.out .. "/pairs.png (source, target, source warped, both over each other) and matches_*.png")
