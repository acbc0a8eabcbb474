-- SPDX-License-Identifier: MIT
--
-- The directory of a zip archive whose files are stored without compression, as torch.save writes them: where each
-- file's bytes are, so that they can be read in place. (Libraries that unpack give no such offsets.)

local zip <const> = {}

local END <const>, END64 <const>, LOCATOR64 <const> = "PK\5\6", "PK\6\6", "PK\6\7"
local TAIL <const> = 22 + 65535 -- the end record and its longest comment

local function fail(path, text, ...)
  error(string.format("%s: broken archive: %s", path, string.format(text, ...)), 0)
end

local function bytes_at(path, file, at, n)
  file:seek("set", at)
  local bytes <const> = n == 0 and "" or file:read(n) or ""
  if #bytes ~= n then
    fail(path, "%d bytes at %d are missing", n - #bytes, at)
  end
  return bytes
end

-- Number of entries, size and place of the directory.
local function find_directory(path, file, size)
  local length <const> = math.min(size, TAIL)
  local tail <const> = bytes_at(path, file, size - length, length)
  local at
  for k = length - 21, 1, -1 do
    if tail:sub(k, k + 3) == END then
      at = k
      break
    end
  end
  if not at then
    fail(path, "no directory at its end")
  end
  local count, directory, offset = string.unpack("<I2 I4 I4", tail, at + 10)
  if (count == 0xffff or directory == 0xffffffff or offset == 0xffffffff) and at > 20
    and tail:sub(at - 20, at - 17) == LOCATOR64 then
    local place <const> = string.unpack("<i8", tail, at - 12)
    if place < 0 or place > size - 56 then
      fail(path, "its end record is at %d", place)
    end
    local record <const> = bytes_at(path, file, place, 56)
    if record:sub(1, 4) ~= END64 then
      fail(path, "its end record is none")
    end
    count, directory, offset = string.unpack("<i8 i8 i8", record, 33)
  end
  if count < 0 or directory < 0 or offset < 0 or directory > size or offset > size - directory then
    fail(path, "its directory does not fit")
  end
  return count, directory, offset
end

-- Sizes and offset past 32 bits are in the extra field 1, in this order, those that are needed.
local function wide(path, extra, packed, unpacked, offset)
  local at = 1
  while at + 4 <= #extra do
    local kind <const>, length <const> = string.unpack("<I2 I2", extra, at)
    if kind == 1 and at + 3 + length <= #extra then
      local field <const> = extra:sub(at + 4, at + 3 + length)
      local from = 1
      local function next_number(value)
        if value ~= 0xffffffff then
          return value
        elseif from + 7 > #field then
          fail(path, "an entry lacks its size")
        end
        from = from + 8
        return (string.unpack("<i8", field, from - 8))
      end
      return next_number(unpacked), next_number(packed), next_number(offset)
    end
    at = at + 4 + length
  end
  return unpacked, packed, offset
end

-- Where the bytes of an entry begin: behind its own header.
local function start_of(path, file, size, name, offset, length)
  if offset < 0 or offset > size - 30 then
    fail(path, "'%s' is past its end", name)
  end
  local header <const> = bytes_at(path, file, offset, 30)
  if header:sub(1, 4) ~= "PK\3\4" then
    fail(path, "'%s' has no header", name)
  end
  local name_length <const>, extra_length <const> = string.unpack("<I2 I2", header, 27)
  local at <const> = offset + 30 + name_length + extra_length
  if length < 0 or at > size or length > size - at then
    fail(path, "'%s' is cut off", name)
  end
  return at
end

local function check_overlap(path, entries)
  local list <const> = {}
  for name, entry in pairs(entries) do
    if entry.size > 0 then
      list[#list + 1] = { name, entry }
    end
  end
  table.sort(list, function(a, b) return a[2].at < b[2].at end)
  for k = 2, #list do
    local before <const>, entry <const> = list[k - 1], list[k]
    if entry[2].at < before[2].at + before[2].size then
      fail(path, "'%s' and '%s' overlap", before[1], entry[1])
    end
  end
end

--- name -> { at = byte of the file, size = bytes } of all files in an archive.
function zip.entries(path, file, size)
  local count <const>, length <const>, offset <const> = find_directory(path, file, size)
  local directory <const> = bytes_at(path, file, offset, length)
  local entries <const> = {}
  local at = 1
  for _ = 1, count do
    if at + 45 > #directory or directory:sub(at, at + 3) ~= "PK\1\2" then
      fail(path, "its directory ends too early")
    end
    local flags <const>, method <const> = string.unpack("<I2 I2", directory, at + 8)
    local packed <const>, unpacked <const>, n <const>, e <const>, c <const> = string.unpack("<I4 I4 I2 I2 I2",
      directory, at + 20)
    local header <const> = string.unpack("<I4", directory, at + 42)
    local name <const> = directory:sub(at + 46, at + 45 + n)
    local real_size <const>, real_packed <const>, real_header <const> = wide(path,
      directory:sub(at + 46 + n, at + 45 + n + e), packed, unpacked, header)
    if method ~= 0 or flags & 1 ~= 0 or real_packed ~= real_size then
      fail(path, "'%s' is compressed or encrypted, which torch.save does not do", name)
    elseif entries[name] then
      fail(path, "'%s' is in it twice", name)
    end
    entries[name] = { at = start_of(path, file, size, name, real_header, real_size), size = real_size }
    at = at + 46 + n + e + c
  end
  check_overlap(path, entries)
  return entries
end

--- The bytes of an entry.
function zip.text(path, file, entry)
  return bytes_at(path, file, entry.at, entry.size)
end

return zip
