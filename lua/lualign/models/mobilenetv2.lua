-- SPDX-License-Identifier: MIT
--
-- la.models.mobilenetv2 { weights = nil, last = 16, dilated = false, form = nil }: MobileNetV2 1.0 to block 16 (Sandler
-- et al., CVPR 2018), by default with the weights that come with lualign, trained on Open Images. Layers: 0 to `last`,
-- and "conv". weights: a path, also of torchvision's mobilenet_v2 or timm's mobilenetv2_100 (.pth, safetensors), or
-- false for random ones. last: nothing is made past that block. dilated: blocks from 13 on keep stride 16. form:
-- "pytorch" or "tensorflow", see models/inverted.lua; by default what the weights are.

local inverted <const> = require "lualign.models.inverted"

return inverted.constructor {
  kind = "mobilenetv2", width = 32, scale = 1 / 127.5, shift = -1, coarse = 13,
  blocks = {
    { outputs = 16 }, { outputs = 24, stride = 2, first = true }, { outputs = 24 },
    { outputs = 32, stride = 2, first = true }, { outputs = 32 }, { outputs = 32 },
    { outputs = 64, stride = 2, first = true }, { outputs = 64 }, { outputs = 64 }, { outputs = 64 },
    { outputs = 96, first = true }, { outputs = 96 }, { outputs = 96 },
    { outputs = 160, stride = 2, first = true }, { outputs = 160 }, { outputs = 160 }, { outputs = 320, first = true },
  },
}
