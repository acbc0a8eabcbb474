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

return names
