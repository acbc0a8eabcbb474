-- SPDX-License-Identifier: MIT
--
-- la.align: two pictures in, a transformation out.
--
--   local t = la.align("cat1.jpg", "cat2.jpg")             -- MobileNetV2 features, aligned by gradient ascent
--   local t = la.align(a, b, { model = "runs/weak/best.safetensors", refine = 30 })
--   print(t)               t.stages.affine, t.stages.tps, t.scores
--   t:warped()  t:overlay()  t:matches()                   -- pictures, uint8 (H, W, 3)

local la <const> = require "lualign"
local kernels <const> = require "lualign.kernels"
local options <const> = require "lualign.util.options"

local align <const> = {}

-- ---- the result ----

local Alignment <const> = {}
Alignment.__index = Alignment

function Alignment:__tostring()
  local names <const> = {}
  for k, stage in ipairs(la.geometry.stages(self.stages)) do
    names[k] = stage.model
  end
  return string.format("alignment %s, soft inliers %.4f, %.0f ms", table.concat(names, "+"), self.score,
    self.seconds * 1000)
end

--- The source as seen in the target's frame, at the target's size (or height, width): uint8 (H, W, 3).
-- The transformation is evaluated on that grid and the source sampled at its full resolution; outside it is black.
function Alignment:warped(height, width)
  return la.scope(la.no_grad, function()
    local h <const>, w <const> = height or self.target:size(1), width or self.target:size(2)
    local grid <const> = la.geometry.warp_grid(self.stages, h, w)
    local source <const> = self.source:astype("float32"):unsqueeze(1)
    return la.clamp(la.grid_sample(source, grid) + 0.5, { min = 0, max = 255 }):astype("uint8"):squeeze(1)
  end)
end

--- The target as seen in the source's frame, at the source's size (or height, width): uint8 (H, W, 3), by the numerical
-- inverse (la.geometry.inverse_grid). Black where that finds no place in the target.
function Alignment:unwarped(height, width)
  return la.scope(la.no_grad, function()
    local h <const>, w <const> = height or self.source:size(1), width or self.source:size(2)
    local grid <const>, residuals <const> = la.geometry.inverse_grid(self.stages, h, w)
    local found <const> = la.lt(residuals, 1e-3):reshape(1, h, w, 1)
    local target <const> = la.grid_sample(self.target:astype("float32"):unsqueeze(1), grid)
    local known <const> = la.where(found:expand(1, h, w, 3), target, la.zeros(1, h, w, 3))
    return la.clamp(known + 0.5, { min = 0, max = 255 }):astype("uint8"):squeeze(1)
  end)
end

--- Half the warped source, half the target.
function Alignment:overlay()
  return la.vis.overlay(self:warped(), self.target, 0.5)
end

--- Source and target side by side, with lines between corresponding points on an n x n grid of the target (n = 6).
function Alignment:matches(n)
  n = n or 6
  local target_points <const> = {}
  for i = 1, n do
    for j = 1, n do
      target_points[#target_points + 1] = { -0.8 + 1.6 * (j - 1) / (n - 1), -0.8 + 1.6 * (i - 1) / (n - 1) }
    end
  end
  local mapped <const> = la.no_grad(la.geometry.map_points, self.stages, la.tensor { target_points })
  local source_points <const> = mapped:totable()[1]
  local function size(image)
    return { image:size(2), image:size(1) }
  end
  return la.vis.side_by_side(self.source, self.target, {
    source = la.geometry.to_pixels(source_points, size(self.source)),
    target = la.geometry.to_pixels(target_points, size(self.target)),
  })
end

-- ---- how to get one ----

local Aligner <const> = {}
Aligner.__index = Aligner

local DEFAULTS <const> = {
  model = options.optional,    -- a file, or a model; none: features and gradient ascent alone
  refine = options.optional,   -- gradient steps on the pair's own soft inlier count; default 60 without a model, 0 with
  starts = options.optional,   -- also from the eleven affine starts; default: without a model
  power = 4,                   -- sharpening of the correlation that is counted on (lualign.refine)
  size = 240,                  -- side to which both pictures are resized
  filter = options.optional,   -- "bilinear" (the default with a model, as trained) or "antialias"
  features = options.optional, -- of la.models.features, for the count that refine raises; default: the model's own
  precision = options.optional, -- of convolutions: default, strict or bfloat16 (model:fuse), where the model is a file
}

--- What features are used when nothing is said: the three layers of the shipped MobileNetV2 that align best.
function align.default_features()
  return la.models.features { trunks = { { "mobilenetv2", layers = { 8, 14, 15 } } } }
end

-- A picture (H, W, 3) at size x size; a much larger one is first averaged over whole blocks if antialias is set.
local function resized(image, size, antialias)
  local x = image:astype("float32"):unsqueeze(1)
  local ky <const>, kx <const> = math.max(1, x:size(2) // size), math.max(1, x:size(3) // size)
  if antialias and (ky > 1 or kx > 1) then
    x = la.avg_pool2d(x, { kernel = { ky, kx } })
  end
  return la.resize(x, { height = size, width = size, mode = "aligned" }):squeeze(1)
end

--- An aligner for many pairs: aligner.load(path or image[, flip[, upright]]) -> resized image; aligner:run(a, b) on
-- two such images. upright: photographs are turned as their EXIF data say, as la.align does by itself; the keypoints of
-- data sets count stored pixels.
function align.aligner(given)
  local o <const> = options.check("align", given, DEFAULTS)
  local self <const> = setmetatable({ power = o.power, size = o.size }, Aligner)
  local precision <const> = { precision = o.precision }
  if o.model then
    self.model = type(o.model) == "string" and la.models.load(o.model):fuse(precision) or o.model:eval()
    self.size = self.model.config and self.model.config.size or o.size
  end
  self.features = o.features or not o.model and align.default_features():fuse(precision) or nil
  kernels.want(self.model or self.features, "align")
  self.refine = o.refine or (self.model and 0 or 60)
  if not self.model and self.refine < 1 then
    error("align: without a model, refine must be at least 1: there is nothing else to align by", 2)
  end
  self.starts = o.starts
  if self.starts == nil then
    self.starts = not self.model
  end
  self.filter = o.filter or (self.model and "bilinear" or "antialias")
  self.load = function(given_image, flip, upright)
    if la.is_tensor(given_image) then
      return resized(given_image, self.size, self.filter == "antialias")
    end
    return la.image.load(given_image, { size = self.size, filter = self.filter, flip = flip, upright = upright })
  end
  return self
end

-- The paper's own scores of the stages on the paper's correlation: { affine =, tps = (composed) }.
local function paper_scores(correlation, stages)
  local affine <const>, composed <const> = la.losses.soft_inlier_count(la.l2_normalize(correlation), stages)
  return { affine = affine and affine:item(), tps = composed and composed:item() }
end

--- a, b: images (size, size, 3) float32 0..255. Returns { stages =, scores =, score = }.
function Aligner:run(a, b)
  return la.scope(la.no_grad, function()
    local source <const>, target <const> = a:unsqueeze(1), b:unsqueeze(1)
    local stages, raw = {}
    if self.model then
      local t <const> = self.model(source, target)
      stages = t:compose()
      raw = not self.features and la.correlation(t.source_features, t.target_features, { normalize = false })
    end
    raw = raw or la.correlation(self.features(source), self.features(target), { normalize = false })
    if self.refine > 0 then
      if stages[1] or stages.homography or stages.similarity then
        error("align: refine takes an affine map, a spline, or both in that order; the model gives others", 0)
      end
      local better <const> = la.refine.run(raw, stages, {
        steps = self.refine, power = self.power, starts = self.starts,
        offset = (self.size - 1) / (self.size - self.size / raw:size(3)), -- cells end half a cell inside the border
      })
      stages = { affine = better.affine, tps = better.tps }
    end
    local scores <const> = paper_scores(raw, stages)
    return { stages = stages, scores = scores, score = scores.tps or scores.affine }
  end)
end

-- An image as the caller gives it: a path, or a tensor (H, W, 3).
local function picture(value, name)
  if type(value) == "string" then
    return la.image.load(value, { upright = true })
  end
  if not la.is_tensor(value) or value:dim() ~= 3 or value:size(3) ~= 3 then
    error(string.format("align: %s must be a path or an image (H, W, 3), got %s", name,
      la.is_tensor(value) and "(" .. table.concat(value:shape(), ", ") .. ")" or type(value)), 3)
  end
  return value
end

local function run(a, b, given)
  local source <const>, target <const> = picture(a, "source"), picture(b, "target")
  local aligner <const> = getmetatable(given) == Aligner and given or align.aligner(given)
  local start <const> = la.device.clock()
  -- paths are resized by the loader's own filter
  local result <const> = aligner:run(aligner.load(a, false, true), aligner.load(b, false, true))
  result.source, result.target, result.seconds = source, target, la.device.clock() - start
  return setmetatable(result, Alignment)
end

return setmetatable(align, { __call = function(_, a, b, opts) return run(a, b, opts) end })
