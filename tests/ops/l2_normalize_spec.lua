-- SPDX-License-Identifier: MIT

local optest <const> = require "lib.optest"
local P <const> = optest.P

-- Around dimension d: sums over it for every other index.
local function reference(x, opts)
  local d = opts and opts.dim or -1
  d = d < 0 and #x.shape + 1 + d or d
  local eps <const> = opts and opts.eps or 1e-6
  local out <const> = P.zeros(table.unpack(x.shape))
  local inner, length <const> = 1, x.shape[d]
  for k = d + 1, #x.shape do
    inner = inner * x.shape[k]
  end
  for start = 0, #x.data // math.max(length, 1) - 1 do
    local first <const> = start // inner * length * inner + start % inner + 1
    local sum = eps
    for c = 0, length - 1 do
      sum = sum + x.data[first + c * inner] ^ 2
    end
    for c = 0, length - 1 do
      out.data[first + c * inner] = x.data[first + c * inner] / math.sqrt(sum)
    end
  end
  return out
end

optest("l2_normalize", {
  args = function(rng) return rng.randn(2, 3, 5, 13) end,
  ref = reference,
  grad = true,
  sizes = {
    { "one element", function(rng) return rng.randn(1, 1, 1) end },
    { "no rows", function(rng) return rng.randn(0, 2, 3) end },
    { "one dimension", function(rng) return rng.randn(17) end },
    { "long rows", function(rng) return rng.randn(3, 257) end },
    { "many rows", function(rng) return rng.randn(2, 33, 5) end },
    { "the first dimension", function(rng) return rng.randn(5, 3, 7), { dim = 1 } end },
    { "a middle dimension", function(rng) return rng.randn(2, 9, 5), { dim = -2, eps = 0.5 } end },
    { "all zero", function() return P.zeros(2, 5) end },
  },
  rejects = {
    { "integers", function(rng) return rng.ints(0, 9, 2) end, "must be float32" },
    { "a dimension too many", function(rng) return rng.randn(2, 3), { dim = 3 } end, "from 1 to 2" },
  },
})
