-- SPDX-License-Identifier: MIT
--
-- What optimisers share: groups of parameters with settings of their own, state tensors made at construction, saving.
--
--   local opt <const> = la.optim.Adam(net:parameters(), { lr = 1e-4 })
--   local opt <const> = la.optim.SGD({ { parameters = a, lr = 1e-2 }, { parameters = b } }, { lr = 1e-3 })
--
--   opt:zero_grad()  loss:backward()  opt:step()
--
-- A parameter without a gradient is left as it is. opt.groups[k].lr may be changed at any time.

local la <const> = require "lualign"
local options <const> = require "lualign.util.options"

local Optimizer <const> = {}
Optimizer.__index = Optimizer

-- One group for a plain list of tensors.
local function as_groups(name, given)
  if type(given) ~= "table" or #given == 0 then
    error(string.format("%s: needs a list of parameters, or of groups { parameters = list, lr = ... }, got %s", name,
      type(given) == "table" and "an empty one" or type(given)), 4)
  end
  if la.is_tensor(given[1]) then
    return { { parameters = given } }
  end
  return given
end

local function check_parameters(name, list, seen)
  for i, p in ipairs(list) do
    if not la.is_tensor(p) or p.dtype ~= "float32" or not p.is_leaf then
      error(string.format("%s: parameter %d must be a float32 tensor that is no result, got %s", name, i,
        la.is_tensor(p) and (p.is_leaf and p.dtype or "a result") or type(p)), 5)
    end
    if seen[p] then
      error(string.format("%s: a parameter is there twice", name), 5)
    end
    seen[p] = true
  end
end

--- A new class of optimisers. settings: defaults of its options, which a group may override; slots(group): names of the
-- state tensors of its parameters; update(group, parameter, gradient, state, step) makes the parameter's step number
-- `step`, from 1.
function Optimizer.class(name, settings, slots, update)
  local class <const> = setmetatable({ name = name, slots = slots, update = update }, { __index = Optimizer })
  class.__index = class
  class.__tostring = Optimizer.describe
  return function(parameters, given)
    local defaults <const> = options.check(name, given, settings)
    local self <const> = setmetatable({ groups = {} }, class)
    local seen <const> = {}
    for k, group in ipairs(as_groups(name, parameters)) do
      local own <const> = { parameters = options.required "table" }
      for key, value in pairs(defaults) do
        own[key] = value
      end
      self.groups[k] = options.check(name .. ": group", group, own)
      check_parameters(name, group.parameters, seen)
      self.groups[k].base_lr = self.groups[k].lr
    end
    self:allocate()
    return self
  end
end

-- State tensors are made here and not at the first step, so that no step allocates and a saved state fits at once.
function Optimizer:allocate()
  self.state = {}
  for _, group in ipairs(self.groups) do
    for _, p in ipairs(group.parameters) do
      local state <const> = { steps = 0, tensors = {} }
      for _, name in ipairs(self.slots(group)) do
        state.tensors[name] = la.keep(la.zeros(p:shape()))
      end
      self.state[p] = state
    end
  end
end

--- One step of all parameters that have a gradient.
function Optimizer:step()
  la.no_grad(function()
    for _, group in ipairs(self.groups) do
      for _, p in ipairs(group.parameters) do
        local g <close> = p.grad
        if g then
          local state <const> = self.state[p]
          state.steps = state.steps + 1
          self.update(group, p, g, state.tensors, state.steps)
        end
      end
    end
  end)
end

--- Forgets the gradients of all parameters.
function Optimizer:zero_grad()
  for _, group in ipairs(self.groups) do
    for _, p in ipairs(group.parameters) do
      p.grad = nil
    end
  end
end

--- All parameters, in order.
function Optimizer:parameters()
  local list <const> = {}
  for _, group in ipairs(self.groups) do
    table.move(group.parameters, 1, #group.parameters, #list + 1, list)
  end
  return list
end

--- Multiplies every group's first learning rate by a factor: what schedules do.
function Optimizer:scale_lr(factor)
  for _, group in ipairs(self.groups) do
    group.lr = group.base_lr * factor
  end
end

-- { { name, tensor }, ... }, the names counting parameters from 1: "12.m".
local function named_state(self)
  local list <const> = {}
  for i, p in ipairs(self:parameters()) do
    local tensors <const>, names <const> = self.state[p].tensors, {}
    for name in pairs(tensors) do
      names[#names + 1] = name
    end
    table.sort(names)
    for _, name in ipairs(names) do
      list[#list + 1] = { i .. "." .. name, tensors[name] }
    end
  end
  return list
end

--- The state: a list of { name, tensor }. The first, "steps", holds how many steps each parameter has made.
function Optimizer:state_dict()
  local list <const>, steps <const> = named_state(self), {}
  for i, p in ipairs(self:parameters()) do
    steps[i] = self.state[p].steps
  end
  table.insert(list, 1, { "steps", la.tensor(steps, "int32") })
  return list
end

--- Takes over such a state, given as a table from names to tensors. Nothing is changed if there is an error.
function Optimizer:load_state_dict(dict)
  local own <const> = self:state_dict()
  for _, entry in ipairs(own) do
    local name <const>, want <const> = entry[1], table.concat(entry[2]:shape(), ", ")
    local got <const> = dict[name] and table.concat(dict[name]:shape(), ", ")
    if got ~= want then
      error(string.format("%s: load_state_dict: %s must be (%s), got %s", self.name, name, want,
        got and "(" .. got .. ")" or "nothing (was it saved with other parameters?)"), 2)
    end
  end
  local steps <const> = dict.steps:flat()
  for i, p in ipairs(self:parameters()) do
    self.state[p].steps = steps[i]
  end
  for _, entry in ipairs(named_state(self)) do
    entry[2]:copy_(dict[entry[1]])
  end
end

--- Its name and settings, on one line.
function Optimizer:describe()
  local parts <const>, group <const> = {}, self.groups[1]
  for key, value in pairs(group) do
    if key ~= "parameters" and key ~= "base_lr" then
      parts[#parts + 1] = key .. " " .. (type(value) == "table" and table.concat(value, ", ") or tostring(value))
    end
  end
  table.sort(parts)
  return string.format("%s(%s)", self.name, table.concat(parts, ", "))
end

return Optimizer
