-- SPDX-License-Identifier: MIT
--
-- la.models: trunks, features and the alignment networks; saving and loading of whole models.

local la <const> = require "lualign"

local models <const> = {}

local loaders <const> = {
  mobilenetv2 = function() return require "lualign.models.inverted_residual" "mobilenetv2" end,
  efficientnet_lite0 = function() return require "lualign.models.inverted_residual" "efficientnet_lite0" end,
  features = function() return require "lualign.models.features" end,
  regressor = function() return require "lualign.models.regressor" end,
  weakalign = function() return require "lualign.models.weakalign" end,
  find_weights = function() return require("lualign.models.weights").find end,
}

--- A trunk by name, deep enough for the given layers. opts: layers, weights (a file), pretrained (true).
function models.trunk(name, opts)
  if name ~= "mobilenetv2" and name ~= "efficientnet_lite0" then
    error(string.format("models: no trunk is called '%s'; there are mobilenetv2 and efficientnet_lite0", tostring(name)), 2)
  end
  local last = 0
  for _, layer in ipairs(opts.layers) do
    last = math.max(last, layer)
  end
  return models[name] { last = last, weights = opts.weights, pretrained = opts.pretrained }
end

--- Writes a model: its parameters and buffers, and in the metadata how it is built.
function models.save(path, model)
  la.io.save_safetensors(path, model:state_dict(), {
    kind = "lualign model", lualign = la.version, config = la.io.json_encode(model.config),
  })
end

--- Reads a model that save, or a training run, wrote. The file is data: nothing in it is executed.
function models.load(path)
  local tensors <const>, metadata <const> = la.io.load_safetensors(path)
  if not metadata.config then
    error(string.format("%s: holds no lualign model (its metadata has no config)", path), 0)
  end
  local config <const> = la.io.json_decode(metadata.config)
  if type(config) ~= "table" or config.model ~= "weakalign" then
    error(string.format("%s: holds a model of an unknown kind, '%s'", path, tostring(config and config.model)), 0)
  end
  local model <const> = models.weakalign {
    backbone = config.backbone, layers = config.layers, stages = config.stages, size = config.size, offset = config.offset,
    pretrained = false,
  }
  local own <const> = {}
  for name, t in pairs(tensors) do -- a training checkpoint keeps the optimiser beside the model
    if name:match "^model%." then
      own[name:sub(7)] = t
    elseif not name:match "^optimizer%." then
      own[name] = t
    end
  end
  local ok <const>, message <const> = pcall(model.load_state_dict, model, own)
  if not ok then
    error(string.format("%s: %s", path, message), 0)
  end
  return model
end

return setmetatable(models, {
  __index = function(self, name)
    if loaders[name] then
      local value <const> = loaders[name]()
      rawset(self, name, value)
      return value
    end
    return nil
  end,
})
