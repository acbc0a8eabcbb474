-- SPDX-License-Identifier: MIT
--
-- SPair-71k (Min et al., 2019): pairs of la.data.benchmarks, with how difficult they are.

local la <const> = require "lualign"
local options <const> = require "lualign.util.options"
local sizes_of <const> = require "lualign.data.sizes"

local spair <const> = {}

-- The names of the numbers that an annotation has for each kind of difficulty.
local THREE <const>, FOUR <const> = { "easy", "medium", "hard" }, { "none", "source", "target", "both" }
local KINDS <const> = {
  { "viewpoint", "viewpoint_variation", THREE }, { "scale", "scale_variation", THREE },
  { "truncation", "truncation", FOUR }, { "occlusion", "occlusion", FOUR },
}

local function is_number(v)
  return type(v) == "number" and v == v
end

local function points_of(found, key, path)
  local list <const> = type(found[key]) == "table" and found[key] or {}
  for k, p in ipairs(list) do
    if type(p) ~= "table" or not is_number(p[1]) or not is_number(p[2]) then
      error(string.format("%s: point %d of %s must be two numbers", path, k, key), 0)
    end
  end
  return list
end

-- The longer side of a box { left, top, right, bottom }.
local function side_of(found, key, path)
  local box <const> = type(found[key]) == "table" and found[key] or {}
  for k = 1, 4 do
    if not is_number(box[k]) then
      error(string.format("%s: %s must be four numbers", path, key), 0)
    end
  end
  return math.max(box[3] - box[1], box[4] - box[2])
end

local function text_of(found, key, path)
  if type(found[key]) ~= "string" then
    error(string.format("%s: %s must be a name", path, key), 0)
  end
  return found[key]
end

-- Points travel from the annotation's source to its target, where they are compared: here the other way about, since
-- our transformations map the target's points into the source.
local function read_pair(root, path, size_of)
  local found <const> = la.io.json_decode(la.io.read_file(path), path)
  if type(found) ~= "table" then
    error(path .. ": is no annotation of a pair", 0)
  end
  local category <const>, difficulty <const> = text_of(found, "category", path), {}
  local function image(key)
    return string.format("%s/JPEGImages/%s/%s", root, category, text_of(found, key, path))
  end
  for _, kind in ipairs(KINDS) do
    local level <const> = math.tointeger(found[kind[2]])
    difficulty[kind[1]] = level and kind[3][level + 1]
  end
  local a <const>, b <const> = points_of(found, "trg_kps", path), points_of(found, "src_kps", path)
  if #a ~= #b then
    error(string.format("%s: src_kps and trg_kps must be equally long, got %d and %d", path, #b, #a), 0)
  end
  local source <const>, target <const> = image "trg_imname", image "src_imname"
  return {
    source = source, target = target, category = category, source_points = a, target_points = b,
    source_size = size_of(source), target_size = size_of(target), reference = side_of(found, "trg_bndbox", path),
    difficulty = difficulty,
  }
end

-- The names of a split's annotations: those of the layout, else all there are.
local function names_of(root, o)
  local names <const> = {}
  local layout <const> = string.format("%s/Layout/%s/%s.txt", root, o.layout, o.split)
  if la.io.exists(layout) then
    for name in la.io.read_file(layout):gmatch "[^\r\n]+" do
      names[#names + 1] = name
    end
  else
    for name in require("lfs").dir(string.format("%s/PairAnnotation/%s", root, o.split)) do
      names[#names + 1] = name:match "^([^.].*)%.json$"
    end
    table.sort(names)
  end
  if #names == 0 then
    error(string.format("spair: %s has no pairs for '%s'", root, o.split), 0)
  end
  return names
end

--- The pairs of SPair-71k: root holds JPEGImages/<class>, PairAnnotation/{trn,val,test}/*.json and
-- Layout/{large,small}/{trn,val,test}.txt, which says what belongs to a split. opts: split = "test", layout = "large".
-- As in the data set's own protocol the keypoints of src_imname are transferred to trg_imname, and PCK is relative to
-- the longer side of trg_bndbox; a pair here therefore has trg_imname as its source and src_imname as its target.
-- pair.difficulty: viewpoint and scale (easy, medium, hard), truncation and occlusion (none, source, target, both; of
-- src_imname and trg_imname).
function spair.pairs(root, opts)
  local o <const> = options.check("spair", opts, { split = "test", layout = "large" })
  if la.io.exists(root .. "/SPair-71k") == "folder" then
    root = root .. "/SPair-71k"
  end
  local folder <const> = string.format("%s/PairAnnotation/%s", root, o.split)
  if la.io.exists(folder) ~= "folder" then
    error(string.format("spair: there is no folder %s", folder), 0)
  end
  local size_of <const>, list <const> = sizes_of(), {}
  for k, name in ipairs(names_of(root, o)) do
    list[k] = read_pair(root, string.format("%s/%s.json", folder, name), size_of)
  end
  return list
end

--- Means by difficulty of rows that have it (la.evaluate.run keeps it), as la.metrics.means makes them: a list of
-- { kind =, category = level, pairs =, name = mean, ... }, kinds and levels in the order above. weight: what a row
-- counts, as there.
function spair.breakdown(rows, columns, weight)
  local out <const> = {}
  for _, kind in ipairs(KINDS) do
    local graded <const>, by_level <const> = {}, {}
    for _, row in ipairs(rows) do
      local level <const> = row.difficulty and row.difficulty[kind[1]]
      if level then
        graded[#graded + 1] = setmetatable({ category = level }, { __index = row })
      end
    end
    local _, list <const> = la.metrics.means(graded, columns, weight)
    for _, group in ipairs(list) do
      by_level[group.category] = group
    end
    for _, level in ipairs(kind[3]) do
      if by_level[level] then
        by_level[level].kind = kind[1]
        out[#out + 1] = by_level[level]
      end
    end
  end
  return out
end

return spair
