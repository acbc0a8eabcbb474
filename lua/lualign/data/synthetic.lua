-- SPDX-License-Identifier: MIT
--
-- la.data.synthetic: pairs made by warping single images with random transformations, for strong supervision
-- (CNNGeometric, CVPR 2017). The image, resized to canvas and mirrored at its borders, is sampled twice: its central
-- 9/16 is the source; the same window under a random transformation theta is the target, so target(g) =
-- source(T_theta(g)).
--
--   la.data.synthetic { images = { "a.jpg", ... }, model = "affine", flip = true }
--
-- flip: half of the pictures are mirrored first. thetas: a list of numbers for each image, instead of random ones; no
-- picture is mirrored then. Batches are { source =, target = (N, size, size, 3) float32 0..255, theta = (N, 6 or 18) }.

local la <const> = require "lualign"
local decoder <const> = require "lualign.data.decoder"
local folders <const> = require "lualign.data.folders"
local options <const> = require "lualign.util.options"

local Synthetic <const> = {}
Synthetic.__index = Synthetic

function Synthetic:length()
  return #self.images
end

function Synthetic:prefetch(indices, rng)
  self.decoder:submit(indices, rng)
end

function Synthetic:batch(indices, rng)
  local images <const> = self.decoder:fetch(indices, rng)
  local rows <const> = {}
  for k, i in ipairs(indices) do
    local own <const> = rng(i)
    own:uniform() -- the first number decided the flip
    rows[k] = self.thetas and self.thetas[i]
      or la.geometry.random_theta(self.model, own, { style = self.style, grid = self.grid })
  end
  local theta <const> = la.tensor(rows)
  local source <const>, target <const> = la.geometry.synthetic_pair(images, theta, self.model, {
    size = self.size, grid = self.grid, reg = self.reg,
  })
  return { source = source, target = target, theta = theta }
end

local synthetic <const> = {}

-- All pictures below a folder: in the order of their names, those of a folder before those of its sub-folders.
local function find_below(found, folder)
  local pictures <const>, below <const> = folders.entries(folder)
  table.move(pictures, 1, #pictures, #found + 1, found)
  for _, inner in ipairs(below) do
    find_below(found, inner)
  end
end

-- The columns of theta in the authors' lists of fixed transformations, in our order.
local COLUMNS <const> = { affine = { "A11", "A12", "tx", "A21", "A22", "ty" }, tps = {} }
for k = 1, 18 do
  COLUMNS.tps[k] = "t" .. k
end

--- The pictures of a CSV with a column image, relative to root, by default the file's folder, and, with `model`, the
-- transformations that it fixes: columns A11, A12, tx, A21, A22, ty of affine maps, t1 to t18 of splines, in any order.
function synthetic.read_list(path, root, model)
  local columns <const> = model and (COLUMNS[model] or error(string.format(
    "data.synthetic: lists fix affine maps or splines, not a %s", model), 2)) or {}
  local keypoints <const> = require "lualign.data.keypoints"
  local images <const>, thetas <const> = {}, {}
  root = root or path:match "^(.*)/[^/]*$" or "."
  local rows <const> = la.io.read_csv(path, { required = table.move(columns, 1, #columns, 2, { "image" }) })
  for k, row in ipairs(rows) do
    images[k], thetas[k] = root .. "/" .. row.image, {}
    for c, name in ipairs(columns) do
      thetas[k][c] = keypoints.number(row, name, path)
    end
  end
  return images, model and thetas or nil
end

--- Paths of pictures, from a list of folders (all below them) and CSV files with a column image, relative to root, by
-- default the file's folder.
function synthetic.find_images(places, root)
  local found <const> = {}
  for _, place in ipairs(places) do
    local before <const> = #found
    if folders.is_folder(place) then
      find_below(found, place)
    else
      local images <const> = synthetic.read_list(place, root)
      table.move(images, 1, #images, #found + 1, found)
    end
    if #found == before then
      error(string.format("data.synthetic: there is no picture in %s", place), 0)
    end
  end
  return found
end

local function new(given)
  local o <const> = options.check("data.synthetic", given, {
    images = options.required, model = "affine", style = "weakalign", size = 240, canvas = { 480, 640 }, threads = 2,
    flip = true, grid = options.optional, reg = options.optional, thetas = options.optional "table",
  })
  if o.thetas and #o.thetas ~= #o.images then
    error(string.format("data.synthetic: thetas must be as many as images, %d, got %d", #o.images, #o.thetas), 3)
  end
  if #o.images == 0 then
    error("data.synthetic: images must be a list of at least one path", 3)
  end
  local self <const> = setmetatable({
    images = o.images, model = o.model, style = o.style, size = o.size, grid = o.grid, reg = o.reg,
    thetas = o.thetas,
  }, Synthetic)
  local flip <const> = o.flip and not o.thetas
  self.decoder = decoder(function(i, rng)
    return { { path = o.images[i], options = { size = o.canvas, flip = rng:uniform() < 0.5 and flip } } }
  end, o.threads)
  return self
end

return setmetatable(synthetic, { __call = function(_, given) return new(given) end })
