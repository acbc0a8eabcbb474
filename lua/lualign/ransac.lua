-- SPDX-License-Identifier: MIT
--
-- la.ransac: one transformation out of many matches, some of which are wrong: what alignment was before networks.
--
--   local fit <const>, reason <const> = la.ransac.fit(source, target, { model = "affine", threshold = 0.1 })
--   fit.theta, fit.inliers                          lists; target(p) lies at source(T(p)), as everywhere
--   local a <const>, b <const> = la.ransac.matches(fa, fb)       mutual nearest neighbours of two feature maps
--   local method <const> = la.ransac.method(features, { model = "homography" })      for la.evaluate
--
-- Random samples of as few matches as determine a transformation (Fischler and Bolles, 1981) are judged by the sum over
-- all matches of min(distance, threshold)^2 (Torr and Zisserman, 2000); the best one's inliers then give the
-- transformation of least squares. The same seed gives the same answer.

local la <const> = require "lualign"
local host <const> = require "lualign.geometry.host"
local options <const> = require "lualign.util.options"
local rng_of <const> = require "lualign.util.rng"

local ransac <const> = {}

-- ---- transformations, as matrices of 9 numbers by rows, target to source ----

-- Twice the area of a triangle.
local function doubled_area(a, b, c)
  return math.abs((b[1] - a[1]) * (c[2] - a[2]) - (c[1] - a[1]) * (b[2] - a[2]))
end

-- Whether any three of the points lie, relative to their distances, on a line.
local function has_collinear(points)
  for i = 1, #points do
    for j = i + 1, #points do
      for k = j + 1, #points do
        local a <const>, b <const>, c <const> = points[i], points[j], points[k]
        local scale <const> = (a[1] - b[1]) ^ 2 + (a[2] - b[2]) ^ 2 + (a[1] - c[1]) ^ 2 + (a[2] - c[2]) ^ 2
        if doubled_area(a, b, c) <= 1e-6 * scale then
          return true
        end
      end
    end
  end
  return false
end

-- Solves (sum of row' row) h = sum of row' value, for rows of n numbers; nil where that is singular.
local function least_squares(rows, values, n)
  local m <const>, v <const> = {}, {}
  for i = 1, n do
    m[i], v[i] = {}, 0
    for j = 1, n do
      m[i][j] = 0
    end
  end
  for k, row in ipairs(rows) do
    for i = 1, n do
      local a <const> = row[i]
      if a ~= 0 then
        for j = 1, n do
          m[i][j] = m[i][j] + a * row[j]
        end
        v[i] = v[i] + a * values[k]
      end
    end
  end
  local ok <const>, inverse <const> = pcall(host.invert, m)
  if not ok then
    return nil
  end
  local h <const> = {}
  for i = 1, n do
    h[i] = 0
    for j = 1, n do
      h[i] = h[i] + inverse[i][j] * v[j]
    end
  end
  return h
end

-- The similarity, as { scale, x, y }, that gives points the mean 0 and the mean distance sqrt(2): p -> (p - mean) s.
local function conditioner(points)
  local x, y, spread = 0, 0, 0
  for _, p in ipairs(points) do
    x, y = x + p[1] / #points, y + p[2] / #points
  end
  for _, p in ipairs(points) do
    spread = spread + math.sqrt((p[1] - x) ^ 2 + (p[2] - y) ^ 2) / #points
  end
  return spread > 0 and { math.sqrt(2) / spread, x, y } or nil
end

local function conditioned(points, c)
  local out <const> = {}
  for k, p in ipairs(points) do
    out[k] = { (p[1] - c[2]) * c[1], (p[2] - c[3]) * c[1] }
  end
  return out
end

-- A matrix between conditioned points as one between the points themselves; h9 = 1 where that can be.
local function unconditioned(h, source, target)
  local s <const>, tx <const>, ty <const> = table.unpack(target)
  local m <const> = {}
  for r = 0, 2 do
    local a <const>, b <const>, c <const> = h[3 * r + 1] * s, h[3 * r + 2] * s, h[3 * r + 3]
    m[3 * r + 1], m[3 * r + 2], m[3 * r + 3] = a, b, c - a * tx - b * ty
  end
  local largest = 0
  for k = 1, 3 do
    m[k], m[3 + k] = m[k] / source[1] + source[2] * m[6 + k], m[3 + k] / source[1] + source[3] * m[6 + k]
    largest = math.max(largest, math.abs(m[k]), math.abs(m[3 + k]), math.abs(m[6 + k]))
  end
  local scale <const> = math.abs(m[9]) > 1e-9 * largest and m[9] or largest
  for k = 1, 9 do
    m[k] = m[k] / scale
  end
  return m
end

local function affine_of(source, target)
  local rows <const>, xs <const>, ys <const> = {}, {}, {}
  for k, p in ipairs(target) do
    rows[k], xs[k], ys[k] = { p[1], p[2], 1 }, source[k][1], source[k][2]
  end
  local x <const>, y <const> = least_squares(rows, xs, 3), least_squares(rows, ys, 3)
  return x and y and { x[1], x[2], x[3], y[1], y[2], y[3], 0, 0, 1 }
end

-- One system for 8 numbers: without h the algebraic one, with h Gauss and Newton's for what is to be added to h.
local function homography_system(source, target, h)
  local rows <const>, values <const> = {}, {}
  for k, p in ipairs(target) do
    local x <const>, y <const>, u, v = p[1], p[2], source[k][1], source[k][2]
    local d, eu, ev = 1, u, v
    if h then
      d = h[7] * x + h[8] * y + 1
      u, v = (h[1] * x + h[2] * y + h[3]) / d, (h[4] * x + h[5] * y + h[6]) / d
      eu, ev = eu - u, ev - v
    end
    rows[2 * k - 1], values[2 * k - 1] = { x / d, y / d, 1 / d, 0, 0, 0, -u * x / d, -u * y / d }, eu
    rows[2 * k], values[2 * k] = { 0, 0, 0, x / d, y / d, 1 / d, -v * x / d, -v * y / d }, ev
  end
  return least_squares(rows, values, 8)
end

local function squares(source, target, h)
  local sum = 0
  for k, p in ipairs(target) do
    local d <const> = h[7] * p[1] + h[8] * p[2] + 1
    sum = sum + ((h[1] * p[1] + h[2] * p[2] + h[3]) / d - source[k][1]) ^ 2
      + ((h[4] * p[1] + h[5] * p[2] + h[6]) / d - source[k][2]) ^ 2
  end
  return sum
end

-- h9 = 1 loses nothing: it is the denominator at the target's mean, and a map that has those points in view is not 0
-- there.
local function homography_of(source, target)
  local h = homography_system(source, target)
  if h and #target > 4 then
    local cost = squares(source, target, h)
    for _ = 1, 20 do
      local step <const> = homography_system(source, target, h)
      if not step then
        break
      end
      local moved <const> = {}
      for k = 1, 8 do
        moved[k] = h[k] + step[k]
      end
      local after <const> = squares(source, target, moved)
      if not (after < cost) then
        break
      end
      h, cost = moved, after
    end
  end
  if h then
    h[9] = 1
  end
  return h
end

-- Whether the denominators of all points have one sign: none of them lies behind the other image.
local function in_view(h, points)
  local sign
  for _, p in ipairs(points) do
    local d <const> = h[7] * p[1] + h[8] * p[2] + h[9]
    if d == 0 or d ~= d or sign and (d > 0) ~= sign then
      return false
    end
    sign = d > 0
  end
  return true
end

local MODELS <const> = {
  affine = { points = 3, solve = affine_of, theta = function(h) return table.move(h, 1, 6, 1, {}) end },
  homography = { points = 4, solve = homography_of, theta = function(h) return h end },
}

-- The transformation of least squares in the source, exact for as few points as determine it; nil where they do not.
local function solve(model, source, target)
  local a <const>, b <const> = conditioner(source), conditioner(target)
  local h <const> = a and b and model.solve(conditioned(source, a), conditioned(target, b))
  for k = 1, 9 do
    if not h or not (math.abs(h[k]) < math.huge) then
      return nil
    end
  end
  return unconditioned(h, a, b)
end

-- ---- the search ----

-- Sum of min(distance, threshold)^2, given up past `limit`; and the number of distances within the threshold.
local function judge(h, flat, count, threshold, limit)
  local a <const>, b <const>, c <const>, d <const>, e <const>, f <const>, g <const>, i <const>, j <const> =
    table.unpack(h)
  local most <const> = threshold * threshold
  local sum, inliers = 0, 0
  for k = 1, 4 * count, 4 do
    local x <const>, y <const> = flat[k], flat[k + 1]
    local w <const> = 1 / (g * x + i * y + j)
    local dx <const>, dy <const> = (a * x + b * y + c) * w - flat[k + 2], (d * x + e * y + f) * w - flat[k + 3]
    local r <const> = dx * dx + dy * dy
    if r <= most then
      sum, inliers = sum + r, inliers + 1
    else
      sum = sum + most
    end
    if sum > limit then
      return sum, 0
    end
  end
  return sum, inliers
end

local function inliers_of(h, source, target, threshold)
  local list <const> = {}
  for k, p in ipairs(target) do
    local w <const> = h[7] * p[1] + h[8] * p[2] + h[9]
    local dx <const> = (h[1] * p[1] + h[2] * p[2] + h[3]) / w - source[k][1]
    local dy <const> = (h[4] * p[1] + h[5] * p[2] + h[6]) / w - source[k][2]
    if dx * dx + dy * dy <= threshold * threshold then
      list[#list + 1] = k
    end
  end
  return list
end

local function picked(points, indices)
  local list <const> = {}
  for k, index in ipairs(indices) do
    list[k] = points[index]
  end
  return list
end

-- `count` different numbers from 1 to n.
local function sample(rng, n, count)
  local list <const> = {}
  while #list < count do
    local value <const> = rng:integer(1, n)
    local new = true
    for _, v in ipairs(list) do
      new = new and v ~= value
    end
    if new then
      list[#list + 1] = value
    end
  end
  return list
end

-- Trials until one sample of `size` is all inliers with that confidence.
local function needed(share, size, confidence)
  local p <const> = share ^ size
  if p >= 1 then
    return 1
  elseif p <= 0 then
    return math.huge
  end
  return math.ceil(math.log(1 - confidence) / math.log(1 - p))
end

-- Least squares on the inliers, which are then looked for anew, while the judgement improves.
local function polished(best, model, source, target, flat, threshold)
  for _ = 1, 20 do
    local inliers <const> = inliers_of(best.h, source, target, threshold)
    local points <const> = picked(target, inliers)
    local h <const> = #inliers >= model.points and solve(model, picked(source, inliers), points)
    if not h or not in_view(h, points) then
      break
    end
    local cost <const>, count <const> = judge(h, flat, #target, threshold, math.huge)
    if not (cost < best.cost) then
      break
    end
    best = { h = h, cost = cost, count = count }
  end
  return best
end

local function check_points(source, target)
  if #source ~= #target then
    error(string.format("ransac: needs as many source points as target points, got %d and %d", #source, #target), 3)
  end
  for k = 1, #source do
    for _, p in ipairs { source[k], target[k] } do
      if not (math.abs(p[1]) < math.huge and math.abs(p[2]) < math.huge) then
        error(string.format("ransac: match %d must be finite, got (%s, %s)", k, p[1], p[2]), 3)
      end
    end
  end
end

--- The transformation target -> source that most matches agree on. source, target: { {x, y}, ... }, the k-th of one
-- matched to the k-th of the other. opts: model = "affine" or "homography"; threshold, the distance in the source up
-- to which a match agrees; confidence that a sample without wrong matches was seen; trials, the most that are made;
-- seed.
-- Returns { model =, theta = (affine 6 numbers, homography 9), inliers = (indices), trials =, cost = }, or nil and the
-- reason why there is none.
function ransac.fit(source, target, opts)
  local o <const> = options.check("ransac", opts, {
    model = "affine", threshold = 0.1, confidence = 0.999, trials = 2000, seed = 1,
  })
  local model <const> = MODELS[o.model]
  if not model then
    error(string.format("ransac: model must be affine or homography, got %s", o.model), 2)
  elseif not (o.threshold > 0) or not (o.confidence > 0 and o.confidence < 1) then
    error(string.format("ransac: threshold must be above 0 and confidence within (0, 1), got %s and %s", o.threshold,
      o.confidence), 2)
  end
  check_points(source, target)
  local count <const> = #source
  if count < model.points then
    return nil, string.format("%d matches; a transformation by %s needs %d", count, o.model, model.points)
  end
  local flat <const> = {}
  for k, p in ipairs(target) do
    table.move({ p[1], p[2], source[k][1], source[k][2] }, 1, 4, 4 * k - 3, flat)
  end
  local rng <const>, best, trials, most = rng_of(o.seed, count), { cost = math.huge }, 0, o.trials
  while trials < most do
    trials = trials + 1
    local indices <const> = sample(rng, count, model.points)
    local a <const>, b <const> = picked(source, indices), picked(target, indices)
    local h <const> = not has_collinear(b) and not has_collinear(a) and solve(model, a, b)
    if h and in_view(h, b) then
      local cost <const>, inliers <const> = judge(h, flat, count, o.threshold, best.cost)
      if cost < best.cost then
        best = polished({ h = h, cost = cost, count = inliers }, model, source, target, flat, o.threshold)
        most = math.min(o.trials, needed(best.count / count, model.points, o.confidence))
      end
    end
  end
  if not best.h then
    return nil, string.format("no sample of %d of %d matches determines a transformation by %s: points coincide or lie "
      .. "on a line", model.points, count, o.model)
  end
  return {
    model = o.model, theta = model.theta(best.h), inliers = inliers_of(best.h, source, target, o.threshold),
    trials = trials, cost = best.cost,
  }
end

-- ---- matches of features ----

-- The centre of cell k (from 1) in normalised coordinates of an image of `size` pixels, whose border pixels' centres
-- are -1 and 1.
local function centre(k, width, height, size)
  local stretch <const> = size / (size - 1)
  return { ((2 * ((k - 1) % width) + 1) / width - 1) * stretch, ((2 * ((k - 1) // width) + 1) / height - 1) * stretch }
end

--- Cells of two feature maps (1, h, w, C) that are each other's nearest neighbours by inner product: lists of source
-- and target points, normalised. opts.size: the side of the images, in pixels, that the features are of.
function ransac.matches(a, b, opts)
  local o <const> = options.check("matches", opts, { size = 240 })
  local ha <const>, wa <const>, hb <const>, wb <const> = a:size(2), a:size(3), b:size(2), b:size(3)
  local products <const> = la.matmul(b:reshape(hb * wb, -1), a:reshape(ha * wa, -1), { tb = true })
  local of_target <const>, of_source <const> = la.argmax(products, 2):flat(), la.argmax(products, 1):flat()
  local source <const>, target <const> = {}, {}
  for k, best in ipairs(of_target) do
    if of_source[best] == k then
      source[#source + 1] = centre(best, wa, ha, o.size)
      target[#target + 1] = centre(k, wb, hb, o.size)
    end
  end
  return source, target
end

--- A method for la.evaluate. opts: model, confidence, trials and seed of fit; cells, the threshold in cells of the
-- feature map; size of the images. Where there is no transformation everything stays in its place, and `scores.failed`
-- says why.
function ransac.method(features, opts)
  local o <const> = options.check("ransac.method", opts, {
    model = "affine", cells = 1.5, confidence = 0.999, trials = 2000, seed = 1, size = 240,
  })
  local feature_of <const> = require "lualign.evaluate".cache(128, function(key)
    local image <const> = la.image.load(key:sub(2), {
      size = o.size, filter = "antialias", flip = key:sub(1, 1) == "-" or nil,
    })
    return features(image:unsqueeze(1))
  end)
  return function(pair)
    local a <const>, b <const> = feature_of((pair.flip and "-" or "+") .. pair.source), feature_of("+" .. pair.target)
    local source <const>, target <const> = ransac.matches(a, b, { size = o.size })
    local fit <const>, reason <const> = ransac.fit(source, target, {
      model = o.model, threshold = o.cells * 2 / a:size(3), confidence = o.confidence, trials = o.trials, seed = o.seed,
    })
    local theta <const> = fit and fit.theta or la.geometry.identity_theta(o.model)
    local map <const> = { [o.model] = la.tensor { theta } }
    return {
      map = map, stages = la.geometry.plain_stages(map),
      scores = { matches = #source, inliers = fit and #fit.inliers or 0, failed = reason },
    }
  end
end

return ransac
