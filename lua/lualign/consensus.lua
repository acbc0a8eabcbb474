-- SPDX-License-Identifier: MIT
--
-- la.consensus: what came after the alignment papers: dense matches instead of one transformation.
--
--   local c <const> = la.consensus.correlate(fa, fb)      -- (N, hB, wB, hA, wA), inner products
--   local m <const> = la.consensus.mutual(c)              -- soft mutual nearest neighbours
--   local net <const> = la.consensus.Neighbourhood { channels = { 16, 16, 1 }, kernel = 5 }
--   local grid <const> = la.consensus.soft_argmax(net(m), 0.02)     -- source coordinates (N, hB, wB, 2)
--
-- Mutual matching, the symmetric 4-D filter and the loss are those of "Neighbourhood consensus networks" (Rocco et al.,
-- NeurIPS 2018). Cells have their centres half a cell inside the image's border.

local la <const> = require "lualign"
local nn <const> = require "lualign.nn"
local Module <const> = require "lualign.nn.module"
local options <const> = require "lualign.util.options"

local consensus <const> = {}

local EPS <const> = 1e-5

--- Inner products of two feature maps (N, hA, wA, C), (N, hB, wB, C), negative ones 0: (N, hB, wB, hA, wA).
function consensus.correlate(a, b)
  local n <const>, ha <const>, wa <const>, c <const> = table.unpack(a:shape())
  local hb <const>, wb <const> = b:size(2), b:size(3)
  local products <const> = la.matmul(b:reshape(n, hb * wb, c), a:reshape(n, ha * wa, c), { tb = true })
  return la.relu(products):reshape(n, hb, wb, ha, wa)
end

-- (N, Q, K) of a correlation, targets by sources.
local function matrix(c)
  return c:reshape(c:size(1), c:size(2) * c:size(3), c:size(4) * c:size(5))
end

--- Each match times its share of the best match of its target, and of its source: c^3 / (max_A c max_B c).
function consensus.mutual(c)
  local m <const> = matrix(c)
  local n <const>, q <const>, k <const> = table.unpack(m:shape())
  local by_source <const> = m / (la.max(m, 3):reshape(n, q, 1) + EPS)
  local by_target <const> = m / (la.max(m, 2):reshape(n, 1, k) + EPS)
  return (m * by_source * by_target):reshape(c:shape())
end

-- ---- the network ----

local Neighbourhood <const> = Module.class "Neighbourhood"

--- channels: outputs of each layer, the last one 1. kernel: along each of the four dimensions.
function Neighbourhood:init(given)
  local o <const> = options.check("Neighbourhood", given, { channels = { 16, 1 }, kernel = 3 }, 3)
  local inputs = 1
  for k, outputs in ipairs(o.channels) do
    self:child("conv" .. k, nn.Conv4d { inputs, outputs, kernel = o.kernel })
    inputs = outputs
  end
  if inputs ~= 1 then
    error(string.format("Neighbourhood: the last of channels must be 1, got %d", inputs), 3)
  end
  self.count = #o.channels
end

--- One way through the filters: c (N, hB, wB, hA, wA, 1).
function Neighbourhood:filter(c)
  for k = 1, self.count do
    c = la.relu(self["conv" .. k](c))
  end
  return c
end

-- Source and target change places.
local function turned(c)
  return c:permute({ 1, 4, 5, 2, 3, 6 }):contiguous()
end

--- (N, hB, wB, hA, wA) -> the same: both ways through the filters, so that source and target are treated alike, and
--- mutual matching after them.
function Neighbourhood:forward(c)
  local x <const> = c:unsqueeze(6)
  return consensus.mutual((self:filter(x) + turned(self:filter(turned(x)))):squeeze(6))
end

consensus.Neighbourhood = Neighbourhood

-- ---- matches ----

-- Centres of n cells, normalised.
local function centres(n)
  local list <const> = {}
  for i = 1, n do
    list[i] = (2 * i - 1) / n - 1
  end
  return list
end

-- Coordinates of all cells, row by row: (h w, 2).
local function cells(h, w)
  local ys <const>, xs <const>, rows <const> = centres(h), centres(w), {}
  for i = 1, h do
    for j = 1, w do
      rows[#rows + 1] = { xs[j], ys[i] }
    end
  end
  return la.tensor(rows)
end

--- The mean source coordinates under softmax(c / temperature) over the sources: (N, hB, wB, 2).
function consensus.soft_argmax(c, temperature)
  local n <const>, hb <const>, wb <const>, ha <const>, wa <const> = table.unpack(c:shape())
  local p <const> = la.softmax(matrix(c) * (1 / temperature), 3)
  return la.matmul(p, cells(ha, wa)):reshape(n, hb, wb, 2)
end

--- The source coordinates of the best match of each target cell: (N, hB, wB, 2).
function consensus.argmax(c)
  local n <const>, hb <const>, wb <const>, ha <const>, wa <const> = table.unpack(c:shape())
  local best <const> = la.argmax(matrix(c), 3):reshape(n * hb * wb)
  return cells(ha, wa):index_select(1, best):reshape(n, hb, wb, 2)
end

--- How sure matches are: the mean, over cells and both directions, of the largest of the softmax of c. (N)
function consensus.certainty(c)
  local m <const> = matrix(c)
  local n <const> = m:size(1)
  local forward <const> = la.max(la.softmax(m, 3), 3):reshape(n, -1)
  local backward <const> = la.max(la.softmax(m, 2), 2):reshape(n, -1)
  return (la.mean(forward, 2) + la.mean(backward, 2)) / 2
end

--- The weak loss of neighbourhood consensus: certainty of negative pairs less that of positive ones.
function consensus.weak_loss(positive, negative)
  return consensus.certainty(negative):mean() - consensus.certainty(positive):mean()
end

--- Where points { {x, y}, ... } of the target, normalised, lie in the source, by a grid (1, hB, wB, 2) of source
-- coordinates: bilinear between cell centres.
function consensus.transfer(grid, points)
  local h <const>, w <const> = grid:size(2), grid:size(3)
  local at <const> = {}
  for i, p in ipairs(points) do
    local function inner(v, n) -- from the image's coordinates to those of cell centres
      return math.max(-1, math.min(1, v * n / (n - 1)))
    end
    at[i] = { inner(p[1], w), inner(p[2], h) }
  end
  return la.grid_sample(grid, la.tensor { { at } }):reshape(#points, 2):totable()
end

--- A method for la.evaluate: matches(fa, fb) gives the grid of source coordinates of two feature maps.
function consensus.method(features, matches, size)
  size = size or 240
  local kept <const> = {}
  local function feature_of(path)
    if not kept[path] then
      kept[path] = la.keep(features(la.image.load(path, { size = size, filter = "antialias" }):unsqueeze(1)))
    end
    return kept[path]
  end
  return function(pair)
    local grid <const> = matches(feature_of(pair.source), feature_of(pair.target))
    local points <const> = {}
    for i, p in ipairs(pair.target_points) do -- pixels from 1, whose first is half a pixel inside
      points[i] = { (2 * p[1] - 1) / pair.target_size[1] - 1, (2 * p[2] - 1) / pair.target_size[2] - 1 }
    end
    local found <const> = consensus.transfer(grid, points)
    for i, p in ipairs(found) do
      found[i] = { ((p[1] + 1) * pair.source_size[1] + 1) / 2, ((p[2] + 1) * pair.source_size[2] + 1) / 2 }
    end
    return { points = la.geometry.normalise(found, pair.source_size) }
  end
end

return consensus
