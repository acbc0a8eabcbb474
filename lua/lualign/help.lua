-- SPDX-License-Identifier: MIT
--
-- la.help: text about an op (from its descriptor), a function of the Lua library (from the comment above it), a module
-- (from the comment at its head) or what is written in C (lualign.util.builtin).
--
--   la.help "correlation"        prints it; ?correlation at the prompt
--   la.help.text "la.refine.run" the text, or nil and a message

local la <const> = require "lualign"
local builtin <const> = require "lualign.util.builtin"
local options <const> = require "lualign.util.options"

local help <const> = {}

-- ---- ops ----

local function find_op(name)
  for _, op in ipairs(la.ops()) do
    if op.name == name then
      return op
    end
  end
  return nil
end

local function signature(op)
  local parts <const> = {}
  for i, p in ipairs(op.params) do
    parts[i] = p.default and p.name .. " = " .. p.default or p.name
  end
  return string.format("la.%s(%s)", op.name, table.concat(parts, ", "))
end

local function op_text(op)
  local lines <const> = { signature(op), op.brief, "" }
  local width = 0
  for _, p in ipairs(op.params) do
    width = math.max(width, #p.name)
  end
  for _, p in ipairs(op.params) do
    local kind <const> = p.choices and p.choices:gsub("|", ", ") or p.kind
    lines[#lines + 1] = string.format("  %-" .. width .. "s  %s (%s%s)", p.name, p.brief or "", kind,
      p.default and "; default " .. p.default or "")
  end
  lines[#lines + 1] = ""
  if op.in_place then
    lines[#lines + 1] = "Writes its first argument."
  elseif not op.differentiable then
    lines[#lines + 1] = "No gradient passes through it."
  end
  if op.example then
    lines[#lines + 1] = "  " .. op.example
  end
  while lines[#lines] == "" do
    lines[#lines] = nil
  end
  return table.concat(lines, "\n")
end

-- ---- the Lua library ----

local function source_lines(source)
  local file <close> = source:sub(1, 1) == "@" and io.open(source:sub(2)) or nil
  local lines <const> = {}
  if file then
    for line in file:lines() do
      lines[#lines + 1] = line
    end
  end
  return lines
end

local function comment_of(line)
  return line:match "^%s*%-%-%-?%s?(.*)$"
end

-- The function's head and the comment lines right above it.
local function function_text(name, fn)
  local info <const> = debug.getinfo(fn, "Su")
  if info.what == "C" then
    return nil
  end
  local lines <const> = source_lines(info.source)
  local first = info.linedefined
  local parameters <const> = {}
  for i = 1, info.nparams do
    parameters[i] = debug.getlocal(fn, i)
  end
  if info.isvararg then
    parameters[#parameters + 1] = "..."
  end
  if parameters[1] == "self" then
    table.remove(parameters, 1)
  end
  local out <const> = { string.format("%s(%s)", name, table.concat(parameters, ", ")) }
  while first > 1 and comment_of(lines[first - 1] or "") do
    first = first - 1
  end
  for i = first, info.linedefined - 1 do
    out[#out + 1] = comment_of(lines[i])
  end
  return table.concat(out, "\n")
end

-- The comment at the head of the module's file, without the licence line, and the names that it offers.
local function module_text(name, module, file)
  local out <const> = {}
  for _, line in ipairs(file and source_lines("@" .. file) or {}) do
    local text <const> = comment_of(line)
    if not text then
      break
    end
    if not text:match "^SPDX" and (text ~= "" or #out > 0) then
      out[#out + 1] = text
    end
  end
  local names <const> = {}
  for key in pairs(module) do
    if type(key) == "string" and not key:match "^_" then
      names[#names + 1] = key
    end
  end
  table.sort(names)
  out[#out + 1] = ""
  out[#out + 1] = name .. ": " .. table.concat(names, ", ")
  return table.concat(out, "\n")
end

local function one_line(list, prefix, name)
  for _, row in ipairs(list) do
    if row[1] == name then
      return string.format("%s%s%s\n%s", prefix, row[1], row[2], row[3])
    end
  end
  return nil
end

-- Follows "nn.Conv2d" from la; methods of classes too.
local function resolve(path)
  local value = la
  for key in path:gmatch "[^.:]+" do
    if type(value) ~= "table" then
      return nil
    end
    value = value[key]
  end
  return value
end

local function of_value(path, value)
  local name <const> = "la." .. path
  if type(value) == "function" then
    return function_text(name, value)
  end
  if type(value) ~= "table" then
    return nil
  end
  local call <const> = (getmetatable(value) or {}).__call
  local file <const> = package.searchpath("lualign." .. path, package.path)
  if call and not file then
    return function_text(name, call)
  end
  return module_text(name, value, file)
end

-- ---- the whole ----

--- Everything that can be asked about, sorted.
function help.topics()
  local topics <const> = {}
  for _, op in ipairs(la.ops()) do
    topics[#topics + 1] = op.name
  end
  for name in pairs(getmetatable(la).submodules) do
    topics[#topics + 1] = name
  end
  for name, value in pairs(la) do
    if type(value) == "function" and not find_op(name) then
      topics[#topics + 1] = name
    end
  end
  for _, row in ipairs(builtin.methods) do
    topics[#topics + 1] = row[1]
  end
  table.sort(topics)
  return topics
end

local function wrapped(names, width)
  local lines <const>, line = {}, " "
  for _, name in ipairs(names) do
    if #line + #name + 1 > width then
      lines[#lines + 1] = line
      line = " "
    end
    line = line .. " " .. name
  end
  lines[#lines + 1] = line
  return table.concat(lines, "\n")
end

local function overview()
  local ops <const>, modules <const> = {}, {}
  for i, op in ipairs(la.ops()) do
    ops[i] = op.name
  end
  for name in pairs(getmetatable(la).submodules) do
    modules[#modules + 1] = name
  end
  table.sort(modules)
  return table.concat({
    "Ops: la.NAME(...) and, with a tensor first, t:NAME(...)", wrapped(ops, 100),
    "Modules: la.NAME", wrapped(modules, 100),
    "?NAME says more: ?correlation, ?backward, ?device.list, ?refine.run",
  }, "\n")
end

--- The text about a topic ("" for the overview), or nil and a message that names the nearest topic.
function help.text(topic)
  topic = topic:match "^%s*(.-)%s*$"
  if topic == "" or topic == "la" then
    return overview()
  end
  local name <const> = topic:gsub("^la%.", "")
  local op <const> = find_op(name)
  if op then
    return op_text(op)
  end
  local method <const> = name:match ":([%w_]+)$" or name
  local text <const> = one_line(builtin.functions, "la.", name) or one_line(builtin.methods, "t:", method)
    or of_value(name, resolve(name))
  if text then
    return text
  end
  return nil, string.format("there is no help on '%s'%s", topic, options.hint(name, help.topics()))
end

return setmetatable(help, {
  __call = function(_, topic)
    print(help.text(topic or "") or select(2, help.text(topic)))
  end,
})
