-- SPDX-License-Identifier: MIT
--
-- What trunks share. A trunk is a module that knows its layers by number or name:
--
--   local trunk <const> = la.models.mobilenetv2 {}
--   local list <const> = trunk:features(trunk:preprocess(images), { 8, 14 })   -- one pass, which ends at block 14
--
-- A class of trunks sets
--   kind                 the trunk's name
--   channels             layer -> number of channels, for every layer that it has
--   scale, shift         x * scale + shift brings RGB of 0..255 into the trunk's own range: tensors of 1 or 3 numbers
-- and a method run(x, visit, wanted), which calls visit(layer, y) after each layer and ends when that returns true.
-- It may leave out layers that are not in the set `wanted`, if it is given one, where their values are never made.

local la <const> = require "lualign"
local Module <const> = require "lualign.nn.module"

local Trunk <const> = Module.class "Trunk"

-- One pass where operands are tensors; a number would be made one for each call, and waited for.
local in_range <const> = la.fuse "x * scale + shift"

local function operand(value)
  return la.keep(la.tensor(type(value) == "table" and value or { value }))
end

--- The trunk's input range; see above.
function Trunk:set_range(scale, shift)
  self.scale, self.shift = operand(scale), operand(shift)
  local neutral <const> = {}
  for k = 1, 3 do
    neutral[k] = -(type(shift) == "table" and shift[k] or shift) / (type(scale) == "table" and scale[k] or scale)
  end
  self.neutral = la.keep(la.tensor(neutral)) -- the colour that becomes 0
end

--- How far a trunk must be made: the largest of rank(layer) over `last`, one layer or a list of layers. rank raises an
-- error for a layer that there is not.
function Trunk.furthest(last, rank)
  local most
  for _, layer in ipairs(type(last) == "table" and last or { last }) do
    local r <const> = rank(layer)
    most = math.max(most or r, r)
  end
  return most
end

--- Images (N, H, W, 3), RGB from 0 to 255, in the range that the trunk was trained on, as float32.
function Trunk:preprocess(images)
  if images:dim() ~= 4 or images:size(4) ~= 3 then
    error(string.format("%s: images must be (N, H, W, 3), got (%s)", self.kind, table.concat(images:shape(), ", ")), 2)
  end
  return in_range(images:astype "float32", self.scale, self.shift)
end

local function unknown_layer(self, layer)
  local known <const> = {}
  for name in pairs(self.channels) do
    known[#known + 1] = tostring(name)
  end
  table.sort(known, function(a, b)
    local x <const>, y <const> = tonumber(a), tonumber(b)
    return x and y and x < y or not (x and y) and a < b
  end)
  error(string.format("%s: has no layer %s, it has %s", self.kind, tostring(layer), table.concat(known, ", ")), 0)
end

--- Raises an error unless the trunk has the layer.
function Trunk:check_layer(layer)
  if not self.channels[layer] then
    unknown_layer(self, layer)
  end
end

--- The outputs of the layers in the list, in its order, for preprocessed images x. Nothing past the last is computed.
function Trunk:features(x, layers)
  local wanted <const>, found <const> = {}, {}
  local left = 0
  for _, layer in ipairs(layers) do
    self:check_layer(layer)
    left = wanted[layer] and left or left + 1
    wanted[layer] = true
  end
  return la.scope(function()
    self:run(x, function(layer, y)
      if wanted[layer] then
        found[layer] = y
        left = left - 1
      end
      return left == 0
    end, wanted)
    local list <const> = {}
    for i, layer in ipairs(layers) do
      list[i] = found[layer]
    end
    return list
  end)
end

--- The output of the last layer for preprocessed images x.
function Trunk:forward(x)
  return la.scope(function()
    local last
    self:run(x, function(_, y)
      last = y
    end, {})
    return last
  end)
end

return Trunk
