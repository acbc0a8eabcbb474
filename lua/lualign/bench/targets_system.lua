-- SPDX-License-Identifier: MIT
--
-- targets_system: the rows of `lualign bench targets` on starts, memory, other devices and kernels for GPUs; see
-- targets.lua.

local child <const> = require "lualign.bench.child"
local la <const> = require "lualign"
local layers <const> = require "lualign.bench.layers"
local start <const> = require "lualign.bench.start"
local timing <const> = require "lualign.bench.timing"
local work <const> = require "lualign.bench.work"

-- ---- 7: the command that aligns ----

local function align_twice(o)
  local has_program <const>, program <const> = pcall(require, "lualign.program")
  local picture <const> = has_program and program.folders().scripts .. "/demo.jpg"
  if not picture or not la.io.exists(picture) then
    return { measured = "needs scripts/demo.jpg" }
  end
  local folder <const> = child.folder()
  local list <const> = {}
  local ok <const>, message <const> = pcall(function()
    local model <const> = folder .. "/small.safetensors"
    la.models.save(model, la.models.weakalign { backbone = "mobilenetv2", size = 320 })
    for i = 1, 4 do
      local text <const> = child.lualign({ "align", picture, picture, "--model", model, "-o", folder .. "/out" },
        { device = o.device })
      list[i] = tonumber(text:match "(%d+) ms%s*$")
    end
  end)
  child.remove(folder)
  if not ok then
    return { measured = message, holds = false }
  end
  local ms <const> = timing.median { table.unpack(list, 2) }
  return { measured = string.format("%.0f ms", ms), holds = ms < 60 }
end

-- ---- 8: starts ----

local function starts(o)
  local program <const> = start.program(9)
  o.tick(0.1, "first training step")
  local s <const> = start.steps { device = o.device, rounds = 3 }
  return {
    measured = string.format("%.0f ms; %.1f s; %+.2f s", program * 1e3, s.cold, s.more),
    holds = program < 0.02 and s.cold < 20 and s.more < 0.5,
    notes = { string.format("first step: nothing built %.2f s, kernels found %.2f s; a step %.2f s", s.cold, s.warm,
      s.step) },
  }
end

-- ---- 9: another implementation ----

-- A contender that lives on another device.
local function on(device, own, make)
  la.device.use(device)
  local ok <const>, contender <const> = pcall(make)
  la.device.use(own)
  if not ok then
    error(contender, 0)
  end
  return {
    sample = function()
      la.device.use(device)
      local seconds <const> = contender.sample()
      la.device.use(own)
      return seconds
    end,
  }
end

local function product(batch, m, n, k, tb)
  return function()
    local a <const> = la.randn(batch, m, k)
    local b <const> = tb and la.randn(batch, n, k) or la.randn(batch, k, n)
    return timing.call(function() la.matmul(a, b, { tb = tb }) end)
  end
end

local function convolution(pass, x, weight, options)
  return function()
    return layers.contenders(work.convolution(x, weight, options))[pass]()
  end
end

local function network_of(name)
  return function()
    return timing.call(work.runner(name))
  end
end

-- What is compared, taken from rows 1 to 5.
local COMPARED <const> = {
  { "matmul 1024^3", product(1, 1024, 1024, 1024) },
  { "1x1 8x900 512->128", product(1, 7200, 128, 512, true) },
  { "matmul 1000x777x1153", product(1, 1000, 777, 1153) },
  { "products 8x 225x225x1024", product(8, 225, 225, 1024, true) },
}
for _, pass in ipairs(layers.PASSES) do
  COMPARED[#COMPARED + 1] = {
    "15x15 256->256 3x3 " .. pass, convolution(pass, { 8, 15, 15, 256 }, { 256, 3, 3, 256 }, { padding = 1 }),
  }
  COMPARED[#COMPARED + 1] = {
    "60x60 128->128 3x3/2 " .. pass,
    convolution(pass, { 8, 60, 60, 128 }, { 128, 3, 3, 128 }, { padding = 1, stride = 2 }),
  }
end
for _, name in ipairs { "resnet101", "forward", "weak_step" } do
  COMPARED[#COMPARED + 1] = { name, network_of(name) }
end

-- The first device of the same type on another platform, as la.device.use takes it.
local function other_of(own)
  for _, d in ipairs(la.device.list()) do
    if d.type == own.type and d.platform ~= own.platform then
      return tostring(d.number)
    end
  end
  return nil
end

local function elsewhere(o)
  local own <const> = la.device.info()
  local other <const> = o.other or other_of(own)
  if not other then
    return { measured = "needs a second OpenCL implementation" }
  end
  local notes <const>, worst, where = {}, 0, nil
  for i, entry in ipairs(COMPARED) do
    local ratio <const> = la.scope(function()
      local ours <const> = entry[2]()
      return timing.ratio(table.unpack(timing.turns({ on(other, tostring(own.number), entry[2]), ours }, o.rounds)))
    end)
    notes[i] = string.format("%-30s %.2fx", entry[1], ratio)
    if ratio > worst then
      worst, where = ratio, entry[1]
    end
    o.tick(i / #COMPARED, entry[1])
    collectgarbage()
  end
  return {
    measured = string.format("at most %.2fx of %s's time (%s)", worst, own.platform, where), holds = worst <= 1.1,
    notes = notes,
  }
end

-- ---- 10: memory and repeatability ----

local FAULTS <const> = 16 -- pages that a step may touch for the first time: Lua's own, not tensors

-- Allocations and pages after the second step, and whether two runs gave the same losses.
local function repeated(device)
  local options <const> = { network = "weak_step", images = 2, steps = 6 }
  local a <const>, b <const> = child.run("steps", options, { device = device }), child.run("steps", options,
    { device = device })
  local n <const> = #a.losses
  local pages
  if a.faults and a.faults[2] then
    local list <const> = {}
    for step = 3, n do
      list[#list + 1] = a.faults[step] - a.faults[step - 1]
    end
    pages = timing.median(list)
  end
  return a.allocations[n] - a.allocations[2], pages, table.concat(a.losses) == table.concat(b.losses)
end

local function memory(o)
  local devices <const>, parts <const>, notes <const>, holds = {}, {}, {}, true
  devices[1] = tostring(la.device.info().number)
  devices[2] = o.other or other_of(la.device.info())
  for i, device in ipairs(devices) do
    local fresh <const>, pages <const>, same <const> = repeated(device)
    parts[i] = string.format("%d allocations, %s pages a step, %s bits", fresh, pages and string.format("%.0f", pages)
      or "unknown", same and "same" or "other")
    notes[i] = string.format("device %s: %s", device, parts[i])
    holds = holds and fresh == 0 and (pages or 0) <= FAULTS and same
    o.tick(i / #devices, "device " .. device)
  end
  return { measured = table.concat(parts, "; "), holds = holds, notes = notes }
end

-- ---- 11: GPUs ----

local function offline()
  local has_program <const>, program <const> = pcall(require, "lualign.program")
  local scripts <const> = has_program and program.folders().scripts
  local script <const> = scripts and scripts .. "/dev/gpu_compile.lua"
  if not script or not la.io.exists(script) then
    return { measured = "needs the source tree" }
  end
  local pipe <const> = assert(io.popen(string.format("'%s' '%s' '%s/..' 2>&1", child.program(), script, scripts)))
  local text <const> = pipe:read "a"
  local ok <const>, _, status <const> = pipe:close()
  if status == 77 then
    return { measured = text:match "([^\n]+)%s*$" or "needs clang and libclc" }
  end
  return {
    measured = text:match "([^\n]+)%s*$" or "no output", holds = ok == true,
    notes = not ok and { text:match "([^\n]*fail[^\n]*)" } or nil,
  }
end

return {
  { "align, second run", "less than 60 ms of computing", align_twice },
  { "start; first training step; the next", "20 ms; 20 s; 0.5 s more than the step", starts },
  { "another OpenCL implementation", "at most 1.1x the time, rows 1 to 5", elsewhere },
  { "memory after the second step; bits", "no fresh memory; the same bits", memory },
  { "GPU kernels compiled offline", "no spill on sm_80 and sm_90", offline },
}
