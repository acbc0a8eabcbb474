-- SPDX-License-Identifier: MIT
--
-- Where files of pre-trained weights are, and how they become state of our modules.

local la <const> = require "lualign"
local trunks <const> = require "lualign.models.trunks"

local weights <const> = {}


local function exists(path)
  local file <close> = io.open(path, "rb")
  return file ~= nil
end

-- The packaged folder: third_party/weights of the source tree that this file is in, or, installed as
-- <prefix>/share/lua/5.4/lualign/models/weights.lua, <prefix>/share/lualign/weights.
local function packaged()
  local here <const> = debug.getinfo(1, "S").source:match "^@(.*)/lualign/models/[^/]*$"
  if not here then
    return {}
  end
  return { here .. "/../third_party/weights", here .. "/../../lualign/weights" }
end

local function folders()
  local list <const> = {}
  for folder in (os.getenv "LUALIGN_WEIGHTS" or ""):gmatch "[^:]+" do
    list[#list + 1] = folder
  end
  for _, folder in ipairs(packaged()) do
    list[#list + 1] = folder
  end
  return list
end

--- The path of a weights file: `name` itself if it is a path, else the file of that name, or of the trunk of that name,
-- in the folders of LUALIGN_WEIGHTS (joined by ':') or among those that come with lualign. An error if there is none.
function weights.find(name)
  if name:find "/" or name:find "%.safetensors$" and exists(name) then
    if not exists(name) then
      error(string.format("find_weights: there is no file '%s'", name), 0)
    end
    return name
  end
  local file <const> = trunks.known[name] and trunks.known[name].file
    or name:find "%.safetensors$" and name or name .. ".safetensors"
  for _, folder in ipairs(folders()) do
    if exists(folder .. "/" .. file) then
      return folder .. "/" .. file
    end
  end
  error(string.format("find_weights: '%s' is not in %s; set LUALIGN_WEIGHTS to its folder, or give weights = path "
    .. "(or false, for random ones)%s", file, table.concat(folders(), " or "),
    trunks.known[name] and trunks.known[name].paper and "; lualign fetch " .. name .. " downloads some" or ""), 0)
end

--- PyTorch's layout to ours: weights of convolutions from (O, I, H, W) to (O, H, W, I). dict, result: name -> tensor.
function weights.from_pytorch(dict)
  local out <const> = {}
  for name, t in pairs(dict) do
    out[name] = t:dim() == 4 and t:permute({ 1, 3, 4, 2 }):contiguous() or t
  end
  return out
end

--- Our layout to PyTorch's: weights of convolutions from (O, H, W, I) to (O, I, H, W). dict, result: name -> tensor.
function weights.to_pytorch(dict)
  local out <const> = {}
  for name, t in pairs(dict) do
    out[name] = t:dim() == 4 and t:permute({ 1, 4, 2, 3 }):contiguous() or t
  end
  return out
end

--- The tensors of a file as it has them: a safetensors file, or one of torch.save (lualign/io/pytorch.lua). Returns
-- name -> tensor, the names in the file's order, and the metadata; metadata.format is "lualign" where layouts are ours.
function weights.load(path)
  if require("lualign.io.pytorch").is(path) then
    local dict <const>, names <const> = la.io.load_pytorch(path)
    return dict, names, { format = "torch.save" }
  end
  local dict <const>, metadata <const>, names <const> = la.io.load_safetensors(path)
  return dict, names, metadata
end

--- The tensors of a file, name -> tensor, in our layout: files that do not say in their metadata that they are
-- lualign's have PyTorch's.
function weights.read(path)
  local dict <const>, _, metadata <const> = weights.load(path)
  return metadata.format == "lualign" and dict or weights.from_pytorch(dict)
end

--- Fills a trunk with the weights that `given` names: a path or name, nil or true for the trunk's own file, false for
-- none. prepare(path) reads it, in our names and layouts. Names that the trunk has no use for are ignored.
function weights.fill(trunk, given, prepare)
  if given == false then
    return
  end
  local path <const> = weights.find(type(given) == "string" and given or trunk.kind)
  la.scope(la.no_grad, function()
    local ok <const>, missing <const> = pcall(trunk.load_state_dict, trunk, prepare(path), { strict = false })
    if not ok then
      error(string.format("%s: '%s' does not fit: %s", trunk.kind, path,
        (tostring(missing):gsub("^.*load_state_dict: [^:]*: ", ""))), 0)
    elseif #missing > 0 then
      error(string.format("%s: '%s' lacks %s%s", trunk.kind, path, missing[1],
        #missing > 1 and string.format(" and %d more", #missing - 1) or ""), 0)
    end
  end)
  trunk.weights_path = path
end

return weights
