-- SPDX-License-Identifier: MIT
--
-- Models in files: safetensors with all parameters and buffers by name, and metadata that say how the model is built:
--
--   format   "lualign"           layouts are ours
--   kind     "model", or "training" (lualign.train, with the optimiser's state as optimizer.*)
--   config   JSON: kind = "weakalign" or "features", and what its constructor needs
--   trunks   JSON, where trunks were left out: { { kind =, file =, hash = }, ... }
--
-- Reading executes nothing.

local la <const> = require "lualign"
local authors <const> = require "lualign.models.weakalign_names"
local options <const> = require "lualign.util.options"
local weights <const> = require "lualign.models.weights"

local checkpoint <const> = {}

-- ---- trunks that are referred to ----

-- A hash of a file's bytes (FNV-1a over words of eight).
local function hash_of(path)
  local file <close> = assert(io.open(path, "rb"))
  local hash = 0xcbf29ce484222325
  for block in file:lines(1 << 16) do
    block = block .. ("\0"):rep(-#block % 8)
    for at = 1, #block, 8 do
      hash = (hash ~ string.unpack("<i8", block, at)) * 0x100000001b3
      hash = hash ~ (hash >> 29)
    end
  end
  return string.format("%016x", hash)
end

-- { { prefix, trunk }, ... } of a model.
local function trunks_of(model)
  local list <const> = {}
  for _, entry in ipairs(model:named_modules()) do
    if entry[2].check_layer then
      list[#list + 1] = { entry[1] .. ".", entry[2] }
    end
  end
  return list
end

-- Raises an error unless the trunk's state is that of the file.
local function check_same(trunk, path)
  local other <const> = la.models[trunk.kind] { weights = path, last = trunk.last }
  local theirs <const> = {}
  for _, entry in ipairs(other:state_dict()) do
    theirs[entry[1]] = entry[2]
  end
  for _, entry in ipairs(trunk:state_dict()) do
    if entry[2]:bytes() ~= theirs[entry[1]]:bytes() then
      error(string.format("save: the trunk %s is not that of '%s' (%s differs): it must be saved too", trunk.kind, path,
        entry[1]), 0)
    end
  end
end

-- What to leave out, a set of prefixes, and how to find it again.
local function refer(model)
  local prefixes <const>, references <const> = {}, {}
  for k, entry in ipairs(trunks_of(model)) do
    local prefix <const>, trunk <const> = entry[1], entry[2]
    local path <const> = trunk.weights_path or weights.find(trunk.kind)
    la.scope(check_same, trunk, path)
    prefixes[k] = prefix
    references[k] = { kind = trunk.kind, file = path:match "[^/]*$", hash = hash_of(path) }
  end
  return prefixes, references
end

local function starts_with_any(name, prefixes)
  for _, prefix in ipairs(prefixes) do
    if name:sub(1, #prefix) == prefix then
      return true
    end
  end
  return false
end

-- ---- saving ----

--- Metadata that every file of a model has.
function checkpoint.metadata(model, kind)
  return {
    format = "lualign", kind = kind, version = la.version, config = model.config and la.io.json_encode(model.config),
  }
end

--- Writes a model. opts.trunks = false leaves out trunks whose weights are those of a file, which loading then has to
-- find (by its name and a hash). opts.metadata: more strings to keep.
function checkpoint.save(path, model, opts)
  local o <const> = options.check("save", opts, { trunks = true, metadata = {} })
  if not model.config then
    error(string.format("save: %s has no config, by which it could be built again", model.name), 2)
  end
  local metadata <const> = checkpoint.metadata(model, "model")
  local prefixes = {}
  if not o.trunks then
    local references
    prefixes, references = refer(model)
    metadata.trunks = la.io.json_encode(references)
  end
  for name, text in pairs(o.metadata) do
    metadata[name] = text
  end
  local list <const> = {}
  for _, entry in ipairs(model:state_dict()) do
    if not starts_with_any(entry[1], prefixes) then
      list[#list + 1] = entry
    end
  end
  la.io.save_safetensors(path, list, metadata)
end

-- ---- loading ----

-- Numbers from JSON that are whole, as integers.
local function whole(value)
  if type(value) == "table" then
    for key, item in pairs(value) do
      value[key] = whole(item)
    end
    return value
  end
  return type(value) == "number" and math.tointeger(value) or value
end

-- The options of a constructor from a config; weights: what each trunk gets.
local BUILD <const> = {}

local function with_weights(trunks, given)
  for k, trunk in ipairs(trunks) do
    trunk.weights = given[k]
  end
  return trunks
end

function BUILD.weakalign(config, given)
  return la.models.weakalign {
    backbone = with_weights(config.trunks, given), stages = config.stages, size = config.size, offset = config.offset,
  }
end

function BUILD.features(config, given)
  return la.models.features { trunks = with_weights(config.trunks, given), grid = config.grid }
end

-- The weights' files of trunks that were left out; false for those in the file.
local function referred(path, metadata, count)
  local given <const> = {}
  for k = 1, count do
    given[k] = false
  end
  for k, reference in ipairs(metadata.trunks and la.io.json_decode(metadata.trunks) or {}) do
    local file <const> = weights.find(reference.file)
    if hash_of(file) ~= reference.hash then
      error(string.format("load: '%s' was made with other weights than those of '%s'", path, file), 0)
    end
    given[k] = file
  end
  return given
end

-- The model of a file that save, or a training run, wrote.
local function load_own(path, dict, metadata)
  local config <const> = metadata.config and whole(la.io.json_decode(metadata.config))
  if type(config) ~= "table" then
    error(string.format("load: '%s' holds no model of lualign: its metadata have no config", path), 0)
  elseif not BUILD[config.kind] then
    error(string.format("load: '%s' holds a model of an unknown kind, '%s'", path, tostring(config.kind)), 0)
  end
  local model <const> = BUILD[config.kind](config, referred(path, metadata, #config.trunks))
  local own <const> = {}
  for name, t in pairs(dict) do
    if not name:find "^optimizer%." then
      own[name] = t
    end
  end
  local ok <const>, missing <const> = pcall(model.load_state_dict, model, own, { strict = not metadata.trunks })
  if not ok then
    error(string.format("load: '%s': %s", path, missing), 0)
  end
  local prefixes <const> = {}
  for k, entry in ipairs(trunks_of(model)) do
    prefixes[k] = entry[1]
  end
  for _, name in ipairs(missing) do
    if not starts_with_any(name, prefixes) then
      error(string.format("load: '%s': missing: %s", path, name), 0)
    end
  end
  return model
end

-- The model of one of the authors' checkpoints.
local function load_authors(path, dict)
  local model <const> = la.models.weakalign(authors.options_of(dict, "load: '" .. path .. "'"))
  local ok <const>, message <const> = pcall(function()
    model:load_state_dict(authors.from_authors(dict))
  end)
  if not ok then
    error(string.format("load: '%s': %s", path, message), 0)
  end
  return model
end

--- The model of a file, in evaluation mode: one that save or a training run wrote, or a checkpoint of the authors, in
-- torch.save's formats or as safetensors.
function checkpoint.load(path)
  local dict <const>, _, metadata <const> = weights.load(path)
  if metadata.format == "lualign" or metadata.config then
    return load_own(path, dict, metadata):eval()
  elseif authors.is_authors(dict) then
    return load_authors(path, dict):eval()
  end
  error(string.format("load: '%s' holds no model of lualign's or of the authors': no metadata, unknown names", path), 0)
end

return checkpoint
