-- SPDX-License-Identifier: MIT
--
-- Trunks of inverted residual blocks (MobileNetV2, CVPR 2018; EfficientNet-Lite), with batch norm folded into weights
-- and biases. Layers are the numbers of the blocks, whose outputs they are, and "conv". form: "tensorflow", its "SAME"
-- padding and the plan's own range, or "pytorch", zeros on both sides and ImageNet's statistics, as torchvision and
-- timm train them; by default what the names in the file of weights say.

local la <const> = require "lualign"
local fuse <const> = require "lualign.nn.fuse"
local nn <const> = require "lualign.nn"
local Module <const> = require "lualign.nn.module"
local Trunk <const> = require "lualign.models.trunk"
local names <const> = require "lualign.models.inverted_names"
local options <const> = require "lualign.util.options"
local resnet <const> = require "lualign.models.resnet"
local weights <const> = require "lualign.models.weights"

local inverted <const> = {}

-- expand (1x1, where it widens), depthwise, project (1x1), the first two with ReLU6; plus the input where shapes agree.
local Block <const> = Module.class "InvertedResidual"

function Block:init(o)
  local wide <const> = o.inputs * o.expand
  if o.expand ~= 1 then
    self:child("expand", nn.Conv2d { o.inputs, wide, kernel = 1 })
  end
  self:child("depthwise", nn.Conv2d {
    wide, wide, kernel = o.kernel, stride = o.stride, dilation = o.dilation, groups = wide,
    padding = o.padding == "same" and "same" or (o.kernel - 1) // 2 * o.dilation,
  })
  self:child("project", nn.Conv2d { wide, o.outputs, kernel = 1 })
  self.residual = o.residual
end

-- Whether something asks for a gradient, or for another precision than the block as one operation has.
local function in_parts(self, x)
  if x.requires_grad then
    return true
  end
  for _, part in ipairs { self.expand or self.project, self.depthwise, self.project } do
    if part.weight.requires_grad or part.bias and part.bias.requires_grad or part.precision == "bfloat16" then
      return true
    end
  end
  return false
end

local function whole(self, x)
  local expand <const>, depthwise <const>, project <const> = self.expand or {}, self.depthwise, self.project
  return la.inverted_residual(x, depthwise.weight, depthwise.bias, project.weight, project.bias, expand.weight,
    expand.bias, {
      stride = depthwise.stride, padding = depthwise:padding_of(x), dilation = depthwise.dilation,
      residual = self.residual,
    })
end

local function pass(self, x)
  if not in_parts(self, x) then
    return whole(self, x)
  end
  local y = self.expand and fuse.apply(self.expand, nil, x, { activation = "relu6" }) or x
  y = fuse.apply(self.depthwise, nil, y, { activation = "relu6" })
  return fuse.apply(self.project, nil, y, { residual = self.residual and x or nil })
end

--- What is made on the way is let go of at once: only the tape may still need it.
function Block:forward(x)
  return la.scope(pass, self, x)
end

function Block:extra()
  return self.residual and "residual" or ""
end

local Inverted <const> = Module.class("InvertedTrunk", Trunk)

-- With `dilated`, the last halving of the resolution is left out and what follows it is dilated instead.
local function block_options(plan, index, inputs, dilated, padding)
  local b <const> = plan.blocks[index + 1]
  local coarse <const> = dilated and index >= plan.coarse
  local stride <const> = coarse and 1 or b.stride or 1
  return {
    inputs = inputs, outputs = b.outputs, expand = index == 0 and 1 or 6, kernel = b.kernel or 3, stride = stride,
    dilation = coarse and index > plan.coarse and 2 or 1,
    residual = (b.stride or 1) == 1 and inputs == b.outputs and index > 0, padding = padding,
  }
end

-- The state in a file, outside of any tape, and its form.
local function read(plan, path, last, form)
  local state
  la.no_grad(function() state, form = names.read(path, plan, last, form) end)
  return state, form
end

function Inverted:init(plan, given)
  local o <const> = options.check(plan.kind, given, {
    weights = options.optional, last = options.any(#plan.blocks - 1), dilated = false,
    form = options.optional "string",
  }, 4)
  if o.form and not names.forms[o.form] then
    error(string.format("%s: form must be tensorflow or pytorch, got '%s'", plan.kind, o.form), 4)
  end
  self.kind, self.channels = plan.kind, { conv = plan.width }
  self.last = self.furthest(o.last, function(layer)
    if layer ~= "conv" and (math.type(layer) ~= "integer" or layer < 0 or layer >= #plan.blocks) then
      error(string.format("%s: last must be a block from 0 to %d, got %s", plan.kind, #plan.blocks - 1,
        tostring(layer)), 7)
    end
    return layer == "conv" and -1 or layer
  end)
  local path <const> = o.weights ~= false
    and weights.find(type(o.weights) == "string" and o.weights or plan.kind) or nil
  local state = {}
  self.form = o.form or "tensorflow"
  if path then
    state, self.form = read(plan, path, self.last, o.form)
  end
  self:build(plan, o.dilated)
  weights.fill(self, path or false, function() return state end)
end

--- The modules of a plan; self.form and self.last say which.
function Inverted:build(plan, dilated)
  local padding <const> = names.forms[self.form].padding
  if self.form == "pytorch" then
    resnet.imagenet_range(self)
  else
    self:set_range(plan.scale, plan.shift)
  end
  self:child("conv", nn.Conv2d { 3, plan.width, kernel = 3, stride = 2, padding = padding == "same" and "same" or 1 })
  local inputs = plan.width
  for index = 0, self.last do
    local settings <const> = block_options(plan, index, inputs, dilated, padding)
    self:child("block" .. index, Block(settings))
    self.channels[index] = settings.outputs
    inputs = settings.outputs
  end
end

--- Runs x through the layers; see models/trunk.lua.
function Inverted:run(x, visit)
  x = fuse.apply(self.conv, nil, x, { activation = "relu6" })
  local done = visit("conv", x)
  for index = 0, self.last do
    if done then
      return
    end
    x = self["block" .. index](x)
    done = visit(index, x)
  end
end

--- A constructor for the network of a plan: { kind, width = channels of the first convolution, scale, shift, coarse =
-- the block that halves the resolution last, blocks = { { outputs, stride, kernel, first }, ... } }; first marks the
-- blocks that begin a stage of timm's.
function inverted.constructor(plan)
  return function(given)
    return Inverted(plan, given)
  end
end

return inverted
