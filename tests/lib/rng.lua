-- SPDX-License-Identifier: MIT
--
-- rng.lua -- random plain arrays (lib.plain) for tests, the same on every machine.
--
--   local rng = require("lib.rng")("a name")     -- a string or a number as the seed
--   rng.randn(2, 3)            normal               rng.uniform(lo, hi, 2, 3)
--   rng.away(gap, 2, 3)        normal, but no element within gap of 0 (for relu, abs, ...)
--   rng.distinct(2, 3)         all elements at least 0.01 apart (for max, argmax, pooling, ...)
--   rng.ints(lo, hi, 2, 3)     int32                rng.bytes(2, 3)      uint8
--   rng.perm(n)                the numbers 1..n in random order, int32
--   rng.number(lo, hi)         one number           rng.integer(lo, hi)  one integer
--
-- Elements are rounded to float32, so that the device starts from the same values as the reference.

local P <const> = require "lib.plain"

local function to_float32(x)
  return (string.unpack("<f", string.pack("<f", x)))
end

-- FNV-1a
local function hash(text)
  local h = 0xcbf29ce484222325
  for i = 1, #text do
    h = (h ~ text:byte(i)) * 0x100000001b3
  end
  return h
end

-- splitmix64: a uniform number in (0, 1) per call
local function stream(seed)
  local state = seed
  return function()
    state = state + 0x9e3779b97f4a7c15
    local z = state
    z = (z ~ (z >> 30)) * 0xbf58476d1ce4e5b9
    z = (z ~ (z >> 27)) * 0x94d049bb133111eb
    z = z ~ (z >> 31)
    return ((z >> 11) + 0.5) / 2.0 ^ 53
  end
end

return function(seed)
  local rng <const> = {}
  local uniform <const> = stream(type(seed) == "string" and hash(seed) or seed)

  local function normal()
    return math.sqrt(-2 * math.log(uniform())) * math.cos(2 * math.pi * uniform())
  end

  local function fill(fn, dtype, ...)
    return P.build({ ... }, fn, dtype)
  end

  function rng.number(lo, hi)
    return lo + (hi - lo) * uniform()
  end

  function rng.integer(lo, hi)
    return lo + math.floor((hi - lo + 1) * uniform())
  end

  function rng.randn(...)
    return fill(function() return to_float32(normal()) end, "float32", ...)
  end

  function rng.uniform(lo, hi, ...)
    return fill(function() return to_float32(rng.number(lo, hi)) end, "float32", ...)
  end

  function rng.away(gap, ...)
    return fill(function()
      local v <const> = normal()
      return to_float32(v < 0 and v - gap or v + gap)
    end, "float32", ...)
  end

  function rng.perm(n)
    local list <const> = {}
    for i = 1, n do
      local k <const> = rng.integer(1, i)
      list[i] = list[k]
      list[k] = i
    end
    return P.new({ n }, list, "int32")
  end

  function rng.distinct(...)
    local out <const> = fill(function() return 0 end, "float32", ...)
    for i, rank in ipairs(rng.perm(#out.data).data) do
      out.data[i] = to_float32((rank - #out.data / 2) * 0.02 + rng.number(0, 0.01))
    end
    return out
  end

  function rng.ints(lo, hi, ...)
    return fill(function() return rng.integer(lo, hi) end, "int32", ...)
  end

  function rng.bytes(...)
    return fill(function() return rng.integer(0, 255) end, "uint8", ...)
  end

  return rng
end
