-- SPDX-License-Identifier: MIT
--
-- nn.Sequential { first, second, ... }: each module on the result of the one before. In names of state they count from
-- 0 ("0.weight"), as in PyTorch's files; seq[1] is the first, #seq how many there are. Convolutions run fused with the
-- batch norm and the activation that follow them (nn/fuse.lua).

local Module <const> = require "lualign.nn.module"

local Sequential <const> = Module.class "Sequential"

function Sequential:init(modules)
  for i, module in ipairs(modules or {}) do
    self:child(tostring(i - 1), module)
    self[i] = module
  end
end

function Sequential:__len()
  return #self.registered.children
end

function Sequential:forward(x)
  local modules <const> = {}
  for i, name in ipairs(self.registered.children) do
    modules[i] = self[name]
  end
  return require("lualign.nn.fuse").run(modules, x)
end

return Sequential
