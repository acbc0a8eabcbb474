-- SPDX-License-Identifier: MIT
--
-- la.geometry: transformations as the alignment papers use them (CNNGeometric, CVPR 2017; WeakAlign, CVPR 2018).
--
-- A transformation maps TARGET coordinates to SOURCE coordinates, normalised to [-1, 1], x before y, -1 and 1 the
-- centres of the border pixels. Its parameters, theta, are a tensor (N, T):
--
--   affine       6      x' = t1 x + t2 y + t3, y' = t4 x + t5 y + t6
--   similarity   4      x' = t1 x - t2 y + t3, y' = t2 x + t1 y + t4
--   tps          2 K    x of the images of the K control points, then their y; K = 9 unless `grid` says otherwise
--   homography   8, 9   x, then y, of the images of the corners (-1,-1), (-1,1), (1,-1), (1,1); or a matrix by rows
--
-- Stages describe a composition. Either { affine = theta, tps = theta } (each optional; similarity and homography too),
-- which means affine(similarity(homography(tps(p)))); or a list of { model =, theta =, grid =, reg = }, applied last
-- first: the list of affine and tps means the same.

local la <const> = require "lualign"
local host <const> = require "lualign.geometry.host"
local options <const> = require "lualign.util.options"
local rng_of <const> = require "lualign.util.rng"

local geometry <const> = { host = host }

local MODELS <const> = { affine = true, similarity = true, tps = true, homography = true }
local ORDER <const> = { "affine", "similarity", "homography", "tps" }

local function check_model(where, model)
  if not MODELS[model] then
    error(string.format("%s: model must be affine, similarity, tps or homography, got %s", where, tostring(model)), 3)
  end
end

-- ---- parameters ----

local function tps_identity(grid)
  local gy <const>, gx <const> = host.grid_sizes(grid)
  local theta <const> = {}
  for k, p in ipairs(host.control_points(gy, gx)) do
    theta[k], theta[gy * gx + k] = p[1], p[2]
  end
  return theta
end

--- The parameters that leave everything in its place, as a list. opts.grid: of a spline; a homography's are its
-- corners.
function geometry.identity_theta(model, opts)
  check_model("identity_theta", model)
  local o <const> = options.check("identity_theta", opts, { grid = options.any(3) })
  if model == "affine" then
    return { 1, 0, 0, 0, 1, 0 }
  elseif model == "similarity" then
    return { 1, 0, 0, 0 }
  elseif model == "tps" then
    return tps_identity(o.grid)
  end
  return { -1, -1, 1, 1, -1, 1, -1, 1 }
end

--- The same n times, as a tensor (n, T).
function geometry.identity(model, n, opts)
  local theta <const>, rows <const> = geometry.identity_theta(model, opts), {}
  for i = 1, n or 1 do
    rows[i] = theta
  end
  return la.tensor(rows)
end

local function between(rng, low, high)
  return low + (high - low) * rng:uniform()
end

local function around(rng, theta, spread)
  for i, v in ipairs(theta) do
    theta[i] = v + between(rng, -spread, spread)
  end
  return theta
end

local random <const> = { weakalign = {}, cnngeometric = {} }

-- One angle and four scales, each on its own: not a similarity, it shears.
function random.weakalign.affine(rng)
  local a <const>, s <const> = between(rng, -math.pi / 6, math.pi / 6), {}
  for i = 1, 4 do
    s[i] = between(rng, 0.5, 1.5)
  end
  local tx <const>, ty <const> = between(rng, -0.5, 0.5), between(rng, -0.5, 0.5)
  return { s[1] * math.cos(a), -s[2] * math.sin(a), tx, s[3] * math.sin(a), s[4] * math.cos(a), ty }
end

-- R(rotation) R(shear)' diag(l1, l2) R(shear)
function random.cnngeometric.affine(rng)
  local a <const>, f <const> = between(rng, -math.pi / 12, math.pi / 12), between(rng, -math.pi / 6, math.pi / 6)
  local l1 <const>, l2 <const> = between(rng, 0.75, 1.25), between(rng, 0.75, 1.25)
  local tx <const>, ty <const> = between(rng, -0.25, 0.25), between(rng, -0.25, 0.25)
  local c <const>, s <const> = math.cos(f), math.sin(f)
  local xx <const>, xy <const>, yy <const> = l1 * c * c + l2 * s * s, (l2 - l1) * c * s, l1 * s * s + l2 * c * c
  local ca <const>, sa <const> = math.cos(a), math.sin(a)
  return { ca * xx - sa * xy, ca * xy - sa * yy, tx, sa * xx + ca * xy, sa * xy + ca * yy, ty }
end

-- An angle and a scale out of the ranges of the affine maps.
function random.weakalign.similarity(rng)
  local a <const>, s <const> = between(rng, -math.pi / 6, math.pi / 6), between(rng, 0.5, 1.5)
  return { s * math.cos(a), s * math.sin(a), between(rng, -0.5, 0.5), between(rng, -0.5, 0.5) }
end

function random.cnngeometric.similarity(rng)
  local a <const>, s <const> = between(rng, -math.pi / 12, math.pi / 12), between(rng, 0.75, 1.25)
  return { s * math.cos(a), s * math.sin(a), between(rng, -0.25, 0.25), between(rng, -0.25, 0.25) }
end

--- Random parameters, as a list: those that the papers train on.
-- rng:uniform() must give numbers of [0, 1), as lualign.util.rng makes them. opts.style: "weakalign" (affine of +-30
-- degrees, four scales of 0.5 to 1.5, shift +-0.5) or "cnngeometric" (+-15 degrees, 0.75 to 1.25 along two axes,
-- shift +-0.25). Control points and corners move by +-0.4 in both.
function geometry.random_theta(model, rng, opts)
  check_model("random_theta", model)
  local o <const> = options.check("random_theta", opts, { style = "weakalign", grid = options.any(3) })
  if not random[o.style] then
    error(string.format("random_theta: style must be weakalign or cnngeometric, got %s", tostring(o.style)), 2)
  end
  if random[o.style][model] then
    return random[o.style][model](rng)
  end
  return around(rng, geometry.identity_theta(model, { grid = o.grid }), 0.4)
end

--- n of them as a tensor (n, T), from a seed: row i depends on opts.seed and i alone.
function geometry.random_thetas(model, n, opts)
  local o <const> = options.check("random_thetas", opts, { seed = 1, style = "weakalign", grid = options.any(3) })
  local rows <const> = {}
  for i = 1, n do
    rows[i] = geometry.random_theta(model, rng_of(o.seed, 0, i), { style = o.style, grid = o.grid })
  end
  return la.tensor(rows)
end

-- ---- coordinates ----

-- Applies f(value, length) to x with the width and to y with the height.
local function convert(points, size, f)
  local out <const> = {}
  for i, p in ipairs(points) do
    out[i] = { f(p[1], size[1]), f(p[2], size[2]) }
  end
  return out
end

-- The only pixel of a line is at 0.
local function to_normalised(v, length)
  return length == 1 and 2 * (v - 1) or (v - 1 - (length - 1) / 2) * 2 / (length - 1)
end

local function to_pixel(v, length)
  return v * (length - 1) / 2 + 1 + (length - 1) / 2
end

--- Keypoints { {x, y}, ... } in 1-based pixels of an image of size { width, height } -> normalised coordinates.
function geometry.normalise(points, size)
  return convert(points, size, to_normalised)
end

--- And back.
function geometry.to_pixels(points, size)
  return convert(points, size, to_pixel)
end

-- ---- stages ----

--- Stages as a list, applied last first (see the head of this file); of the answer of a network too.
function geometry.stages(stages)
  if stages.compose then
    stages = stages:compose()
  end
  if stages[1] then
    for _, stage in ipairs(stages) do
      check_model("stages", stage.model)
    end
    return stages
  end
  local list <const> = {}
  for name in pairs(stages) do
    check_model("stages", name)
  end
  for _, name in ipairs(ORDER) do
    if stages[name] then
      list[#list + 1] = { model = name, theta = stages[name] }
    end
  end
  if #list == 0 then
    error("stages: needs at least one of affine, similarity, tps, homography", 2)
  end
  return list
end

--- Stages of one sample as plain numbers, for files: { affine = list, tps = list }, or a list of { model =, theta =
-- list, grid =, reg = }.
function geometry.plain_stages(stages)
  local out <const> = {}
  if stages[1] then
    for k, stage in ipairs(geometry.stages(stages)) do
      out[k] = { model = stage.model, theta = stage.theta:flat(), grid = stage.grid, reg = stage.reg }
    end
    return out
  end
  for name, theta in pairs(stages) do
    check_model("plain_stages", name)
    out[name] = theta:flat()
  end
  return out
end

-- Rows: what each number of a similarity adds to those of an affine map.
local SIMILARITY <const> = { { 1, 0, 0, 0, 1, 0 }, { 0, -1, 0, 1, 0, 0 }, { 0, 0, 1, 0, 0, 0 }, { 0, 0, 0, 0, 0, 1 } }

-- The op family and the theta (N, T) of a transformation; a similarity is an affine map.
local function family_of(model, theta)
  theta = la.is_tensor(theta) and theta or la.tensor { theta }
  if model == "similarity" then
    return "affine", la.matmul(theta:reshape(-1, 4), la.tensor(SIMILARITY))
  end
  return model, theta
end

local function map_points(stage, points, how)
  local family <const>, theta <const> = family_of(stage.model, stage.theta)
  return la[family .. "_points"](theta, points, how)
end

local function op_options(stage)
  return stage.model == "tps" and { grid = stage.grid, reg = stage.reg } or nil
end

--- Source coordinates (N, height, width, 2) of one transformation. opts: offset o, the grid is divided by it before
-- and multiplied by it after the transformation; grid and reg of a spline.
function geometry.grid(model, theta, height, width, opts)
  check_model("grid", model)
  local o <const> = options.check("grid", opts, { offset = 1, grid = options.optional, reg = options.optional })
  local family <const>, numbers <const> = family_of(model, theta)
  return la[family .. "_grid"](numbers, {
    height = height, width = width, offset = o.offset, grid = o.grid, reg = o.reg,
  })
end

--- Source coordinates (N, height, width, 2) of a composition, exact: each stage is evaluated on the one before it.
function geometry.warp_grid(stages, height, width)
  local list <const> = geometry.stages(stages)
  local last <const> = list[#list]
  local grid = geometry.grid(last.model, last.theta, height, width, op_options(last))
  for i = #list - 1, 1, -1 do
    grid = map_points(list[i], grid, op_options(list[i]))
  end
  return grid
end

--- Points (N or 1, ..., 2) of the target in the source.
function geometry.map_points(stages, points)
  local list <const> = geometry.stages(stages)
  for i = #list, 1, -1 do
    points = map_points(list[i], points, op_options(list[i]))
  end
  return points
end

--- The same as warp_grid, of pixels as points: how the paper's code scores masks and flow. It differs for homographies,
-- by the 1e-5 that points add to the denominator.
function geometry.point_grid(stages, height, width)
  return geometry.map_points(stages, geometry.grid("affine", geometry.identity "affine", height, width))
end

-- 1 where both coordinates of a grid (..., 2) lie strictly within (-1, 1).
local function strictly_inside(grid)
  return la.lt(la.max(la.abs(grid), -1), 1)
end

--- The flow of one sample's stages: for each pixel of a target of height x width, where it lies in a source of
-- source_size = { width, height }, less where it is, both in pixels: float32 (height, width, 2), x before y. Pixels
-- that leave the source get 1e10, as the paper's code writes them.
function geometry.flow(stages, height, width, source_size)
  return la.scope(la.no_grad, function()
    local grid <const> = geometry.point_grid(stages, height, width)
    if grid:size(1) ~= 1 then
      error(string.format("flow: takes one sample's stages, got %d", grid:size(1)), 2)
    end
    local x <const> = la.arange(1, width + 1):reshape(1, width, 1):expand(height, width, 1)
    local y <const> = la.arange(1, height + 1):reshape(height, 1, 1):expand(height, width, 1)
    -- n (L - 1) / 2 + 1 + (L - 1) / 2 in this order, as the paper's code rounds: whole positions stay whole
    local last <const> = la.tensor { source_size[1] - 1, source_size[2] - 1 }
    local flow <const> = grid:squeeze(1) * last / 2 + 1 + last / 2 - la.cat({ x, y }, -1)
    local inside <const> = strictly_inside(grid):reshape(height, width, 1):expand(height, width, 2)
    return la.where(inside, flow, la.full({ height, width, 2 }, 1e10))
  end)
end

-- A function(x, y) -> x, y in double precision of the stages of one sample.
local function host_map(where, stages)
  local list <const> = {}
  for i, stage in ipairs(geometry.stages(stages)) do
    local theta <const> = la.is_tensor(stage.theta) and stage.theta:flat() or stage.theta
    if la.is_tensor(stage.theta) and stage.theta:dim() > 1 and stage.theta:size(1) ~= 1 then
      error(string.format("%s: takes one sample's stages, got %d of %s", where, stage.theta:size(1), stage.model), 3)
    end
    list[i] = { model = stage.model, theta = theta, grid = stage.grid, reg = stage.reg }
  end
  return host.compose(list)
end

--- Points { {x, y}, ... } of the source in the target: the inverse of map_points, found by Newton's method in double
-- precision. Returns the points and a list of residuals, the distance between each point's image and what was asked
-- for: small where a solution was found. opts.start: points to start from, one for each (the given points themselves
-- if left out).
function geometry.inverse_points(stages, points, opts)
  local o <const> = options.check("inverse_points", opts, { start = options.optional })
  local map <const> = host_map("inverse_points", stages)
  local found <const>, residuals <const> = {}, {}
  for i, p in ipairs(points) do
    local start <const> = o.start and o.start[i] or p
    local x <const>, y <const>, residual <const> = host.inverse(map, p[1], p[2], start[1], start[2])
    found[i], residuals[i] = { x, y }, residual
  end
  return found, residuals
end

--- Target coordinates (N, height, width, 2) of a grid over the source: the inverse of warp_grid, found by Newton's
-- method in single precision, so that a target picture can be sampled in the source's frame. Returns the grid and
-- residuals (N, height, width), the distance between each point's image and what was asked for: about 1e-6 where a
-- solution was found, large where the map folds or does not reach. opts.iterations = 20.
function geometry.inverse_grid(stages, height, width, opts)
  local o <const> = options.check("inverse_grid", opts, { iterations = 20 })
  local list <const> = geometry.stages(stages)
  return la.scope(la.no_grad, function()
    local first <const> = list[1].theta
    local n <const> = la.is_tensor(first) and first:dim() > 1 and first:size(1) or 1
    local points <const> = geometry.grid("affine", geometry.identity("affine", n), height, width)
    local invert <const> = require "lualign.geometry.inverse"
    return invert(function(p) return geometry.map_points(list, p) end, points, o.iterations)
  end)
end

-- ---- synthetic pairs ----

--- Source and target made from single images (N, H, W, C) and transformations theta (N, T), target(g) = source(T(g)).
-- Each image, resized to opts.canvas = { height, width } if that is given, is mirrored at its borders by opts.padding
-- = 0.5 of its size on each side; the source is the central opts.crop = 9/16 of the original at opts.size = 240, the
-- target the same window under the transformation. opts.grid, opts.reg: of a spline. Returns source, target (N, size,
-- size, C).
function geometry.synthetic_pair(images, theta, model, opts)
  check_model("synthetic_pair", model)
  local o <const> = options.check("synthetic_pair", opts, {
    size = 240, canvas = options.optional, padding = 0.5, crop = 9 / 16,
    grid = options.optional, reg = options.optional,
  })
  if o.canvas then
    images = la.resize(images, { height = o.canvas[1], width = o.canvas[2], mode = "aligned" })
  end
  local n <const>, h <const>, w <const> = images:size(1), images:size(2), images:size(3)
  local py <const>, px <const> = math.floor(h * o.padding), math.floor(w * o.padding)
  local wide <const> = la.pad(images, { padding = { py, py, px, px }, mode = "symmetric" })
  local scale <const> = o.crop / (1 + 2 * o.padding)
  local function sample(grid)
    return la.grid_sample(wide, grid * scale)
  end
  local plain <const> = geometry.grid("affine", geometry.identity("affine", n), o.size, o.size)
  return sample(plain), sample(geometry.grid(model, theta, o.size, o.size, { grid = o.grid, reg = o.reg }))
end

return geometry
