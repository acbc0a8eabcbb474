-- SPDX-License-Identifier: MIT
--
-- la.data.pairs: image pairs of one category, for weak supervision.
--
--   la.data.pairs { lists = { { root = "photos", list = "photos/pairs.csv" } }, size = 240, augment = "crop_flip" }
--   la.data.pairs { root = "photos" }       every folder below root is a category; all pairs within one
--
-- A list has the columns source_image and target_image (paths relative to root), and optionally category and flip (1:
-- mirror both). augment: "none"; "crop": each image on its own keeps a random window between 1/4 of the margin and the
-- far edge, as the paper does (top in [0, h/4), bottom 3h/4 and up to h/4 more); "flip": both images are mirrored or
-- neither, by a coin; "crop_flip". Batches are { source = (N, size, size, 3), target = ... }, float32, 0..255. With
-- negatives = true there is also `negative`, the target of a random pair of another category.

local la <const> = require "lualign"
local decoder <const> = require "lualign.data.decoder"
local folders <const> = require "lualign.data.folders"
local options <const> = require "lualign.util.options"

local AUGMENT <const> = {
  none = {}, crop = { crop = true }, flip = { flip = true }, crop_flip = { crop = true, flip = true },
}

local Pairs <const> = {}
Pairs.__index = Pairs

local function read_list(items, root, path)
  for _, row in ipairs(la.io.read_csv(path, { required = { "source_image", "target_image" } })) do
    items[#items + 1] = {
      source = root .. "/" .. row.source_image, target = root .. "/" .. row.target_image,
      category = row.category or row.class or "all", flip = row.flip == "1",
    }
  end
end

-- Every ordered pair of two images in one folder below root.
local function read_folders(items, root)
  if not folders.is_folder(root) then
    error(string.format("data.pairs: root '%s' is not a folder", root), 0)
  end
  local _, categories <const> = folders.entries(root)
  for _, folder in ipairs(categories) do
    local images <const> = folders.entries(folder)
    for _, a in ipairs(images) do
      for _, b in ipairs(images) do
        if a ~= b then
          items[#items + 1] = { source = a, target = b, category = folder:match "[^/]*$" }
        end
      end
    end
  end
end

-- The paper's random window, in pixels.
local function window(path, rng, sizes)
  if not sizes[path] then
    sizes[path] = { la.image.info(path) }
  end
  local w <const>, h <const> = sizes[path][1], sizes[path][2]
  local function edge(n)
    return math.floor(rng:uniform() * n / 4), math.min(n, math.floor(3 * n / 4 + rng:uniform() * n / 4))
  end
  local top <const>, bottom <const> = edge(h)
  local left <const>, right <const> = edge(w)
  return { top = top, bottom = bottom, left = left, right = right }
end

--- What must be decoded for sample i, source and target: paths with crop, flip and size.
function Pairs:jobs(i, rng)
  local item <const> = self.items[i]
  local how <const> = AUGMENT[self.augment]
  local flip <const> = (item.flip or false) ~= (how.flip and rng:uniform() < 0.5 or false)
  local list <const>, paths <const> = {}, { item.source, item.target }
  if self.negatives then
    paths[3] = self:other(item, rng).target
  end
  for k, path in ipairs(paths) do
    list[k] = {
      path = path,
      options = {
        size = self.size, filter = self.filter, flip = flip, crop = how.crop and window(path, rng, self.sizes) or nil,
      },
    }
  end
  return list
end

--- A random pair of another category than item's.
function Pairs:other(item, rng)
  local start <const> = math.floor(rng:uniform() * #self.items)
  for k = 0, #self.items - 1 do
    local candidate <const> = self.items[(start + k) % #self.items + 1]
    if candidate.category ~= item.category then
      return candidate
    end
  end
  error("data.pairs: negatives need pairs of at least two categories", 0)
end

--- How many pairs there are.
function Pairs:length()
  return #self.items
end

function Pairs:prefetch(indices, rng)
  self.decoder:submit(indices, rng)
end

function Pairs:batch(indices, rng)
  local images <const> = self.decoder:fetch(indices, rng)
  local shape <const> = images:shape()
  local all <const> = images:reshape(#indices, self.negatives and 3 or 2, shape[2], shape[3], shape[4])
  return {
    source = all:select(2, 1):contiguous(), target = all:select(2, 2):contiguous(),
    negative = self.negatives and all:select(2, 3):contiguous() or nil,
  }
end

return function(given)
  local o <const> = options.check("data.pairs", given, {
    lists = {}, root = options.optional, size = 240, augment = "none", filter = "bilinear", threads = 2,
    negatives = false,
  })
  if not AUGMENT[o.augment] then
    error(string.format("data.pairs: augment must be none, crop, flip or crop_flip, got '%s'", o.augment), 2)
  end
  local self <const> = setmetatable({
    items = {}, size = o.size, augment = o.augment, filter = o.filter, sizes = {}, negatives = o.negatives,
  }, Pairs)
  for _, l in ipairs(o.lists) do
    read_list(self.items, l.root, l.list)
  end
  if o.root then
    read_folders(self.items, o.root)
  end
  if #self.items == 0 then
    error("data.pairs: no pairs: give lists, or a root with a folder of images for each category", 2)
  end
  self.decoder = decoder(function(i, rng) return self:jobs(i, rng) end, o.threads)
  return self
end
