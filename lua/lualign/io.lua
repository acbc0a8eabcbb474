-- SPDX-License-Identifier: MIT
--
-- la.io: files in and out.
--
--   io.read_file(path)   io.write_file(path, text)   io.mkdirs(path)
--   io.exists(path) -> "file", "folder", "other" or nil
--   io.json_encode(value, { indent = true })         io.json_decode(text)
--   io.read_csv(path, { required = { "image" } })
--   io.load_safetensors(path) -> tensors, metadata, names         io.save_safetensors(path, tensors, metadata)
--   io.load_pytorch(path) -> tensors, names, the rest           .pth, .pth.tar
--   io.read_mat(path) -> { name = value }                       MATLAB's files, where libmatio is there
--   io.load_flo(path) -> (h, w, 2)     io.save_flo(path, flow)     optical flow
--   io.loader { threads = 2 }     pictures decoded ahead          io.canvas(width, height, colour)    drawing
--
-- What is written appears whole or not at all: it is made under a temporary name and then renamed.

local core <const> = require "lualign.core"
local options <const> = require "lualign.util.options"

local files <const> = core.io

-- ---- JSON ----

-- Marks tables that are arrays though they are empty.
local ARRAY <const> = { __name = "array" }

--- Marks a table as an array for json_encode, which takes an empty table for an object. Returns it.
function files.array(t)
  return setmetatable(t, ARRAY)
end

local ESCAPES <const> = {
  ['"'] = '\\"', ["\\"] = "\\\\", ["\b"] = "\\b", ["\f"] = "\\f", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t",
}

local function quoted(text, where)
  if not utf8.len(text) then
    error(string.format("json_encode: %s is no UTF-8", where), 0)
  end
  return '"' .. text:gsub('[%c"\\]', function(c)
    return ESCAPES[c] or string.format("\\u%04x", c:byte())
  end) .. '"'
end

-- The shortest decimal number that reads as the same one.
local function numeral(v, where)
  if math.type(v) == "integer" then
    if v > 2 ^ 53 or v < -2 ^ 53 then
      error(string.format("json_encode: %s is %d; whole numbers past 2^53 must be written as strings", where, v), 0)
    end
    return tostring(v)
  end
  if v ~= v or v == math.huge or v == -math.huge then
    error(string.format("json_encode: %s is %s, which JSON cannot hold", where, tostring(v)), 0)
  end
  for digits = 15, 17 do
    local text <const> = string.format("%." .. digits .. "g", v)
    if tonumber(text) == v then
      return text
    end
  end
end

-- The number of elements of an array, or nil and the sorted keys of an object.
local function shape_of(t, where)
  if getmetatable(t) == ARRAY and next(t) == nil then
    return 0
  end
  local count, keys = 0, {}
  for key in pairs(t) do
    count = count + 1
    if type(key) == "string" then
      keys[#keys + 1] = key
    elseif math.type(key) ~= "integer" then
      error(string.format("json_encode: %s has a %s as key", where, type(key)), 0)
    end
  end
  if #keys == 0 and count > 0 then
    for i = 1, count do
      if t[i] == nil then
        error(string.format("json_encode: %s is an array with holes: no element %d of %d", where, i, count), 0)
      end
    end
    return count
  elseif #keys ~= count then
    error(string.format("json_encode: %s has names and numbers as keys", where), 0)
  end
  table.sort(keys)
  return nil, keys
end

local encode

-- The parts of an array or object, in their brackets; those of an array of plain values stay on one line.
local function bracketed(parts, open, close, indent, depth, plain)
  if #parts == 0 then
    return open .. close
  elseif indent and plain then
    return open .. table.concat(parts, ", ") .. close
  elseif not indent then
    return open .. table.concat(parts, ",") .. close
  end
  local pad <const> = string.rep("  ", depth)
  return open .. "\n" .. pad .. "  " .. table.concat(parts, ",\n" .. pad .. "  ") .. "\n" .. pad .. close
end

local function encode_table(t, indent, depth, where, above)
  if above[t] then
    error(string.format("json_encode: %s holds itself", where), 0)
  end
  above[t] = true
  local parts <const>, plain = {}, true
  local count <const>, keys <const> = shape_of(t, where)
  for i = 1, count or 0 do
    plain = plain and type(t[i]) ~= "table"
    parts[i] = encode(t[i], indent, depth + 1, string.format("%s[%d]", where, i), above)
  end
  for i, key in ipairs(keys or {}) do
    local value <const> = encode(t[key], indent, depth + 1, where .. "." .. key, above)
    parts[i] = quoted(key, "a key of " .. where) .. (indent and ": " or ":") .. value
  end
  above[t] = nil
  if count then
    return bracketed(parts, "[", "]", indent, depth, plain)
  end
  return bracketed(parts, "{", "}", indent, depth)
end

function encode(value, indent, depth, where, above)
  local kind <const> = type(value)
  if kind == "table" then
    return encode_table(value, indent, depth, where, above)
  elseif kind == "string" then
    return quoted(value, where)
  elseif kind == "number" then
    return numeral(value, where)
  elseif kind == "boolean" then
    return tostring(value)
  elseif value == files.null then
    return "null"
  end
  error(string.format("json_encode: %s is a %s", where, kind), 0)
end

--- JSON of a value. A table with keys 1 to n is an array, one with names an object, its names sorted; an empty one is
-- an object unless io.array(t) says otherwise; io.null is null. A number reads back as the same one. NaN and infinity
-- are errors.
function files.json_encode(value, given)
  local o <const> = options.check("json_encode", given, { indent = false })
  return encode(value, o.indent, 0, "the value", {})
end

--- The value of a JSON text; whole numbers up to 2^53 become integers, null becomes io.null. `name` is what messages
-- call it.
function files.json_decode(text, name)
  return files.json_parse(text, name or "json_decode", ARRAY)
end

-- ---- CSV ----

-- The field that starts at `at`: its text, where what follows begins, and the line that this is in.
local function quoted_field(text, at, line, path)
  local from, parts <const> = at + 1, {}
  while true do
    local close <const> = text:find('"', from, true)
    if not close then
      error(string.format("%s:%d: a quoted field does not end", path, line), 0)
    end
    parts[#parts + 1] = text:sub(from, close - 1)
    if text:byte(close + 1) ~= 34 then
      local field <const> = table.concat(parts)
      local after <const> = text:sub(close + 1, close + 1)
      if not (after == "" or after == "," or after == "\n" or after == "\r") then
        error(string.format("%s:%d: '%s' after a quoted field", path, line, after), 0)
      end
      return field, close + 1, line + select(2, field:gsub("\n", ""))
    end
    parts[#parts + 1] = '"'
    from = close + 2
  end
end

-- An iterator over the records of a text: the line that each starts in and the list of its fields, without empty lines.
local function records(text, path)
  local at, line = text:sub(1, 3) == "\xef\xbb\xbf" and 4 or 1, 1
  local function record()
    local fields <const>, first <const> = {}, line
    while true do
      if text:byte(at) == 34 then
        fields[#fields + 1], at, line = quoted_field(text, at, line, path)
      else
        local stop <const> = text:find("[,\r\n]", at) or #text + 1
        fields[#fields + 1] = text:sub(at, stop - 1)
        at = stop
      end
      if text:sub(at, at) ~= "," then
        break
      end
      at = at + 1
    end
    at = text:match("^\r?\n?()", at)
    line = line + 1
    return first, fields
  end
  return function()
    while at <= #text do
      local first <const>, fields <const> = record()
      if #fields > 1 or fields[1] ~= "" then
        return first, fields
      end
    end
    return nil
  end
end

local function check_columns(path, columns, required)
  local known <const> = {}
  for _, name in ipairs(columns) do
    if known[name] or name == "line" then
      local what <const> = name == "line" and "a column must not be called" or "two columns are called"
      error(string.format("%s: %s '%s'", path, what, name), 0)
    end
    known[name] = true
  end
  for _, name in ipairs(required) do
    if not known[name] then
      error(string.format("%s: has no column '%s'%s; its columns are %s", path, name, options.hint(name, columns),
        table.concat(columns, ", ")), 0)
    end
  end
end

--- The rows of a table with a header line: list of { column = text, ..., line = number }, and the list of columns.
-- Fields in double quotes may hold commas, line ends and doubled quotes. Rows must be as long as the header. A column
-- of opts.required that is missing is an error.
function files.read_csv(path, given)
  local o <const> = options.check("read_csv", given, { required = {} })
  local next_record <const> = records(files.read_file(path), path)
  local _, columns <const> = next_record()
  if not columns then
    error(string.format("%s: is empty: no header line", path), 0)
  end
  check_columns(path, columns, o.required)
  local rows <const> = {}
  for line, fields in next_record do
    if #fields ~= #columns then
      error(string.format("%s:%d: expected %d fields, got %d", path, line, #columns, #fields), 0)
    end
    local row <const> = { line = line }
    for i, name in ipairs(columns) do
      row[name] = fields[i]
    end
    rows[#rows + 1] = row
  end
  return rows, columns
end

-- ---- safetensors ----

--- All tensors of a file by name, its texts by key, and the names in the file's order.
-- Half precision, bfloat16 and double precision become float32, other whole numbers int32 (one that does not fit is an
-- error), booleans uint8.
function files.load_safetensors(path)
  return files.safetensors_load(path)
end

local function sorted_keys(t, what)
  local keys <const> = {}
  for key in pairs(t) do
    if type(key) ~= "string" then
      error(string.format("save_safetensors: %s must be a string, got %s", what, tostring(key)), 3)
    end
    keys[#keys + 1] = key
  end
  table.sort(keys)
  return keys
end

--- Writes { { name, tensor }, ... } in that order, or { name = tensor } by name. metadata: { key = text }.
function files.save_safetensors(path, tensors, metadata)
  local names <const>, values <const>, texts <const> = {}, {}, {}
  if tensors[1] ~= nil then
    for i, pair in ipairs(tensors) do
      if type(pair) ~= "table" then
        error(string.format("save_safetensors: element %d must be { name, tensor }, got a %s", i, type(pair)), 2)
      end
      names[i], values[i] = pair[1] or false, pair[2] or false
    end
  else
    for i, name in ipairs(sorted_keys(tensors, "a name")) do
      names[i], values[i] = name, tensors[name]
    end
  end
  local keys <const> = sorted_keys(metadata or {}, "a key of metadata")
  for i, key in ipairs(keys) do
    texts[i] = metadata[key]
  end
  files.safetensors_save(path, names, values, keys, texts)
end

-- ---- flow ----

--- The flow in a .flo file: float32 (height, width, 2); see lualign/io/flo.lua.
function files.load_flo(path)
  return require("lualign.io.flo").load(path)
end

--- Writes a flow (height, width, 2) as a .flo file.
function files.save_flo(path, flow)
  require("lualign.io.flo").save(path, flow)
end

-- ---- MATLAB ----

--- The variables of a .mat file by name; see lualign/io/mat.lua.
function files.read_mat(path)
  return require("lualign.io.mat").read(path)
end

-- ---- PyTorch ----

--- The tensors of a file that torch.save wrote; see lualign/io/pytorch.lua.
function files.load_pytorch(path)
  return require("lualign.io.pytorch").load(path)
end

return files
