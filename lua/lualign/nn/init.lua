-- SPDX-License-Identifier: MIT
--
-- la.nn: modules. Features are (N, H, W, C). Names and meanings are PyTorch's where it has the same; what makes a
-- module comes in one table, the sizes first: nn.Conv2d { 3, 64, kernel = 7, stride = 2, padding = 3 }.

local files <const> = {
  Conv4d = "conv4d",
  Module = "module", Conv2d = "conv2d", BatchNorm2d = "batch_norm2d", Linear = "linear", ReLU = "relu", ReLU6 = "relu6",
  MaxPool2d = "max_pool2d", AvgPool2d = "avg_pool2d", Flatten = "flatten", Sequential = "sequential",
  Residual = "residual", Identity = "identity", Dropout = "dropout",
}

return setmetatable({}, {
  __index = function(self, name)
    if files[name] then
      local class <const> = require("lualign.nn." .. files[name])
      rawset(self, name, class)
      return class
    end
    return nil
  end,
})
