-- SPDX-License-Identifier: MIT
--
-- The networks of CNNGeometric (CVPR 2017; one stage) and of "End-to-end weakly-supervised semantic alignment" (CVPR
-- 2018; affine, then thin-plate spline).
--
--   local net <const> = la.models.weakalign { backbone = "mobilenetv2", stages = { "affine", "tps" } }
--   local t <const> = net(source, target)   -- images (N, size, size, 3), RGB of 0..255
--   t.affine (N, 6), t.tps (N, 18), t.correlation (N, h, w, h*w), t.source_features, t.target_features
--   t:compose()                             -- { affine =, tps = }: the stages, as la.geometry and la.losses take them
--
-- The second stage sees the source warped by the first one's answer, on normalised values, so that what lies outside is
-- the trunk's mean colour. The map from target to source is affine(tps(p)).
--
-- State is named FeatureExtraction.<trunk>.<the trunk's own names>, FeatureRegression (the first stage's regressor) and
-- FeatureRegression2; la.models.from_authors brings the names and layouts of the authors' files to these.

local la <const> = require "lualign"
local Features <const> = require "lualign.models.features"
local Module <const> = require "lualign.nn.module"
local Regressor <const> = require "lualign.models.regressor"
local options <const> = require "lualign.util.options"
local trunk_names <const> = require "lualign.models.trunks"

local Weakalign <const> = Module.class "Weakalign"

local NAMES <const> = { "FeatureRegression", "FeatureRegression2" }

-- ---- the answer ----

local Answer <const> = {}
Answer.__index = Answer

--- The stages alone, { affine =, tps = }.
function Answer:compose()
  local stages <const> = {}
  for _, name in ipairs { "affine", "homography", "tps" } do
    stages[name] = self[name]
  end
  return stages
end

-- ---- the network ----

-- The list of trunks that `backbone`, a name or such a list, stands for, and whether their cells lie as in the papers.
local function trunks_of(o)
  if type(o.backbone) == "table" then
    return o.backbone, false
  end
  local known <const> = trunk_names.known[o.backbone]
  if not known then
    error(string.format("weakalign: backbone must be a list of trunks or one of %s, got '%s'%s",
      table.concat(trunk_names.names, ", "), tostring(o.backbone),
      options.hint(tostring(o.backbone), trunk_names.names)), 4)
  end
  return { { o.backbone, layers = o.layers or known.layers, weights = o.weights } }, known.paper
end

local function check_stages(stages)
  if #stages < 1 or #stages > 2 then
    error(string.format("weakalign: stages must be one or two transformations, got %d", #stages), 4)
  end
  if stages[1] == stages[2] then
    error(string.format("weakalign: stages must be different, got %s twice", stages[1]), 4)
  end
end

--- backbone: the name of a trunk, or a list of trunks as la.models.features takes it; layers and weights: of the named
-- one. size: of the images. identity: regressors start at the identity. offset: grid coordinate 1 is that many times
-- its place in the image, for losses on the grid. The trunk starts frozen, the regressors do not.
function Weakalign:init(given)
  local o <const> = options.check("weakalign", given, {
    backbone = options.any "mobilenetv2", layers = options.optional "table", weights = options.optional,
    stages = { "affine", "tps" }, size = 240, identity = true, offset = options.optional "number",
  }, 3)
  check_stages(o.stages)
  local trunks <const>, paper <const> = trunks_of(o)
  local features <const> = Features { trunks = trunks }
  local cells <const>, across <const> = features:grid_of(o.size, o.size)
  self.config = {
    kind = "weakalign", trunks = features.config.trunks, stages = o.stages, size = o.size,
    offset = o.offset or (paper and 227 / 210 or (o.size - 1) / (o.size - o.size / cells)),
  }
  -- The paper lets gradients of the second stage reach the first through the warped image and the trunk, which doubles
  -- the cost of a step; false cuts them there.
  self.through_warp = true
  self:child("FeatureExtraction", features):requires_grad_(false)
  for k, stage in ipairs(o.stages) do
    self:child(NAMES[k], Regressor { model = stage, grid = { cells, across }, identity = o.identity })
  end
end

--- The regressor of a stage, by the transformation's name.
function Weakalign:regressor(stage)
  for k, name in ipairs(self.config.stages) do
    if name == stage then
      return self[NAMES[k]]
    end
  end
  error(string.format("weakalign: has no stage '%s', but %s", tostring(stage),
    table.concat(self.config.stages, " and ")), 2)
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

--- The first stage's correlation of two batches of images: what the regressors see.
function Weakalign:correlate(source, target)
  return la.correlation(self:features(source), self:features(target))
end

-- The source under a transformation, the trunk's mean colour outside.
local function warped(self, images, stage, theta)
  local neutral <const> = self.FeatureExtraction.neutral
  local grid <const> = la.geometry.grid(stage, theta, images:size(2), images:size(3))
  return la.grid_sample(images:astype("float32") - neutral, grid) + neutral
end

-- The features of source and target, in one pass: a larger batch is faster.
local function both_features(self, source, target)
  if source:size(2) ~= target:size(2) or source:size(3) ~= target:size(3) then
    return self:features(source), self:features(target)
  end
  local n <const> = source:size(1)
  local all <const> = self:features(la.cat({ source, target }, 1))
  return all:narrow(1, 1, n), all:narrow(1, n + 1, target:size(1))
end

function Weakalign:forward(source, target)
  local stages <const> = self.config.stages
  local a <const>, b <const> = both_features(self, source, target)
  local correlation <const> = la.correlation(a, b)
  local answer <const> = setmetatable({ correlation = correlation, source_features = a, target_features = b }, Answer)
  answer[stages[1]] = self.FeatureRegression(correlation)
  if stages[2] then
    local first <const> = self.through_warp and answer[stages[1]] or answer[stages[1]]:detach()
    local again <const> = self:features(warped(self, source, stages[1], first))
    answer[stages[2]] = self.FeatureRegression2(la.correlation(again, b))
  end
  return answer
end

function Weakalign:extra()
  return string.format("%s, %d x %d images", table.concat(self.config.stages, " and "), self.config.size,
    self.config.size)
end

return Weakalign
