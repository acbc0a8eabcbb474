-- SPDX-License-Identifier: MIT
--
-- la.models.efficientnet_lite0 { weights = nil, last = 14, dilated = false }: EfficientNet-Lite0 to block 14. Layers: 0
-- to `last`, and "conv". The options are those of la.models.mobilenetv2; its weights do not come with lualign.

local inverted <const> = require "lualign.models.inverted"

return inverted.constructor {
  kind = "efficientnet_lite0", width = 32, scale = 1 / 128, shift = -127 / 128, coarse = 11,
  blocks = {
    { outputs = 16 }, { outputs = 24, stride = 2 }, { outputs = 24 }, { outputs = 40, stride = 2, kernel = 5 },
    { outputs = 40, kernel = 5 }, { outputs = 80, stride = 2 }, { outputs = 80 }, { outputs = 80 },
    { outputs = 112, kernel = 5 }, { outputs = 112, kernel = 5 }, { outputs = 112, kernel = 5 },
    { outputs = 192, stride = 2, kernel = 5 }, { outputs = 192, kernel = 5 }, { outputs = 192, kernel = 5 },
    { outputs = 192, kernel = 5 },
  },
}
