-- SPDX-License-Identifier: MIT
--
-- nn.MaxPool2d { kernel = 2, stride = kernel, padding = 0, ceil = false }: la.max_pool2d as a module.

local la <const> = require "lualign"
local Module <const> = require "lualign.nn.module"
local options <const> = require "lualign.util.options"

local MaxPool2d <const> = Module.class "MaxPool2d"

function MaxPool2d:init(given)
  self.options = options.check("MaxPool2d", given, {
    kernel = options.required, stride = options.optional, padding = options.any(0), ceil = false,
  }, 3)
end

function MaxPool2d:forward(x)
  return la.max_pool2d(x, self.options)
end

local function text(value)
  return type(value) == "table" and "{" .. table.concat(value, ", ") .. "}" or tostring(value)
end

function MaxPool2d:extra()
  local o <const> = self.options
  return text(o.kernel) .. (o.stride and ", stride " .. text(o.stride) or "")
    .. (o.padding ~= 0 and ", padding " .. text(o.padding) or "")
end

return MaxPool2d
