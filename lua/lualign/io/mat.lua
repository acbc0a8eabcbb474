-- SPDX-License-Identifier: MIT
--
-- la.io.read_mat: MATLAB's files of versions 5 (plain or compressed) and 7.3, by libmatio.
--
-- What becomes what:
--
--   one number, one logical   a number, a boolean
--   a numeric array           an Array: `shape`, `class` ("double", "uint8", "logical", ...), :flat(), :totable(),
--                             :tensor()
--   a complex one             { real = Array, imag = Array }
--   text                      a string, UTF-8; of several rows, a list of strings
--   a cell array              a list; of two or more proper dimensions, nested lists as rows of columns
--   a structure               { field = value }; an array of them, a list or nested lists
--   [] and {}                 an Array without elements; {}
--   what is not read          { unread = "sparse" }, or "function", "object", "opaque"
--
-- A bad file is an error, whatever is in it: libmatio works in a process of its own, within 2 GiB and 20 seconds.

local la <const> = require "lualign"

local mat <const> = {}

-- ---- numeric arrays ----

-- By libmatio's numbers: name, string.unpack's letter, bytes.
local CLASSES <const> = {
  [6] = { "double", "d", 8 }, [7] = { "single", "f", 4 }, [8] = { "int8", "i1", 1 }, [9] = { "uint8", "I1", 1 },
  [10] = { "int16", "i2", 2 }, [11] = { "uint16", "I2", 2 }, [12] = { "int32", "i4", 4 }, [13] = { "uint32", "I4", 4 },
  [14] = { "int64", "i8", 8 }, [15] = { "uint64", "I8", 8 },
}

local Array <const> = { __name = "mat array" }
Array.__index = Array

--- How many elements it has.
function Array:numel()
  return #self.bytes // self.width
end

--- Its numbers in one list, row by row; logical ones are 0 and 1.
function Array:flat()
  local list <const>, format <const> = {}, "=" .. self.letter
  for k = 1, self:numel() do
    list[k] = string.unpack(format, self.bytes, (k - 1) * self.width + 1)
  end
  return list
end

-- Lists of lists of the values, of which the last index runs fastest.
local function nested(shape, values, d, at)
  local list <const> = {}
  for k = 1, shape[d] do
    if d == #shape then
      list[k], at = values[at], at + 1
    else
      list[k], at = nested(shape, values, d + 1, at)
    end
  end
  return list, at
end

--- Its numbers in nested lists: t[row][column].
function Array:totable()
  if self:numel() == 0 then
    return {}
  end
  return (nested(self.shape, self:flat(), 1, 1))
end

--- The same as a tensor: float32, of 8-bit and logical arrays uint8.
function Array:tensor()
  if self.letter == "I1" then
    return la.from_bytes(self.bytes, "uint8", self.shape)
  end
  local values <const>, pieces <const> = self:flat(), {}
  for k = 1, #values, 64 do
    local last <const> = math.min(k + 63, #values)
    pieces[#pieces + 1] = string.pack("=" .. ("f"):rep(last - k + 1), table.unpack(values, k, last))
  end
  return la.from_bytes(table.concat(pieces), "float32", self.shape)
end

function Array:__tostring()
  return string.format("mat %s (%s)", self.class, table.concat(self.shape, ", "))
end

--- Whether a value that read_mat gave is an Array.
function mat.is_array(value)
  return getmetatable(value) == Array
end

-- ---- the stream, see src/mat/mat.h ----

-- { text =, at = } is read from the front.

local take_value

local function take(self, format)
  local value
  value, self.at = string.unpack(format, self.text, self.at)
  return value
end

local function take_shape(self)
  local shape <const>, count = {}, 1
  for d = 1, take(self, "I1") do
    shape[d] = take(self, "=I8")
    count = count * shape[d]
  end
  return shape, count
end

local function take_elements(self, shape, count, class, logical)
  local bytes <const> = count * class[3]
  local array <const> = setmetatable({
    shape = shape, class = logical and "logical" or class[1], letter = class[2], width = class[3],
    bytes = self.text:sub(self.at, self.at + bytes - 1),
  }, Array)
  if #array.bytes ~= bytes then
    error("its numbers do not come to an end", 0)
  end
  self.at = self.at + bytes
  if count == 1 then
    local value <const> = array:flat()[1]
    return logical and value ~= 0 or not logical and value
  end
  return array
end

local function take_numbers(self)
  local class <const> = CLASSES[take(self, "I1")] or error("it has numbers of an unknown class", 0)
  local logical <const>, complex <const> = take(self, "I1") == 1, take(self, "I1") == 1
  local shape <const>, count <const> = take_shape(self)
  if not complex or count == 0 then
    return take_elements(self, shape, count, class, logical)
  end
  return { real = take_elements(self, shape, count, class), imag = take_elements(self, shape, count, class) }
end

local function take_strings(self)
  local rows <const>, list <const> = take(self, "=I8"), {}
  for k = 1, rows do
    list[k] = take(self, "=s8")
  end
  return rows == 1 and list[1] or list
end

-- Values in MATLAB's order, the first index fastest, as lists.
local function arranged(shape, values)
  local proper = 0
  for _, n in ipairs(shape) do
    proper = proper + (n ~= 1 and 1 or 0)
  end
  if proper <= 1 or #values == 0 then
    return values
  end
  local sorted <const>, at <const> = {}, {}
  for d = 1, #shape do
    at[d] = 0
  end
  for k = 1, #values do
    local from, stride = 1, 1
    for d, n in ipairs(shape) do
      from, stride = from + at[d] * stride, stride * n
    end
    sorted[k] = values[from]
    local d = #shape
    while d > 0 do
      at[d] = at[d] + 1
      if at[d] < shape[d] then
        break
      end
      at[d], d = 0, d - 1
    end
  end
  return (nested(shape, sorted, 1, 1))
end

local function take_cells(self)
  local shape <const>, count <const> = take_shape(self)
  local values <const> = {}
  for k = 1, count do
    values[k] = take_value(self)
  end
  return arranged(shape, values)
end

local function take_structs(self)
  local shape <const>, count <const> = take_shape(self)
  local names <const>, values <const> = {}, {}
  for f = 1, take(self, "=I8") do
    names[f] = take(self, "=s8")
  end
  for k = 1, count do
    values[k] = {}
    for _, name in ipairs(names) do
      values[k][name] = take_value(self)
    end
  end
  return count == 1 and values[1] or arranged(shape, values)
end

local READ <const> = {
  N = take_numbers, S = take_strings, C = take_cells, T = take_structs,
  U = function(self) return { unread = take(self, "=s8") } end,
}

function take_value(self)
  local tag <const> = take(self, "c1")
  return (READ[tag] or error("it was cut short", 0))(self)
end

-- All variables, and how many there were, unnamed ones too.
local function variables(text)
  local stream <const>, found, count = { text = text, at = 1 }, {}, 0
  if text:sub(-1) == "!" then
    local length <const> = string.unpack("=I4", text, #text - 4)
    error(text:sub(#text - 4 - length, #text - 5), 0)
  end
  while true do
    local tag <const> = take(stream, "c1")
    if tag == "." then
      return found, count
    elseif tag ~= "#" then
      error("it was cut short", 0)
    end
    local name <const> = take(stream, "=s8")
    local value <const> = take_value(stream)
    count = count + 1
    if name ~= "" then -- what classes of MATLAB's own keep has none
      found[name] = value
    end
  end
end

-- ---- the file ----

-- How many elements follow the header of a file of version 5, which must fill it; nil for version 7.3.
local function elements_of(path)
  local file <close> = assert(io.open(path, "rb"))
  local head <const>, size <const> = file:read(128) or "", file:seek "end"
  local order <const> = #head == 128 and ({ IM = "<", MI = ">" })[head:sub(127, 128)]
  local version <const> = order and string.unpack(order .. "I2", head, 125) or 0
  if version == 0x200 then
    return nil
  elseif version ~= 0x100 then
    error("it is no .mat file of version 5 or 7.3", 0)
  end
  local at, count = 128, 0
  while at < size do
    file:seek("set", at)
    local tag <const> = file:read(8) or ""
    if #tag < 8 then
      error(string.format("%d bytes follow its last element", size - at), 0)
    end
    local kind <const>, bytes <const> = string.unpack(order .. "I4 I4", tag)
    if kind ~= 14 and kind ~= 15 then
      error(string.format("there is no variable at byte %d", at + 1), 0)
    elseif at + 8 + bytes > size then
      error(string.format("the variable at byte %d should have %d bytes, %d are left", at + 1, bytes, size - at - 8), 0)
    end
    at, count = at + 8 + bytes, count + 1
  end
  return count
end

local function reader()
  local found <const>, module <const> = pcall(require, "lualign.mat")
  if not found then
    local absent <const> = tostring(module):find("module 'lualign.mat' not found", 1, true)
    error("read_mat: this lualign was built without libmatio (Debian's libmatio-dev): install it and build again"
      .. (absent and "" or "\n" .. tostring(module)), 0)
  end
  return module
end

--- The variables of a .mat file by name.
function mat.read(path)
  local module <const> = reader()
  if la.io.exists(path) ~= "file" then
    error(string.format("read_mat: %s: %s", path, la.io.exists(path) and "it is no file" or "there is no such file"), 0)
  end
  local good <const>, result <const> = pcall(function()
    local elements <const> = elements_of(path)
    local text <const>, why <const> = module.dump(path)
    local found <const>, count <const> = variables(text or error(why, 0))
    if elements and elements ~= count then
      error(string.format("libmatio can read %d of its %d variables", count, elements), 0)
    end
    return found
  end)
  if not good then
    error(string.format("read_mat: %s: %s", path, tostring(result)), 0)
  end
  return result
end

return mat
