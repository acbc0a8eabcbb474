-- SPDX-License-Identifier: MIT
--
-- Walking folders of pictures, always in the order of their names.

local folders <const> = {}

local PICTURE <const> = { jpg = true, jpeg = true, png = true, bmp = true, tga = true }

--- Names of all that is in a folder, sorted.
function folders.names(folder)
  local names <const> = {}
  for name in require("lfs").dir(folder) do
    if name ~= "." and name ~= ".." then
      names[#names + 1] = name
    end
  end
  table.sort(names)
  return names
end

--- Paths of what is in a folder, sorted: two lists, pictures and sub-folders. Hidden entries and other files are left
-- out.
function folders.entries(folder)
  local pictures <const>, below <const> = {}, {}
  for _, name in ipairs(folders.names(folder)) do
    local path <const> = folder .. "/" .. name
    local shown <const> = name:sub(1, 1) ~= "."
    if shown and folders.is_folder(path) then
      below[#below + 1] = path
    elseif shown and PICTURE[(name:match "%.(%w+)$" or ""):lower()] then
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
