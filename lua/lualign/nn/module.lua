-- SPDX-License-Identifier: MIT
--
-- Module: what networks are made of. A class has `init`, which registers parameters, buffers and children in the order
-- in which they are to be named, and `forward`:
--
--   local Scale <const> = Module.class "Scale"
--
--   function Scale:init(given)
--     local o <const> = options.check("Scale", given, { channels = options.required "number" })
--     self:parameter("weight", la.ones(o.channels))
--   end
--
--   function Scale:forward(x)
--     return x * self.weight
--   end
--
--   local scale <const> = Scale { channels = 3 }
--   local y <const> = scale(x)
--
-- A registered name is also a field: self.weight. Names of state joined by dots lead to it: "layer1.0.conv1.weight".

local la <const> = require "lualign"
local options <const> = require "lualign.util.options"

local Module <const> = {}
Module.__index = Module

-- ---- classes ----

-- A class is called to make an instance, an instance to run forward.
local function instantiate(class, ...)
  local self <const> = setmetatable({ training = true }, class)
  self.registered = { parameters = {}, buffers = {}, children = {} } -- the names of each, in order
  self:init(...)
  return self
end

--- A new class whose instances run forward when called, and inherit from `parent` (Module if left out).
function Module.class(name, parent)
  local class <const> = { name = name }
  class.__index = class
  class.__call = function(self, ...)
    return self:forward(...)
  end
  class.__tostring = Module.describe
  return setmetatable(class, { __index = parent or Module, __call = instantiate })
end

--- Whether a value is a module.
function Module.is(value)
  return type(value) == "table" and type(rawget(value, "registered")) == "table"
end

--- Registers what the module holds; gets what the class was called with.
function Module.init(_self)
end

function Module:forward()
  error(self.name .. ": has no forward", 2)
end

-- ---- registering ----

local function register(self, kind, name, value)
  local list <const> = self.registered[kind]
  if self[name] ~= nil then
    error(string.format("%s: the name '%s' is taken", self.name, name), 3)
  end
  list[#list + 1] = name
  self[name] = value
  return value
end

--- A tensor that is trained. Returns it; it outlives all scopes.
function Module:parameter(name, tensor)
  return register(self, "parameters", name, la.keep(tensor:requires_grad_(true)))
end

--- A tensor that is saved, but not trained.
function Module:buffer(name, tensor)
  return register(self, "buffers", name, la.keep(tensor))
end

--- A module within this one.
function Module:child(name, module)
  if not Module.is(module) then
    error(string.format("%s: child '%s' must be a module, got %s", self.name, name, type(module)), 2)
  end
  return register(self, "children", name, module)
end

-- ---- walking ----

-- Calls fn(module, prefix) on this module and, in order, on all within it.
local function walk(self, fn, prefix)
  prefix = prefix or ""
  fn(self, prefix)
  for _, name in ipairs(self.registered.children) do
    walk(self[name], fn, prefix .. name .. ".")
  end
end

-- { { name, tensor }, ... } of one or several kinds, in the order of registration.
local function collect(self, ...)
  local kinds <const>, list <const> = { ... }, {}
  walk(self, function(module, prefix)
    for _, kind in ipairs(kinds) do
      for _, name in ipairs(module.registered[kind]) do
        list[#list + 1] = { prefix .. name, module[name] }
      end
    end
  end)
  return list
end

--- { { name, module }, ... }, this one, named "", first.
function Module:named_modules()
  local list <const> = {}
  walk(self, function(module, prefix)
    list[#list + 1] = { (prefix:gsub("%.$", "")), module }
  end)
  return list
end

--- { { name, tensor }, ... } of what is trained.
function Module:named_parameters()
  return collect(self, "parameters")
end

--- The same without names, as optimisers take them.
function Module:parameters()
  local list <const> = {}
  for i, entry in ipairs(self:named_parameters()) do
    list[i] = entry[2]
  end
  return list
end

--- { { name, tensor }, ... } of what is saved, but not trained.
function Module:named_buffers()
  return collect(self, "buffers")
end

--- How many numbers are trained.
function Module:parameter_count()
  local n = 0
  for _, p in ipairs(self:parameters()) do
    n = n + p:numel()
  end
  return n
end

-- ---- state ----

--- { { name, tensor }, ... } of all parameters and buffers; the tensors are the module's own.
function Module:state_dict()
  return collect(self, "parameters", "buffers")
end

local function shape_text(t)
  return "(" .. table.concat(t:shape(), ", ") .. ")"
end

-- "a, b, c and 4 more"
local function some(names)
  table.sort(names)
  local shown <const> = math.min(#names, 4)
  local text <const> = table.concat(names, ", ", 1, shown)
  return #names > shown and string.format("%s and %d more", text, #names - shown) or text
end

-- Name -> tensor, of such a table or of a list of pairs. What PyTorch counts batches with is left out.
local function by_name(dict)
  local found <const> = {}
  for key, value in pairs(dict) do
    local name <const> = type(value) == "table" and value[1] or key
    local tensor <const> = type(value) == "table" and value[2] or value
    if not la.is_tensor(tensor) then
      error(string.format("load_state_dict: '%s' must be a tensor, got %s", tostring(name), type(tensor)), 3)
    end
    if not name:match "num_batches_tracked$" then
      found[name] = tensor
    end
  end
  return found
end

local function compare_state(self, found)
  local missing <const>, unexpected <const>, misfits <const>, known <const> = {}, {}, {}, {}
  for _, entry in ipairs(self:state_dict()) do
    local name <const>, own <const> = entry[1], entry[2]
    known[name] = true
    if not found[name] then
      missing[#missing + 1] = name
    elseif shape_text(found[name]) ~= shape_text(own) then
      misfits[#misfits + 1] = string.format("%s must be %s, got %s", name, shape_text(own), shape_text(found[name]))
    end
  end
  for name in pairs(found) do
    if not known[name] then
      unexpected[#unexpected + 1] = name
    end
  end
  return missing, unexpected, misfits
end

--- Overwrites parameters and buffers with the tensors of dict, { name = tensor } or { { name, tensor }, ... }, in this
-- module's own layouts. Nothing is changed if there is an error. With opts.strict = false, names that are missing or
-- unexpected are no error. Returns the lists of those.
function Module:load_state_dict(dict, opts)
  local o <const> = options.check("load_state_dict", opts, { strict = true })
  local found <const> = by_name(dict)
  local missing <const>, unexpected <const>, misfits <const> = compare_state(self, found)
  local problems <const> = {}
  if #misfits > 0 then
    problems[1] = some(misfits)
  end
  if o.strict and #missing > 0 then
    problems[#problems + 1] = "missing: " .. some(missing)
  end
  if o.strict and #unexpected > 0 then
    problems[#problems + 1] = "unexpected: " .. some(unexpected)
  end
  if #problems > 0 then
    error(string.format("load_state_dict: %s: %s", self.name, table.concat(problems, "; ")), 2)
  end
  la.no_grad(function()
    for _, entry in ipairs(self:state_dict()) do
      if found[entry[1]] then
        entry[2]:copy_(found[entry[1]])
      end
    end
  end)
  return missing, unexpected
end

-- ---- modes ----

--- Training or (false) evaluation mode, of this module and all within it. Returns it.
function Module:train(on)
  if on == nil then
    on = true
  end
  walk(self, function(module)
    module.training = on
  end)
  return self
end

--- Switches the module and all below it to evaluation. Returns the module.
function Module:eval()
  return self:train(false)
end

local PRECISIONS <const> = { default = true, strict = true, bfloat16 = true }

--- Makes the module one that only computes: in evaluation mode, so that batch norm folds into the convolutions, and
-- with nothing trained, so that packed and transformed weights are kept. opts.precision, of its convolutions:
-- "default"; "strict", the smallest error; "bfloat16", on devices that compute with it: factors are rounded to 8 bits,
-- sums and what lies between layers stay float32. A layer is then off by 0.2 % (rms), a 3x3 of stride 1, by Winograd,
-- by 1.2 %; depthwise ones and those from fewer than 16 channels are as before. Returns the module.
function Module:fuse(opts)
  local o <const> = options.check("fuse", opts, { precision = options.optional "string" })
  if o.precision and not PRECISIONS[o.precision] then
    error(string.format("fuse: precision must be default, strict or bfloat16, got '%s'", o.precision), 2)
  end
  walk(self, function(module)
    module.precision = o.precision
  end)
  return self:eval():requires_grad_(false)
end

--- Whether the parameters are to be given gradients. Returns the module.
function Module:requires_grad_(on)
  for _, p in ipairs(self:parameters()) do
    p:requires_grad_(on ~= false)
    if on == false then
      p.grad = nil
    end
  end
  return self
end

--- Forgets all gradients.
function Module:zero_grad()
  for _, p in ipairs(self:parameters()) do
    p.grad = nil
  end
end

-- ---- printing ----

--- What a class says of itself within brackets: sizes and settings.
function Module.extra(_self)
  return ""
end

local function thousands(n)
  local text = tostring(n)
  repeat
    local changed
    text, changed = text:gsub("^(%d+)(%d%d%d)", "%1,%2")
  until changed == 0
  return text
end

local function describe(self, lines, indent, label)
  local extra <const>, count <const> = self:extra(), self:parameter_count()
  local text <const> = string.format("%s%s%s%s", indent, label, self.name, extra ~= "" and "(" .. extra .. ")" or "")
  lines[#lines + 1] = count > 0 and string.format("%s  %s parameters", text, thousands(count)) or text
  for _, name in ipairs(self.registered.children) do
    describe(self[name], lines, indent .. "  ", name .. ": ")
  end
end

--- The tree of modules, each with its settings and its number of parameters.
function Module:describe()
  local lines <const> = {}
  describe(self, lines, "", "")
  return table.concat(lines, "\n")
end

return Module
