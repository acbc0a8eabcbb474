-- SPDX-License-Identifier: MIT
--
-- la.refine: improves transformations by gradient ascent on their own soft inlier count (Rocco et al., CVPR 2018, eq. 7
-- and on). The count is differentiable, so a pair can be aligned with no trained regressor at all, from several starts,
-- and a trained result can be polished.
--
-- The correlation that is counted on is sharpened first: relu(c)^power, normalised over the source cells. The paper's
-- own is power 1. Measured on photographs with MobileNetV2 features, 3 to 6 align better (see the decisions in
-- src/README.md).

local la <const> = require "lualign"
local options <const> = require "lualign.util.options"

local refine <const> = {}

-- Affine starts: identity, two scales, mirrored, four shifts, two rotations of 0.4 rad, one change of aspect.
local cos <const>, sin <const> = math.cos(0.4), math.sin(0.4)
local STARTS <const> = {
  { 1, 0, 0, 0, 1, 0 }, { 0.7, 0, 0, 0, 0.7, 0 }, { 1.4, 0, 0, 0, 1.4, 0 }, { -1, 0, 0, 0, 1, 0 },
  { 1, 0, 0.35, 0, 1, 0 }, { 1, 0, -0.35, 0, 1, 0 }, { 1, 0, 0, 0, 1, 0.35 }, { 1, 0, 0, 0, 1, -0.35 },
  { cos, -sin, 0, sin, cos, 0 }, { cos, sin, 0, -sin, cos, 0 }, { 0.7, 0, 0, 0, 1.2, 0 },
}

local DEFAULTS <const> = {
  steps = 60,        -- gradient steps of each phase
  power = 4,         -- sharpening of the correlation
  affine_rate = 0.03,
  tps_rate = 0.02,   -- of both transformations in the second phase
  offset = 239 / 224, -- grid coordinate 1 is this many times its place in the image (cells of 16 of 240 pixels)
  starts = true,     -- also from the eleven affine starts, not only from the given one
}

--- Sharpens a raw correlation (N, hB, wB, hA*wA): relu(c)^power / sqrt(sum over the source + 1e-6).
function refine.sharpen(correlation, power)
  return la.l2_normalize(la.fuse("relu(c) ^ " .. power)(correlation))
end

-- Cell centres of an h x w grid as points (1, h*w, 2), divided by the offset factor.
local function cell_points(h, w, offset)
  local identity <const> = la.tensor { { 1, 0, 0, 0, 1, 0 } }
  return la.affine_grid(identity, { height = h, width = w }):reshape(1, h * w, 2) / offset
end

-- One tensor of parameters with Adam's moments, stepped towards a larger score.
local function ascender(theta)
  return {
    theta = theta:clone():requires_grad_(true),
    m = la.zeros(theta:shape()),
    v = la.zeros(theta:shape()),
    ascend = function(self, rate, step)
      la.no_grad(function()
        la.adam_step_(self.theta, -self.theta.grad, self.m, self.v, { lr = rate, step = step })
      end)
      self.theta.grad = nil
    end,
  }
end

-- Runs `steps` steps on the sum of score(); the rate falls linearly to 0. Each step's tensors are released.
local function climb(variables, score, rate, steps)
  for step = 1, steps do
    la.scope(function()
      score():sum():backward()
      for _, v in ipairs(variables) do
        v:ascend(rate * (1 - (step - 1) / steps), step)
      end
    end)
  end
end

-- Row i of t repeated k times in place: (N, ...) -> (N*k, ...).
local function repeat_rows(t, k)
  local shape <const> = t:shape()
  local wide <const> = { shape[1], k, table.unpack(shape, 2) }
  local flat <const> = { shape[1] * k, table.unpack(shape, 2) }
  return la.unsqueeze(t, 2):expand(wide):reshape(flat)
end

-- The best row of each group of k: theta (N*k, D), score (N*k) -> (N, D), (N).
local function best_rows(theta, score, k)
  local n <const> = score:size(1) // k
  local rows <const> = {}
  for i, best in ipairs(score:reshape(n, k):argmax(2):flat()) do
    rows[i] = (i - 1) * k + best
  end
  local index <const> = la.tensor(rows, "int32")
  return theta:index_select(1, index), score:index_select(1, index)
end

-- Affine phase: from the given thetas (N, 6), or nil, and from the starts. Returns the best (N, 6).
local function best_affine(counted, given, points, source, o)
  local n <const>, h <const>, w <const> = counted:size(1), counted:size(2), counted:size(3)
  local candidates <const> = {}
  if given then
    candidates[1] = given:reshape(n, 1, 6)
  end
  if o.starts or not given then
    candidates[#candidates + 1] = la.tensor(STARTS):reshape(1, #STARTS, 6):expand(n, #STARTS, 6)
  end
  local all <const> = #candidates > 1 and la.cat(candidates, 2) or candidates[1]
  local k <const> = all:size(2)
  local variable <const> = ascender(all:reshape(n * k, 6))
  local repeated <const> = repeat_rows(counted, k)
  local wide <const> = points:expand(n * k, h * w, 2)
  local function score()
    local grid <const> = la.affine_points(variable.theta, wide) * o.offset
    return la.soft_inlier_count(repeated, grid:reshape(n * k, h, w, 2), { source = source })
  end
  climb({ variable }, score, o.affine_rate, o.steps)
  return la.no_grad(function()
    return (best_rows(variable.theta, score(), k))
  end)
end

local TPS_IDENTITY <const> = { -1, -1, -1, 0, 0, 0, 1, 1, 1, -1, 0, 1, -1, 0, 1, -1, 0, 1 }

local function ascend(correlation, given, opts)
  local defaults <const> = { source = { correlation:size(2), correlation:size(3) } }
  for name, value in pairs(DEFAULTS) do
    defaults[name] = value
  end
  local o <const> = options.check("refine", opts, defaults)
  local n <const>, h <const>, w <const> = correlation:size(1), correlation:size(2), correlation:size(3)
  local counted <const> = la.no_grad(refine.sharpen, correlation:detach(), o.power)
  local points <const> = cell_points(h, w, o.offset)
  local affine = given.affine and given.affine:detach()
  if not affine or o.starts then
    affine = best_affine(counted, affine, points, o.source, o)
  end
  affine = ascender(affine)
  local tps <const> = ascender(given.tps and given.tps:detach() or la.tensor { TPS_IDENTITY }:expand(n, 18))
  local wide <const> = points:expand(n, h * w, 2)
  local function score()
    local grid <const> = la.affine_points(affine.theta, la.tps_points(tps.theta, wide)) * o.offset
    return la.soft_inlier_count(counted, grid:reshape(n, h, w, 2), { source = o.source })
  end
  climb({ affine, tps }, score, o.tps_rate, o.steps)
  return { affine = affine.theta:detach(), tps = tps.theta:detach(), score = la.no_grad(score) }
end

--- Aligns by gradient ascent.
-- correlation: raw inner products of the feature maps (N, hB, wB, hA*wA), in the paper's order of source cells.
-- given: nil, or { affine = (N, 6), tps = (N, 18) } (either may be missing) to start from.
-- opts: see DEFAULTS above, and source = { hA, wA } (default { hB, wB }).
-- Returns { affine = (N, 6), tps = (N, 18), score = (N) }: the map is affine(tps(p)), the score the soft inlier count
-- on the sharpened correlation.
function refine.run(correlation, given, opts)
  return la.scope(la.enable_grad, ascend, correlation, given or {}, opts)
end

return refine
