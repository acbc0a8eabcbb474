-- SPDX-License-Identifier: MIT
--
-- la.data.synthetic: pairs made by warping single images with random transformations, for strong supervision
-- (CNNGeometric, CVPR 2017). The image, resized to canvas and mirrored at its borders, is sampled twice: its central
-- 9/16 is the source; the same window under a random transformation theta is the target, so target(g) =
-- source(T_theta(g)).
--
--   la.data.synthetic { images = { "a.jpg", ... }, model = "affine", flip = true }
--
-- flip: half of the pictures are mirrored first. Batches are { source =, target = (N, size, size, 3) float32 0..255,
-- theta = (N, 6 or 18) }.

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
    rows[k] = la.geometry.random_theta(self.model, own, { style = self.style, grid = self.grid })
  end
  local theta <const> = la.tensor(rows)
  local source <const>, target <const> = la.geometry.synthetic_pair(images, theta, self.model, {
    size = self.size, grid = self.grid,
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

--- Paths of pictures, from a list of folders (all below them) and CSV files with a column image, relative to the file.
function synthetic.find_images(places)
  local found <const> = {}
  for _, place in ipairs(places) do
    local before <const> = #found
    if folders.is_folder(place) then
      find_below(found, place)
    else
      local folder <const> = place:match "^(.*)/[^/]*$" or "."
      for _, row in ipairs(la.io.read_csv(place, { required = { "image" } })) do
        found[#found + 1] = folder .. "/" .. row.image
      end
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
    flip = true, grid = options.optional,
  })
  if #o.images == 0 then
    error("data.synthetic: images must be a list of at least one path", 3)
  end
  local self <const> = setmetatable({
    images = o.images, model = o.model, style = o.style, size = o.size, grid = o.grid,
  }, Synthetic)
  self.decoder = decoder(function(i, rng)
    return { { path = o.images[i], options = { size = o.canvas, flip = rng:uniform() < 0.5 and o.flip } } }
  end, o.threads)
  return self
end

return setmetatable(synthetic, { __call = function(_, given) return new(given) end })
