-- SPDX-License-Identifier: MIT
--
-- lualign bench start: what a user waits for before anything is computed: the program, the device, kernels that were
-- never built, and those that were.

local child <const> = require "lualign.bench.child"
local la <const> = require "lualign"
local report <const> = require "lualign.bench.report"
local timing <const> = require "lualign.bench.timing"

local start <const> = {}

-- What keeps a process from finding kernels that were built before.
local function empty_caches(folder)
  return {
    LUALIGN_CACHE = folder .. "/lualign", POCL_CACHE_DIR = folder .. "/pocl", CUDA_CACHE_PATH = folder .. "/cuda",
    XDG_CACHE_HOME = folder .. "/xdg",
  }
end

--- Seconds that `lualign -e 'print(1)'` takes, the shell that starts it included: the median.
function start.program(rounds)
  local list <const> = {}
  for i = 1, rounds do
    local _ <const>, seconds <const> = child.lualign { "-e", "print(1)" }
    list[i] = seconds
  end
  return timing.median(list)
end

--- Seconds from the start of a process to a first result, with the caches that there are: the median.
function start.result(rounds, device)
  local list <const> = {}
  for i = 1, rounds do
    list[i] = child.run("first", {}, { device = device }).first
  end
  return timing.median(list)
end

--- First steps of training: { cold =, warm =, step = } seconds: from the start of the process to the end of its first
-- step with empty caches, the same in a new process that finds the kernels, and a step itself. o: network, images,
-- size, device, rounds.
function start.steps(o)
  local folder <const> = child.folder()
  local how <const> = { environment = empty_caches(folder), device = o.device }
  local options <const> = { network = o.network, images = o.images, size = o.size, steps = 1 }
  local result <const> = {}
  local ok <const>, message <const> = pcall(function()
    if o.network == nil or o.network == "weak_step" then
      options.model = folder .. "/model.safetensors"
      local model <const> = la.models.weakalign { backbone = "resnet101", weights = false, size = o.size or 240 }
      la.models.save(options.model, model)
    end
    result.cold = child.run("steps", options, how).first
    child.run("steps", options, how) -- a second process may still write binaries
    local warm <const>, steady <const>, more <const> = {}, {}, {}
    options.steps = 4
    for i = 1, o.rounds or 3 do
      local r <const> = child.run("steps", options, how)
      warm[i], steady[i] = r.first, timing.median { table.unpack(r.seconds, 2) }
      more[i] = warm[i] - steady[i]
    end
    result.warm, result.step, result.more = timing.median(warm), timing.median(steady), timing.median(more)
  end)
  child.remove(folder)
  if not ok then
    error(message, 0)
  end
  return result
end

local COLUMNS <const> = { { "what" }, { "ms", digits = 1 } }

--- o: rounds, images, size, network, device, tick.
function start.run(o)
  local r <const> = report.new { title = "start", columns = COLUMNS, bars = { "ms" }, unit = "ms" }
  local function add(what, seconds)
    r:add { what = what, ms = seconds * 1e3 }
  end
  add("lualign -e 'print(1)'", start.program(o.rounds))
  o.tick(1, 3, "the program")
  add("to a first result", start.result(o.rounds, o.device))
  o.tick(2, 3, "a first result")
  local s <const> = start.steps(o)
  add("to the end of the first step, nothing built", s.cold)
  add("the same in a new process", s.warm)
  add("a step", s.step)
  o.tick(3, 3, "first steps")
  return r
end

return start
