-- SPDX-License-Identifier: MIT
--
-- Walking folders of pictures, always in the order of their names.

local folders <const> = {}

local PICTURE <const> = { jpg = true, jpeg = true, png = true, bmp = true, tga = true }

local function by_name(lfs, folder)
  local names <const> = {}
  for name in lfs.dir(folder) do
    if name:sub(1, 1) ~= "." then
      names[#names + 1] = name
    end
  end
  table.sort(names)
  return names
end

--- Paths of what is in a folder, sorted: two lists, pictures and sub-folders. Hidden entries and other files are left
-- out.
function folders.entries(folder)
  local lfs <const> = require "lfs"
  local pictures <const>, below <const> = {}, {}
  for _, name in ipairs(by_name(lfs, folder)) do
    local path <const> = folder .. "/" .. name
    if lfs.attributes(path, "mode") == "directory" then
      below[#below + 1] = path
    elseif PICTURE[(name:match "%.(%w+)$" or ""):lower()] then
      pictures[#pictures + 1] = path
    end
  end
  return pictures, below
end

--- Whether path is a folder.
function folders.is_folder(path)
  return require("lfs").attributes(path, "mode") == "directory"
end

return folders
