-- SPDX-License-Identifier: MIT
--
-- Where pre-trained weights are: LUALIGN_WEIGHTS names a folder; else third_party/weights of the source tree, or, installed,
-- share/lualign/weights beside the Lua files.

local la <const> = require "lualign"

local weights <const> = {}

-- The folder of this very file, from which both layouts are found.
local function here()
  return (debug.getinfo(1, "S").source:match "^@(.*)/[^/]*$") or "."
end

local function folders()
  local list <const> = {}
  local own <const> = os.getenv "LUALIGN_WEIGHTS"
  if own and own ~= "" then
    list[1] = own
  end
  list[#list + 1] = here() .. "/../../../third_party/weights" -- lua/lualign/models
  list[#list + 1] = here() .. "/../../../../lualign/weights"  -- share/lua/5.4/lualign/models
  return list
end

--- The path of <name>.safetensors; an error names the places that were searched.
function weights.find(name)
  for _, folder in ipairs(folders()) do
    local path <const> = folder .. "/" .. name .. ".safetensors"
    if la.io.exists(path) then
      return path
    end
  end
  error(string.format("models: no weights %s.safetensors in %s; name a folder with LUALIGN_WEIGHTS, or the file itself", name,
    table.concat(folders(), ", ")), 0)
end

return weights
