-- SPDX-License-Identifier: MIT
--
-- tmp.lua -- temporary folders and small files for tests.
--
--   local dir = tmp.dir()            -- a fresh folder
--   tmp.write(dir .. "/a.txt", "text")   tmp.read(path)   tmp.exists(path)   tmp.list(dir)
--   tmp.remove(dir)                  -- with all it holds; only below the folder for temporary files

local lfs <const> = require "lfs"

local tmp <const> = {}

local base <const> = os.getenv("TMPDIR") or "/tmp"

function tmp.dir()
  for _ = 1, 100 do
    local path <const> = string.format("%s/lualign-test-%08x", base, math.random(0, 0xffffffff))
    if lfs.mkdir(path) then
      return path
    end
  end
  error("tmp.dir: cannot make a folder in " .. base)
end

function tmp.write(path, text)
  local file <close> = assert(io.open(path, "wb"))
  assert(file:write(text))
end

function tmp.read(path)
  local file <close> = assert(io.open(path, "rb"))
  return file:read("a")
end

function tmp.exists(path)
  return lfs.attributes(path, "mode") ~= nil
end

--- Names in a folder, sorted.
function tmp.list(path)
  local names <const> = {}
  for name in lfs.dir(path) do
    if name ~= "." and name ~= ".." then
      names[#names + 1] = name
    end
  end
  table.sort(names)
  return names
end

function tmp.remove(path)
  assert(path:sub(1, #base + 14) == base .. "/lualign-test-", "tmp.remove: not a temporary folder: " .. path)
  if lfs.symlinkattributes(path, "mode") == "directory" then
    for _, name in ipairs(tmp.list(path)) do
      tmp.remove(path .. "/" .. name)
    end
    lfs.rmdir(path)
  else
    os.remove(path)
  end
end

return tmp
