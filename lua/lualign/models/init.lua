-- SPDX-License-Identifier: MIT
--
-- la.models: trunks with the weights of others' training, features made of their layers, and the alignment networks.
--
--   la.models.mobilenetv2 {}  efficientnet_lite0 {}  resnet {}  resnet18 {}, 34, 50, 101, 152  vgg16 {}  vgg19 {}
--   densenet201 {}                                                                         trunks (models/trunk.lua)
--   la.models.features { trunks = { { "mobilenetv2", layers = { 8, 14, 15 } } } }          one normalised feature map
--   la.models.regressor { model = "affine", grid = { 15, 15 } }                            correlation -> parameters
--   la.models.weakalign { backbone = "mobilenetv2", stages = { "affine", "tps" } }         the whole network
--   la.models.finetune(model, { names = { "layer3" } })                                    what of the trunks trains
--   la.models.save(path, model)  la.models.load(path)  la.models.find_weights(name)

local models <const> = {}

-- Which file makes what.
local files <const> = {
  mobilenetv2 = "mobilenetv2", efficientnet_lite0 = "efficientnet_lite0", features = "features",
  regressor = "regressor", weakalign = "weakalign", join = "join",
  finetune = "finetune",
}
local parts <const> = {
  resnet = { "resnet", "resnet" }, resnet18 = { "resnet", "resnet18" }, resnet34 = { "resnet", "resnet34" },
  resnet50 = { "resnet", "resnet50" }, resnet101 = { "resnet", "resnet101" }, resnet152 = { "resnet", "resnet152" },
  densenet201 = { "densenet", "densenet201" }, vgg16 = { "vgg", "vgg16" }, vgg19 = { "vgg", "vgg19" },
  find_weights = { "weights", "find" }, save = { "checkpoint", "save" }, load = { "checkpoint", "load" },
  from_pytorch = { "weights", "from_pytorch" }, from_authors = { "weakalign_names", "from_authors" },
  to_pytorch = { "weights", "to_pytorch" }, to_authors = { "weakalign_names", "to_authors" },
}

return setmetatable(models, {
  __index = function(self, name)
    local value
    if files[name] then
      value = require("lualign.models." .. files[name])
    elseif parts[name] then
      value = require("lualign.models." .. parts[name][1])[parts[name][2]]
    end
    if value then
      rawset(self, name, value)
    end
    return value
  end,
})
