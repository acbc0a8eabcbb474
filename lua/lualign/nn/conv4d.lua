-- SPDX-License-Identifier: MIT
--
-- nn.Conv4d { inputs, outputs, kernel = 3, bias = true }: convolution over the four dimensions of a correlation (N, h1,
-- w1, h2, w2, C), zeros around, sizes unchanged (Rocco et al., "Neighbourhood consensus networks", NeurIPS 2018).
--
-- It is the sum, over the kernel's rows and columns in the first pair of dimensions, of two-dimensional convolutions
-- over the second pair. Weights are (kernel, kernel, outputs, kernel, kernel, inputs).

local la <const> = require "lualign"
local Module <const> = require "lualign.nn.module"
local options <const> = require "lualign.util.options"

local Conv4d <const> = Module.class "Conv4d"

function Conv4d:init(given)
  local o <const> = options.check("Conv4d", given, {
    [1] = options.required "number", [2] = options.required "number", kernel = 3, bias = true,
  }, 3)
  if o.kernel % 2 ~= 1 then
    error(string.format("Conv4d: kernel must be odd, got %d", o.kernel), 3)
  end
  self.inputs, self.outputs, self.kernel = o[1], o[2], o.kernel
  local bound <const> = 1 / math.sqrt(o[1] * o.kernel ^ 4)
  local k <const> = o.kernel
  self:parameter("weight", (la.rand(k, k, o[2], k, k, o[1]) * 2 - 1) * bound)
  if o.bias then
    self:parameter("bias", (la.rand(o[2]) * 2 - 1) * bound)
  end
end

function Conv4d:forward(x)
  if x:dim() ~= 6 or x:size(6) ~= self.inputs then
    error(string.format("Conv4d: x must be (N, h1, w1, h2, w2, %d), got (%s)", self.inputs,
      table.concat(x:shape(), ", ")), 2)
  end
  local n <const>, h1 <const>, w1 <const>, h2 <const>, w2 <const>, c <const> = table.unpack(x:shape())
  local k <const>, half <const> = self.kernel, self.kernel // 2
  local wide <const> = la.pad(x:reshape(n, h1, w1, h2 * w2 * c), { padding = { half, half, half, half } })
  local sum
  for i = 1, k do
    local rows <const> = wide:narrow(2, i, h1)
    for j = 1, k do
      local maps <const> = rows:narrow(3, j, w1):reshape(n * h1 * w1, h2, w2, c)
      local part <const> = la.conv2d(maps, self.weight:select(1, i):select(1, j), { padding = half })
      sum = sum and sum + part or part
    end
  end
  sum = sum:reshape(n, h1, w1, h2, w2, self.outputs)
  return self.bias and sum + self.bias or sum
end

function Conv4d:extra()
  return string.format("%d -> %d, %s", self.inputs, self.outputs, ("x"):rep(3):gsub("x", self.kernel .. "x")
    .. self.kernel)
end

return Conv4d
