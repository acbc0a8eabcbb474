-- SPDX-License-Identifier: MIT
--
-- Options in a table: defaults, types, and an error that names the nearest one for a name that is not known.
--
--   local o <const> = options.check("scale", given, {
--     factor = options.required,             -- must be given, of any type
--     size = options.required "number",      -- must be given and be a number
--     mode = "linear",                       -- a default; what is given must have its type
--     stride = options.any(1),               -- a default, but anything may be given
--     mask = options.optional,               -- may be left out, of any type; options.optional "table" as above
--   })
--
-- Positions are names too: `[1] = options.required "number"` for scale { 3, mode = "cubic" }.

local options <const> = {}

local RULE <const> = {}
RULE.__index = RULE

-- A rule is { required =, default =, type = (nil: any) }; calling one gives the same for one type.
function RULE.__call(self, type_name)
  return setmetatable({ required = self.required, type = type_name }, RULE)
end

options.required = setmetatable({ required = true }, RULE)
options.optional = setmetatable({ required = false }, RULE)

--- A default that does not say which type is meant.
function options.any(default)
  return setmetatable({ required = false, default = default }, RULE)
end

-- Levenshtein's distance.
local function distance(a, b)
  local row <const> = {}
  for j = 0, #b do
    row[j] = j
  end
  for i = 1, #a do
    local diagonal = row[0]
    row[0] = i
    for j = 1, #b do
      local above <const> = row[j]
      local change <const> = diagonal + (a:byte(i) == b:byte(j) and 0 or 1)
      row[j] = math.min(change, above + 1, row[j - 1] + 1)
      diagonal = above
    end
  end
  return row[#b]
end

--- The name nearest to `name` in a list, or nil if none is near.
function options.nearest(name, names)
  local best, found = math.max(1, #name // 2) + 1, nil
  for _, candidate in ipairs(names) do
    local d <const> = distance(name, candidate)
    if d < best then
      best, found = d, candidate
    end
  end
  return found
end

--- ", did you mean 'stride'?" or "".
function options.hint(name, names)
  local near <const> = options.nearest(tostring(name), names)
  return near and string.format(", did you mean '%s'?", near) or ""
end

local function sorted_names(spec)
  local names <const> = {}
  for key in pairs(spec) do
    names[#names + 1] = tostring(key)
  end
  table.sort(names)
  return names
end

local function called(key)
  return math.type(key) == "integer" and "argument " .. key or "option '" .. tostring(key) .. "'"
end

local function is_rule(value)
  return getmetatable(value) == RULE
end

local function check_type(fname, key, value, wanted, level)
  local is <const> = type(value)
  if wanted and is ~= wanted and not (wanted == "function" and (getmetatable(value) or {}).__call) then
    error(string.format("%s: %s must be a %s, got %s", fname, called(key), wanted,
      is == "string" and "'" .. value .. "'" or is), level)
  end
end

--- The options `given` (a table, or nil for none) of function `fname`, with defaults; see the head of this file.
-- level: whose fault an error is, counted as error() does from the caller of check (default 2: its caller).
function options.check(fname, given, spec, level)
  level = (level or 2) + 1
  if given ~= nil and type(given) ~= "table" then
    error(string.format("%s: options must be a table, got %s", fname, type(given)), level)
  end
  given = given or {}
  local unknown <const> = {}
  for key in pairs(given) do
    if spec[key] == nil then
      unknown[#unknown + 1] = tostring(key)
    end
  end
  if #unknown > 0 then
    table.sort(unknown) -- pairs has no order, messages must
    local hint <const> = options.hint(unknown[1], sorted_names(spec))
    error(string.format("%s: unknown option '%s'%s", fname, unknown[1], hint), level)
  end
  local out <const> = {}
  for key, rule in pairs(spec) do
    local value <const> = given[key]
    if value == nil then
      if is_rule(rule) and rule.required then
        error(string.format("%s: %s is missing", fname, called(key)), level)
      end
      if is_rule(rule) then
        out[key] = rule.default
      else
        out[key] = rule
      end
    else
      local wanted <const> = is_rule(rule) and rule.type or not is_rule(rule) and type(rule) or nil
      check_type(fname, key, value, wanted, level + 1)
      out[key] = value
    end
  end
  return out
end

return options
