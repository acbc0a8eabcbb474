-- SPDX-License-Identifier: MIT
--
-- Trunks of inverted residual blocks (Sandler et al., MobileNetV2, CVPR 2018): a 1x1 convolution widens, a depthwise one
-- mixes neighbours, a 1x1 one narrows again, with a shortcut where the shapes allow. Batch norm is folded into the weights;
-- padding is TensorFlow's "same". Two networks are such trunks:
--
--   mobilenetv2          23 classes of Open Images, as a detector (MediaPipe)
--   efficientnet_lite0   1000 classes of ImageNet
--
-- trunk:features(images, { 8, 14, 15 }) gives the outputs of those blocks in one pass.

local la <const> = require "lualign"
local nn <const> = la.nn
local options <const> = require "lualign.util.options"
local weights <const> = require "lualign.models.weights"

-- Per block: output channels, depthwise kernel, stride.
local KINDS <const> = {
  mobilenetv2 = {
    file = "mobilenetv2-oidv4", scale = 1 / 127.5, shift = -1, mean = 127.5, dilate = 13,
    blocks = {
      { 16, 3, 1 }, { 24, 3, 2 }, { 24, 3, 1 }, { 32, 3, 2 }, { 32, 3, 1 }, { 32, 3, 1 }, { 64, 3, 2 }, { 64, 3, 1 },
      { 64, 3, 1 }, { 64, 3, 1 }, { 96, 3, 1 }, { 96, 3, 1 }, { 96, 3, 1 }, { 160, 3, 2 }, { 160, 3, 1 }, { 160, 3, 1 },
      { 320, 3, 1 },
    },
  },
  efficientnet_lite0 = {
    file = "efficientnet-lite0-imagenet", scale = 1 / 128, shift = -127 / 128, mean = 127, dilate = 11,
    blocks = {
      { 16, 3, 1 }, { 24, 3, 2 }, { 24, 3, 1 }, { 40, 5, 2 }, { 40, 5, 1 }, { 80, 3, 2 }, { 80, 3, 1 }, { 80, 3, 1 },
      { 112, 5, 1 }, { 112, 5, 1 }, { 112, 5, 1 }, { 192, 5, 2 }, { 192, 5, 1 }, { 192, 5, 1 }, { 192, 5, 1 },
    },
  },
}

-- ---- one block ----

local Block <const> = nn.Module.class "InvertedResidual"

function Block:init(given)
  local inputs <const>, outputs <const>, widen <const> = given.inputs, given.outputs, given.widen
  local wide <const> = inputs * widen
  if widen > 1 then
    self:child("expand", nn.Conv2d { inputs, wide, kernel = 1 })
  end
  self:child("depthwise", nn.Conv2d {
    wide, wide, kernel = given.kernel, stride = given.stride, dilation = given.dilation, groups = wide, padding = "same",
  })
  self:child("project", nn.Conv2d { wide, outputs, kernel = 1 })
  self.shortcut = given.shortcut
end

function Block:forward(x)
  local y = x
  if self.expand then
    y = la.relu6(self.expand(y))
  end
  y = self.project(la.relu6(self.depthwise(y)))
  return self.shortcut and x + y or y
end

-- ---- the trunk ----

local Trunk <const> = nn.Module.class "Trunk"

-- Blocks up to number `last`; dilated: the last stride becomes 1 and the depthwise kernels after it spread instead.
local function add_blocks(self, kind, last, dilated)
  local inputs, dilation = 32, 1
  self:child("conv", nn.Conv2d { 3, 32, kernel = 3, stride = 2, padding = "same" })
  for i = 0, last do
    local outputs <const>, kernel <const>, stride = table.unpack(kind.blocks[i + 1])
    local own_dilation <const> = dilation
    local shortcut <const> = stride == 1 and inputs == outputs and i > 0
    if dilated and i == kind.dilate then
      stride, dilation = 1, 2
    end
    self:child("block" .. i, Block {
      inputs = inputs, outputs = outputs, kernel = kernel, stride = stride, widen = i == 0 and 1 or 6,
      dilation = own_dilation, shortcut = shortcut,
    })
    inputs = outputs
  end
end

-- The file keeps depthwise weights as (KH, KW, C).
local function in_our_layout(tensors, own)
  local dict <const> = {}
  for _, entry in ipairs(own) do
    local name <const> = entry[1]
    local t = tensors[name]
    if t and name:match "depthwise%.weight$" and t:dim() == 3 then
      t = t:permute(3, 1, 2):contiguous():unsqueeze(4)
    end
    dict[name] = t
  end
  return dict
end

function Trunk:init(given)
  local kind <const> = KINDS[given.kind]
  local o <const> = options.check(given.kind, given.options, {
    last = #kind.blocks - 1, dilated = false, weights = options.optional, pretrained = true,
  })
  if math.type(o.last) ~= "integer" or o.last < 0 or o.last >= #kind.blocks then
    error(string.format("%s: last must be a block from 0 to %d, got %s", given.kind, #kind.blocks - 1, tostring(o.last)), 0)
  end
  self.kind, self.last, self.scale, self.shift, self.mean = given.kind, o.last, kind.scale, kind.shift, kind.mean
  add_blocks(self, kind, o.last, o.dilated)
  if o.pretrained then
    local path <const> = o.weights or weights.find(kind.file)
    self:load_state_dict(in_our_layout(la.io.load_safetensors(path), self:state_dict()))
  end
end

--- Images (N, H, W, 3), RGB of 0..255, as the network wants them.
function Trunk:prepare(images)
  return images * self.scale + self.shift
end

--- Outputs of blocks, numbered from 0, in the order asked for; x is a prepared image.
function Trunk:features(x, layers)
  local last, wanted <const> = -1, {}
  for _, layer in ipairs(layers) do
    if math.type(layer) ~= "integer" or layer < 0 or layer > self.last then
      error(string.format("%s: layers must be blocks from 0 to %d, got %s", self.kind, self.last, tostring(layer)), 2)
    end
    last = math.max(last, layer)
  end
  x = la.relu6(self.conv(x))
  for i = 0, last do
    x = self["block" .. i](x)
    wanted[i] = x
  end
  local out <const> = {}
  for k, layer in ipairs(layers) do
    out[k] = wanted[layer]
  end
  return out
end

function Trunk:forward(x)
  return self:features(x, { self.last })[1]
end

return function(kind)
  return function(given)
    return Trunk { kind = kind, options = given }
  end
end
