-- SPDX-License-Identifier: MIT
--
-- la.losses: the objectives of the alignment papers. Each returns a tensor on the device; nothing is read back.

local la <const> = require "lualign"
local options <const> = require "lualign.util.options"

local losses <const> = {}

--- The transformed grid loss of CNNGeometric: the mean, over samples and the points of a size x size grid, of the
-- squared distance between where theta and theta_gt (N, T) send the point. opts: size = 20; grid, reg of a spline.
function losses.transformed_grid(theta, theta_gt, model, opts)
  local o <const> = options.check("transformed_grid", opts, {
    size = 20, grid = options.optional, reg = options.optional,
  })
  local shape <const> = { grid = o.grid, reg = o.reg }
  local difference <const> = la.geometry.grid(model, theta, o.size, o.size, shape)
    - la.geometry.grid(model, theta_gt, o.size, o.size, shape)
  return (difference * difference):sum() / (difference:numel() // 2)
end

--- The mean squared difference of the parameters themselves.
function losses.theta_mse(theta, theta_gt)
  local difference <const> = theta - theta_gt
  return (difference * difference):mean()
end

-- Where a cell of the 15 x 15 feature grid lies in the image: its outermost centres are near +-210/227.
local OFFSET <const> = 227 / 210

local COUNT <const> = {
  offset = OFFSET,           -- grids are divided by it before, and multiplied by it after each transformation
  reg = 0.2,                 -- of the spline, here only
  grid = options.any(3),                  -- control points of the spline
  normalize = true,          -- divide by the sum of the mask
  dilation = 0,              -- or 4 or 8 neighbours of each source cell count too
  source = options.optional, -- { hA, wA }; the target's size if left out
  order = "column",          -- of the source cells in the correlation
  mode = "fused",            -- or "plain": the whole warped mask
}

--- The soft inlier counts of WeakAlign, one per sample: of the affine transformation, and of affine and spline
-- composed (the affine grid sampled at the spline's, as the paper's code has it), both on the first correlation (N,
-- hB, wB, hA*wA). stages: { affine = (N, 6), tps = (N, 2 K) }. Without tps the second is nil; without affine the
-- first is nil and the second is the spline's own count. opts: see COUNT above.
function losses.soft_inlier_count(correlation, stages, opts)
  local o <const> = options.check("soft_inlier_count", opts, COUNT)
  if not (stages.affine or stages.tps) then
    error("soft_inlier_count: stages must hold affine or tps", 2)
  end
  local size <const> = { height = correlation:size(2), width = correlation:size(3), offset = o.offset }
  local how <const> = {
    source = o.source, normalize = o.normalize, dilation = o.dilation, order = o.order, mode = o.mode,
  }
  local affine <const> = stages.affine and la.affine_grid(stages.affine, size)
  size.grid, size.reg = o.grid, o.reg
  local spline <const> = stages.tps and la.tps_grid(stages.tps, size)
  local composed <const> = affine and spline and la.compose_sampled(affine, spline) or spline
  return affine and la.soft_inlier_count(correlation, affine, how) or nil,
    composed and la.soft_inlier_count(correlation, composed, how) or nil
end

--- The loss of WeakAlign: minus the mean over samples of the affine and the composed count. Arguments as above.
function losses.weak(correlation, stages, opts)
  local affine <const>, composed <const> = losses.soft_inlier_count(correlation, stages, opts)
  local score <const> = affine and composed and affine + composed or affine or composed
  return -score:mean()
end

return losses
