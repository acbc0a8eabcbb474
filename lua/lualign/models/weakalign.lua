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
-- Stages may be any cascade of one or more: { "affine", { model = "tps", grid = 5 }, "affine" }. Each sees the source
-- warped by all before it. t[name] is the last one of that name, t.stages the list of all.
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

-- The name of stage k's regressor, the authors' for the first two.
local function regressor_name(k)
  return "FeatureRegression" .. (k == 1 and "" or k)
end

-- ---- the answer ----

local Answer <const> = {}
Answer.__index = Answer

-- Whether stages of these models, in this order, are what { affine =, tps = } means.
local function is_usual(list)
  return #list == 1 or #list == 2 and list[1].model == "affine" and list[2].model == "tps"
end

--- The stages alone, as la.geometry and la.losses take them: { affine =, tps = } where that says it, else a list.
function Answer:compose()
  if not is_usual(self.stages) then
    return self.stages
  end
  local stages <const> = {}
  for _, stage in ipairs(self.stages) do
    if stage.grid or stage.reg then
      return self.stages
    end
    stages[stage.model] = stage.theta
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

-- Whether a spline's grid is that of the papers.
local function usual_grid(grid)
  return grid == 3 or type(grid) == "table" and grid[1] == 3 and grid[2] == 3
end

local function check_grid(grid, k)
  for _, n in ipairs(type(grid) == "table" and { grid[1] or 0, grid[2] or 0 } or { grid }) do
    if math.type(n) ~= "integer" or n < 2 then
      error(string.format("weakalign: stage %d: grid must be a number, at least 2, or { rows, columns }, got %s", k,
        type(grid) == "table" and "{ " .. table.concat(grid, ", ") .. " }" or tostring(grid)), 6)
    end
  end
end

-- "affine" or { model = "tps", grid = 5 } -> the latter, checked; the grid and reg that are usual are left out.
local function stage_of(given, k)
  local o <const> = type(given) == "table" and given or { model = given }
  local stage <const> = options.check("weakalign: stage " .. k, o, {
    model = options.required "string", grid = options.optional, reg = options.optional "number",
    outputs = options.optional "number",
  }, 5)
  la.geometry.identity_theta(stage.model) -- or an error that names those that there are
  if (stage.grid or stage.reg) and stage.model ~= "tps" then
    error(string.format("weakalign: stage %d: only a spline has a %s, not %s", k, stage.grid and "grid" or "reg",
      stage.model), 5)
  elseif stage.grid then
    check_grid(stage.grid, k)
  end
  return {
    model = stage.model, grid = not usual_grid(stage.grid) and stage.grid or nil,
    reg = stage.reg ~= 0 and stage.reg or nil, outputs = stage.outputs,
  }
end

local function check_stages(stages)
  if #stages < 1 then
    error("weakalign: stages must be one or more transformations, got none", 4)
  end
  local list <const> = {}
  for k, given in ipairs(stages) do
    list[k] = stage_of(given, k)
  end
  return list
end

-- As they are kept: names where there is no more to say.
local function plain_stages(list)
  local out <const> = {}
  for k, stage in ipairs(list) do
    out[k] = (stage.grid or stage.reg or stage.outputs) and stage or stage.model
  end
  return out
end

--- backbone: the name of a trunk, or a list of trunks as la.models.features takes it; layers and weights: of the named
-- one. stages: names, or { model =, grid = (a spline's control points along each axis, or { rows, columns }), reg =
-- (its regulariser), outputs = (8 or 9, of a homography) }. size: of the images.
-- identity: regressors start at the identity. offset: grid coordinate 1 is that many times its place in the image, for
-- losses on the grid. The trunk starts frozen, the regressors do not.
function Weakalign:init(given)
  local o <const> = options.check("weakalign", given, {
    backbone = options.any "mobilenetv2", layers = options.optional "table", weights = options.optional,
    stages = { "affine", "tps" }, size = 240, identity = true, offset = options.optional "number",
  }, 3)
  self.stages = check_stages(o.stages)
  local trunks <const>, paper <const> = trunks_of(o)
  local features <const> = Features { trunks = trunks }
  local cells <const>, across <const> = features:grid_of(o.size, o.size)
  self.config = {
    kind = "weakalign", trunks = features.config.trunks, stages = plain_stages(self.stages), size = o.size,
    offset = o.offset or (paper and 227 / 210 or (o.size - 1) / (o.size - o.size / cells)),
  }
  -- The paper lets gradients of the second stage reach the first through the warped image and the trunk, which doubles
  -- the cost of a step; false cuts them there.
  self.through_warp = true
  self:child("FeatureExtraction", features):requires_grad_(false)
  for k, stage in ipairs(self.stages) do
    self:child(regressor_name(k), Regressor {
      model = stage.model, tps_grid = stage.grid or 3, outputs = stage.outputs, grid = { cells, across },
      identity = o.identity,
    })
  end
end

--- The regressor of a stage, by its number or, the first of that name, by the transformation's.
function Weakalign:regressor(stage)
  local names <const> = {}
  for k, own in ipairs(self.stages) do
    names[k] = own.model
    if k == stage or own.model == stage then
      return self[regressor_name(k)]
    end
  end
  error(string.format("weakalign: has no stage '%s', but %s", tostring(stage), table.concat(names, " and ")), 2)
end

--- The parameters of all regressors, as an optimiser takes them.
function Weakalign:regressor_parameters()
  local list <const> = {}
  for k = 1, #self.stages do
    local own <const> = self:regressor(k):parameters()
    table.move(own, 1, #own, #list + 1, list)
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

-- The source under transformations, the trunk's mean colour outside.
local function warped(self, images, stages)
  local neutral <const> = self.FeatureExtraction.neutral
  local grid <const> = la.geometry.warp_grid(stages, images:size(2), images:size(3))
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

-- The stages so far, as what follows may change them.
local function fixed(self, stages)
  if self.through_warp then
    return stages
  end
  local out <const> = {}
  for k, stage in ipairs(stages) do
    out[k] = { model = stage.model, theta = stage.theta:detach(), grid = stage.grid, reg = stage.reg }
  end
  return out
end

function Weakalign:forward(source, target)
  local a <const>, b <const> = both_features(self, source, target)
  local correlation <const> = la.correlation(a, b)
  local answer <const> = setmetatable({
    correlation = correlation, source_features = a, target_features = b, stages = {},
  }, Answer)
  for k, stage in ipairs(self.stages) do
    local seen = correlation
    if k > 1 then
      seen = la.correlation(self:features(warped(self, source, fixed(self, answer.stages))), b)
    end
    local theta <const> = self:regressor(k)(seen)
    answer.stages[k] = { model = stage.model, theta = theta, grid = stage.grid, reg = stage.reg }
    answer[stage.model] = theta
  end
  return answer
end

function Weakalign:extra()
  local names <const> = {}
  for k, stage in ipairs(self.stages) do
    names[k] = stage.model .. (stage.grid and string.format(" %d x %d", la.geometry.host.grid_sizes(stage.grid)) or "")
  end
  return string.format("%s, %d x %d images", table.concat(names, " and "), self.config.size, self.config.size)
end

return Weakalign
