-- SPDX-License-Identifier: MIT
--
-- la.train.run: the training loop, with progress, log, checkpoints and exact resume.
--
--   la.train.run {
--     model = net, data = data, optimizer = opt, steps = 1000, batch = 16, out = "runs/x",
--     step = function(batch, info) return loss end,
--   }
--
-- A step's tensors are released when it ends; its loss stays on the device until a line is printed. In `out` appear
--
--   log.tsv             step, epoch, loss, lr, seconds, and what validation gave, a row for each line
--   last.safetensors    model, optimiser, counters and random generators: what a run needs to go on
--   best.safetensors    the model when validation was best
--
-- What an item of the data looks like depends on (seed, epoch, item) alone, the order of items on (seed, epoch); Lua's
-- own math.random is seeded from (seed, step) before each step. So a resumed run goes on with the very bits of one that
-- was never stopped.

local la <const> = require "lualign"
local interrupt <const> = require "lualign.interrupt"
local kernels <const> = require "lualign.kernels"
local options <const> = require "lualign.util.options"
local report_of <const> = require "lualign.train.report"
local rng_of <const> = require "lualign.util.rng"
local state_of <const> = require "lualign.train.state"

local train <const> = {}

local DEFAULTS <const> = {
  model = options.required "table",
  data = options.required "table",         -- see lualign.data
  optimizer = options.required "table",
  step = options.required "function",      -- (batch, { step =, epoch =, steps = }) -> loss, one element
  out = options.required "string",         -- folder, made if needed
  schedule = options.optional "function",  -- (step) -> factor of the learning rates
  steps = options.optional "number",       -- optimiser steps in all; or
  epochs = options.optional "number",      -- passes over the data (a last batch that is not full is left out)
  batch = 16,                              -- items in a step
  seed = 1,                                -- of order and augmentation
  clip_norm = options.optional "number",   -- largest norm of all gradients together
  log_every = 10,                          -- steps from line to line
  checkpoint_every = 200,                  -- steps from checkpoint to checkpoint; there is one at the end too
  resume = options.any(false),             -- true: from out/last.safetensors if it is there; or a path
  validate = options.optional "function",  -- () -> { name = value, ... }, or one number; modes are restored after it
  validate_every = options.optional "number", -- steps from one to the next; default: with `epochs` one, else at the end
  best = options.optional "string",        -- the name among them by which the best model is kept ...
  best_is = "max",                         -- ... where it is largest ("max") or smallest ("min")
}

-- ---- which items come when ----

-- Batch number `step` (from 1): its indices, its epoch, and what makes its items' generators.
local function plan(o, step)
  local epoch <const> = (step - 1) // o.per_epoch + 1
  local first <const> = (step - 1) % o.per_epoch * o.batch
  if not o.order or o.order_epoch ~= epoch then
    o.order, o.order_epoch = rng_of(o.seed, epoch):permutation(o.items), epoch
  end
  local indices <const> = {}
  for k = 1, math.min(o.batch, o.items) do
    indices[k] = o.order[first + k]
  end
  return indices, epoch, function(i) return rng_of(o.seed, epoch, i) end
end

-- ---- one step ----

local function check_loss(loss)
  if not la.is_tensor(loss) or loss:numel() ~= 1 then
    error(string.format("train: step must return a loss, a tensor of one element, got %s",
      la.is_tensor(loss) and "(" .. table.concat(loss:shape(), ", ") .. ")" or type(loss)), 0)
  end
end

local function one_step(o, step, report)
  local indices <const>, epoch <const>, rng <const> = plan(o, step)
  math.randomseed(o.seed, step)
  if o.schedule then
    o.optimizer:scale_lr(o.schedule(step))
  end
  o.model:zero_grad()
  o.optimizer:zero_grad()
  la.scope(function()
    local batch <const> = o.data:batch(indices, rng)
    if o.data.prefetch and step < o.steps then
      local after <const>, _, their_rng <const> = plan(o, step + 1)
      o.data:prefetch(after, their_rng)
    end
    local loss <const> = o.step(batch, { step = step, epoch = epoch, steps = o.steps })
    check_loss(loss)
    loss:backward()
    if o.clip_norm then
      la.optim.clip_grad_norm(o.optimizer:parameters(), o.clip_norm)
    end
    o.optimizer:step()
    report:add(step, la.keep(loss:detach()))
  end)
  return epoch
end

-- ---- validation ----

-- The results of fn, after which every module is in the mode that it was in.
local function keeping_modes(model, fn)
  local modules <const>, modes <const> = model:named_modules(), {}
  for k, entry in ipairs(modules) do
    modes[k] = entry[2].training
  end
  local result <const> = la.scope(la.no_grad, fn)
  for k, entry in ipairs(modules) do
    entry[2].training = modes[k]
  end
  return result
end

local function is_better(o, value, best)
  if value ~= value then
    return false
  end
  return not best or (o.best_is == "max" and value > best) or (o.best_is == "min" and value < best)
end

-- The value that counts: o.best, or the only one there is; nil if nothing is said.
local function best_name(o, values)
  local only <const> = next(values)
  if o.best and type(values[o.best]) ~= "number" then
    error(string.format("train: validate gave no number '%s', by which the best model is chosen", o.best), 0)
  elseif o.best then
    return o.best
  end
  return only and next(values, only) == nil and only or nil
end

local function validate(o, state, report)
  local values = keeping_modes(o.model, o.validate)
  values = type(values) == "number" and { score = values } or values
  if type(values) ~= "table" then
    error(string.format("train: validate must return a table of numbers, got %s", type(values)), 0)
  end
  local name <const> = best_name(o, values)
  local better <const> = name and is_better(o, values[name], state.best)
  if better then
    state.best = values[name]
    state_of.save_best(o)
  end
  report:validated(state.step, values, better and name)
  return values
end

-- ---- the loop ----

local function save(o, state, report)
  report:fetch() -- a loss that is no number ends the run before it is saved
  state.smooth = report.smooth
  state_of.save(o, state)
end

local function loop(o, state, report)
  while state.step < o.steps do
    local step <const> = state.step + 1
    local epoch <const> = one_step(o, step, report)
    state.step = step
    local last <const> = step == o.steps
    local validates <const> = o.validate and (last or o.validate_every and step % o.validate_every == 0)
    if last or validates or step % o.log_every == 0 then
      report:line(step, epoch)
    end
    if validates then
      validate(o, state, report)
    end
    local stop <const> = interrupt.pending()
    if last or stop or step % o.checkpoint_every == 0 then
      save(o, state, report)
    end
    if stop then
      report:say(string.format("interrupted; %s/last.safetensors holds step %d (resume = true goes on)", o.out, step))
      interrupt.stop()
    end
  end
end

local function count_steps(o)
  o.items = o.data:length()
  if (o.steps == nil) == (o.epochs == nil) then
    error("train.run: needs either steps or epochs", 3)
  elseif o.items < 1 then
    error("train.run: data has no items", 3)
  elseif o.best_is ~= "max" and o.best_is ~= "min" then
    error(string.format("train.run: best_is must be max or min, got '%s'", o.best_is), 3)
  end
  for _, name in ipairs { "batch", "log_every", "checkpoint_every" } do
    if math.type(o[name]) ~= "integer" or o[name] < 1 then
      error(string.format("train.run: %s must be a whole number, at least 1, got %s", name, tostring(o[name])), 3)
    end
  end
  o.per_epoch = math.max(o.items // o.batch, 1)
  o.steps = o.steps or o.epochs * o.per_epoch
  o.validate_every = o.validate_every or o.epochs and o.per_epoch or nil
end

--- Runs the loop; the options are DEFAULTS in this file. Returns { steps =, loss = (smoothed), best = }. In the
-- program, Ctrl-C saves a checkpoint after the step under way and ends with status 130.
function train.run(given)
  local o <const> = options.check("train.run", given, DEFAULTS)
  count_steps(o)
  la.io.mkdirs(o.out)
  local state <const> = { step = 0 }
  local from <const> = state_of.find(o)
  if from then
    state_of.load(o, state, from)
  end
  kernels.want(o.model, "train")
  local report <const> = report_of(o, state)
  report:settings(given, from)
  local ok <const>, message <const> = pcall(interrupt.deferred, loop, o, state, report)
  report:close()
  if not ok then
    error(message, 0)
  end
  return { steps = state.step, loss = report.smooth, best = state.best }
end

return train
