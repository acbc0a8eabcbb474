-- SPDX-License-Identifier: MIT
--
-- la.models.vgg16 { weights = path }: VGG-16 to its fourth pool (Simonyan and Zisserman, ICLR 2015), with torchvision's
-- names. Layers: "conv1_1" (before its ReLU), "relu1_1", ..., "pool4".

local nn <const> = require "lualign.nn"
local Module <const> = require "lualign.nn.module"
local Trunk <const> = require "lualign.models.trunk"
local options <const> = require "lualign.util.options"
local resnet <const> = require "lualign.models.resnet"
local weights <const> = require "lualign.models.weights"

local GROUPS <const> = { { 64, 2 }, { 128, 2 }, { 256, 3 }, { 512, 3 } } -- channels, convolutions before the pool

local VGG <const> = Module.class("VGG16", Trunk)

function VGG:init(given)
  local o <const> = options.check("vgg16", given, { weights = options.optional }, 4)
  self.kind, self.channels, self.order = "vgg16", {}, {}
  resnet.imagenet_range(self)
  local modules <const> = {}
  local inputs = 3
  local function add(name, module)
    modules[#modules + 1] = module
    self.order[#modules] = name
    self.channels[name] = inputs
  end
  for g, group in ipairs(GROUPS) do
    for k = 1, group[2] do
      local conv <const> = nn.Conv2d { inputs, group[1], kernel = 3, padding = 1 }
      inputs = group[1]
      add(string.format("conv%d_%d", g, k), conv)
      add(string.format("relu%d_%d", g, k), nn.ReLU())
    end
    add("pool" .. g, nn.MaxPool2d { kernel = 2 })
  end
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
function VGG:run(x, visit)
  for i, name in ipairs(self.order) do
    x = self.layers[i](x)
    if visit(name, x) then
      return
    end
  end
end

return function(given)
  return VGG(given)
end
