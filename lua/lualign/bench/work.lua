-- SPDX-License-Identifier: MIT
--
-- work: what the benchmarks run: the convolutions that a network calls, and whole networks, with random weights.
--
--   for _, layer in ipairs(work.convolutions(fn)) do     -- the distinct ones that fn() calls
--     layer.x, layer.weight   shapes;  layer.options  stride, padding, dilation, groups;  layer.count  how often
--     layer.label, layer.flops
--   end
--   local net <const> = work.network("resnet101", { images = 2, size = 240 })
--   net.run()               one forward pass or step;  net.flops  of its convolutions, a multiply-add counting as two

local kernels <const> = require "lualign.kernels"
local la <const> = require "lualign"

local work <const> = {}

-- ---- convolutions ----

local function pair(value)
  if type(value) == "table" then
    return value[1], value[2] or value[1]
  end
  return value or 1, value or 1
end

-- Top, bottom, left, right.
local function four(padding)
  if type(padding) ~= "table" then
    local p <const> = padding or 0
    return p, p, p, p
  end
  if #padding == 4 then
    return table.unpack(padding)
  end
  local rows <const>, columns <const> = pair(padding)
  return rows, rows, columns, columns
end

local function label_of(layer)
  local n <const> = layer.options
  local sh <const> = pair(n.stride)
  local dh <const> = pair(n.dilation)
  local text <const> = string.format("%dx%d %d->%d %dx%d", layer.x[2], layer.x[3], layer.x[4], layer.weight[1],
    layer.weight[2], layer.weight[3])
  return text .. (sh > 1 and "/" .. sh or "") .. (dh > 1 and " dilated " .. dh or "")
    .. (n.groups == 1 and "" or n.groups == layer.x[4] and " depthwise" or " in " .. n.groups .. " groups")
end

--- A convolution of the shapes x = { n, h, w, c }, weight = { o, kh, kw, c / groups }, with what depends on them.
function work.convolution(x, weight, options)
  options = options or {}
  local sh <const>, sw <const> = pair(options.stride)
  local dh <const>, dw <const> = pair(options.dilation)
  local top <const>, bottom <const>, left <const>, right <const> = four(options.padding)
  local layer <const> = {
    x = x, weight = weight, count = 1,
    options = {
      stride = { sh, sw }, padding = { top, bottom, left, right }, dilation = { dh, dw }, groups = options.groups or 1,
    },
  }
  local oh <const> = (x[2] + top + bottom - dh * (weight[2] - 1) - 1) // sh + 1
  local ow <const> = (x[3] + left + right - dw * (weight[3] - 1) - 1) // sw + 1
  layer.y = { x[1], oh, ow, weight[1] }
  layer.flops = 2 * x[1] * oh * ow * weight[1] * weight[2] * weight[3] * weight[4]
  layer.label = label_of(layer)
  return layer
end

-- The options of a call: its last argument, if that is a plain table.
local function options_of(...)
  local last <const> = select("#", ...) > 0 and select(select("#", ...), ...) or nil
  return type(last) == "table" and last or {}
end

-- An inverted residual block as the convolutions that it is made of.
local function block_in_parts(x, depthwise, depthwise_bias, project, project_bias, expand, expand_bias, options)
  local o <const> = options_of(options)
  local wide <const> = expand and la.conv2d_fused(x, expand, expand_bias, { activation = "relu6" }) or x
  local swept <const> = la.conv2d_fused(wide, depthwise, depthwise_bias, {
    activation = "relu6", stride = o.stride, padding = o.padding, dilation = o.dilation, groups = depthwise:size(1),
  })
  return la.conv2d_fused(swept, project, project_bias, nil, nil, nil, nil, o.residual and x or nil, {})
end

--- The distinct convolutions that fn() calls, in the order of their first calls, and the operations of all calls.
function work.convolutions(fn)
  local list <const>, known <const>, own <const> = {}, {}, {}
  local flops = 0
  for _, name in ipairs { "conv2d", "conv2d_fused" } do
    own[name] = la[name]
    if own[name] then
      la[name] = function(x, weight, ...)
        local layer <const> = work.convolution(x:shape(), weight:shape(), options_of(...))
        flops = flops + layer.flops
        local o <const> = layer.options
        local key <const> = table.concat({ layer.label, table.concat(o.padding, ","), x:size(1), o.stride[2] }, " ")
        if known[key] then
          known[key].count = known[key].count + 1
        else
          known[key] = layer
          list[#list + 1] = layer
        end
        return own[name](x, weight, ...)
      end
    end
  end
  own.inverted_residual, la.inverted_residual = la.inverted_residual, block_in_parts
  local ok <const>, message <const> = pcall(la.scope, fn)
  for name, op in pairs(own) do
    la[name] = op
  end
  if not ok then
    error(message, 0)
  end
  return list, flops
end

-- ---- networks ----

local function images_of(o)
  return la.keep(la.rand(o.images, o.size, o.size, 3) * 255)
end

-- The model for inference: its batch norms folded and its chains fused where it knows how.
local function for_inference(model, precision)
  if model.fuse then
    return model:fuse { precision = precision }
  elseif precision then
    error("bench: networks cannot be asked for a precision", 0)
  end
  return model:eval():requires_grad_(false)
end

-- A trunk's forward pass.
local function trunk(kind, options)
  return function(o)
    options.weights = false
    local model <const>, images <const> = for_inference(la.models[kind](options), o.precision), images_of(o)
    return function()
      return la.no_grad(function() return model(model:preprocess(images)) end)
    end
  end
end

local function two_stage(o, backbone)
  return la.models.weakalign { backbone = backbone, weights = false, size = o.size }
end

-- Both stages of the alignment network, for pairs.
local function forward_of(backbone)
  return function(o)
    local model <const> = for_inference(two_stage(o, backbone), o.precision)
    local source <const>, target <const> = images_of(o), images_of(o)
    return function()
      return la.no_grad(function() return model(source, target).tps end)
    end
  end
end

-- A training step of the paper's weak recipe, in which everything is trained on frozen statistics.
local function weak_step(o)
  local model <const> = o.model and la.models.load(o.model) or two_stage(o, "resnet101")
  kernels.want(model, "train") -- as training does
  model:eval():requires_grad_(true)
  local optimizer <const> = la.optim.Adam(model:parameters(), { lr = 5e-8 })
  local source <const>, target <const> = images_of(o), images_of(o)
  return function()
    optimizer:zero_grad()
    local t <const> = model(source, target)
    local loss <const> = la.losses.weak(t.correlation, t:compose(), { offset = model.config.offset })
    loss:backward()
    optimizer:step()
    return loss
  end
end

-- name -> what makes its run(), what it is called, how large it is unless said otherwise.
local NETWORKS <const> = {
  resnet101 = { make = trunk("resnet101", {}), title = "ResNet-101 to layer3", images = 2, size = 240 },
  mobilenetv2 = {
    make = trunk("mobilenetv2", { last = 15 }), title = "MobileNetV2 to block 15", images = 2, size = 320,
  },
  efficientnet_lite0 = {
    make = trunk("efficientnet_lite0", { last = 14 }), title = "EfficientNet-Lite0 to block 14",
    images = 2, size = 320,
  },
  vgg16 = { make = trunk("vgg16", {}), title = "VGG-16 to pool4", images = 2, size = 240 },
  forward = { make = forward_of "resnet101", title = "two-stage network", images = 1, size = 240, pairs = true },
  small = {
    make = forward_of "mobilenetv2", title = "two-stage network on MobileNetV2", images = 1, size = 320, pairs = true,
  },
  weak_step = { make = weak_step, title = "weak training step", images = 4, size = 240, pairs = true, trains = true },
}

--- The names that work.network knows, sorted.
function work.networks()
  local names <const> = {}
  for name in pairs(NETWORKS) do
    names[#names + 1] = name
  end
  table.sort(names)
  return names
end

-- The description of a network, and its options with their defaults.
local function find(name, given)
  local known <const> = NETWORKS[name]
  if not known then
    error(string.format("bench: there is no network '%s', but %s", name, table.concat(work.networks(), ", ")), 0)
  end
  given = given or {}
  return known, {
    images = given.images or known.images, size = given.size or known.size, model = given.model,
    precision = given.precision,
  }
end

--- A function that runs `name` once and returns a tensor: what it gives, or the loss. Options as below, and model: a
-- checkpoint to take instead of random weights.
function work.runner(name, given)
  local known <const>, o <const> = find(name, given)
  return known.make(o)
end

--- The work called `name`, with random weights and images. given: images (pairs of them for the alignment networks) and
-- size, each with a default; precision, as model:fuse has it.
function work.network(name, given)
  local known <const>, o <const> = find(name, given)
  local net <const> = { name = name, images = o.images, size = o.size, pairs = known.pairs, trains = known.trains }
  net.run = known.make(o)
  net.convolutions, net.flops = work.convolutions(net.run)
  net.flops = known.trains and 3 * net.flops or net.flops -- forward, and two gradients of the same cost
  net.title = string.format("%s, %d %s", known.title, o.images,
    known.pairs and (o.images == 1 and "pair" or "pairs") or (o.images == 1 and "image" or "images"))
  return net
end

return work
