-- SPDX-License-Identifier: MIT
--
-- What a training run says: its settings, a line that is redrawn on a terminal (plain lines elsewhere), log.tsv.

local la <const> = require "lualign"

local has_program <const>, program <const> = pcall(require, "lualign.program")

local Report <const> = {}
Report.__index = Report

local HEADER <const> = "step\tepoch\tloss\tlr\tseconds\tvalidation\n"
local KEEP <const> = 0.95 -- share of the old value in the smoothed loss

-- The rows of an earlier part of the run, up to the step that it goes on from.
local function old_rows(path, step)
  local rows <const> = { HEADER }
  local file <close> = io.open(path)
  for line in file and file:lines() or function() end do
    local at <const> = tonumber(line:match "^%d+")
    if at and at <= step then
      rows[#rows + 1] = line .. "\n"
    end
  end
  return table.concat(rows)
end

-- ---- settings ----

local function sorted_settings(given)
  local list <const> = {}
  for name, value in pairs(given) do
    local kind <const> = type(value)
    if kind == "number" or kind == "string" or kind == "boolean" then
      list[#list + 1] = string.format("%s = %s", name, tostring(value))
    end
  end
  table.sort(list)
  return table.concat(list, ", ")
end

local function count(list)
  local n = 0
  for _, p in ipairs(list) do
    n = n + p:numel()
  end
  return n
end

--- Says what is run, on what, with what.
function Report:settings(given, from)
  local o <const>, info <const> = self.o, la.device.info()
  self:say(string.format("lualign %s on %s (%s), seed %d", la.version, info.name, info.platform, o.seed))
  self:say("settings: " .. sorted_settings(given))
  self:say(string.format("optimizer: %s", tostring(o.optimizer)))
  self:say(string.format("%d parameters, %d of them in the optimiser; %d items, batch %d, %d steps, %.1f epochs",
    o.model:parameter_count(), count(o.optimizer:parameters()), o.items, o.batch, o.steps, o.steps / o.per_epoch))
  self:say(string.format("results in %s%s", o.out,
    from and string.format(", resumed after step %d from %s", self.first, from) or ""))
end

-- ---- losses ----

--- Notes the loss of a step, a tensor that is read later.
function Report:add(step, loss)
  self.waiting[#self.waiting + 1] = { step = step, loss = loss }
end

--- Reads the losses since the last time. One that is no number ends the run.
function Report:fetch()
  for _, entry in ipairs(self.waiting) do
    local loss <const> = entry.loss:item()
    entry.loss:release()
    if loss ~= loss or math.abs(loss) == math.huge then
      error(string.format("train: the loss is %s at step %d", loss ~= loss and "not a number" or tostring(loss),
        entry.step), 0)
    end
    self.smooth = self.smooth and KEEP * self.smooth + (1 - KEEP) * loss or loss
    self.sum, self.count = self.sum + loss, self.count + 1
  end
  self.waiting = {}
end

-- ---- lines ----

local function clock_text(seconds)
  seconds = math.floor(seconds)
  if seconds >= 3600 then
    return string.format("%d:%02d h", seconds // 3600, seconds % 3600 // 60)
  end
  return string.format("%d:%02d min", seconds // 60, seconds % 60)
end

--- A line of its own, below the one that is redrawn.
function Report:say(text)
  io.stderr:write(self.drawn and "\n" or "", text, "\n")
  self.drawn = false
end

--- The mean loss since the last line, and the most memory that tensors took, for the terminal and the log.
function Report:line(step, epoch)
  self:fetch()
  if self.count == 0 then
    return
  end
  local o <const>, loss <const> = self.o, self.sum / self.count
  self.sum, self.count = 0, 0
  local spent <const> = la.device.clock() - self.start
  local per_step <const> = spent / math.max(step - self.first, 1)
  local lr <const> = o.optimizer.groups[1].lr
  self.log:write(string.format("%d\t%d\t%.9g\t%.6g\t%.2f\t\n", step, epoch, loss, lr, spent))
  self.log:flush()
  local text <const> = string.format("step %d/%d  loss %.5f (%.5f)  lr %.2e  %.1f items/s  peak %.0f MiB  %s left",
    step, o.steps, loss, self.smooth, lr, o.batch / math.max(per_step, 1e-9), la.device.memory().peak / 2 ^ 20,
    clock_text(per_step * (o.steps - step)))
  la.device.reset_peak()
  if self.terminal then
    io.stderr:write("\r", text, "\27[K")
    self.drawn = true
  else
    self:say(text)
  end
end

--- What validation gave; best: the name by which it is the best so far, if it is.
function Report:validated(step, values, best)
  local list <const> = {}
  for name, value in pairs(values) do
    list[#list + 1] = string.format("%s %.5f", name, value)
  end
  table.sort(list)
  local text <const> = table.concat(list, ", ")
  self.log:write(string.format("%d\t\t\t\t\t%s\n", step, text))
  self.log:flush()
  self:say(string.format("validation at step %d: %s%s", step, text, best and ", the best so far" or ""))
end

--- Ends the line that is redrawn, and the log.
function Report:close()
  if self.drawn then
    io.stderr:write("\n")
  end
  for _, entry in ipairs(self.waiting) do
    entry.loss:release()
  end
  self.log:close()
end

--- The report of a run with options o that goes on from `state`.
return function(o, state)
  local path <const> = o.out .. "/log.tsv"
  local rows <const> = old_rows(path, state.step)
  local log <const> = assert(io.open(path, "w"))
  log:write(rows)
  return setmetatable({
    o = o, log = log, terminal = has_program and program.stderr_is_terminal() or false, start = la.device.clock(),
    first = state.step, waiting = {}, sum = 0, count = 0, smooth = state.smooth,
  }, Report)
end
