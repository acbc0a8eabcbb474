-- SPDX-License-Identifier: MIT
--
-- archives.lua -- zip and tar files made here, well formed or not what one would unpack.
--
--   archives.tar { { name = "a/b.txt", data = "text" }, { name = "l", link = "../x" }, { name = "h", hard = "a/b" } }
--   archives.zip { { name = "a/b.txt", data = "text" } }         -- stored, not compressed; link = as above

local archives <const> = {}

local function octal(value, digits)
  return string.format("%0" .. digits .. "o\0", value)
end

local function tar_entry(entry)
  local data <const> = entry.data or ""
  local kind <const> = entry.link and "2" or entry.hard and "1" or entry.name:find "/$" and "5" or entry.kind or "0"
  local target <const> = entry.link or entry.hard or ""
  local function header(sum)
    local text <const> = entry.name .. ("\0"):rep(100 - #entry.name) .. octal(entry.mode or 420, 7) .. octal(0, 7)
      .. octal(0, 7) .. octal(#data, 11) .. octal(0, 11) .. sum .. kind .. target .. ("\0"):rep(100 - #target)
      .. "ustar\00000"
    return text .. ("\0"):rep(512 - #text)
  end
  local sum = 0
  for _, byte in ipairs { header((" "):rep(8)):byte(1, 512) } do
    sum = sum + byte
  end
  return header(octal(sum, 6) .. " ") .. data .. ("\0"):rep(-#data % 512)
end

--- The bytes of a tar archive.
function archives.tar(entries)
  local parts <const> = {}
  for k, entry in ipairs(entries) do
    parts[k] = tar_entry(entry)
  end
  return table.concat(parts) .. ("\0"):rep(1024)
end

local function crc32(text)
  local crc = 0xffffffff
  for k = 1, #text do
    crc = crc ~ text:byte(k)
    for _ = 1, 8 do
      crc = crc & 1 == 1 and crc >> 1 ~ 0xedb88320 or crc >> 1
    end
  end
  return crc ~ 0xffffffff
end

--- The bytes of a zip archive.
function archives.zip(entries)
  local files <const>, directory <const> = {}, {}
  local at = 0
  for k, entry in ipairs(entries) do
    local data <const> = entry.link or entry.data or ""
    local mode <const> = (entry.link and 0xa1ff or entry.name:find "/$" and 0x41ed or 0x81a4) << 16
    local common <const> = string.pack("<I2 I2 I2 I2 I4 I4 I4 I2 I2", 0, 0, 0, 0x21, crc32(data), #data, #data,
      #entry.name, 0)
    files[k] = "PK\3\4" .. string.pack("<I2", 20) .. common .. entry.name .. data
    directory[k] = "PK\1\2" .. string.pack("<I2 I2", 0x0314, 20) .. common
      .. string.pack("<I2 I2 I2 I4 I4", 0, 0, 0, mode, at) .. entry.name
    at = at + #files[k]
  end
  local list <const> = table.concat(directory)
  return table.concat(files) .. list .. "PK\5\6" .. string.pack("<I2 I2 I2 I2 I4 I4 I2", 0, 0, #entries, #entries,
    #list, at, 0)
end

return archives
