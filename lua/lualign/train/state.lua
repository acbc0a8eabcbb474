-- SPDX-License-Identifier: MIT
--
-- Checkpoints of training runs: one safetensors file with the model's state by its own names, the optimiser's as
-- optimizer.*, and counters and generators in the metadata. la.models.load reads the model out of it.

local la <const> = require "lualign"
local checkpoint <const> = require "lualign.models.checkpoint"

local state_of <const> = {}

-- Settings that must be the same for a run to go on exactly.
local FIXED <const> = { "seed", "batch", "items" }

-- Numbers as text, exactly; nothing as "".
local function text_of(number)
  return number and (math.type(number) == "integer" and tostring(number) or string.format("%a", number)) or ""
end

--- Writes out/last.safetensors.
function state_of.save(o, state)
  local list <const> = o.model:state_dict()
  for _, entry in ipairs(o.optimizer:state_dict()) do
    list[#list + 1] = { "optimizer." .. entry[1], entry[2] }
  end
  local metadata <const> = checkpoint.metadata(o.model, "training")
  local seed <const>, counter <const> = la.device.seed_state()
  metadata.device_seed, metadata.device_counter = text_of(seed), text_of(counter)
  metadata.step, metadata.best, metadata.smooth = text_of(state.step), text_of(state.best), text_of(state.smooth)
  for _, name in ipairs(FIXED) do
    metadata[name] = text_of(o[name])
  end
  la.io.save_safetensors(o.out .. "/last.safetensors", list, metadata)
end

--- Writes out/best.safetensors: the model alone.
function state_of.save_best(o)
  la.io.save_safetensors(o.out .. "/best.safetensors", o.model:state_dict(), checkpoint.metadata(o.model, "model"))
end

--- The checkpoint to go on from; nil for a fresh start.
function state_of.find(o)
  if not o.resume then
    return nil
  end
  local path <const> = type(o.resume) == "string" and o.resume or o.out .. "/last.safetensors"
  if la.io.exists(path) then
    return path
  elseif type(o.resume) == "string" then
    error(string.format("train: there is no checkpoint '%s' to resume from", path), 0)
  end
  return nil
end

-- name -> tensor, of those whose names begin with `optimizer.` and of the others.
local function split(dict)
  local optimizer <const>, model <const> = {}, {}
  for name, t in pairs(dict) do
    local own <const> = name:match "^optimizer%.(.*)"
    if own then
      optimizer[own] = t
    else
      model[name] = t
    end
  end
  return model, optimizer
end

--- Takes a checkpoint over into the model, the optimiser, the device's generator and `state`.
function state_of.load(o, state, path)
  local dict <const>, metadata <const> = la.io.load_safetensors(path)
  if not metadata or metadata.kind ~= "training" then
    error(string.format("train: '%s' is no checkpoint of a training run", path), 0)
  end
  for _, name in ipairs(FIXED) do
    if metadata[name] ~= text_of(o[name]) then
      error(string.format("train: '%s' was made with %s %s, this run has %s: it could not go on as it began", path,
        name, metadata[name], text_of(o[name])), 0)
    end
  end
  local model <const>, optimizer <const> = split(dict)
  local ok <const>, message <const> = pcall(function()
    o.model:load_state_dict(model)
    o.optimizer:load_state_dict(optimizer)
  end)
  if not ok then
    error(string.format("train: '%s': %s", path, message), 0)
  end
  la.device.seed(tonumber(metadata.device_seed), tonumber(metadata.device_counter))
  state.step = tonumber(metadata.step)
  state.best, state.smooth = tonumber(metadata.best), tonumber(metadata.smooth)
end

return state_of
