-- SPDX-License-Identifier: MIT
--
-- Features for matching, from any layers of one or more trunks:
--
--   la.models.features { trunks = { { "mobilenetv2", layers = { 8, 14, 15 } } } }
--
-- Images (N, H, W, 3), RGB of 0..255 -> (N, h, w, C): each layer is normalised at every position, brought to the grid of the
-- finest one (bilinear), all are joined along the channels and normalised again.

local la <const> = require "lualign"
local nn <const> = la.nn
local options <const> = require "lualign.util.options"

local Features <const> = nn.Module.class "Features"

function Features:init(given)
  local o <const> = options.check("features", given, { trunks = options.required "table", weights = options.optional,
    pretrained = true })
  self.layers = {}
  for k, description in ipairs(o.trunks) do
    local name <const>, layers <const> = description[1], description.layers
    if type(layers) ~= "table" or #layers == 0 then
      error(string.format("features: trunk %d needs layers = { ... }", k), 3)
    end
    self:child("trunk" .. k, la.models.trunk(name, { layers = layers, weights = o.weights, pretrained = o.pretrained }))
    self.layers[k] = layers
  end
  self.mean = self.trunk1.mean
end

function Features:forward(images)
  local maps <const> = {}
  for k, layers in ipairs(self.layers) do
    local trunk <const> = self["trunk" .. k]
    for _, map in ipairs(trunk:features(trunk:prepare(images), layers)) do
      maps[#maps + 1] = la.l2_normalize(map)
    end
  end
  local height, width = 0, 0
  for _, map in ipairs(maps) do
    height, width = math.max(height, map:size(2)), math.max(width, map:size(3))
  end
  for k, map in ipairs(maps) do
    if map:size(2) ~= height or map:size(3) ~= width then
      maps[k] = la.resize(map, { height = height, width = width, mode = "half_pixel" })
    end
  end
  return #maps == 1 and maps[1] or la.l2_normalize(la.cat(maps, -1))
end

function Features:extra()
  local parts <const> = {}
  for k, layers in ipairs(self.layers) do
    parts[k] = "layers " .. table.concat(layers, ", ")
  end
  return table.concat(parts, "; ")
end

return Features
