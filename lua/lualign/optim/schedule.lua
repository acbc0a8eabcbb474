-- SPDX-License-Identifier: MIT
--
-- la.optim.schedule: by what each group's learning rate is multiplied at a step, counted from 1. A schedule is a plain
-- function, so that nothing needs saving; any function(step) -> factor will do.
--
--   schedule = la.optim.schedule.cosine { steps = 1000, warmup = 50 }

local options <const> = require "lualign.util.options"

local schedule <const> = {}

-- The factor grows linearly over the first `warmup` steps, up to what `rest` gives from then on (counted anew).
local function with_warmup(warmup, rest)
  return function(step)
    if step <= warmup then
      return step / warmup * rest(1)
    end
    return rest(step - warmup)
  end
end

--- 1 at all steps. warmup: steps in which the factor grows to it.
function schedule.constant(given)
  local o <const> = options.check("schedule.constant", given, { warmup = 0 })
  return with_warmup(o.warmup, function() return 1 end)
end

--- Half a cosine from 1 at the first step down to `floor` after the last of `steps`, warmup included.
function schedule.cosine(given)
  local o <const> = options.check("schedule.cosine", given, {
    steps = options.required "number", floor = 0, warmup = 0,
  })
  local n <const> = math.max(o.steps - o.warmup, 1)
  return with_warmup(o.warmup, function(step)
    local done <const> = math.min((step - 1) / n, 1)
    return o.floor + (1 - o.floor) * 0.5 * (1 + math.cos(math.pi * done))
  end)
end

--- Times `factor` after every `every` steps.
function schedule.step(given)
  local o <const> = options.check("schedule.step", given, {
    every = options.required "number", factor = 0.1, warmup = 0,
  })
  return with_warmup(o.warmup, function(step)
    return o.factor ^ ((step - 1) // o.every)
  end)
end

return schedule
