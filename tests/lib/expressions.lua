-- SPDX-License-Identifier: MIT
--
-- expressions.lua -- random pointwise expressions of operands x, y, z, with values and derivatives in double precision.
--
--   local text <const>, tree <const> = expressions.random(rng, depth)
--   expressions.nearest_kink = math.huge
--   tree { expressions.operand(0.5, 1), expressions.operand(2, 2), expressions.operand(-1, 3) }
--     --> { value, d/dx, d/dy, d/dz }; nearest_kink tells how near a branch was to going the other way

local expressions <const> = { operands = 3, nearest_kink = math.huge }

-- ---- dual numbers: { value, derivatives by operand 1, 2, 3 } ----

local OPERANDS <const> = expressions.operands

local function dual(v, d1, d2, d3)
  return { v, d1 or 0, d2 or 0, d3 or 0 }
end

-- f(x, y) = v with slopes dx and dy
local function chain(v, x, dx, y, dy)
  local out <const> = dual(v)
  for k = 2, OPERANDS + 1 do
    out[k] = dx * x[k] + (y and dy * y[k] or 0)
  end
  return out
end

local function kink(distance)
  if distance ~= 0 then
    expressions.nearest_kink = math.min(expressions.nearest_kink, math.abs(distance))
  end
end

local function larger(x, y)
  kink(x[1] - y[1])
  if x[1] == y[1] then
    return chain(x[1], x, 0.5, y, 0.5)
  end
  return x[1] > y[1] and x or y
end

local function negative(x)
  return chain(-x[1], x, -1)
end

local function compare(test)
  return function(x, y)
    kink(x[1] - y[1])
    return dual(test(x[1], y[1]) and 1 or 0)
  end
end

local function where(c, x, y)
  return c[1] ~= 0 and x or y
end

local functions <const> = {
  { "-%s", negative },
  { "abs(%s)", function(x)
    kink(x[1])
    return chain(math.abs(x[1]), x, x[1] > 0 and 1 or x[1] < 0 and -1 or 0)
  end },
  { "sign(%s)", function(x)
    kink(x[1])
    return dual(x[1] > 0 and 1 or x[1] < 0 and -1 or 0)
  end },
  { "floor(%s)", function(x)
    kink(x[1] - math.floor(x[1] + 0.5))
    return dual(math.floor(x[1]))
  end },
  { "exp(tanh(%s))", function(x)
    local t <const> = 1 - 2 / (math.exp(2 * x[1]) + 1)
    return chain(math.exp(t), x, math.exp(t) * (1 - t * t))
  end },
  { "log(abs(%s) + 0.5)", function(x)
    kink(x[1])
    local a <const> = math.abs(x[1]) + 0.5
    return chain(math.log(a), x, (x[1] > 0 and 1 or x[1] < 0 and -1 or 0) / a)
  end },
  { "sqrt(%s ^ 2 + 0.5)", function(x)
    local r <const> = math.sqrt(x[1] ^ 2 + 0.5)
    return chain(r, x, x[1] / r)
  end },
  { "rsqrt(%s ^ 2 + 0.5)", function(x)
    local r <const> = x[1] ^ 2 + 0.5
    return chain(1 / math.sqrt(r), x, -x[1] / r ^ 1.5)
  end },
  { "sin(%s)", function(x) return chain(math.sin(x[1]), x, math.cos(x[1])) end },
  { "cos(%s)", function(x) return chain(math.cos(x[1]), x, -math.sin(x[1])) end },
  { "sigmoid(%s)", function(x)
    local s <const> = 1 / (1 + math.exp(-x[1]))
    return chain(s, x, s * (1 - s))
  end },
  { "relu(%s)", function(x)
    kink(x[1])
    return x[1] <= 0 and dual(0) or x
  end },
  { "relu6(%s * 3)", function(x)
    kink(x[1])
    kink(3 * x[1] - 6)
    return x[1] <= 0 and dual(0) or 3 * x[1] >= 6 and dual(6) or chain(3 * x[1], x, 3)
  end },
  { "clamp(%s, -0.5, 1)", function(x)
    kink(x[1] + 0.5)
    kink(x[1] - 1)
    return x[1] < -0.5 and dual(-0.5) or x[1] > 1 and dual(1) or x
  end },
  { "%s ^ 3", function(x) return chain(x[1] ^ 3, x, 3 * x[1] ^ 2) end },
  { "(abs(%s) + 0.5) ^ -1.5", function(x)
    kink(x[1])
    local a <const> = math.abs(x[1]) + 0.5
    return chain(a ^ -1.5, x, -1.5 * a ^ -2.5 * (x[1] > 0 and 1 or x[1] < 0 and -1 or 0))
  end },
}

local pairs_of <const> = {
  { "(%s + %s)", function(x, y) return chain(x[1] + y[1], x, 1, y, 1) end },
  { "(%s - %s)", function(x, y) return chain(x[1] - y[1], x, 1, y, -1) end },
  { "%s * %s", function(x, y) return chain(x[1] * y[1], x, y[1], y, x[1]) end },
  { "%s / (%s ^ 2 + 1)", function(x, y)
    local q <const> = y[1] ^ 2 + 1
    return chain(x[1] / q, x, 1 / q, y, -x[1] * 2 * y[1] / q ^ 2)
  end },
  { "max(%s, %s)", larger },
  { "min(%s, %s)", function(x, y) return negative(larger(negative(x), negative(y))) end },
  { "(%s < %s)", compare(function(x, y) return x < y end) },
  { "(%s >= %s)", compare(function(x, y) return x >= y end) },
  { "(%s ~= %s)", compare(function(x, y) return x ~= y end) },
  { "(%s ^ 2 + 0.5) ^ %s", function(x, y)
    local a <const> = x[1] ^ 2 + 0.5
    local p <const> = a ^ y[1]
    return chain(p, x, y[1] * a ^ (y[1] - 1) * 2 * x[1], y, p * math.log(a))
  end },
}

-- A random tree: its text, with every operation in parentheses, and a function of operands.
local function random_tree(rng, depth)
  local kind <const> = depth == 0 and 1 or rng.integer(1, 10)
  if kind == 1 then
    if rng.integer(1, 6) == 1 then
      local v <const> = rng.integer(-8, 8) / 4
      return ("%g"):format(v), function() return dual(v) end
    end
    local k <const> = rng.integer(1, OPERANDS)
    return ("xyz"):sub(k, k), function(operands) return operands[k] end
  end
  local a <const>, fa <const> = random_tree(rng, depth - 1)
  if kind <= 4 then
    local pick <const> = functions[rng.integer(1, #functions)]
    return "(" .. pick[1]:format("(" .. a .. ")") .. ")", function(x) return pick[2](fa(x)) end
  end
  local b <const>, fb <const> = random_tree(rng, depth - 1)
  if kind == 5 then
    local c <const>, fc <const> = random_tree(rng, depth - 1)
    return ("where(%s, %s, %s)"):format(a, b, c), function(x) return where(fa(x), fb(x), fc(x)) end
  end
  local pick <const> = pairs_of[rng.integer(1, #pairs_of)]
  return "(" .. pick[1]:format("(" .. a .. ")", "(" .. b .. ")") .. ")", function(x) return pick[2](fa(x), fb(x)) end
end

expressions.random = random_tree

--- Operand k (1 .. 3) with this value.
function expressions.operand(v, k)
  return dual(v, k == 1 and 1, k == 2 and 1, k == 3 and 1)
end

return expressions
