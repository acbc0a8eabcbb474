-- SPDX-License-Identifier: MIT
--
-- la.losses: the objectives of the alignment papers. Each returns a tensor on the device; nothing is read back.

local la <const> = require "lualign"
local options <const> = require "lualign.util.options"

local losses <const> = {}

local squared_difference <const> = la.fuse "(a - b) ^ 2"

--- The transformed grid loss of CNNGeometric: the mean, over samples and the points of a size x size grid, of the
-- squared distance between where theta and theta_gt (N, T) send the point. opts: size = 20; grid, reg of a spline.
function losses.transformed_grid(theta, theta_gt, model, opts)
  local o <const> = options.check("transformed_grid", opts, {
    size = 20, grid = options.optional, reg = options.optional,
  })
  local shape <const> = { grid = o.grid, reg = o.reg }
  local squares <const> = squared_difference(la.geometry.grid(model, theta, o.size, o.size, shape),
    la.geometry.grid(model, theta_gt, o.size, o.size, shape))
  return squares:sum() / (squares:numel() // 2)
end

--- The mean squared difference of the parameters themselves.
function losses.theta_mse(theta, theta_gt)
  return squared_difference(theta, theta_gt):mean()
end

-- Where a cell of the 15 x 15 feature grid lies in the image: its outermost centres are near +-210/227.
local OFFSET <const> = 227 / 210

local COUNT <const> = {
  offset = OFFSET,           -- grids are divided by it before, and multiplied by it after each transformation
  reg = 0.2,                 -- of the spline, here only
  grid = options.any(3),                  -- control points of the spline
  normalize = true,          -- divide by the sum of the mask
  dilation = 0,              -- or 4 or 8 neighbours of each source cell count too
  smooth = false,            -- or each cell's mask smoothed by (1 2 1; 2 4 2; 1 2 1) / 16; not with dilation
  source = options.optional, -- { hA, wA }; the target's size if left out
  order = "column",          -- of the source cells in the correlation
  mode = "fused",            -- or "plain": the whole warped mask
}

-- The grids of all stages of a cascade on the target's cells.
local function grids_of(stages, correlation, o)
  local list <const> = {}
  for k, stage in ipairs(la.geometry.stages(stages)) do
    local spline <const> = stage.model == "tps"
    list[k] = la.geometry.grid(stage.model, stage.theta, correlation:size(2), correlation:size(3), {
      offset = o.offset, grid = spline and (stage.grid or o.grid) or nil, reg = spline and o.reg or nil,
    })
  end
  return list
end

--- The soft inlier counts of WeakAlign, one per sample: of the first transformation alone, and of all composed (the
-- grid of each sampled at the next one's, as the paper's code has it), both on the first correlation (N, hB, wB,
-- hA*wA). stages: { affine = (N, 6), tps = (N, 2 K) }, or others as la.geometry has them. Of an affine map alone, or a
-- list of one, the second is nil; of another transformation alone the first is. opts: see COUNT above.
function losses.soft_inlier_count(correlation, stages, opts)
  local o <const> = options.check("soft_inlier_count", opts, COUNT)
  local how <const> = {
    source = o.source, normalize = o.normalize, dilation = o.dilation, smooth = o.smooth, order = o.order,
    mode = o.mode,
  }
  local grids <const> = grids_of(stages, correlation, o)
  local composed = grids[#grids]
  for k = #grids - 1, 1, -1 do
    composed = la.compose_sampled(grids[k], composed)
  end
  local first <const> = (#grids > 1 or stages.affine or stages[1]) and la.soft_inlier_count(correlation, grids[1], how)
  return first or nil, (#grids > 1 or not first) and la.soft_inlier_count(correlation, composed, how) or nil
end

-- The sum of the counts that there are.
local function score_of(correlation, stages, opts)
  local first <const>, composed <const> = losses.soft_inlier_count(correlation, stages, opts)
  return first and composed and first + composed or first or composed
end

--- The loss of WeakAlign: minus the mean over samples of the affine and the composed count. Arguments as above.
function losses.weak(correlation, stages, opts)
  return -score_of(correlation, stages, opts):mean()
end

--- The same with negative pairs: the mean of max(0, margin + negative's count - positive's count), or, without a
-- margin, of the difference, which earlier versions of the authors' code had. positive, negative: { correlation =,
-- stages = }, as many samples in both. opts: margin, and COUNT above.
function losses.weak_contrast(positive, negative, opts)
  local own <const>, margin = {}, nil
  for key, value in pairs(opts or {}) do
    if key == "margin" then
      margin = value
    else
      own[key] = value
    end
  end
  local difference <const> = score_of(negative.correlation, negative.stages, own)
    - score_of(positive.correlation, positive.stages, own)
  return (margin and la.relu(difference + margin) or difference):mean()
end

--- The loss of WeakAlign both ways: the mean of it from source to target and from target to source, plus opts.cycle
-- times the cycle loss of the two (0 if left out). there, back: { correlation =, stages = }. opts: cycle, and COUNT
-- above.
function losses.weak_symmetric(there, back, opts)
  local own <const> = {}
  for key, value in pairs(opts or {}) do
    if key ~= "cycle" then
      own[key] = value
    end
  end
  local weight <const> = opts and opts.cycle or 0
  local both <const> = (losses.weak(there.correlation, there.stages, own)
    + losses.weak(back.correlation, back.stages, own)) * 0.5
  return weight == 0 and both or both + losses.cycle(there.stages, back.stages) * weight
end

--- How far there and back again is from where it began: the mean over samples and the points of a size x size grid of
-- the squared distance between p and there(back(p)), of two compositions as la.geometry has them. Points that leave
-- [-1, 1]^2 on the way do not count. opts: size = 20.
function losses.cycle(there, back, opts)
  local o <const> = options.check("cycle", opts, { size = 20 })
  local half <const> = la.geometry.warp_grid(back, o.size, o.size)
  local n <const> = half:size(1)
  local whole <const> = la.geometry.map_points(there, half)
  local start <const> = la.geometry.grid("affine", la.geometry.identity("affine", n), o.size, o.size)
  local inside <const> = la.le(la.max(la.abs(half:detach()), -1), 1):astype("float32"):reshape(n, o.size, o.size, 1)
  local off <const> = (whole - start) * inside
  return (off * off):sum() / la.clamp(inside:sum(), { min = 1 })
end

return losses
