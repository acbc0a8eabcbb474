-- SPDX-License-Identifier: MIT
--
-- show: a value as the prompt prints it. A table is shown one level deep, its keys in order; what it holds takes a line
-- each or, in a short list, none. Tensors inside a table are named by type and shape only, so that nothing is copied.

local core <const> = require "lualign.core"

local MOST <const> = 24  -- lines of one table
local WIDE <const> = 100 -- characters of a list on one line

local function has_text(value)
  return (getmetatable(value) or {}).__tostring ~= nil
end

local function inner(value)
  local kind <const> = type(value)
  if core.is_tensor(value) then
    if not core.is_alive(value) then
      return "tensor (released)"
    end
    return string.format("tensor %s (%s)", value.dtype, table.concat(value:shape(), ", "))
  elseif kind == "string" then
    local text <const> = #value > 60 and value:sub(1, 57) .. "..." or value
    return (string.format("%q", text):gsub("\\\n", "\\n"))
  elseif kind == "table" and not has_text(value) then
    return next(value) == nil and "{}" or #value > 0 and string.format("{ %d elements }", #value) or "{ ... }"
  elseif kind == "function" then
    return "function"
  end
  return (tostring(value):gsub("\n.*", " ..."))
end

local function key_text(key)
  if type(key) == "string" and key:match "^[%a_][%w_]*$" then
    return key
  end
  return "[" .. inner(key) .. "]"
end

-- Numbers first, in order, then the rest by their text.
local function before(a, b)
  local na <const>, nb <const> = type(a) == "number", type(b) == "number"
  if na and nb then
    return a < b
  elseif na ~= nb then
    return na
  end
  return tostring(a) < tostring(b)
end

local function list_text(list)
  local parts <const>, length = {}, 0
  for i, value in ipairs(list) do
    parts[i] = inner(value)
    length = length + #parts[i] + 2
    if length > WIDE then
      return nil
    end
  end
  return "{ " .. table.concat(parts, ", ") .. " }"
end

local function table_text(t)
  local keys <const> = {}
  for key in next, t do
    keys[#keys + 1] = key
  end
  if #keys == 0 then
    return "{}"
  end
  if #keys == #t then
    local line <const> = list_text(t)
    if line then
      return line
    end
  end
  table.sort(keys, before)
  local lines <const> = { "{" }
  for i, key in ipairs(keys) do
    if i == MOST and #keys > MOST then
      lines[#lines + 1] = string.format("  ... and %d more", #keys - MOST + 1)
      break
    end
    lines[#lines + 1] = string.format("  %s = %s,", key_text(key), inner(t[key]))
  end
  lines[#lines + 1] = "}"
  return table.concat(lines, "\n")
end

return function(value)
  if type(value) == "table" and not has_text(value) then
    return table_text(value)
  end
  return tostring(value)
end
