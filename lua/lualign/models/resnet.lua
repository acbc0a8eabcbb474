-- SPDX-License-Identifier: MIT
--
-- ResNets (He et al., CVPR 2016), in bottleneck blocks the stride on the 3x3 convolution, with torchvision's names.
--
--   la.models.resnet101 { weights = path, last = "layer3" }   resnet18, resnet34, resnet50 and resnet152 likewise
--   la.models.resnet { blocks = { 3, 4, 6, 3 }, kind = "my_resnet", basic = false, weights = false }
--
-- Layers: "conv1" (with its batch norm and ReLU), "maxpool", "layer1" and on, single blocks, "layer3.0" and on. Made
-- is what comes up to the layer `last`, or all those of a list: layer3 where nothing is said, as the alignment papers
-- have it.

local la <const> = require "lualign"
local fuse <const> = require "lualign.nn.fuse"
local nn <const> = require "lualign.nn"
local Module <const> = require "lualign.nn.module"
local Trunk <const> = require "lualign.models.trunk"
local options <const> = require "lualign.util.options"
local weights <const> = require "lualign.models.weights"

local resnet <const> = {}


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

-- What the shortcut needs where shapes change.
local function add_downsample(block, inputs, outputs, stride)
  if stride ~= 1 or inputs ~= outputs then
    block:child("downsample", nn.Sequential {
      nn.Conv2d { inputs, outputs, kernel = 1, stride = stride, bias = false }, nn.BatchNorm2d { outputs },
    })
  end
end

-- Two 3x3 convolutions.
local BasicBlock <const> = Module.class "BasicBlock"
BasicBlock.expansion = 1

function BasicBlock:init(inputs, planes, stride)
  self:child("conv1", nn.Conv2d { inputs, planes, kernel = 3, stride = stride, padding = 1, bias = false })
  self:child("bn1", nn.BatchNorm2d { planes })
  self:child("conv2", nn.Conv2d { planes, planes, kernel = 3, padding = 1, bias = false })
  self:child("bn2", nn.BatchNorm2d { planes })
  add_downsample(self, inputs, planes, stride)
end

-- What a block makes on its way is let go of at once, here and below: only the tape may still need it.
local function basic(self, x)
  local y <const> = fuse.apply(self.conv1, self.bn1, x, { activation = "relu" })
  local shortcut <const> = self.downsample and self.downsample(x) or x
  return fuse.apply(self.conv2, self.bn2, y, { residual = shortcut, activation = "relu" })
end

function BasicBlock:forward(x)
  return la.scope(basic, self, x)
end

-- 1x1, 3x3, 1x1.
local Bottleneck <const> = Module.class "Bottleneck"
Bottleneck.expansion = 4

function Bottleneck:init(inputs, planes, stride)
  local outputs <const> = planes * Bottleneck.expansion
  self:child("conv1", nn.Conv2d { inputs, planes, kernel = 1, bias = false })
  self:child("bn1", nn.BatchNorm2d { planes })
  self:child("conv2", nn.Conv2d { planes, planes, kernel = 3, stride = stride, padding = 1, bias = false })
  self:child("bn2", nn.BatchNorm2d { planes })
  self:child("conv3", nn.Conv2d { planes, outputs, kernel = 1, bias = false })
  self:child("bn3", nn.BatchNorm2d { outputs })
  add_downsample(self, inputs, outputs, stride)
end

local function bottleneck(self, x)
  local y = fuse.apply(self.conv1, self.bn1, x, { activation = "relu" })
  y = fuse.apply(self.conv2, self.bn2, y, { activation = "relu" })
  local shortcut <const> = self.downsample and self.downsample(x) or x
  return fuse.apply(self.conv3, self.bn3, y, { residual = shortcut, activation = "relu" })
end

function Bottleneck:forward(x)
  return la.scope(bottleneck, self, x)
end

local ResNet <const> = Module.class("ResNet", Trunk)

-- The names of all layers of a plan in order, and the rank of each.
local function layers_of(blocks)
  local order <const>, rank <const> = { "conv1", "maxpool" }, {}
  for stage, count in ipairs(blocks) do
    for b = 0, count - 1 do
      order[#order + 1] = string.format("layer%d.%d", stage, b)
    end
    order[#order + 1] = "layer" .. stage
  end
  for k, name in ipairs(order) do
    rank[name] = k
  end
  return order, rank
end

function ResNet:init(given)
  local o <const> = options.check("resnet", given, {
    blocks = options.required "table", basic = false, weights = options.optional, kind = "resnet", width = 64,
    last = options.optional,
  }, 4)
  local order <const>, rank <const> = layers_of(o.blocks)
  local count <const> = self.furthest(o.last or order[#order], function(layer)
    return rank[layer] or error(string.format("%s: layers are conv1, maxpool, layer1.0 to layer%d, got '%s'", o.kind,
      #o.blocks, tostring(layer)), 6)
  end)
  local Block <const> = o.basic and BasicBlock or Bottleneck
  self.kind, self.last, self.stages = o.kind, order[count], 0
  self.channels = { conv1 = o.width, maxpool = o.width }
  resnet.imagenet_range(self)
  self:child("conv1", nn.Conv2d { 3, o.width, kernel = 7, stride = 2, padding = 3, bias = false })
  self:child("bn1", nn.BatchNorm2d { o.width })
  local inputs = o.width
  for stage = 1, #o.blocks do
    local planes <const>, blocks <const> = o.width << (stage - 1), {}
    for b = 1, o.blocks[stage] do
      local name <const> = string.format("layer%d.%d", stage, b - 1)
      if rank[name] <= count then
        blocks[b] = Block(inputs, planes, b == 1 and stage > 1 and 2 or 1)
        inputs = planes * Block.expansion
        self.channels[name] = inputs
      end
    end
    if #blocks > 0 then
      self:child("layer" .. stage, nn.Sequential(blocks))
      self.channels["layer" .. stage] = #blocks == o.blocks[stage] and inputs or nil
      self.stages = stage
    end
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
  x = fuse.apply(self.conv1, self.bn1, x, { activation = "relu" })
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

--- A ResNet. blocks: how many each layer has. basic: of two 3x3 convolutions each. weights: a file, false for random
-- ones; by default the file of `kind`. last: the last layer that is made.
function resnet.resnet(given)
  return ResNet(given)
end

for kind, plan in pairs {
  resnet18 = { blocks = { 2, 2, 2, 2 }, basic = true }, resnet34 = { blocks = { 3, 4, 6, 3 }, basic = true },
  resnet50 = { blocks = { 3, 4, 6, 3 } }, resnet101 = { blocks = { 3, 4, 23, 3 } },
  resnet152 = { blocks = { 3, 8, 36, 3 } },
} do
  resnet[kind] = function(given)
    local o <const> = options.check(kind, given, { weights = options.optional, last = options.any "layer3" })
    return ResNet { blocks = plan.blocks, basic = plan.basic, kind = kind, weights = o.weights, last = o.last }
  end
end

return resnet
