-- SPDX-License-Identifier: MIT
--
-- nn.Conv2d { inputs, outputs, kernel = 3, stride = 1, padding = 0, dilation = 1, groups = 1, bias = true }
-- Weights are (outputs, KH, KW, inputs / groups). kernel, stride and dilation: one number, or { y, x }; padding: also
-- { top, bottom, left, right }, or "same", TensorFlow's: as many outputs as the size divided by the stride, rounded up,
-- with the smaller half of the zeros at the top and the left.

local la <const> = require "lualign"
local Module <const> = require "lualign.nn.module"
local init_weights <const> = require "lualign.nn.init_weights"
local options <const> = require "lualign.util.options"

local Conv2d <const> = Module.class "Conv2d"

local function pair(value)
  return type(value) == "table" and value or { value, value }
end

function Conv2d:init(given)
  local o <const> = options.check("Conv2d", given, {
    [1] = options.required "number", [2] = options.required "number", kernel = options.required,
    stride = options.any(1), padding = options.any(0), dilation = options.any(1), groups = 1, bias = true,
  }, 3)
  if o[1] % o.groups ~= 0 or o[2] % o.groups ~= 0 then
    error(string.format("Conv2d: groups must divide %d and %d channels, got %d", o[1], o[2], o.groups), 3)
  end
  self.inputs, self.outputs, self.groups = o[1], o[2], o.groups
  self.kernel, self.stride, self.padding, self.dilation = pair(o.kernel), o.stride, o.padding, o.dilation
  if type(o.padding) == "string" and o.padding ~= "same" then
    error(string.format("Conv2d: padding must be numbers or 'same', got '%s'", o.padding), 3)
  end
  init_weights(self, { o[2], self.kernel[1], self.kernel[2], o[1] // o.groups }, o.bias)
end

-- Zeros before and after along an axis of n pixels.
local function same(n, kernel, stride, dilation)
  local reach <const> = (kernel - 1) * dilation + 1
  local total <const> = math.max(((n + stride - 1) // stride - 1) * stride + reach - n, 0)
  return total // 2, total - total // 2
end

--- The padding for an x of that size, as the op takes it.
function Conv2d:padding_of(x)
  if self.padding ~= "same" then
    return self.padding
  end
  local stride <const>, dilation <const> = pair(self.stride), pair(self.dilation)
  local top <const>, bottom <const> = same(x:size(2), self.kernel[1], stride[1], dilation[1])
  local left <const>, right <const> = same(x:size(3), self.kernel[2], stride[2], dilation[2])
  return { top, bottom, left, right }
end

--- The options of la.conv2d and la.conv2d_fused for an x of that size.
function Conv2d:settings(x)
  return {
    stride = self.stride, padding = self:padding_of(x), dilation = self.dilation, groups = self.groups,
    precision = self.precision,
  }
end

function Conv2d:forward(x)
  return la.conv2d(x, self.weight, self.bias, self:settings(x))
end

local function text(value)
  return type(value) == "table" and "{" .. table.concat(value, ", ") .. "}" or tostring(value)
end

function Conv2d:extra()
  local parts <const> = { string.format("%d -> %d, %dx%d", self.inputs, self.outputs, self.kernel[1], self.kernel[2]) }
  for _, setting in ipairs { { "stride", 1 }, { "padding", 0 }, { "dilation", 1 }, { "groups", 1 } } do
    local value <const> = self[setting[1]]
    if value ~= setting[2] then
      parts[#parts + 1] = setting[1] .. " " .. text(value)
    end
  end
  if not self.bias then
    parts[#parts + 1] = "no bias"
  end
  return table.concat(parts, ", ")
end

return Conv2d
