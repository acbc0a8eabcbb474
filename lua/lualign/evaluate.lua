-- SPDX-License-Identifier: MIT
--
-- la.evaluate: keypoint transfer over a list of pairs (lualign.data.keypoints).
--
-- A method is a function(pair) -> { points =, stages =, scores = }: where it puts each target keypoint in the source,
-- in normalised source coordinates, and, where there are some, the transformations and soft inlier counts behind it.

local la <const> = require "lualign"
local options <const> = require "lualign.util.options"

local evaluate <const> = {}

evaluate.ALPHAS = { 0.05, 0.10, 0.15 }

--- Copies each keypoint to the same relative place.
function evaluate.identity()
  return function(pair)
    return { points = la.geometry.normalise(pair.target_points, pair.target_size) }
  end
end

-- Keeps what make(path) returns for the last `most` paths.
local function cache(most, make)
  local kept <const>, order <const> = {}, {}
  return function(path)
    if not kept[path] then
      if #order >= most then
        kept[table.remove(order, 1)] = nil
      end
      kept[path] = la.keep(make(path))
      order[#order + 1] = path
    end
    return kept[path]
  end
end

-- Points as a tensor (1, P, 2).
local function tensor_of(points)
  return la.tensor { points }
end

--- The nearest neighbour of each keypoint's feature.
-- The feature of the target keypoint is sampled bilinearly; its inner products with all source cells are enlarged four
-- times bilinearly; the largest wins. Cells are taken to have their centres half a cell inside the image's border.
function evaluate.nearest(features, size, filter)
  local feature_of <const> = cache(128, function(path)
    return features(la.image.load(path, { size = size, filter = filter }):unsqueeze(1))
  end)
  return function(pair)
    local a <const>, b <const> = feature_of(pair.source), feature_of(pair.target)
    local h <const>, w <const>, c <const> = b:size(2), b:size(3), b:size(4)
    local count <const> = #pair.target_points
    local at <const> = {}
    for i, p in ipairs(pair.target_points) do
      local x <const> = p[1] / pair.target_size[1] * w - 0.5
      local y <const> = p[2] / pair.target_size[2] * h - 0.5
      at[i] = { math.max(-1, math.min(1, 2 * x / (w - 1) - 1)), math.max(-1, math.min(1, 2 * y / (h - 1) - 1)) }
    end
    local descriptors <const> = la.grid_sample(b, la.tensor { { at } }):reshape(count, c)
    local hA <const>, wA <const> = a:size(2), a:size(3)
    local scores <const> = la.matmul(descriptors, a:reshape(hA * wA, c), { tb = true }):reshape(count, hA, wA, 1)
    local fine <const> = la.resize(scores, { height = 4 * hA, width = 4 * wA, mode = "half_pixel" })
    local points <const> = {}
    for i, k in ipairs(fine:reshape(count, 16 * hA * wA):argmax(2):flat()) do
      local x <const> = ((k - 1) % (4 * wA) + 0.5) / (4 * wA) * pair.source_size[1]
      local y <const> = ((k - 1) // (4 * wA) + 0.5) / (4 * hA) * pair.source_size[2]
      points[i] = { x, y }
    end
    return { points = la.geometry.normalise(points, pair.source_size) }
  end
end

-- { affine = tensor (1, 6), tps = tensor (1, 18) } as plain lists, in the paper's order.
local function plain_stages(stages)
  local out <const> = {}
  for _, name in ipairs { "affine", "tps" } do
    if stages[name] then
      out[name] = stages[name]:flat()
    end
  end
  return out
end

--- An alignment by la.align.aligner (a model, gradient ascent on the inlier count, or both).
function evaluate.aligned(aligner)
  local image_of <const> = cache(128, aligner.load)
  return function(pair)
    local t <const> = aligner:run(image_of(pair.source), image_of(pair.target))
    local points <const> = tensor_of(la.geometry.normalise(pair.target_points, pair.target_size))
    return {
      points = la.geometry.map_points(t.stages, points):totable()[1],
      stages = plain_stages(t.stages),
      scores = t.scores,
    }
  end
end

--- Scores a method on all pairs. opts.progress(done, all, row) is called after each.
-- Returns rows { source =, target =, category =, pck = {..}, stages =, scores = }.
function evaluate.run(list, method, opts)
  local o <const> = options.check("evaluate", opts, { progress = options.optional, alphas = evaluate.ALPHAS })
  local rows <const> = {}
  for i, pair in ipairs(list) do
    local result <const> = la.scope(function()
      return la.no_grad(method, pair)
    end)
    local found <const> = la.geometry.to_pixels(result.points, pair.source_size)
    rows[i] = {
      source = pair.source, target = pair.target, category = pair.category,
      pck = la.metrics.pck_at(found, pair.source_points, o.alphas),
      stages = result.stages, scores = result.scores,
    }
    if o.progress then
      o.progress(i, #list, rows[i])
    end
  end
  return rows
end

return evaluate
