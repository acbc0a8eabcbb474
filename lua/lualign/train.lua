-- SPDX-License-Identifier: MIT
--
-- la.train.run: the training loop, with progress, log, checkpoints and exact resume.
--
--   la.train.run {
--     model = net, data = data, optimizer = opt, steps = 1000, batch = 16, out = "runs/x",
--     step = function(batch, info) return loss end,
--   }
--
-- A step's tensors are released when it ends; its loss stays on the device until a line is printed. In `out` appear log.tsv
-- (step, epoch, loss, lr, seconds) and last.safetensors: parameters, buffers, the optimiser's state, the step, the seed and the
-- device's generator. What an item of the data looks like depends on (seed, epoch, item) alone, and the order of items on
-- (seed, epoch), so that a resumed run goes on with the very bits of one that was never stopped.

local la <const> = require "lualign"
local interrupt <const> = require "lualign.interrupt"
local options <const> = require "lualign.util.options"
local rng_of <const> = require "lualign.util.rng"

local has_program <const>, program <const> = pcall(require, "lualign.program")

local train <const> = {}

local DEFAULTS <const> = {
  model = options.required "table",
  data = options.required "table",       -- see lualign.data
  optimizer = options.required "table",
  step = options.required "function",    -- (batch, { step =, epoch = }) -> loss, one element
  out = options.required "string",       -- folder, made if needed
  schedule = options.optional,           -- function(step) -> factor of the learning rate
  steps = options.optional "number",     -- optimiser steps in all; or
  epochs = options.optional "number",    -- passes over the data (a last batch that is not full is left out)
  batch = 16,
  seed = 1,                              -- of order and augmentation
  log_every = 10,                        -- steps from line to line
  checkpoint_every = 200,                -- steps from checkpoint to checkpoint; there is one at the end too
  resume = false,                        -- go on from out/last.safetensors if it is there
  validate = options.optional "function", -- () -> number, larger is better; the best model goes to best.safetensors
  validate_every = 0,                    -- steps from one to the next; 0: at the end only
}

-- ---- checkpoints ----

local function save_checkpoint(o, state)
  local list <const> = {}
  for _, entry in ipairs(o.model:state_dict()) do
    list[#list + 1] = { "model." .. entry[1], entry[2] }
  end
  for _, entry in ipairs(o.optimizer:state_dict()) do
    list[#list + 1] = { "optimizer." .. entry[1], entry[2] }
  end
  local seed <const>, counter <const> = la.device.seed_state()
  local metadata <const> = {
    kind = "lualign training checkpoint", step = tostring(state.step), seed = tostring(o.seed),
    batch = tostring(o.batch), device_seed = tostring(seed), device_counter = tostring(counter),
    best = state.best and string.format("%.17g", state.best) or "",
    config = o.model.config and la.io.json_encode(o.model.config) or nil,
  }
  la.io.save_safetensors(o.out .. "/last.safetensors", list, metadata)
end

-- Tensors whose name begins with prefix, without it.
local function part(tensors, prefix)
  local found <const> = {}
  for name, t in pairs(tensors) do
    if name:sub(1, #prefix) == prefix then
      found[name:sub(#prefix + 1)] = t
    end
  end
  return found
end

local function load_checkpoint(o, state)
  local path <const> = o.out .. "/last.safetensors"
  local tensors <const>, metadata <const> = la.io.load_safetensors(path)
  if metadata.kind ~= "lualign training checkpoint" then
    error(string.format("train: %s is no checkpoint of a training run", path), 0)
  end
  for _, name in ipairs { "seed", "batch" } do
    if metadata[name] ~= tostring(o[name]) then
      error(string.format("train: %s was made with %s %s, this run has %s", path, name, metadata[name], tostring(o[name])), 0)
    end
  end
  o.model:load_state_dict(part(tensors, "model."))
  o.optimizer:load_state_dict(part(tensors, "optimizer."))
  la.device.seed(math.tointeger(metadata.device_seed), math.tointeger(metadata.device_counter))
  state.step = math.tointeger(metadata.step)
  state.best = tonumber(metadata.best)
end

-- ---- which items come when ----

-- Batch number `step` (from 1): its indices, its epoch, and the generators of its items.
local function plan(o, step)
  local per_epoch <const> = math.max(o.data:length() // o.batch, 1)
  local epoch <const> = (step - 1) // per_epoch + 1
  local first <const> = (step - 1) % per_epoch * o.batch
  if not o.order or o.order_epoch ~= epoch then
    o.order, o.order_epoch = rng_of(o.seed, epoch):permutation(o.data:length()), epoch
  end
  local indices <const> = {}
  for k = 1, math.min(o.batch, #o.order) do
    indices[k] = o.order[first + k]
  end
  return indices, epoch, function(i) return rng_of(o.seed, epoch, i) end
end

-- ---- what is printed ----

local function clock_text(seconds)
  seconds = math.floor(seconds)
  return seconds >= 3600 and string.format("%d:%02d h", seconds // 3600, seconds % 3600 // 60)
    or string.format("%d:%02d min", seconds // 60, seconds % 60)
end

local Report <const> = {}
Report.__index = Report

local function new_report(o, state)
  local path <const> = o.out .. "/log.tsv"
  local fresh <const> = not (o.resumed and io.open(path))
  local log <const> = assert(io.open(path, fresh and "w" or "a"))
  if fresh then
    log:write("step\tepoch\tloss\tlr\tseconds\n")
  end
  return setmetatable({
    log = log, redraw = has_program and program.stderr_is_terminal() or false, start = la.device.clock(), first = state.step,
    waiting = {}, smooth = nil,
  }, Report)
end

-- Fetches the losses since the last line; a loss that is no number ends the run.
function Report:fetch()
  local sum <const>, count <const> = {}, #self.waiting
  for k, entry in ipairs(self.waiting) do
    local loss <const> = entry.loss:item()
    entry.loss:release()
    if loss ~= loss or math.abs(loss) == math.huge then
      error(string.format("train: the loss is %s at step %d", tostring(loss), entry.step), 0)
    end
    sum[k] = loss
    self.smooth = self.smooth and 0.95 * self.smooth + 0.05 * loss or loss
  end
  self.waiting = {}
  local total = 0
  for _, v in ipairs(sum) do
    total = total + v
  end
  return count > 0 and total / count or nil
end

--- Writes the losses gathered since the last line to the log and the terminal.
function Report:line(o, step, epoch)
  local loss <const> = self:fetch()
  if not loss then
    return
  end
  local spent <const> = la.device.clock() - self.start
  local per_step <const> = spent / math.max(step - self.first, 1)
  local lr <const> = o.optimizer.groups[1].lr
  self.log:write(string.format("%d\t%d\t%.8g\t%.6g\t%.2f\n", step, epoch, loss, lr, spent))
  self.log:flush()
  local text <const> = string.format("step %d/%d  loss %.5f (%.5f)  lr %.2e  %.1f items/s  %.0f MiB  %s left", step, o.steps, loss,
    self.smooth, lr, o.batch / per_step, la.device.memory().peak / 2 ^ 20, clock_text(per_step * (o.steps - step)))
  io.stderr:write(self.redraw and "\r" .. text .. "\27[K" or text .. "\n")
end

--- Ends the terminal's line and closes the log.
function Report:close()
  if self.redraw then
    io.stderr:write("\n")
  end
  self.log:close()
end

local function print_settings(o)
  local info <const> = la.device.info()
  local trained = 0
  for _, p in ipairs(o.optimizer:parameters()) do
    trained = trained + p:numel()
  end
  io.stderr:write(string.format("lualign %s on %s, seed %d\n", la.version, info.name, o.seed),
    string.format("%d parameters trained, %d items, batch %d, %d steps, %s\n", trained, o.data:length(), o.batch, o.steps,
      tostring(o.optimizer)),
    string.format("results in %s%s\n", o.out, o.resumed and ", resumed" or ""))
end

-- ---- the loop ----

local function one_step(o, step, report)
  local indices <const>, epoch <const>, rng <const> = plan(o, step)
  if o.schedule then
    o.optimizer:scale_lr(o.schedule(step))
  end
  o.optimizer:zero_grad()
  la.scope(function()
    local batch <const> = o.data:batch(indices, rng)
    if o.data.prefetch and step < o.steps then
      local after <const>, _, their_rng <const> = plan(o, step + 1)
      o.data:prefetch(after, their_rng)
    end
    local loss <const> = o.step(batch, { step = step, epoch = epoch })
    loss:backward()
    o.optimizer:step()
    report.waiting[#report.waiting + 1] = { step = step, loss = la.keep(loss:detach()) }
  end)
  return epoch
end

local function validate(o, state)
  local score <const> = o.validate()
  io.stderr:write(string.format("%svalidation at step %d: %.5f%s\n", "\n", state.step, score,
    (not state.best or score > state.best) and ", the best so far" or ""))
  if not state.best or score > state.best then
    state.best = score
    la.models.save(o.out .. "/best.safetensors", o.model)
  end
end

local function loop(o, state, report)
  local epoch = 0
  while state.step < o.steps do
    local step <const> = state.step + 1
    epoch = one_step(o, step, report)
    state.step = step
    if step % o.log_every == 0 or step == o.steps then
      report:line(o, step, epoch)
    end
    if o.validate and (step == o.steps or o.validate_every > 0 and step % o.validate_every == 0) then
      validate(o, state)
    end
    if step == o.steps or step % o.checkpoint_every == 0 or interrupt.pending() then
      report:line(o, step, epoch)
      save_checkpoint(o, state)
    end
    if interrupt.pending() then
      interrupt.stop()
    end
  end
end

--- Runs the loop; see DEFAULTS above for its options. Returns { steps =, loss = (smoothed), best = }. Ctrl-C saves a checkpoint
-- after the step under way and ends the program with status 130.
function train.run(given)
  local o <const> = options.check("train.run", given, DEFAULTS)
  if not o.steps == not o.epochs then
    error("train.run: needs steps or epochs, not both", 2)
  end
  if o.data:length() < 1 then
    error("train.run: data has no items", 2)
  end
  o.steps = o.steps or o.epochs * math.max(o.data:length() // o.batch, 1)
  la.io.mkdirs(o.out)
  local state <const> = { step = 0 }
  if o.resume and la.io.exists(o.out .. "/last.safetensors") then
    load_checkpoint(o, state)
    o.resumed = true
  end
  print_settings(o)
  local report <const> = new_report(o, state)
  local ok <const>, message <const> = pcall(interrupt.deferred, loop, o, state, report)
  report:close()
  if not ok then
    error(message, 0)
  end
  return { steps = state.step, loss = report.smooth, best = state.best }
end

return train
