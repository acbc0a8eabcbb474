-- SPDX-License-Identifier: MIT
--
-- la.evaluate: transfer of keypoints, masks and flow over a list of pairs (lualign.data.benchmarks).
--
-- A method is a function(pair) -> { points = } or { map =, stages =, scores = }: where it puts each target keypoint in
-- the source, in normalised source coordinates; or transformations, the same as plain numbers, and soft inlier counts.

local la <const> = require "lualign"
local options <const> = require "lualign.util.options"

local evaluate <const> = {}

evaluate.ALPHAS = { 0.05, 0.10, 0.15 }

--- Copies each keypoint, or pixel, to the same relative place.
function evaluate.identity()
  return function(pair)
    return {
      points = pair.target_points and la.geometry.normalise(pair.target_points, pair.target_size),
      map = (not pair.target_points or pair.parts) and { affine = la.tensor { { 1, 0, 0, 0, 1, 0 } } } or nil,
    }
  end
end

--- Keeps what make(path) returns for the last `most` paths.
function evaluate.cache(most, make)
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
  local feature_of <const> = evaluate.cache(128, function(path)
    return features(la.image.load(path, { size = size, filter = filter }):unsqueeze(1))
  end)
  return function(pair)
    if not pair.target_points then
      return {}
    end
    local a <const>, b <const> = feature_of(pair.source), feature_of(pair.target)
    local h <const>, w <const>, c <const> = b:size(2), b:size(3), b:size(4)
    local count <const> = #pair.target_points
    if count == 0 then
      return { points = {} }
    end
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

--- An alignment by la.align.aligner (a model, gradient ascent on the inlier count, or both).
function evaluate.aligned(aligner)
  local image_of <const> = evaluate.cache(128, function(image) return aligner.load(image) end) -- a path, or a picture
  local mirrored <const> = evaluate.cache(128, function(image) return aligner.load(image, true) end)
  return function(pair)
    local t <const> = aligner:run((pair.flip and mirrored or image_of)(pair.source), image_of(pair.target))
    return { map = t.stages, stages = la.geometry.plain_stages(t.stages), scores = t.scores }
  end
end

-- ---- scores of one pair ----

-- Keypoints that the method puts somewhere, or that its transformation does.
local function found_points(pair, result, map)
  local points = result.points
  if map then
    points = la.geometry.map_points(map, tensor_of(la.geometry.normalise(pair.target_points, pair.target_size)))
    points = points:totable()[1]
  end
  return la.geometry.to_pixels(points, pair.source_size)
end

local function mask_scores(pair, map)
  local masks <const> = la.metrics.masks
  local source <const> = masks.fill(pair.source_outline, pair.source_size[1], pair.source_size[2])
  local target <const> = masks.fill(pair.target_outline, pair.target_size[1], pair.target_size[2])
  local warped <const> = masks.warp(source, map, pair.target_size[2], pair.target_size[1])
  local flow <const> = la.geometry.flow(map, pair.target_size[2], pair.target_size[1], pair.source_size)
  return {
    label_transfer = masks.label_transfer(warped, target), iou = masks.iou(warped, target),
    localisation_error = masks.localisation_error(source, target, flow),
  }
end

local SHORT <const> = { affine = "aff", homography = "hom" }

-- Writes a flow where the authors' code has it: <folder>/aff_tps/<folder of the source>/flow1.flo.
local function write_flow(folder, pair, map, flow)
  local names <const> = {}
  for k, stage in ipairs(la.geometry.stages(map)) do
    names[k] = SHORT[stage.model] or stage.model
  end
  local below <const> = string.format("%s/%s/%s", folder, table.concat(names, "_"),
    pair.folder or pair.source:match "([^/]+)/[^/]*$")
  la.io.mkdirs(below)
  la.io.save_flo(string.format("%s/flow%s.flo", below, pair.direction), flow)
end

-- Stops where a file's picture or flow is not of the target's size.
local function check_size(path, t, pair)
  if t:size(1) ~= pair.target_size[2] or t:size(2) ~= pair.target_size[1] then
    error(string.format("%s: has %d x %d pixels, %s has %d x %d", path, t:size(2), t:size(1), pair.target,
      pair.target_size[1], pair.target_size[2]), 0)
  end
  return t
end

local function flow_scores(pair, map, o)
  local flow <const> = la.geometry.flow(map, pair.target_size[2], pair.target_size[1], pair.source_size)
  if o.flows then
    write_flow(o.flows, pair, map, flow)
  end
  local mask <const> = check_size(pair.mask, la.image.load(pair.mask), pair)
  local truth <const> = check_size(pair.truth, la.io.load_flo(pair.truth), pair)
  local alphas <const> = table.move(o.alphas, 1, #o.alphas, 2, { 0.05 })
  local scores <const> = la.metrics.flow.accuracies(flow, truth, mask:select(3, 1):contiguous(), alphas)
  return { flow_accuracy = table.remove(scores, 1), flow_accuracies = scores }
end

-- Of parts, where there are any.
local function part_score(pair, map)
  local part_masks <const>, which <const> = require("lualign.data.annotations").part_masks, pair.parts.which
  if not map or #which == 0 then
    return 0 / 0
  end
  return la.metrics.masks.parts_iou(part_masks(pair.parts.source, which), part_masks(pair.parts.target, which), map)
end

-- PCK at every alpha; not a number where the pair has no keypoints.
local function point_scores(pair, result, map, o)
  local count <const>, pck <const> = #pair.source_points, {}
  local found <const> = count > 0 and found_points(pair, result, map)
  local side <const> = pair.reference or la.metrics.box_side(pair.source_points)
  for k, alpha in ipairs(o.alphas) do
    pck[k] = found and la.metrics.pck(found, pair.source_points, alpha, side) or 0 / 0
  end
  return { pck = pck, points = count, iou = pair.parts and part_score(pair, map) or nil }
end

-- What the pair can be scored by, for one transformation or, without one, for the points of the result.
local function scores_of(pair, result, map, o)
  if pair.source_points then
    return point_scores(pair, result, map, o)
  elseif not map then
    error("evaluate: the method gives no transformation, which masks and flow need", 0)
  elseif pair.source_outline then
    return mask_scores(pair, map)
  end
  return flow_scores(pair, map, o)
end

--- Scores a method on all pairs. opts.progress(done, all, row) is called after each; opts.alphas of PCK; opts.flows: a
-- folder for the flow of pairs that have a true one, of the first stage and of all.
-- Returns rows { source =, target =, category =, stages =, scores =, models = (the stages' models), and what the pair
-- is scored by: pck = {..}, points = (how many); label_transfer =, iou =, localisation_error =; flow_accuracy = (at
-- 0.05), flow_accuracies = {..} }. For a method of two stages, row.first holds the same for the first alone. A score
-- that the pair cannot have is NaN: PCK without keypoints, iou of an empty target.
function evaluate.run(list, method, opts)
  local o <const> = options.check("evaluate", opts, {
    progress = options.optional, alphas = evaluate.ALPHAS, flows = options.optional "string",
  })
  local rows <const> = {}
  for i, pair in ipairs(list) do
    rows[i] = la.scope(la.no_grad, function()
      local result <const> = method(pair)
      local row <const> = scores_of(pair, result, result.map, o)
      local stages <const> = result.map and la.geometry.stages(result.map) or {}
      if #stages > 1 then
        row.first = scores_of(pair, result, { stages[1] }, o)
      end
      row.models = la.io.array {}
      for k, stage in ipairs(stages) do
        row.models[k] = stage.model
      end
      row.source, row.target, row.category = pair.source, pair.target, pair.category
      row.difficulty = pair.difficulty
      row.stages, row.scores = result.stages, result.scores
      return row
    end)
    if o.progress then
      o.progress(i, #list, rows[i])
    end
  end
  return rows
end

return evaluate
