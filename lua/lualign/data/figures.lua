-- SPDX-License-Identifier: MIT
--
-- la.data.figures: jointed figures of five categories that the library draws itself, endless and seeded. Instances
-- differ in proportions, colours, texture, pose, light and background; keypoints and masks are exact. They stand in
-- for photographs in the demo and give tests a ground truth.
--
--   figures.draw(rng, { category =, size =, pose = }) -> canvas, keypoints, mask canvas
--   figures.pairs { count =, seed = }      data set of two instances of one category each
--   figures.singles { count =, model = }   data set of synthetic warps of single figures
--   figures.write_tss(root)                a small TSS of them, on disk
--
-- Keypoints are { {x, y}, ... } in 1-based pixels.

local la <const> = require "lualign"
local options <const> = require "lualign.util.options"
local shapes <const> = require "lualign.data.shapes"
local rng_of <const> = require "lualign.util.rng"

local figures <const> = { CATEGORIES = shapes.CATEGORIES }

local function between(r, low, high)
  return low + (high - low) * r:uniform()
end

local function random_colour(r, low, high)
  return { between(r, low, high), between(r, low, high), between(r, low, high) }
end

local function shaded(colour, factor)
  local out <const> = {}
  for k = 1, 3 do
    out[k] = math.max(0, math.min(255, colour[k] * factor))
  end
  return out
end

-- Maps the figure's own coordinates to pixels: scale, aspect, turn, shear and a bend, then the place in the image.
local function random_pose(r, size, spread)
  local scale <const> = size * between(r, 0.42 - 0.08 * spread, 0.42 + 0.08 * spread)
  local aspect <const> = math.exp(between(r, -0.18, 0.18) * spread)
  local angle <const> = between(r, -0.35, 0.35) * spread
  local shear <const> = between(r, -0.15, 0.15) * spread
  local bend_x <const>, bend_y <const> = between(r, -0.15, 0.15) * spread, between(r, -0.15, 0.15) * spread
  local cx <const> = size * (0.5 + between(r, -0.1, 0.1) * spread)
  local cy <const> = size * (0.5 + between(r, -0.1, 0.1) * spread)
  local c <const>, s <const> = math.cos(angle), math.sin(angle)
  return function(x, y)
    x, y = x + shear * y + bend_x * y * y, y + bend_y * x * x
    x, y = x * scale * aspect, y * scale / aspect
    return cx + c * x - s * y, cy + s * x + c * y
  end
end

local function draw_background(canvas, r, size)
  canvas:gradient(random_colour(r, 40, 230), random_colour(r, 40, 230), between(r, 0, 2 * math.pi))
  for _ = 1, 3 + math.floor(between(r, 0, 5)) do
    local x <const>, y <const> = between(r, 0, size), between(r, 0, size)
    local rx <const>, ry <const> = between(r, 0.03, 0.25) * size, between(r, 0.03, 0.25) * size
    canvas:ellipse(x, y, rx, ry, between(r, 0, 3), random_colour(r, 30, 240), between(r, 0.15, 0.6))
  end
  for _ = 1, 3 do
    canvas:line(between(r, 0, size), between(r, 0, size), between(r, 0, size), between(r, 0, size), between(r, 1, 5),
      random_colour(r, 30, 240), between(r, 0.2, 0.6))
  end
end

local function placed(points, pose)
  local out <const> = {}
  for k = 1, #points, 2 do
    out[k], out[k + 1] = pose(points[k], points[k + 1])
  end
  return out
end

--- Draws one instance. opts: category (default: drawn from rng), size in pixels (240), spread of the pose (1).
-- Returns the canvas, its keypoints, the mask (a canvas of one channel, 255 on the figure) and the category.
function figures.draw(r, opts)
  local o <const> = options.check("figures.draw", opts, { category = options.optional, size = 240, spread = 1 })
  local category <const> = o.category or shapes.CATEGORIES[1 + math.floor(r:uniform() * #shapes.CATEGORIES)]
  if not shapes[category] or category == "CATEGORIES" then
    error(string.format("figures.draw: category must be one of %s, got '%s'", table.concat(shapes.CATEGORIES, ", "),
      tostring(category)), 2)
  end
  local size <const> = o.size
  local canvas <const> = la.io.canvas(size, size, { 128, 128, 128 })
  local mask <const> = la.io.canvas(size, size, { 0 })
  draw_background(canvas, r, size)
  local parts <const>, points <const> = shapes[category](r)
  local pose <const> = random_pose(r, size, o.spread)
  local palette <const> = {}
  for k = 1, 5 do
    palette[k] = random_colour(r, 50, 235)
  end
  for _, p in ipairs(parts) do
    local polygon <const> = placed(p.points, pose)
    canvas:polygon(polygon, shaded(palette[p.colour], p.shade), 1)
    mask:polygon(polygon, { 255 }, 1)
  end
  canvas:noise(math.floor(r:uniform() * 2 ^ 31), between(r, 2, 10), between(r, 1, 6))
  local keypoints <const> = {}
  for k, p in ipairs(points) do
    local x <const>, y <const> = pose(p[1], p[2])
    keypoints[k] = { x + 1, y + 1 }
  end
  return canvas, keypoints, mask, category
end

-- ---- pairs ----

local Pairs <const> = {}
Pairs.__index = Pairs

--- Pair i, drawn: { source =, target = (canvases), source_points =, target_points =, category = }.
-- It depends on the seed and i alone, unless an epoch's own generator is given.
function Pairs:pair(i, r)
  r = r or rng_of(self.seed, 0, i)
  local category <const> = shapes.CATEGORIES[(i - 1) % #shapes.CATEGORIES + 1]
  local a <const>, pa <const> = figures.draw(r, { category = category, size = self.size, spread = self.spread })
  local b <const>, pb <const> = figures.draw(r, { category = category, size = self.size, spread = self.spread })
  return { source = a, target = b, source_points = pa, target_points = pb, category = category }
end

function Pairs:length()
  return self.count
end

local function stack(canvases)
  local tensors <const> = {}
  for k, c in ipairs(canvases) do
    tensors[k] = c:tensor()
  end
  return la.stack(tensors, 1):astype("float32")
end

function Pairs:batch(indices, rng)
  local a <const>, b <const> = {}, {}
  for k, i in ipairs(indices) do
    local p <const> = self:pair(i, rng and rng(i))
    a[k], b[k] = p.source, p.target
  end
  return { source = stack(a), target = stack(b) }
end

--- A data set of pairs: two instances of one category each. spread scales how much poses differ.
function figures.pairs(given)
  local o <const> = options.check("figures.pairs", given, { count = 1000, seed = 1, size = 240, spread = 1 })
  return setmetatable({ count = o.count, seed = o.seed, size = o.size, spread = o.spread }, Pairs)
end

--- Writes a small data set in the layout of TSS; lualign.data.figures_tss says what it holds.
function figures.write_tss(root, opts)
  return require "lualign.data.figures_tss"(root, opts)
end

-- ---- synthetic warps of single figures ----

local Singles <const> = {}
Singles.__index = Singles

function Singles:length()
  return self.count
end

function Singles:batch(indices, rng)
  local canvases <const>, rows <const> = {}, {}
  for k, i in ipairs(indices) do
    local r <const> = rng and rng(i) or rng_of(self.seed, 0, i)
    canvases[k] = figures.draw(r, { size = self.canvas })
    rows[k] = la.geometry.random_theta(self.model, r, { style = self.style })
  end
  local theta <const> = la.tensor(rows)
  local images <const> = stack(canvases)
  local source <const>, target <const> = la.geometry.synthetic_pair(images, theta, self.model, { size = self.size })
  return { source = source, target = target, theta = theta }
end

--- A data set of single figures warped by random transformations of `model`, which are the labels.
function figures.singles(given)
  local o <const> = options.check("figures.singles", given, {
    count = 1000, seed = 1, size = 240, canvas = 320, model = "affine", style = "weakalign",
  })
  return setmetatable(o, Singles)
end

return figures
