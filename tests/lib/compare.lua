-- SPDX-License-Identifier: MIT
--
-- compare.lua -- how tests compare numbers.
--
-- Two arrays agree when they have the same shape and  max |a - b| <= tol * max(max |b|, tiny)  where b is the expected
-- array and tiny = 1e-4 unless given. The error is relative to the largest element, not to each one. Integers must be
-- equal. NaN agrees with NaN only, and an infinity with itself only.

local P <const> = require "lib.plain"

local compare <const> = { tiny = 1e-4 }

local function largest(data)
  local most = 0
  for _, v in ipairs(data) do
    local a <const> = math.abs(v)
    if a < math.huge and a > most then
      most = a
    end
  end
  return most
end

-- Where element k (1-based, flat) is, as "(1, 2, 3)".
local function place(shape, k)
  local index <const> = {}
  k = k - 1
  for d = #shape, 1, -1 do
    index[d] = k % shape[d] + 1
    k = k // shape[d]
  end
  return "(" .. table.concat(index, ", ") .. ")"
end

local function shape_text(p)
  return "(" .. table.concat(p.shape, ", ") .. ")"
end

--- The relative error of a to b (both anything that P takes), and a sentence about the worst element.
-- The error is infinite where shapes differ or only one is NaN.
function compare.error(a, b, tiny)
  a, b = P(a), P(b)
  if shape_text(a) ~= shape_text(b) then
    return math.huge, string.format("shape %s, expected %s", shape_text(a), shape_text(b))
  end
  local scale <const> = math.max(largest(b.data), tiny or compare.tiny)
  local worst, at = 0, nil
  for k, want in ipairs(b.data) do
    local got <const> = a.data[k]
    local off = 0
    if got ~= want and not (got ~= got and want ~= want) then
      off = math.abs(got - want) / scale
      if off ~= off then
        off = math.huge
      end
    end
    if off > worst then
      worst, at = off, k
    end
  end
  if not at then
    return 0, "equal"
  end
  return worst, string.format("element %s is %.9g, expected %.9g (relative error %.3g)", place(b.shape, at), a.data[at],
    b.data[at], worst)
end

--- Raises an error unless a agrees with b to tol. Integer tensors must be equal. Returns the relative error.
function compare.close(a, b, tol, label, tiny)
  a = P(a)
  local exact <const> = a.dtype ~= "float32"
  local off <const>, text <const> = compare.error(a, b, tiny)
  if exact and off > 0 or not (off <= tol) then
    local allowed <const> = exact and "none" or string.format("%.3g", tol)
    error(string.format("%s: %s, allowed %s", label or "result", text, allowed), 2)
  end
  return off
end

return compare
