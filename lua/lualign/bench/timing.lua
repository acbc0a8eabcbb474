-- SPDX-License-Identifier: MIT
--
-- timing: how the benchmarks measure. What is compared takes turns within one run, so that a clock that drifts or a
-- busy neighbour meets all alike, and the figure is a median.
--
--   local ours <const> = timing.call(function() la.matmul(a, b) end)     -- a contender: sample() gives seconds a call
--   local probe <const> = timing.peak()                                  -- seconds that one operation takes at best
--   local t <const> = timing.turns({ ours, probe }, 7)                   -- t[1], t[2]: seven samples each
--   local share <const> = timing.ratio(t[2], t[1]) * flops               -- the median of the ratios, pair by pair

local la <const> = require "lualign"

local timing <const> = {}

local clock <const> = la.device.clock

timing.LEAST = 0.004 -- seconds that a sample is to last, so that waiting for the device does not count
local SETTLED <const> = 0.008
local MOST_CALLS <const> = 64
local LONG <const> = 0.5 -- seconds of a call that needs none before it

--- The median of a list of numbers, which stays as it is; nil if it is empty.
function timing.median(list)
  local sorted <const> = table.move(list, 1, #list, 1, {})
  table.sort(sorted)
  local n <const> = #sorted
  if n == 0 then
    return nil
  end
  return (sorted[(n + 1) // 2] + sorted[n // 2 + 1]) / 2
end

--- The median of a[i] / b[i].
function timing.ratio(a, b)
  local list <const> = {}
  for i = 1, #a do
    list[i] = a[i] / b[i]
  end
  return timing.median(list)
end

-- Calls fn until SETTLED seconds have passed, before what is timed: whoever had the last turn has left the caches full
-- of its own, and OpenMP's threads go on spinning for some milliseconds after their work is done.
local function settle(fn)
  local start <const> = clock()
  repeat
    fn()
    la.device.finish()
  until clock() - start > SETTLED
end

-- Seconds a call, of `calls` calls that are waited for once; with `warm` others go before them.
local function sample(fn, calls, warm)
  local function call()
    fn() -- no result: a scope would let it live
  end
  if warm then
    settle(function() la.scope(call) end)
  end
  la.device.finish()
  local start <const> = clock()
  for _ = 1, calls do
    la.scope(call)
  end
  la.device.finish()
  return (clock() - start) / calls
end

-- So many calls that a sample lasts as long as it should: from the second call, since the first one compiles.
local function calls_for(once)
  once(1)
  local seconds <const> = once(1)
  return math.max(1, math.min(MOST_CALLS, math.ceil(timing.LEAST / math.max(seconds, 1e-7)))), seconds < LONG
end

--- A contender that calls fn, whose tensors are released after each call.
function timing.call(fn)
  local calls <const>, warm <const> = calls_for(function(n) return sample(fn, n) end)
  return { calls = calls, sample = function() return sample(fn, calls, warm) end }
end

-- Seconds of one backward pass; the graphs are made before the clock starts.
local function sample_backward(make, seed, leaves, calls)
  return la.scope(function()
    local results <const> = {}
    for i = 1, calls do
      results[i] = make()
    end
    la.device.finish()
    local start <const> = clock()
    for i = 1, calls do
      for _, leaf in ipairs(leaves) do
        leaf.grad = nil
      end
      la.scope(function() results[i]:backward(seed) end)
    end
    la.device.finish()
    return (clock() - start) / calls
  end)
end

--- A contender that times the backward pass of make() alone, for the gradients of `leaves`; seed: the gradient of the
-- result. Only while it samples do the leaves ask for gradients.
function timing.gradient(make, seed, leaves)
  local function once(calls)
    for _, leaf in ipairs(leaves) do
      leaf:requires_grad_(true)
    end
    local seconds <const> = sample_backward(make, seed, leaves, calls)
    for _, leaf in ipairs(leaves) do
      leaf:requires_grad_(false)
      leaf.grad = nil
    end
    return seconds
  end
  local calls <const>, warm <const> = calls_for(once)
  return {
    calls = math.min(calls, 8),
    sample = function()
      if warm then
        settle(function() once(1) end)
      end
      return once(math.min(calls, 8))
    end,
  }
end

--- A contender whose sample is the seconds that one floating-point operation takes in a kernel of nothing else.
function timing.peak()
  la.device.peak(1)
  return { sample = function() return 1 / la.device.peak(1) end }
end

--- A contender whose sample is the seconds that one byte takes in a copy that reads and writes `bytes` in all.
function timing.copy(bytes)
  local n <const> = math.max(256, math.ceil(bytes / 8))
  local from <const>, to <const> = la.rand(n), la.zeros(n)
  local copy <const> = timing.call(function() to:copy_(from) end)
  return { keep = { from, to }, sample = function() return copy.sample() / (8 * n) end }
end

--- Lets the contenders sample in turn, `rounds` times, every other time from the last to the first. Returns the list of
-- samples of each. tick() is called after each round.
function timing.turns(contenders, rounds, tick)
  local times <const> = {}
  for k = 1, #contenders do
    times[k] = {}
  end
  for round = 1, rounds do
    for k = 1, #contenders do
      local at <const> = round % 2 == 1 and k or #contenders + 1 - k
      times[at][round] = contenders[at].sample()
    end
    if tick then
      tick(round)
    end
  end
  collectgarbage()
  return times
end

return timing
