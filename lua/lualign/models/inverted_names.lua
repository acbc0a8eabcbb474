-- SPDX-License-Identifier: MIT
--
-- Files of weights for trunks of inverted residual blocks: whose names they have, and from theirs to ours.
--
--   ours          conv  block<k>.{expand, depthwise, project}                       .weight .bias
--   torchvision   features.0.{0,1}  features.<k + 1>.conv.<...>                     a convolution, then its batch norm
--   timm          conv_stem bn1  blocks.<stage>.<i>.{conv_pw, bn1, conv_dw, bn2, conv_pwl, bn3}
--
-- PyTorch's convolutions are (O, I, H, W), ours (O, H, W, I); depthwise ones in files of ours (H, W, C). Batch norm is
-- folded: w' = w g / sqrt(v + eps), b' = b - m g / sqrt(v + eps), of its weight g, bias b, mean m and variance v.

local weights <const> = require "lualign.models.weights"

local names <const> = {}

--- Where trunks differ by who trained them: eps of batch norm; padding "same" is TensorFlow's, "symmetric" PyTorch's.
names.forms = {
  tensorflow = { padding = "same", eps = 1e-3 },
  pytorch = { padding = "symmetric", eps = 1e-5 },
}

-- ---- theirs ----

-- Convolutions of block k: a list of { our name, their convolution, their batch norm }.
local function torchvision_block(k)
  local base <const> = string.format("features.%d.conv.", k + 1)
  if k == 0 then
    return { { "depthwise", base .. "0.0", base .. "0.1" }, { "project", base .. "1", base .. "2" } }
  end
  return {
    { "expand", base .. "0.0", base .. "0.1" }, { "depthwise", base .. "1.0", base .. "1.1" },
    { "project", base .. "2", base .. "3" },
  }
end

-- plan.blocks[k + 1].first: a stage begins there; block 0 is a stage of its own.
local function timm_block(k, plan)
  local stage, index = 0, 0
  for j = 1, k do
    if plan.blocks[j + 1].first then
      stage, index = stage + 1, 0
    else
      index = index + 1
    end
  end
  local base <const> = string.format("blocks.%d.%d.", stage, index)
  if k == 0 then
    return { { "depthwise", base .. "conv_dw", base .. "bn1" }, { "project", base .. "conv_pw", base .. "bn2" } }
  end
  return {
    { "expand", base .. "conv_pw", base .. "bn1" }, { "depthwise", base .. "conv_dw", base .. "bn2" },
    { "project", base .. "conv_pwl", base .. "bn3" },
  }
end

local SOURCES <const> = {
  { mark = "features.1.conv.0.0.weight", conv = { "features.0.0", "features.0.1" }, block = torchvision_block },
  { mark = "blocks.0.0.conv_dw.weight", conv = { "conv_stem", "bn1" }, block = timm_block },
}

-- A convolution and the batch norm behind it, in PyTorch's layout, as weight and bias of ours.
local function fold(dict, conv, norm, eps, path)
  local function get(name)
    return dict[name] or error(string.format("'%s' lacks %s", path, name), 0)
  end
  local weight <const>, gain <const> = get(conv .. ".weight"):astype "float32", get(norm .. ".weight")
  local count <const> = weight:dim() == 4 and weight:size(1) or -1
  for _, part in ipairs { "weight", "bias", "running_mean", "running_var" } do
    local t <const> = get(norm .. "." .. part)
    if t:dim() ~= 1 or t:numel() ~= count then
      error(string.format("'%s': %s.%s is (%s), which does not fit %s.weight, (%s)", path, norm, part,
        table.concat(t:shape(), ", "), conv, table.concat(weight:shape(), ", ")), 0)
    end
  end
  local scale <const> = gain:astype "float32" / (get(norm .. ".running_var"):astype "float32" + eps):sqrt()
  return weight:permute({ 1, 3, 4, 2 }) * scale:reshape(count, 1, 1, 1),
    get(norm .. ".bias"):astype "float32" - get(norm .. ".running_mean"):astype "float32" * scale
end

local function from_theirs(dict, source, plan, last, form, path)
  local out <const> = {}
  local function take(name, conv, norm)
    out[name .. ".weight"], out[name .. ".bias"] = fold(dict, conv, norm, names.forms[form].eps, path)
  end
  take("conv", source.conv[1], source.conv[2])
  for k = 0, last do
    for _, one in ipairs(source.block(k, plan)) do
      take(string.format("block%d.%s", k, one[1]), one[2], one[3])
    end
  end
  return out
end

-- ---- ours ----

local function from_ours(dict)
  local out <const> = {}
  for name, t in pairs(dict) do
    out[name] = name:find "depthwise%.weight$" and t:dim() == 3 and t:permute({ 3, 1, 2 }):unsqueeze(4):contiguous()
      or t
  end
  return out
end

--- Reads a file of weights, up to block `last` of a plan: our state, name -> tensor, and its form, "tensorflow" or
-- "pytorch"; a form that is given stands, whatever the names say.
function names.read(path, plan, last, form)
  local dict <const> = weights.load(path)
  for _, source in ipairs(SOURCES) do
    if dict[source.mark] then
      form = form or "pytorch"
      return from_theirs(dict, source, plan, last, form, path), form
    end
  end
  return from_ours(dict), form or "tensorflow"
end

return names
