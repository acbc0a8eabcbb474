-- SPDX-License-Identifier: MIT
--
-- From the state of the authors' checkpoints (weakalign, cnngeometric_pytorch) to ours:
--
--   FeatureExtraction.model.{0,1,4,5,6}. of ResNet  ->  FeatureExtraction.resnet101.{conv1,bn1,layer1,layer2,layer3}.
--   FeatureExtraction.model.<i>. of VGG             ->  FeatureExtraction.vgg16.layers.<i>.
--   FeatureRegression.  FeatureRegression2.         ->  the same
--   weights of convolutions (O, I, H, W)            ->  (O, H, W, I)
--
-- Very old files say vgg where others say model. num_batches_tracked is dropped.

local options <const> = require "lualign.util.options"
local weights <const> = require "lualign.models.weights"

local names <const> = {}

local RESNET <const> = { ["0"] = "conv1", ["1"] = "bn1", ["4"] = "layer1", ["5"] = "layer2", ["6"] = "layer3" }

local function rename(name, resnet)
  local index <const>, rest <const> = name:match "^FeatureExtraction%.model%.(%d+)(%..*)$"
  if not index then
    return name
  elseif not resnet then
    return "FeatureExtraction.vgg16.layers." .. index .. rest
  elseif not RESNET[index] then
    error(string.format("from_authors: unexpected name '%s'", name), 0)
  end
  return "FeatureExtraction.resnet101." .. RESNET[index] .. rest
end

--- dict: name -> tensor, of an authors' state_dict; returns such a table for load_state_dict. opts.second: it is a file
-- of one stage that is to be the second stage of a model; its features are left out.
function names.from_authors(dict, opts)
  local o <const> = options.check("from_authors", opts, { second = false })
  local plain <const> = {}
  for name, t in pairs(dict) do
    if not name:find "num_batches_tracked$" then
      plain[name:gsub("vgg", "model")] = t
    end
  end
  local resnet <const> = plain["FeatureExtraction.model.1.running_mean"] ~= nil
  local out <const> = {}
  for name, t in pairs(weights.from_pytorch(plain)) do
    if not o.second then
      out[rename(name, resnet)] = t
    elseif name:find "^FeatureRegression%." then
      out[name:gsub("^FeatureRegression%.", "FeatureRegression2.")] = t
    end
  end
  return out
end

-- The stage of a regressor by the number of its outputs.
local STAGE <const> = { [6] = "affine", [8] = "homography", [9] = "homography", [18] = "tps" }

--- Whether the names in a state are those of the authors' checkpoints.
function names.is_authors(dict)
  return dict["FeatureRegression.linear.bias"] ~= nil
end

--- What model the state of an authors' checkpoint belongs to: the options of la.models.weakalign, with random weights.
-- where: how messages begin.
function names.options_of(dict, where)
  local o <const> = { stages = {}, identity = false }
  for k, name in ipairs { "FeatureRegression", "FeatureRegression2" } do
    local bias <const> = dict[name .. ".linear.bias"]
    if bias then
      local model <const> = STAGE[bias:numel()]
      o.stages[k] = bias:numel() == 9 and { model = model, outputs = 9 } or model
      if not model then
        error(string.format("%s: %s has %d outputs; 6 (affine), 8 or 9 (homography) and 18 (spline) are known", where,
          name, bias:numel()), 0)
      end
    end
  end
  local resnet <const> = dict["FeatureExtraction.model.1.running_mean"] ~= nil
  local vgg <const> = dict["FeatureExtraction.model.0.weight"] or dict["FeatureExtraction.vgg.0.weight"]
  if not resnet and not vgg then
    error(string.format("%s: has regressors, but no features of a ResNet-101 or VGG-16", where), 0)
  end
  o.backbone = resnet and "resnet101" or "vgg16"
  o.weights = false
  return o
end

local LAYERS <const> = {}
for index, layer in pairs(RESNET) do
  LAYERS[layer] = index
end

--- What the authors call what we call `name`: the same for all but parts of the trunk.
function names.authors_name(name)
  local layer <const>, rest <const> = name:match "^FeatureExtraction%.resnet101%.([^.]*)(%..*)$"
  local renamed <const> = layer and LAYERS[layer] and "FeatureExtraction.model." .. LAYERS[layer] .. rest
    or name:gsub("^FeatureExtraction%.vgg16%.layers%.", "FeatureExtraction.model.")
  if renamed:find "^FeatureExtraction%." and not renamed:find "^FeatureExtraction%.model%." then
    error(string.format("to_authors: '%s' is of a trunk that the authors' models do not have", name), 0)
  end
  return renamed
end

--- The way back: our model's state, name -> tensor, under the authors' names and in PyTorch's layouts.
function names.to_authors(dict)
  local out <const> = {}
  for name, t in pairs(weights.to_pytorch(dict)) do
    out[names.authors_name(name)] = t
  end
  return out
end

return names
