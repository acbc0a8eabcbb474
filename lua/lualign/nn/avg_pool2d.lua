-- SPDX-License-Identifier: MIT
--
-- nn.AvgPool2d { kernel = 2, stride = kernel, padding = 0, ceil = false }: la.avg_pool2d as a module.

local la <const> = require "lualign"
local Module <const> = require "lualign.nn.module"
local options <const> = require "lualign.util.options"

local AvgPool2d <const> = Module.class "AvgPool2d"

function AvgPool2d:init(given)
  self.options = options.check("AvgPool2d", given, {
    kernel = options.required, stride = options.optional, padding = options.any(0), ceil = false,
  }, 3)
end

function AvgPool2d:forward(x)
  return la.avg_pool2d(x, self.options)
end

local function text(value)
  return type(value) == "table" and "{" .. table.concat(value, ", ") .. "}" or tostring(value)
end

function AvgPool2d:extra()
  local o <const> = self.options
  return text(o.kernel) .. (o.stride and ", stride " .. text(o.stride) or "")
    .. (o.padding ~= 0 and ", padding " .. text(o.padding) or "")
end

return AvgPool2d
