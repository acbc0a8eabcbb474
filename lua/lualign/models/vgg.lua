-- SPDX-License-Identifier: MIT
--
-- la.models.vgg16 { weights = path, last = "pool4" } and vgg19: VGG (Simonyan and Zisserman, ICLR 2015), with
-- torchvision's names. Layers: "conv1_1" (before its ReLU), "relu1_1", ..., "pool5". Made is what comes up to the layer
-- `last`, or all those of a list: the fourth pool where nothing is said, as the alignment papers have it.

local nn <const> = require "lualign.nn"
local Module <const> = require "lualign.nn.module"
local Trunk <const> = require "lualign.models.trunk"
local fuse <const> = require "lualign.nn.fuse"
local options <const> = require "lualign.util.options"
local resnet <const> = require "lualign.models.resnet"
local weights <const> = require "lualign.models.weights"

local vgg <const> = {}

local CHANNELS <const> = { 64, 128, 256, 512, 512 } -- of the convolutions before each pool
local COUNTS <const> = { vgg16 = { 2, 2, 3, 3, 3 }, vgg19 = { 2, 2, 4, 4, 4 } } -- how many those are

local VGG <const> = Module.class("VGG", Trunk)

-- { { name, make }, ... } of all layers.
local function plan_of(kind)
  local list <const>, inputs = {}, 3
  for g, count in ipairs(COUNTS[kind]) do
    local outputs <const> = CHANNELS[g]
    for k = 1, count do
      local from <const> = inputs
      list[#list + 1] = { string.format("conv%d_%d", g, k), outputs, function()
        return nn.Conv2d { from, outputs, kernel = 3, padding = 1 }
      end }
      list[#list + 1] = { string.format("relu%d_%d", g, k), outputs, nn.ReLU }
      inputs = outputs
    end
    list[#list + 1] = { "pool" .. g, outputs, function() return nn.MaxPool2d { kernel = 2 } end }
  end
  return list
end

function VGG:init(kind, given)
  local o <const> = options.check(kind, given, { weights = options.optional, last = options.any "pool4" }, 4)
  self.kind, self.channels, self.order = kind, {}, {}
  resnet.imagenet_range(self)
  local plan <const>, index <const>, modules <const> = plan_of(kind), {}, {}
  for k, layer in ipairs(plan) do
    index[layer[1]] = k
  end
  local count <const> = self.furthest(o.last, function(layer)
    return index[layer] or error(string.format("%s: layers are conv1_1, relu1_1, ..., pool5, got '%s'", kind,
      tostring(layer)), 6)
  end)
  for k = 1, count do
    local name <const>, channels <const>, make <const> = table.unpack(plan[k])
    modules[k], self.order[k], self.channels[name] = make(), name, channels
  end
  self.last = self.order[count]
  self:child("layers", nn.Sequential(modules))
  weights.fill(self, o.weights, function(path)
    local dict <const> = {}
    for name, t in pairs(weights.read(path)) do
      dict[name:gsub("^features%.", "layers.")] = t
    end
    return dict
  end)
end

--- Runs x through the layers; see models/trunk.lua.
function VGG:run(x, visit, wanted)
  local fused = false -- the layer is the ReLU of a convolution that has done it already
  for i, name in ipairs(self.order) do
    if name:find "^conv" and self.order[i + 1] and wanted and not wanted[name] then
      x, fused = fuse.apply(self.layers[i], nil, x, { activation = "relu" }), true
    else
      x, fused = fused and x or self.layers[i](x), false
      if visit(name, x) then
        return
      end
    end
  end
end

for kind in pairs(COUNTS) do
  vgg[kind] = function(given)
    return VGG(kind, given)
  end
end

return vgg
