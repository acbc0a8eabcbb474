-- SPDX-License-Identifier: MIT
--
-- torchfile.lua -- writes files as torch.save does, for tests of their reader, and pickles opcode by opcode.

local torchfile <const> = {}

-- ---- pickles ----

local P <const> = {}
torchfile.pickle = P

function P.text(s)
  return "X" .. string.pack("<I4", #s) .. s
end

function P.int(n)
  if n >= 0 and n < 256 then
    return "K" .. string.pack("<I1", n)
  elseif n >= -2 ^ 31 and n < 2 ^ 31 then
    return "J" .. string.pack("<i4", n)
  end
  return "\x8a\x08" .. string.pack("<i8", n)
end

function P.tuple(...)
  return "(" .. table.concat({ ... }) .. "t"
end

function P.ints(list)
  local parts <const> = {}
  for k, n in ipairs(list) do
    parts[k] = P.int(n)
  end
  return P.tuple(table.unpack(parts))
end

function P.global(module, name)
  return "c" .. module .. "\n" .. name .. "\n"
end

function P.call(module, name, arguments)
  return P.global(module, name) .. arguments .. "R"
end

--- { { key, pickled value }, ... }
function P.dict(pairs_of)
  local parts <const> = { "}(" }
  for _, pair in ipairs(pairs_of) do
    parts[#parts + 1] = P.text(pair[1]) .. pair[2]
  end
  parts[#parts + 1] = "u"
  return table.concat(parts)
end

function P.list(...)
  return "](" .. table.concat({ ... }) .. "e"
end

--- A whole pickle of protocol 2.
function P.whole(body)
  return "\x80\x02" .. body .. "."
end

-- ---- tensors ----

--- A persistent id of a storage.
function P.storage(s)
  return P.tuple(P.text "storage", P.global("torch", (s.class or "Float") .. "Storage"), P.text(s.key),
    P.text "cpu", P.int(s.count), s.view or "N") .. "Q"
end

--- A tensor: { storage = { key, count, class }, offset, size, stride }.
function P.tensor(t)
  return P.call("torch._utils", "_rebuild_tensor_v2",
    P.tuple(P.storage(t.storage), P.int(t.offset or 0), P.ints(t.size), P.ints(t.stride), "\x89", "}"))
end

--- Row-major strides of a size.
function torchfile.strides(size)
  local stride <const>, step = {}, 1
  for d = #size, 1, -1 do
    stride[d] = step
    step = step * size[d]
  end
  return stride
end

-- ---- files ----

local MAGIC <const> = "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."

--- The old format. value: a pickled value; storages: { { key, bytes, count }, ... }.
function torchfile.legacy(value, storages)
  local keys <const>, data <const> = {}, {}
  for k, s in ipairs(storages) do
    keys[k] = P.text(s.key)
    data[k] = string.pack("<i8", s.count) .. s.bytes
  end
  return MAGIC .. P.whole(P.int(1001)) .. P.whole(P.dict { { "little_endian", "\x88" } }) .. P.whole(value)
    .. P.whole(P.list(table.unpack(keys))) .. table.concat(data)
end

--- A zip archive of stored files: { { name, bytes }, ... }. change(record, name): alters an entry of the directory.
function torchfile.archive(files, change)
  local body <const>, directory <const> = {}, {}
  local at = 0
  for _, file in ipairs(files) do
    local name <const>, bytes <const> = file[1], file[2]
    local header <const> = "PK\3\4" .. string.pack("<I2 I2 I2 I2 I2 I4 I4 I4 I2 I2", 20, 0, 0, 0, 0, 0, #bytes, #bytes,
      #name, 0) .. name
    local record <const> = { method = 0, flags = 0, packed = #bytes, size = #bytes, at = at, name = name }
    if change then
      change(record, name)
    end
    directory[#directory + 1] = "PK\1\2" .. string.pack("<I2 I2 I2 I2 I2 I2 I4 I4 I4 I2 I2 I2 I2 I2 I4 I4", 20, 20,
      record.flags, record.method, 0, 0, 0, record.packed, record.size, #record.name, 0, 0, 0, 0, 0, record.at)
      .. record.name
    body[#body + 1] = header .. bytes
    at = at + #header + #bytes
  end
  local index <const> = table.concat(directory)
  return table.concat(body) .. index .. "PK\5\6" .. string.pack("<I2 I2 I2 I2 I4 I4 I2", 0, 0, #files, #files, #index,
    at, 0)
end

--- The zip format.
function torchfile.zip(value, storages, change)
  local files <const> = { { "archive/data.pkl", P.whole(value) }, { "archive/byteorder", "little" } }
  for _, s in ipairs(storages) do
    files[#files + 1] = { "archive/data/" .. s.key, s.bytes }
  end
  return torchfile.archive(files, change)
end

-- The bytes of float32 numbers: a list, or one that all n are.
local function floats(numbers, n)
  if type(numbers) == "number" then
    return string.pack("<f", numbers):rep(n)
  end
  local bytes <const> = {}
  for i, x in ipairs(numbers) do
    bytes[i] = string.pack("<f", x)
  end
  return table.concat(bytes)
end

--- A state of float32 tensors, { { name, size, numbers }, ... }, numbers a list or one for all: the pickled dictionary
-- and its storages.
function torchfile.state(list)
  local entries <const>, storages <const> = {}, {}
  for k, item in ipairs(list) do
    local name <const>, size <const>, count = item[1], item[2], 1
    for _, n in ipairs(size) do
      count = count * n
    end
    storages[k] = { key = tostring(k - 1), count = count, bytes = floats(item[3], count) }
    entries[k] = { name, P.tensor { storage = storages[k], size = size, stride = torchfile.strides(size) } }
  end
  return P.call("collections", "OrderedDict", ")") .. P.dict(entries):sub(2), storages
end

-- ---- the authors' models ----

local function add_norm(list, prefix, n)
  for k, name in ipairs { "weight", "bias", "running_mean", "running_var" } do
    list[#list + 1] = { prefix .. name, { n }, 0.5 + k / 8 }
  end
end

--- The state of a regressor under `prefix`, as torchfile.state takes it; every tensor holds one number.
function torchfile.regressor(list, prefix, outputs)
  for _, layer in ipairs { { 0, 128, 225, 7 }, { 3, 64, 128, 5 } } do
    local index <const>, o <const>, i <const>, k <const> = table.unpack(layer)
    list[#list + 1] = { prefix .. "conv." .. index .. ".weight", { o, i, k, k }, 0.001 * (index + 1) }
    list[#list + 1] = { prefix .. "conv." .. index .. ".bias", { o }, 0.01 * (index + 1) }
    add_norm(list, string.format("%sconv.%d.", prefix, index + 1), o)
  end
  list[#list + 1] = { prefix .. "linear.weight", { outputs, 1600 }, 0.002 }
  list[#list + 1] = { prefix .. "linear.bias", { outputs }, 0.003 }
  return list
end

--- The state of VGG-16 to its fourth pool.
function torchfile.vgg16(list, prefix)
  local inputs = 3
  for k, index in ipairs { 0, 2, 5, 7, 10, 12, 14, 17, 19, 21 } do
    local outputs <const> = ({ 64, 64, 128, 128, 256, 256, 256, 512, 512, 512 })[k]
    list[#list + 1] = { prefix .. index .. ".weight", { outputs, inputs, 3, 3 }, 0.001 * k }
    list[#list + 1] = { prefix .. index .. ".bias", { outputs }, 0.01 * k }
    inputs = outputs
  end
  return list
end

--- The state of ResNet-101 to layer3: 470 tensors.
function torchfile.resnet101(list, prefix)
  local function conv(name, o, i, k)
    list[#list + 1] = { prefix .. name .. ".weight", { o, i, k, k }, 0.001 * (#list % 7 + 1) }
  end
  conv("0", 64, 3, 7)
  add_norm(list, prefix .. "1.", 64)
  local inputs = 64
  for layer, blocks in ipairs { 3, 4, 23 } do
    local planes <const> = 32 << layer
    for b = 0, blocks - 1 do
      local name <const> = string.format("%d.%d.", layer + 3, b)
      conv(name .. "conv1", planes, inputs, 1)
      add_norm(list, prefix .. name .. "bn1.", planes)
      conv(name .. "conv2", planes, planes, 3)
      add_norm(list, prefix .. name .. "bn2.", planes)
      conv(name .. "conv3", planes * 4, planes, 1)
      add_norm(list, prefix .. name .. "bn3.", planes * 4)
      if b == 0 then
        conv(name .. "downsample.0", planes * 4, inputs, 1)
        add_norm(list, prefix .. name .. "downsample.1.", planes * 4)
      end
      inputs = planes * 4
    end
  end
  return list
end

return torchfile
