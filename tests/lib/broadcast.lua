-- SPDX-License-Identifier: MIT
--
-- broadcast.lua -- a function of plain arrays or numbers, element by element, by NumPy's rules of broadcasting.

local P <const> = require "lib.plain"

local function shape_of(operands)
  local n = 0
  for _, x in ipairs(operands) do
    n = math.max(n, P.is(x) and #x.shape or 0)
  end
  local shape <const> = {}
  for d = 1, n do
    shape[d] = 1
    for _, x in ipairs(operands) do
      local size <const> = P.is(x) and x.shape[d - (n - #x.shape)] or 1
      if size ~= 1 then
        shape[d] = size
      end
    end
  end
  return shape
end

-- The element of x that belongs to an index of the result.
local function element(x, index)
  if not P.is(x) then
    return x
  end
  local own <const>, skip <const> = {}, #index - #x.shape
  for d = 1, #x.shape do
    own[d] = x.shape[d] == 1 and 1 or index[skip + d]
  end
  return x:at(table.unpack(own))
end

--- fn(a, b, ...) for every element of the operands' common shape.
return function(fn, ...)
  local operands <const> = { ... }
  return P.build(shape_of(operands), function(...)
    local index <const>, values <const> = { ... }, {}
    for k, x in ipairs(operands) do
      values[k] = element(x, index)
    end
    return fn(table.unpack(values))
  end)
end
