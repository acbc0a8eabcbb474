-- SPDX-License-Identifier: MIT
--
-- Features for matching, from any layers of one or several trunks:
--
--   local features <const> = la.models.features { trunks = { { "mobilenetv2", layers = { 8, 14, 15 } } } }
--   local f <const> = features(images)      -- (N, H, W, 3), RGB of 0..255 -> (N, h, w, C)
--
-- Each layer is brought to one grid (bilinear, borders coincide) and then normalised at every position, so that all
-- weigh the same there; all are joined along the channels and, if there are several, normalised again.

local la <const> = require "lualign"
local Module <const> = require "lualign.nn.module"
local options <const> = require "lualign.util.options"
local trunks <const> = require "lualign.models.trunks"

local Features <const> = Module.class "Features"

local STRIDE <const> = 16 -- of the automatic grid

local function make_trunk(given)
  local o <const> = options.check("features: trunk", given, {
    [1] = options.optional "string", kind = options.optional "string", layers = options.required "table",
    weights = options.optional, dilated = options.optional "boolean", form = options.optional "string",
  }, 4)
  local kind <const> = o[1] or o.kind
  if not trunks.known[kind] then
    error(string.format("features: there is no trunk '%s'%s; there are %s", tostring(kind),
      options.hint(tostring(kind), trunks.names), table.concat(trunks.names, ", ")), 5)
  end
  local trunk <const> = la.models[kind] {
    weights = o.weights, last = o.layers, dilated = o.dilated, form = o.form,
  }
  for _, layer in ipairs(o.layers) do
    trunk:check_layer(layer)
  end
  local form <const> = trunk.form ~= "tensorflow" and trunk.form or nil -- what a file without it has
  return trunk, { kind = kind, layers = o.layers, dilated = o.dilated, form = form }
end

--- trunks: a list of { kind, layers = list, weights = path or false, dilated =, form = }. grid: { height, width }, or
-- "auto", that of stride 16.
function Features:init(given)
  local o <const> = options.check("features", given, {
    trunks = options.required "table", grid = options.any "auto",
  }, 3)
  if #o.trunks == 0 then
    error("features: needs at least one trunk", 3)
  end
  self.grid, self.channels = o.grid, 0
  self.config = { kind = "features", trunks = {}, grid = o.grid }
  for k, description in ipairs(o.trunks) do
    local trunk <const>, config <const> = make_trunk(description)
    self:child(config.kind, trunk)
    self.config.trunks[k] = config
    for _, layer in ipairs(config.layers) do
      self.channels = self.channels + trunk.channels[layer]
    end
  end
  self.neutral = self[self.config.trunks[1].kind].neutral -- the colour outside of a warped image
end

--- The grid of features, height and width, of images of that size.
function Features:grid_of(height, width)
  if self.grid ~= "auto" then
    return self.grid[1], self.grid[2]
  end
  return (height + STRIDE - 1) // STRIDE, (width + STRIDE - 1) // STRIDE
end

function Features:forward(images)
  local height <const>, width <const> = self:grid_of(images:size(2), images:size(3))
  local maps <const> = {}
  for _, config in ipairs(self.config.trunks) do
    local trunk <const> = self[config.kind]
    for _, map in ipairs(trunk:features(trunk:preprocess(images), config.layers)) do
      if map:size(2) ~= height or map:size(3) ~= width then
        map = la.resize(map, { height = height, width = width, mode = "half_pixel" })
      end
      maps[#maps + 1] = la.l2_normalize(map)
    end
  end
  return #maps == 1 and maps[1] or la.l2_normalize(la.cat(maps, -1))
end

function Features:extra()
  local parts <const> = {}
  for k, config in ipairs(self.config.trunks) do
    parts[k] = string.format("%s %s", config.kind, table.concat(config.layers, ", "))
  end
  return string.format("%s -> %d channels", table.concat(parts, "; "), self.channels)
end

return Features
