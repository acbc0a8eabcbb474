-- SPDX-License-Identifier: MIT
--
-- The networks of CNNGeometric (one stage) and of "End-to-end weakly-supervised semantic alignment" (affine, then thin-plate
-- spline).
--
--   local net = la.models.weakalign { backbone = "mobilenetv2", stages = { "affine", "tps" } }
--   local t = net(source, target)        -- images (N, size, size, 3), RGB of 0..255
--   t.affine (N, 6), t.tps (N, 18), t.correlation (N, h, w, h*w), t.source_features, t.target_features
--
-- The second stage sees the source warped by the first one's answer, on normalised values, so that what lies outside is the
-- mean colour. The map from target to source is affine(tps(p)). State is named as in the authors' files: FeatureExtraction,
-- FeatureRegression (the first stage) and FeatureRegression2.

local la <const> = require "lualign"
local nn <const> = la.nn
local options <const> = require "lualign.util.options"
local Features <const> = require "lualign.models.features"
local Regressor <const> = require "lualign.models.regressor"

-- Which layers; and where the cells lie: grid coordinate 1 is `offset` times its place in the image.
local BACKBONES <const> = {
  mobilenetv2 = { layers = { 8, 14, 15 }, offset = 239 / 224 },
  efficientnet_lite0 = { layers = { 10, 14 }, offset = 239 / 224 },
  resnet101 = { layers = { "layer3" }, offset = 227 / 210 },
  vgg16 = { layers = { "pool4" }, offset = 227 / 210 },
}

local NAMES <const> = { "FeatureRegression", "FeatureRegression2" }

local Weakalign <const> = nn.Module.class "Weakalign"

function Weakalign:init(given)
  local o <const> = options.check("weakalign", given, {
    backbone = "mobilenetv2", layers = options.optional "table", stages = { "affine", "tps" }, size = 240,
    identity = true, weights = options.optional, pretrained = true, offset = options.optional "number",
  })
  local backbone <const> = BACKBONES[o.backbone]
  if not backbone then
    error(string.format("weakalign: backbone must be mobilenetv2, efficientnet_lite0, resnet101 or vgg16, got '%s'", o.backbone), 3)
  end
  if #o.stages < 1 or #o.stages > 2 then
    error(string.format("weakalign: stages must be one or two transformations, got %d", #o.stages), 3)
  end
  local layers <const> = o.layers or backbone.layers
  -- what a checkpoint says about itself, enough to build the network anew
  self.config = {
    model = "weakalign", backbone = o.backbone, layers = layers, stages = o.stages, size = o.size,
    offset = o.offset or backbone.offset,
  }
  self:child("FeatureExtraction", Features { trunks = { { o.backbone, layers = layers } }, weights = o.weights,
    pretrained = o.pretrained })
  local cells <const> = (o.size + 15) // 16
  for k, stage in ipairs(o.stages) do
    self:child(NAMES[k], Regressor { model = stage, grid = { cells, cells }, identity = o.identity })
  end
  self.FeatureExtraction:requires_grad_(false) -- the trunk stays as it is unless it is asked to train
  for k = 1, #o.stages do
    self[NAMES[k]]:requires_grad_(true)
  end
end

--- The regressor of a stage, by the transformation's name.
function Weakalign:regressor(stage)
  for k, name in ipairs(self.config.stages) do
    if name == stage then
      return self[NAMES[k]]
    end
  end
  error(string.format("weakalign: has no stage '%s', but %s", tostring(stage), table.concat(self.config.stages, " and ")), 2)
end

--- The parameters of all regressors, as an optimiser takes them.
function Weakalign:regressor_parameters()
  local list <const> = {}
  for k = 1, #self.config.stages do
    table.move(self[NAMES[k]]:parameters(), 1, #self[NAMES[k]]:parameters(), #list + 1, list)
  end
  return list
end

--- Features of images (N, size, size, 3), RGB of 0..255.
function Weakalign:features(images)
  return self.FeatureExtraction(images)
end

--- The first stage's correlation of two batches of images.
function Weakalign:correlate(source, target)
  return la.correlation(self:features(source), self:features(target))
end

-- The source under a transformation, the trunk's mean colour outside.
local function warped(self, images, stage, theta)
  local mean <const> = self.FeatureExtraction.mean
  local grid <const> = la.geometry.grid(stage, theta, self.config.size, self.config.size)
  return la.grid_sample(images - mean, grid) + mean
end

function Weakalign:forward(source, target)
  local stages <const> = self.config.stages
  local a <const>, b <const> = self:features(source), self:features(target)
  local correlation <const> = la.correlation(a, b)
  local result <const> = { correlation = correlation, source_features = a, target_features = b }
  result[stages[1]] = self.FeatureRegression(correlation)
  if stages[2] then
    local again <const> = self:features(warped(self, source, stages[1], result[stages[1]]))
    result[stages[2]] = self.FeatureRegression2(la.correlation(again, b))
  end
  return result
end

return Weakalign
