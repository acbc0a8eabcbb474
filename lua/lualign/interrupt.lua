-- SPDX-License-Identifier: MIT
--
-- lualign.interrupt: Ctrl-C inside the program. By default the first Ctrl-C raises "interrupted!" in the running code
-- and the second one kills. Code that must reach a safe place first, such as a training loop that saves, defers it:
--
--   local interrupt <const> = require "lualign.interrupt"
--   local result = interrupt.deferred(function()          -- the first Ctrl-C only makes pending() true in here
--     while not done do
--       step()
--       if interrupt.pending() then save() interrupt.stop() end
--     end
--   end)
--
-- Under stock Lua nothing listens: pending() is always false there, and Ctrl-C does what it does in Lua.

local has_program <const>, program <const> = pcall(require, "lualign.program")

local interrupt <const> = {}

--- Whether Ctrl-C was pressed since the program, or the line at the prompt, began.
function interrupt.pending()
  return has_program and program.interrupted()
end

--- Raises the error with which an interrupted program ends (exit status 130).
function interrupt.stop()
  error("interrupted!", 0)
end

local depth = 0

local function leave(...)
  depth = depth - 1
  if depth == 0 then
    program.defer(false)
  end
  return ...
end

local function finish(ok, ...)
  if not ok then
    error((...), 0)
  end
  return ...
end

--- The results of fn(...), in which Ctrl-C is deferred.
function interrupt.deferred(fn, ...)
  if not has_program then
    return fn(...)
  end
  depth = depth + 1
  program.defer(true)
  return finish(leave(pcall(fn, ...)))
end

return interrupt
