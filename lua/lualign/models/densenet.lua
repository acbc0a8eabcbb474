-- SPDX-License-Identifier: MIT
--
-- la.models.densenet201 { weights = path, last = "transition2" }: DenseNet (Huang et al., CVPR 2017), with
-- torchvision's names. Layers: "pool0", "denseblock1", "transition1", ... "denseblock4". Made is what comes up to the
-- layer `last`, or all those of a list: the second transition where nothing is said, as the authors of the alignment
-- papers offer it.

local la <const> = require "lualign"
local nn <const> = require "lualign.nn"
local Module <const> = require "lualign.nn.module"
local Trunk <const> = require "lualign.models.trunk"
local fuse <const> = require "lualign.nn.fuse"
local options <const> = require "lualign.util.options"
local resnet <const> = require "lualign.models.resnet"
local weights <const> = require "lualign.models.weights"

local densenet <const> = {}

local GROWTH <const>, WIDTH <const>, NARROW <const> = 32, 64, 128 -- channels: of a layer, the first, within a layer

-- Batch norm, ReLU and 1x1 convolution, the same and 3x3; the result is joined to the input.
local Layer <const> = Module.class "DenseLayer"

function Layer:init(inputs)
  self:child("norm1", nn.BatchNorm2d { inputs })
  self:child("conv1", nn.Conv2d { inputs, NARROW, kernel = 1, bias = false })
  self:child("norm2", nn.BatchNorm2d { NARROW })
  self:child("conv2", nn.Conv2d { NARROW, GROWTH, kernel = 3, padding = 1, bias = false })
end

local function pass(self, x)
  local y <const> = fuse.apply(self.conv1, self.norm2, la.relu(self.norm1(x)), { activation = "relu" })
  return la.cat({ x, self.conv2(y) }, -1)
end

--- What is made on the way is let go of at once: only the tape may still need it.
function Layer:forward(x)
  return la.scope(pass, self, x)
end

local Block <const> = Module.class "DenseBlock"

function Block:init(inputs, count)
  self.count = count
  for k = 1, count do
    self:child("denselayer" .. k, Layer(inputs + (k - 1) * GROWTH))
  end
end

function Block:forward(x)
  for k = 1, self.count do
    x = self["denselayer" .. k](x)
  end
  return x
end

-- Batch norm, ReLU, 1x1 convolution to half of the channels, and the mean of 2 x 2.
local Transition <const> = Module.class "Transition"

function Transition:init(inputs)
  self:child("norm", nn.BatchNorm2d { inputs })
  self:child("conv", nn.Conv2d { inputs, inputs // 2, kernel = 1, bias = false })
end

function Transition:forward(x)
  return la.avg_pool2d(self.conv(la.relu(self.norm(x))), { kernel = 2, stride = 2 })
end

local DenseNet <const> = Module.class("DenseNet", Trunk)

local function plan_of(blocks)
  local order <const>, rank <const> = { "pool0" }, {}
  for k = 1, #blocks do
    order[#order + 1] = "denseblock" .. k
    order[#order + 1] = k < #blocks and "transition" .. k or nil
  end
  for k, name in ipairs(order) do
    rank[name] = k
  end
  return order, rank
end

function DenseNet:init(kind, blocks, given)
  local o <const> = options.check(kind, given, { weights = options.optional, last = options.any "transition2" }, 4)
  local order <const>, rank <const> = plan_of(blocks)
  local count <const> = self.furthest(o.last, function(layer)
    return rank[layer] or error(string.format("%s: layers are %s, got '%s'", kind, table.concat(order, ", "),
      tostring(layer)), 6)
  end)
  self.kind, self.last, self.channels, self.order = kind, order[count], { pool0 = WIDTH }, {}
  resnet.imagenet_range(self)
  self:child("conv0", nn.Conv2d { 3, WIDTH, kernel = 7, stride = 2, padding = 3, bias = false })
  self:child("norm0", nn.BatchNorm2d { WIDTH })
  local inputs = WIDTH
  for k = 2, count do
    local name <const> = order[k]
    local block <const> = name:match "^denseblock(%d)$"
    self:child(name, block and Block(inputs, blocks[tonumber(block)]) or Transition(inputs))
    inputs = block and inputs + blocks[tonumber(block)] * GROWTH or inputs // 2
    self.order[k - 1], self.channels[name] = name, inputs
  end
  weights.fill(self, o.weights, function(path)
    local dict <const> = {}
    for name, t in pairs(weights.read(path)) do
      -- old files have norm.1 where new ones have norm1
      dict[name:gsub("^features%.", ""):gsub("(norm)%.(%d)", "%1%2"):gsub("(conv)%.(%d)", "%1%2")] = t
    end
    return dict
  end)
end

--- Runs x through the layers; see models/trunk.lua.
function DenseNet:run(x, visit)
  x = fuse.apply(self.conv0, self.norm0, x, { activation = "relu" })
  x = la.max_pool2d(x, { kernel = 3, stride = 2, padding = 1 })
  local done = visit("pool0", x)
  for _, name in ipairs(self.order) do
    if done then
      return
    end
    x = self[name](x)
    done = visit(name, x)
  end
end

--- DenseNet-201.
function densenet.densenet201(given)
  return DenseNet("densenet201", { 6, 12, 48, 32 }, given)
end

return densenet
