-- SPDX-License-Identifier: MIT
--
-- child: work in a process of its own: starts, first steps, page faults, peaks of memory.
--
--   local answer <const> = child.run("steps", { steps = 3 }, { environment = { LUALIGN_CACHE = folder } })
--
-- runs child.tasks.steps { steps = 3 } in a new lualign and gives what it returned; answer.wall is how long the whole
-- process took, in seconds.

local la <const> = require "lualign"

local child <const> = { tasks = {} }

local function quote(text)
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

-- ---- running ----

--- The program that is running.
function child.program()
  local pipe <close> = assert(io.popen "readlink /proc/$PPID/exe")
  return pipe:read "l" or "lualign"
end

--- A fresh folder.
function child.folder()
  local pipe <close> = assert(io.popen "mktemp -d")
  return assert(pipe:read "l", "bench: mktemp gave no folder")
end

--- Takes a folder and what is in it away.
function child.remove(folder)
  os.execute("rm -rf " .. quote(folder))
end

-- "env A='1' '/usr/bin/lualign' --device cpu"
local function head(o)
  local words <const> = { "env" }
  for name, value in pairs(o.environment or {}) do
    words[#words + 1] = name .. "=" .. quote(value)
  end
  table.sort(words, function(a, b) return a == "env" or b ~= "env" and a < b end)
  words[#words + 1] = quote(child.program())
  if o.device then
    words[#words + 1] = "--device " .. quote(tostring(o.device))
  end
  return table.concat(words, " ")
end

--- Runs lualign with arguments, and gives its output and the seconds that it took; an error if it fails.
function child.lualign(arguments, o)
  local quoted <const> = {}
  for i, text in ipairs(arguments) do
    quoted[i] = quote(text)
  end
  local start <const> = la.device.clock()
  local pipe <const> = assert(io.popen(string.format("%s %s 2>%s", head(o or {}), table.concat(quoted, " "),
    o and o.log and quote(o.log) or "/dev/null")))
  local text <const> = pipe:read "a"
  local ok <const>, _, status <const> = pipe:close()
  if not ok then
    error(string.format("bench: lualign %s ended with status %d", table.concat(arguments, " "), status), 0)
  end
  return text, la.device.clock() - start
end

-- A table of numbers, texts and booleans as Lua.
local function literal(t)
  local parts <const> = {}
  for key, value in pairs(t) do
    parts[#parts + 1] = string.format("[%q]=%q", key, value)
  end
  return "{" .. table.concat(parts, ",") .. "}"
end

--- Runs a task in a new process. options: its table; o: environment, device, log.
function child.run(task, options, o)
  local sent <const> = {}
  for key, value in pairs(options) do
    sent[key] = value
  end
  sent.started = la.device.clock()
  local code <const> = string.format("require('lualign.bench.child').main(%q, %s)", task, literal(sent))
  local text <const>, wall <const> = child.lualign({ "-e", code }, o)
  local answer <const> = la.io.json_decode(text:match "(%b{})%s*$" or error("bench: no answer from " .. task, 0))
  answer.wall = wall
  return answer
end

--- In the new process: runs the task and prints what it gives.
function child.main(task, options)
  print(la.io.json_encode(child.tasks[task](options)))
end

-- ---- tasks ----

-- Pages that the process has touched for the first time, and its largest resident set in bytes; nil where /proc does
-- not say.
local function memory_of_process()
  local stat <const>, status <const> = io.open "/proc/self/stat", io.open "/proc/self/status"
  if not stat or not status then
    return nil, nil
  end
  local fields <const> = {}
  for field in stat:read("a"):match("%)%s*(.*)$"):gmatch "%S+" do
    fields[#fields + 1] = field
  end
  local peak <const> = status:read("a"):match "VmHWM:%s*(%d+)"
  stat:close()
  status:close()
  return tonumber(fields[8]), peak and tonumber(peak) * 1024
end

--- Training steps of a network (o: network, images, size, steps, model = a checkpoint to load): seconds from the start
-- of the process to the end of the first step, seconds of each step, allocations and page faults after each, the loss
-- of each (or the first number of what it gives) as its bits.
function child.tasks.steps(o)
  local work <const> = require "lualign.bench.work"
  la.seed(o.seed or 1)
  local run <const> = work.runner(o.network or "weak_step", { images = o.images, size = o.size, model = o.model })
  local answer <const> = { seconds = {}, allocations = {}, faults = {}, losses = {} }
  for step = 1, o.steps do
    local start <const> = la.device.clock()
    local bits <const> = la.scope(function() return run():bytes() end)
    local now <const> = la.device.clock()
    answer.first = answer.first or now - o.started
    answer.seconds[step] = now - start
    answer.allocations[step] = la.device.memory().allocations
    answer.faults[step], answer.resident = memory_of_process()
    answer.losses[step] = string.format("%08x", string.unpack("<I4", bits))
  end
  answer.peak = la.device.memory().peak
  return answer
end

--- What it takes to open the device and get a first result.
function child.tasks.first(o)
  local x <const> = la.ones(4)
  local sum <const> = (x + x):sum():item()
  return { first = la.device.clock() - o.started, sum = sum }
end

return child
