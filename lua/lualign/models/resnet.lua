-- SPDX-License-Identifier: MIT
--
-- ResNets of bottleneck blocks (He et al., CVPR 2016), the stride on the 3x3 convolution, with torchvision's names.
--
--   la.models.resnet101 { weights = path }              to layer3, as the alignment papers use it
--   la.models.resnet { blocks = { 3, 4, 6, 3 }, kind = "resnet50", weights = false }
--
-- Layers: "conv1" (with its batch norm and ReLU), "maxpool", "layer1" and on, and single blocks, "layer3.0" and on.

local la <const> = require "lualign"
local nn <const> = require "lualign.nn"
local Module <const> = require "lualign.nn.module"
local Trunk <const> = require "lualign.models.trunk"
local options <const> = require "lualign.util.options"
local weights <const> = require "lualign.models.weights"

local resnet <const> = {}

local EXPANSION <const> = 4

-- The statistics of ImageNet's channels, of 0..255.
local MEAN <const>, STD <const> = { 0.485 * 255, 0.456 * 255, 0.406 * 255 }, { 0.229 * 255, 0.224 * 255, 0.225 * 255 }

--- Sets the range of trunks that were trained by torchvision.
function resnet.imagenet_range(trunk)
  local scale <const>, shift <const> = {}, {}
  for k = 1, 3 do
    scale[k], shift[k] = 1 / STD[k], -MEAN[k] / STD[k]
  end
  trunk:set_range(scale, shift)
end

local Bottleneck <const> = Module.class "Bottleneck"

function Bottleneck:init(inputs, planes, stride)
  local outputs <const> = planes * EXPANSION
  self:child("conv1", nn.Conv2d { inputs, planes, kernel = 1, bias = false })
  self:child("bn1", nn.BatchNorm2d { planes })
  self:child("conv2", nn.Conv2d { planes, planes, kernel = 3, stride = stride, padding = 1, bias = false })
  self:child("bn2", nn.BatchNorm2d { planes })
  self:child("conv3", nn.Conv2d { planes, outputs, kernel = 1, bias = false })
  self:child("bn3", nn.BatchNorm2d { outputs })
  if stride ~= 1 or inputs ~= outputs then
    self:child("downsample", nn.Sequential {
      nn.Conv2d { inputs, outputs, kernel = 1, stride = stride, bias = false }, nn.BatchNorm2d { outputs },
    })
  end
end

function Bottleneck:forward(x)
  local y = la.relu(self.bn1(self.conv1(x)))
  y = la.relu(self.bn2(self.conv2(y)))
  y = self.bn3(self.conv3(y))
  return la.relu(y + (self.downsample and self.downsample(x) or x))
end

local ResNet <const> = Module.class("ResNet", Trunk)

function ResNet:init(given)
  local o <const> = options.check("resnet", given, {
    blocks = options.required "table", weights = options.optional, kind = "resnet", width = 64,
  }, 4)
  self.kind, self.stages, self.channels = o.kind, #o.blocks, { conv1 = o.width, maxpool = o.width }
  resnet.imagenet_range(self)
  self:child("conv1", nn.Conv2d { 3, o.width, kernel = 7, stride = 2, padding = 3, bias = false })
  self:child("bn1", nn.BatchNorm2d { o.width })
  local inputs = o.width
  for stage, count in ipairs(o.blocks) do
    local planes <const>, blocks <const> = o.width << (stage - 1), {}
    for b = 1, count do
      blocks[b] = Bottleneck(inputs, planes, b == 1 and stage > 1 and 2 or 1)
      inputs = planes * EXPANSION
      self.channels[string.format("layer%d.%d", stage, b - 1)] = inputs
    end
    self:child("layer" .. stage, nn.Sequential(blocks))
    self.channels["layer" .. stage] = inputs
  end
  weights.fill(self, o.weights, weights.read)
end

-- Calls visit on each block and on the layer as a whole.
local function run_layer(name, layer, x, visit)
  for b = 1, #layer do
    x = layer[b](x)
    if visit(string.format("%s.%d", name, b - 1), x) then
      return x, true
    end
  end
  return x, visit(name, x)
end

--- Runs x through the layers; see models/trunk.lua.
function ResNet:run(x, visit)
  x = la.relu(self.bn1(self.conv1(x)))
  if visit("conv1", x) then
    return
  end
  x = la.max_pool2d(x, { kernel = 3, stride = 2, padding = 1 })
  local done = visit("maxpool", x)
  for stage = 1, self.stages do
    if done then
      return
    end
    x, done = run_layer("layer" .. stage, self["layer" .. stage], x, visit)
  end
end

--- A ResNet. blocks: how many each layer has. weights: a file, false for random ones; by default the file of `kind`.
function resnet.resnet(given)
  return ResNet(given)
end

--- ResNet-101 to layer3.
function resnet.resnet101(given)
  local o <const> = options.check("resnet101", given, { weights = options.optional })
  return ResNet { blocks = { 3, 4, 23 }, kind = "resnet101", weights = o.weights }
end

return resnet
