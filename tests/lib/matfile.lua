-- SPDX-License-Identifier: MIT
--
-- matfile.lua -- MATLAB 5 files by hand, for tests.
--
--   matfile.write(path, { { "kps", matfile.numbers({ { 1, 2 }, { 3, 4 } }) } }, { compress = true })
--
-- numbers(rows, class) of a matrix given as rows, or numbers({ shape =, data = }) with data in MATLAB's order; text,
-- cell(rows), struct(fields): nested as they like. order: "<" or ">".

local matfile <const> = {}

local CLASS <const> = {
  double = { 6, 9, "d" }, single = { 7, 7, "f" }, int8 = { 8, 1, "i1" }, uint8 = { 9, 2, "I1" },
  int16 = { 10, 3, "i2" }, uint16 = { 11, 4, "I2" }, int32 = { 12, 5, "i4" }, uint32 = { 13, 6, "I4" },
  int64 = { 14, 12, "i8" },
}

-- A data element: tag, bytes, padding to 8.
local function element(order, kind, bytes)
  return string.pack(order .. "I4 I4", kind, #bytes) .. bytes .. ("\0"):rep(-#bytes % 8)
end

-- A matrix: flags, shape, name, then what it holds.
local function matrix(order, class, flags, shape, name, body)
  local sizes <const> = {}
  for d, n in ipairs(shape) do
    sizes[d] = string.pack(order .. "i4", n)
  end
  return element(order, 14, element(order, 6, string.pack(order .. "I4 I4", class | flags, 0))
    .. element(order, 5, table.concat(sizes)) .. element(order, 1, name) .. body)
end

-- rows -> shape and the values in MATLAB's order.
local function by_columns(rows)
  local values <const>, width <const> = {}, rows[1] and #rows[1] or 0
  for c = 1, width do
    for _, row in ipairs(rows) do
      values[#values + 1] = row[c]
    end
  end
  return { #rows, width }, values
end

--- class: "double" and so on, or "logical".
function matfile.numbers(given, class)
  local shape, values = given.shape, given.data
  if not shape then
    shape, values = by_columns(given)
  end
  local kind <const> = CLASS[class == "logical" and "uint8" or class or "double"]
  return function(order, name)
    local parts <const> = {}
    for k, v in ipairs(values) do
      parts[k] = string.pack(order .. kind[3], v)
    end
    return matrix(order, kind[1], class == "logical" and 0x200 or 0, shape, name,
      element(order, kind[2], table.concat(parts)))
  end
end

function matfile.text(text)
  return function(order, name)
    local units <const> = {}
    for k = 1, #text do
      units[k] = string.pack(order .. "I2", text:byte(k))
    end
    return matrix(order, 4, 0, { #text > 0 and 1 or 0, #text }, name, element(order, 4, table.concat(units)))
  end
end

function matfile.cell(rows)
  local shape <const>, values <const> = by_columns(rows)
  return function(order, name)
    local parts <const> = {}
    for k, v in ipairs(values) do
      parts[k] = v(order, "")
    end
    return matrix(order, 1, 0, shape, name, table.concat(parts))
  end
end

--- fields: { { name, value }, ... }, or { shape =, names =, data = } of an array of them, values in MATLAB's order.
function matfile.struct(fields)
  local shape <const>, names <const>, values <const> = fields.shape or { 1, 1 }, fields.names or {}, fields.data or {}
  for k, field in ipairs(fields) do
    names[k], values[k] = field[1], field[2]
  end
  return function(order, name)
    local heads <const>, parts <const> = {}, {}
    for k, field in ipairs(names) do
      heads[k] = field .. ("\0"):rep(32 - #field)
    end
    for k, v in ipairs(values) do
      parts[k] = v(order, "")
    end
    return matrix(order, 2, 0, shape, name, string.pack(order .. "I4 i4", 4 << 16 | 5, 32)
      .. element(order, 1, table.concat(heads)) .. table.concat(parts))
  end
end

-- A zlib stream of stored blocks.
local function stored(bytes)
  local parts <const>, a, b = { "\x78\x01" }, 1, 0
  for from = 1, #bytes, 65535 do
    local piece <const> = bytes:sub(from, from + 65534)
    parts[#parts + 1] = string.pack("<B I2 I2", from + 65535 > #bytes and 1 or 0, #piece, ~#piece & 0xffff) .. piece
  end
  for k = 1, #bytes do
    a = (a + bytes:byte(k)) % 65521
    b = (b + a) % 65521
  end
  return table.concat(parts) .. string.pack(">I4", b << 16 | a)
end

--- The bytes of a file with these variables: { { name, value }, ... }.
function matfile.bytes(variables, opts)
  local order <const> = opts and opts.order or "<"
  local parts <const> = { "MATLAB 5.0 MAT-file, by hand" .. (" "):rep(88) .. ("\0"):rep(8)
    .. string.pack(order .. "I2 I2", 0x100, 0x4d49) }
  for k, v in ipairs(variables) do
    local bytes <const> = v[2](order, v[1])
    if opts and opts.compress then
      local packed <const> = stored(bytes)
      parts[k + 1] = string.pack(order .. "I4 I4", 15, #packed) .. packed
    else
      parts[k + 1] = bytes
    end
  end
  return table.concat(parts)
end

function matfile.write(path, variables, opts)
  local file <close> = assert(io.open(path, "wb"))
  assert(file:write(matfile.bytes(variables, opts)))
end

return matfile
