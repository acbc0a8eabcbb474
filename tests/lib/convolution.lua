-- SPDX-License-Identifier: MIT
--
-- convolution.lua -- the definition of a convolution, on the host, in double precision; on flat arrays, since numeric
-- gradients evaluate it often.

local P <const> = require "lib.plain"

local function pair(value, default)
  if type(value) == "table" then
    return value[1], value[2]
  end
  return value or default, value or default
end

-- top, bottom, left, right
local function sides(padding)
  if type(padding) ~= "table" then
    padding = { padding or 0 }
  end
  local p <const> = padding
  if #p == 4 then
    return p[1], p[2], p[3], p[4]
  end
  return p[1], p[1], p[2] or p[1], p[2] or p[1]
end

--- conv2d(x, weight [, bias] [, options]) on plain arrays (lib.plain).
return function(x, w, bias, opts)
  if bias and not P.is(bias) then
    bias, opts = nil, bias
  end
  opts = opts or {}
  local N <const>, H <const>, W <const>, C <const> = table.unpack(x.shape)
  local O <const>, KH <const>, KW <const>, CG <const> = table.unpack(w.shape)
  local sh <const>, sw <const> = pair(opts.stride, 1)
  local dh <const>, dw <const> = pair(opts.dilation, 1)
  local top <const>, bottom <const>, left <const>, right <const> = sides(opts.padding)
  local per_group <const> = O // (opts.groups or 1)
  local OH <const> = (H + top + bottom - dh * (KH - 1) - 1) // sh + 1
  local OW <const> = (W + left + right - dw * (KW - 1) - 1) // sw + 1
  local out <const>, xd <const>, wd <const> = {}, x.data, w.data
  for n = 0, N - 1 do
    for i = 0, OH - 1 do
      for j = 0, OW - 1 do
        for o = 0, O - 1 do
          local sum, first <const> = bias and bias.data[o + 1] or 0, o // per_group * CG
          for u = 0, KH - 1 do
            local row <const> = i * sh - top + u * dh
            for v = 0, KW - 1 do
              local column <const> = j * sw - left + v * dw
              if row >= 0 and row < H and column >= 0 and column < W then
                local at <const> = ((n * H + row) * W + column) * C + first
                local tap <const> = ((o * KH + u) * KW + v) * CG
                for c = 1, CG do
                  sum = sum + xd[at + c] * wd[tap + c]
                end
              end
            end
          end
          out[#out + 1] = sum
        end
      end
    end
  end
  return P.new({ N, OH, OW, O }, out)
end
