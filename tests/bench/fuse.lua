-- SPDX-License-Identifier: MIT
--
-- build/lualign tests/bench/fuse.lua [ROUNDS]: expressions as one kernel against the same as a chain of ops and a copy.
-- All are timed in turn, round by round; what is printed are medians of the rounds' ratios. "of copy" is the
-- bandwidth that the kernel reaches (operands read, results written) over that of t:clone().

local la <const> = require "lualign"

local ROUNDS <const> = tonumber(arg[1]) or 15
local REPEAT <const> = 5

local function seconds(fn)
  local start <const> = la.device.clock()
  for _ = 1, REPEAT do
    la.scope(fn)
  end
  la.device.finish()
  return (la.device.clock() - start) / REPEAT
end

local function median(list)
  table.sort(list)
  return list[(#list + 1) // 2]
end

-- Times the functions in turn; medians of seconds, and of the ratios to the first.
local function compare(fns)
  local times <const>, ratios <const> = {}, {}
  for k, fn in ipairs(fns) do
    seconds(fn)
    times[k], ratios[k] = {}, {}
  end
  for i = 1, ROUNDS do
    for k, fn in ipairs(fns) do
      times[k][i] = seconds(fn)
      ratios[k][i] = times[k][i] / times[1][i]
    end
  end
  for k = 1, #fns do
    times[k], ratios[k] = median(times[k]), median(ratios[k])
  end
  return times, ratios
end

local function bytes(list)
  local sum = 0
  for _, t in ipairs(list) do
    sum = sum + (la.is_tensor(t) and 4 * t:numel() or 0)
  end
  return sum
end

local function row(label, size, times, ratios, moved, copied)
  print(("%-34s %-18s %8.3f ms  chain / fused %6.2f   of copy %4.0f %%"):format(label, size, 1e3 * times[1], ratios[2],
    100 * moved / copied * ratios[3]))
end

local function shape_of(t)
  return table.concat(t:shape(), " x ")
end

-- Forward and, with `grad`, forward and backward of both.
local function measure(expression, chain, args, grad)
  local f <const> = la.fuse(expression)
  local x <const> = args[1]
  local moved <const> = bytes(args) + bytes { x }
  local function copy()
    x:clone()
  end
  local function apply(fn)
    return function()
      la.no_grad(fn, table.unpack(args))
    end
  end
  local times, ratios = compare { apply(f), apply(chain), copy }
  row(expression, shape_of(x), times, ratios, moved, 2 * bytes { x })
  if not grad then
    return
  end
  local leaves <const> = {}
  for i, t in ipairs(args) do
    leaves[i] = la.is_tensor(t) and t:clone():requires_grad_() or t
  end
  local g <const> = la.randn(table.unpack(x:shape()))
  local function train(fn)
    return function()
      fn(table.unpack(leaves)):backward(g)
      for _, t in ipairs(leaves) do
        if la.is_tensor(t) then
          t.grad = nil
        end
      end
    end
  end
  times, ratios = compare { train(f), train(chain), copy }
  row("  and back", "", times, ratios, 2 * moved + bytes { x }, 2 * bytes { x })
end

local x <const>, y <const> = la.randn(4, 60, 60, 256), la.randn(4, 60, 60, 256)
local s <const>, b <const> = la.randn(256), la.randn(256)
measure("max(x * s + b, 0)", function(a, c, d) return la.maximum(a * c + d, 0) end, { x, s, b }, true)
measure("relu(x * s + b)", function(a, c, d) return la.relu(a * c + d) end, { x, s, b }, true)
measure("relu(x * s + b + y)", function(a, c, d, e) return la.relu(a * c + d + e) end, { x, s, b, y }, true)
measure("x * 2 + 1", function(a) return a * 2 + 1 end, { x }, true)
measure("relu(x)", la.relu, { x }, true)
measure("x * y + x", function(a, c) return a * c + a end, { x, y }, true)
measure("x * sigmoid(x)", function(a) return a * la.sigmoid(a) end, { x }, true)
measure("sqrt(x ^ 2 + y ^ 2 + 1e-6)", function(a, c) return la.sqrt(a ^ 2 + c ^ 2 + 1e-6) end, { x, y }, true)
measure("clamp(x, -1, 1)", function(a) return la.clamp(a, -1, 1) end, { x }, false)
local narrow <const> = la.randn(4, 240, 240, 3)
measure("x / 255 * s - b", function(a, c, d) return a / 255 * c - d end, { narrow, la.randn(3), la.randn(3) }, true)
local small <const> = la.randn(2, 15, 15, 64)
measure("relu(x * s + b)", function(a, c, d) return la.relu(a * c + d) end, { small, la.randn(64), la.randn(64) }, true)
