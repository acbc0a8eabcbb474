-- SPDX-License-Identifier: MIT
--
-- lualign.util.process: other programs, started with a list of arguments and no shell between.
--
--   local r <const> = process.run({ "tar", "-tf", path }, { package = "tar" })
--   r.status, r.out, r.err
--
-- Inside interrupt.deferred, Ctrl-C ends the program that runs and raises "interrupted!".

local core <const> = require "lualign.core"
local interrupt <const> = require "lualign.interrupt"
local options <const> = require "lualign.util.options"

local process <const> = {}

local TICK <const> = 0.2 -- seconds between two looks

-- Raises "interrupted!" if Ctrl-C was pressed.
local function check_interrupt()
  if interrupt.pending() then
    interrupt.stop()
  end
end

-- An empty file of its own, which goes when the value is closed.
local function scratch()
  return setmetatable({ path = os.tmpname() }, { __close = function(self) os.remove(self.path) end })
end

local function text_of(path)
  local file <close> = io.open(path, "rb")
  return file and file:read "a" or ""
end

--- Runs a program to its end: { status =, out =, err = }, a status above 128 after a signal. opts: package, what to
-- install where there is no such program; poll, a function called five times a second, which ends the program by
-- returning true. Without that program: an error that names the package, or nil with opts.optional.
function process.run(arguments, opts)
  local o <const> = options.check("process.run", opts, {
    package = options.optional "string", poll = options.optional "function", optional = false,
  })
  check_interrupt()
  local out <close> = scratch()
  local err <close> = scratch()
  local child <close>, problem <const> = core.io.spawn(arguments, out.path, err.path)
  if not child then
    if o.optional then
      return nil
    end
    error(string.format("needs the program %s%s", problem, o.package and " (install the package "
      .. o.package .. ")" or ""), 0)
  end
  local status = child:wait(TICK)
  while not status do
    if o.poll and o.poll() then
      child:kill()
    end
    check_interrupt()
    status = child:wait(TICK)
  end
  if interrupt.pending() and o.poll then
    o.poll() -- a last look
  end
  check_interrupt()
  return { status = status, out = text_of(out.path), err = text_of(err.path) }
end

--- Waits so many seconds.
function process.sleep(seconds)
  local left = seconds
  while left > 0 do
    check_interrupt()
    core.io.sleep(math.min(left, TICK))
    left = left - TICK
  end
  check_interrupt()
end

return process
