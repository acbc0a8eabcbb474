-- SPDX-License-Identifier: MIT
--
-- Fusion: a convolution and what follows it as one operation (la.conv2d_fused), forward and backward.
--
--   local y <const> = fuse.apply(conv, norm, x, { residual = shortcut, activation = "relu" })
--
-- is activation(norm(conv(x)) + residual). Sequential does so by itself with a Conv2d, a BatchNorm2d that uses its
-- running statistics, and a ReLU or ReLU6 in a row; modules that call their parts themselves ask for it.

local la <const> = require "lualign"

local fuse <const> = {}

-- Which classes can be fused, and as what. Modules of other classes, inherited ones too, are called as they are.
local KIND <const> = {}
for name, kind in pairs { Conv2d = "conv", BatchNorm2d = "norm", ReLU = "relu", ReLU6 = "relu6" } do
  KIND[require("lualign.nn")[name]] = kind
end

local function kind_of(module)
  return module and KIND[getmetatable(module)]
end

local ACTIVATION <const> = { none = function(x) return x end, relu = la.relu, relu6 = la.relu6 }

-- Batch statistics depend on all of the convolution's output: the parts one after the other.
local function apart(conv, norm, x, how)
  local y = norm(conv(x))
  if how.residual then
    y = y + how.residual
  end
  return ACTIVATION[how.activation or "none"](y)
end

--- activation(norm(conv(x)) + residual). conv: a Conv2d. norm: a BatchNorm2d, or nil. how: residual = a tensor like the
-- result, activation = "none" (the default), "relu" or "relu6".
function fuse.apply(conv, norm, x, how)
  if norm and not norm:uses_running() then
    return apart(conv, norm, x, how)
  end
  local settings <const> = conv:settings(x)
  settings.activation = how.activation
  if norm then
    settings.eps = norm.eps
    return la.conv2d_fused(x, conv.weight, conv.bias, norm.weight, norm.bias, norm.running_mean, norm.running_var,
      how.residual, settings)
  end
  return la.conv2d_fused(x, conv.weight, conv.bias, nil, nil, nil, nil, how.residual, settings)
end

--- Runs a list of modules one after the other, those that can be fused together.
function fuse.run(modules, x)
  local i = 1
  while i <= #modules do
    if kind_of(modules[i]) == "conv" then
      local conv <const> = modules[i]
      local norm <const> = kind_of(modules[i + 1]) == "norm" and modules[i + 1] or nil
      i = i + (norm and 2 or 1)
      local activation <const> = kind_of(modules[i])
      local acts <const> = activation == "relu" or activation == "relu6"
      x = fuse.apply(conv, norm, x, { activation = acts and activation or nil })
      i = i + (acts and 1 or 0)
    else
      x = modules[i](x)
      i = i + 1
    end
  end
  return x
end

return fuse
