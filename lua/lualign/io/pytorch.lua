-- SPDX-License-Identifier: MIT
--
-- Files that torch.save wrote, in both of its formats:
--
--   legacy   one after the other: pickles of a magic number, of 1001, of a dictionary about the machine, of what was
--            saved, of the list of its storages' keys; then each storage: its number of elements, 8 bytes, and they
--   zip      an archive without compression: <name>/data.pkl, and a storage in each <name>/data/<key>
--
-- Tensors in the pickle are calls of a function with a storage, an offset, sizes and strides. Nothing is executed: the
-- globals that are known stand below, and any other is refused. Python's objects that have no use here (the arguments
-- of a training script, numpy's arrays) become values that say only what they were.

local core <const> = require "lualign.core"
local pickle <const> = require "lualign.io.pickle"
local zip <const> = require "lualign.io.zip"

local pytorch <const> = {}

-- The pickle of 0x1950a86a20f9469cfc6c.
local MAGIC <const> = "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."
local MAX_DIMS <const>, MAX_ELEMENTS <const> = 8, 2 ^ 31 - 1

-- ---- what pickles of torch.save are made of ----

local Storage <const> = { __name = "storage" }
local Tensor <const> = { __name = "tensor of a file" }
local Opaque <const> = { __name = "opaque value" }
Opaque.__tostring = function(self) return "(" .. self.what .. ")" end

-- Classes of storages and the element types of safetensors, with their bytes.
local ELEMENTS <const> = {
  Double = { "F64", 8 }, Float = { "F32", 4 }, Half = { "F16", 2 }, BFloat16 = { "BF16", 2 }, Long = { "I64", 8 },
  Int = { "I32", 4 }, Short = { "I16", 2 }, Char = { "I8", 1 }, Byte = { "U8", 1 }, Bool = { "BOOL", 1 },
}

local GLOBALS <const> = {}

local function opaque(what)
  return function() return setmetatable({ what = what }, Opaque) end
end

local function whole(value)
  return math.type(value) == "integer" and value >= 0
end

-- A list of whole numbers, at most MAX_DIMS.
local function check_sizes(r, list, what)
  if type(list) ~= "table" or getmetatable(list) or pickle.order(list) or #list > MAX_DIMS then
    r:fail("the %s of a tensor must be at most %d whole numbers", what, MAX_DIMS)
  end
  for _, n in ipairs(list) do
    if not whole(n) then
      r:fail("the %s of a tensor must be whole numbers, at least 0, got %s", what, tostring(n))
    end
  end
end

local function rebuild_tensor(r, a)
  local storage <const>, offset <const>, size <const>, stride <const> = a[1], a[2], a[3], a[4]
  if getmetatable(storage) ~= Storage then
    r:fail "a tensor without a storage"
  elseif not whole(offset) then
    r:fail("a tensor's offset must be a whole number, at least 0, got %s", tostring(offset))
  end
  check_sizes(r, size, "sizes")
  check_sizes(r, stride, "strides")
  if #size ~= #stride then
    r:fail("a tensor has %d sizes and %d strides", #size, #stride)
  end
  return setmetatable({ storage = storage, offset = offset, size = size, stride = stride }, Tensor)
end

GLOBALS["torch._utils._rebuild_tensor"] = rebuild_tensor
GLOBALS["torch._utils._rebuild_tensor_v2"] = rebuild_tensor
GLOBALS["torch._utils._rebuild_parameter"] = function(r, a)
  if getmetatable(a[1]) ~= Tensor then
    r:fail "a parameter that is no tensor"
  end
  return a[1]
end
GLOBALS["collections.OrderedDict"] = function(r, a)
  local dict <const> = pickle.new_dict()
  for _, pair in ipairs(a[1] or {}) do
    if type(pair) ~= "table" then
      r:fail "a dictionary of what are no pairs"
    end
    r:set(dict, pair[1], pair[2])
  end
  return dict
end
GLOBALS["torch.Size"] = function(_, a) return a[1] or {} end
for name, what in pairs {
  ["argparse.Namespace"] = "arguments of a script", ["numpy.core.multiarray.scalar"] = "a number of numpy",
  ["numpy._core.multiarray.scalar"] = "a number of numpy", ["numpy.core.multiarray._reconstruct"] = "an array of numpy",
  ["numpy._core.multiarray._reconstruct"] = "an array of numpy", ["numpy.dtype"] = "a type of numpy",
  ["_codecs.encode"] = "bytes", ["torch.device"] = "a device",
  ["collections.defaultdict"] = "a dictionary with defaults",
} do
  GLOBALS[name] = opaque(what)
end
GLOBALS["numpy.ndarray"] = false
GLOBALS["__builtin__.dict"], GLOBALS["__builtin__.list"] = false, false
for class in pairs(ELEMENTS) do
  GLOBALS["torch." .. class .. "Storage"], GLOBALS["torch.cuda." .. class .. "Storage"] = false, false
end
for _, name in ipairs {
  "float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool", "strided",
} do
  GLOBALS["torch." .. name] = false
end

-- ("storage", class, key, location, elements[, view]) -> a storage; the same one for the same key. A view, in old
-- files: (its key, offset, elements), of the storage.
local function storages()
  local known <const> = {}
  return known, function(r, id)
    if type(id) ~= "table" or id[1] ~= "storage" then
      r:fail "a reference to what is no storage"
    end
    local class <const>, key <const>, count <const>, view <const> = id[2], id[3], id[5], id[6]
    local elements <const> = type(class) == "table" and class.name
      and ELEMENTS[class.name:match "^torch%.(%w+)Storage$" or class.name:match "^torch%.cuda%.(%w+)Storage$"]
    if not elements or type(key) ~= "string" or not whole(count) then
      r:fail "a storage of an unknown kind"
    end
    if not known[key] then
      known[key] = setmetatable({ key = key, count = count, type = elements[1], bytes = elements[2] }, Storage)
    elseif known[key].count ~= count or known[key].type ~= elements[1] then
      r:fail("the storage '%s' has two sizes or types", key)
    end
    if type(view) == "table" and view ~= pickle.none then
      if not whole(view[2]) or not whole(view[3]) or view[2] + view[3] > count then
        r:fail("a view of the storage '%s' does not fit in it", key)
      end
      return setmetatable({ base = known[key], first = view[2], count = view[3] }, Storage)
    end
    return known[key]
  end
end

-- ---- the two formats: each gives the value and sets `at`, the byte of the file, of every storage ----

local function read_pickle(path, bytes, at, persistent)
  return pickle.read(bytes, at, { globals = GLOBALS, persistent = persistent, where = path })
end

-- Storages' places after byte `at` of the file.
local function place_storages(path, file, size, at, keys, known)
  local seen <const> = {}
  for _, key in ipairs(keys) do
    local storage <const> = known[key]
    if not storage or seen[key] then
      error(string.format("%s: the storage '%s' %s", path, tostring(key), seen[key] and "comes twice"
        or "belongs to no tensor"), 0)
    end
    seen[key] = true
    file:seek("set", at)
    local head <const> = file:read(8) or ""
    local count <const> = #head == 8 and string.unpack("<i8", head)
    if count ~= storage.count then
      error(string.format("%s: the storage '%s' should have %d elements, the file says %s", path, key, storage.count,
        count and tostring(count) or "nothing"), 0)
    elseif storage.count > (size - at - 8) // storage.bytes then
      error(string.format("%s: ends within the storage '%s'", path, key), 0)
    end
    storage.at = at + 8
    at = at + 8 + storage.count * storage.bytes
  end
end

local function read_legacy(path, file, size)
  file:seek("set", 0)
  -- pickles are small, storages are not; those of large models have a few hundred kilobytes
  local bytes <const> = file:read(math.min(size, 1 << 26))
  local known <const>, persistent <const> = storages()
  local version <const>, after_version <const> = read_pickle(path, bytes, #MAGIC + 1)
  if version ~= 1001 then
    error(string.format("%s: is of version %s of torch.save's old format, 1001 is known", path, tostring(version)), 0)
  end
  local machine <const>, after_machine <const> = read_pickle(path, bytes, after_version)
  if type(machine) ~= "table" or machine.little_endian ~= true then
    error(string.format("%s: was not written by a little-endian machine", path), 0)
  end
  local value <const>, after <const> = read_pickle(path, bytes, after_machine, persistent)
  local keys <const>, data <const> = read_pickle(path, bytes, after)
  if type(keys) ~= "table" then
    error(string.format("%s: has no list of storages", path), 0)
  end
  place_storages(path, file, size, data - 1, keys, known)
  return value
end

local function read_zip(path, file, size)
  local entries <const> = zip.entries(path, file, size)
  local root
  for name in pairs(entries) do
    root = root or name:match "^(.*/)data%.pkl$"
  end
  if not root then
    error(string.format("%s: is an archive, but has no data.pkl as torch.save writes it", path), 0)
  end
  local order <const> = entries[root .. "byteorder"]
  if order and zip.text(path, file, order) ~= "little" then
    error(string.format("%s: was not written by a little-endian machine", path), 0)
  end
  local known <const>, persistent <const> = storages()
  local value <const> = read_pickle(path, zip.text(path, file, entries[root .. "data.pkl"]), 1, persistent)
  for key, storage in pairs(known) do
    local entry <const> = entries[root .. "data/" .. key]
    if not entry then
      error(string.format("%s: the storage '%s' is missing", path, key), 0)
    elseif entry.size ~= storage.count * storage.bytes then
      error(string.format("%s: the storage '%s' should have %d bytes, has %d", path, key,
        storage.count * storage.bytes, entry.size), 0)
    end
    storage.at = entry.at
  end
  return value
end

-- ---- tensors ----

-- The dimensions by falling stride, those of one element last: the order in which the elements lie.
local function memory_order(t)
  local order <const> = {}
  for d = 1, #t.size do
    order[d] = d
  end
  table.sort(order, function(a, b)
    if t.stride[a] ~= t.stride[b] then
      return t.stride[a] > t.stride[b]
    end
    return a < b
  end)
  return order
end

-- Dimensions of one element may have any stride: give them one that sorts well.
local function plain_strides(t)
  local stride, step = {}, 1
  for d = #t.size, 1, -1 do
    stride[d] = t.size[d] == 1 and math.huge or t.stride[d]
  end
  for d = 1, #t.size do
    step = math.max(step, t.size[d])
  end
  return { size = t.size, stride = stride }
end

-- The tensor of our own that t describes. Its elements must lie without gaps, in some order of the dimensions.
local function make(path, name, t)
  local count = 1
  for _, n in ipairs(t.size) do
    count = count * n
    if count > MAX_ELEMENTS then
      error(string.format("%s: tensor '%s' is too large: at most 2^31 - 1 elements are taken", path, name), 0)
    end
  end
  local storage <const> = t.storage.base or t.storage
  local first <const> = t.offset + (t.storage.first or 0)
  if t.offset + count > t.storage.count then
    error(string.format("%s: tensor '%s' reaches past the end of its storage (%d of %d elements)", path, name,
      t.offset + count, t.storage.count), 0)
  end
  local order <const> = memory_order(plain_strides(t))
  local expected, lying <const>, back <const> = 1, {}, {}
  for k = #order, 1, -1 do
    local d <const> = order[k]
    if t.size[d] ~= 1 and count > 0 and t.stride[d] ~= expected then
      error(string.format("%s: tensor '%s' has sizes %s with strides %s, which leave gaps or overlap", path, name,
        table.concat(t.size, " x "), table.concat(t.stride, ", ")), 0)
    end
    expected = expected * t.size[d]
    lying[k], back[d] = t.size[d], k
  end
  local made <const> = core.io.elements(path, storage.at + first * storage.bytes, storage.type, lying)
  return #lying > 1 and made:permute(back):contiguous() or made
end

-- name -> description, and the names in order, of the tensors in a dictionary, those of dictionaries in it as a.b.
local function collect(value, prefix, found, names, depth)
  for _, key in ipairs(pickle.order(value)) do
    local item <const>, name <const> = value[key], prefix .. tostring(key)
    if getmetatable(item) == Tensor then
      found[name] = item
      names[#names + 1] = name
    elseif depth < 4 and type(item) == "table" and pickle.order(item) then
      collect(item, name .. ".", found, names, depth + 1)
    end
  end
end

-- The dictionary of tensors in what was saved: it, or the one that it holds under a usual name.
local function state_of(path, value)
  if type(value) ~= "table" or not pickle.order(value) then
    error(string.format("%s: holds no dictionary, but a %s", path, type(value) == "table"
      and (getmetatable(value) or {}).__name or type(value)), 0)
  end
  for _, key in ipairs { "state_dict", "model_state_dict", "model" } do
    if type(value[key]) == "table" and pickle.order(value[key]) then
      return value[key], value
    end
  end
  return value, value
end

local READERS <const> = { { MAGIC, read_legacy }, { "PK\3\4", read_zip } }

--- Whether a file begins as torch.save's do.
function pytorch.is(path)
  local file <close> = io.open(path, "rb")
  local head <const> = file and file:read(#MAGIC) or ""
  return head:sub(1, #MAGIC) == MAGIC or head:sub(1, 4) == "PK\3\4"
end

--- The tensors of a file: those of its "state_dict" if it has one, name -> tensor, in PyTorch's layouts; their names in
-- order; and all that was saved, in which tensors are descriptions and other objects opaque.
function pytorch.load(path)
  local file <close>, why <const> = io.open(path, "rb")
  if not file then
    error(why, 0)
  end
  local head <const> = file:read(#MAGIC) or ""
  local size <const> = file:seek "end"
  local value
  for _, entry in ipairs(READERS) do
    if head:sub(1, #entry[1]) == entry[1] then
      value = entry[2](path, file, size)
    end
  end
  if value == nil then
    error(string.format("%s: is no file of torch.save: it begins with %s", path,
      #head > 0 and head:gsub(".", function(c) return string.format("%02x ", c:byte()) end) or "nothing"), 0)
  end
  local state <const>, outer <const> = state_of(path, value)
  local found <const>, names <const> = {}, {}
  collect(state, "", found, names, 1)
  if #names == 0 then
    error(string.format("%s: holds no tensors", path), 0)
  end
  for _, name in ipairs(names) do
    found[name] = make(path, name, found[name])
  end
  return found, names, outer
end

return pytorch
