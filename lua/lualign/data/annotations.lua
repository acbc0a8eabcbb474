-- SPDX-License-Identifier: MIT
--
-- The data sets whose keypoints and parts are in .mat files: PF-WILLOW, PF-PASCAL and Caltech-101 as their
-- archives hold them, and PASCAL-Parts. la.data.benchmarks calls this; pairs are described there.

local la <const> = require "lualign"
local folders <const> = require "lualign.data.folders"
local mat <const> = require "lualign.io.mat"
local sizes_of <const> = require "lualign.data.sizes"

local annotations <const> = {}

-- A variable of a .mat file: its numbers row by row, as many rows and columns.
local function matrix(found, name, path)
  local value <const> = found[name]
  if type(value) == "number" or type(value) == "boolean" then -- one row of one column
    return { value == true and 1 or value or 0 }, 1, 1
  elseif not mat.is_array(value) or #value.shape ~= 2 then
    error(string.format("%s: needs a matrix called '%s', got %s", path, name,
      value == nil and "none" or mat.is_array(value) and tostring(value) or "a " .. type(value)), 0)
  end
  return value:flat(), value.shape[1], value.shape[2]
end

-- Points { {x, y}, ... } of a matrix with x and y as rows or as columns.
local function points_of(found, name, path, as_rows)
  local list <const>, rows <const>, columns <const> = matrix(found, name, path)
  local points <const>, across <const> = {}, as_rows and columns or rows
  if (as_rows and rows or columns) ~= 2 then
    error(string.format("%s: %s must be %s, got %d x %d", path, name, as_rows and "2 x N" or "N x 2", rows, columns), 0)
  end
  for k = 1, across do
    points[k] = as_rows and { list[k], list[across + k] } or { list[2 * k - 1], list[2 * k] }
  end
  return points
end

-- reader(path) keeps what read(path) gave.
local function once(read)
  local known <const> = {}
  return function(path)
    if not known[path] then
      known[path] = read(path)
    end
    return known[path]
  end
end

-- The points that `has(a, b, k)` says both lists have.
local function mutual(a, b, has)
  local first <const>, second <const> = {}, {}
  for k = 1, math.min(#a, #b) do
    if has(a[k], b[k], k) then
      first[#first + 1], second[#second + 1] = a[k], b[k]
    end
  end
  return first, second
end

-- ---- PF-WILLOW ----

-- The pictures of a folder that have a .mat file, by name.
local function annotated(folder)
  local images <const> = {}
  for _, image in ipairs((folders.entries(folder))) do
    local file <const> = image:gsub("%.%w+$", ".mat")
    if la.io.exists(file) then
      images[#images + 1] = { image = image, mat = file }
    end
  end
  return images
end

--- PF-WILLOW as its archive holds it: folders of sub-classes below root (or root/PF-dataset), in each pictures and a
-- .mat file with pts_coord (2 x N) for each. All ordered pairs of pictures of a folder.
function annotations.pf_willow(root)
  local top <const> = folders.is_folder(root .. "/PF-dataset") and root .. "/PF-dataset" or root
  local size_of <const>, list <const> = sizes_of(), {}
  local points <const> = once(function(path) return points_of(la.io.read_mat(path), "pts_coord", path, true) end)
  for _, folder in ipairs(select(2, folders.entries(top))) do
    local images <const>, category <const> = annotated(folder), folder:match "[^/]+$"
    for i, a in ipairs(images) do
      for j, b in ipairs(images) do
        if i ~= j then
          list[#list + 1] = {
            source = a.image, target = b.image, category = category, source_size = size_of(a.image),
            target_size = size_of(b.image), source_points = points(a.mat), target_points = points(b.mat),
          }
        end
      end
    end
  end
  if #list == 0 then
    error(string.format("pf_willow: %s has no folder with pictures and their .mat files", top), 0)
  end
  return list
end

-- ---- PF-PASCAL ----

local function both_known(a, b)
  return a[1] == a[1] and a[2] == a[2] and b[1] == b[1] and b[2] == b[2]
end

--- PF-PASCAL as its archive holds it: a list of pairs (source_image, target_image, class) and, for
-- <folder>/JPEGImages/<name>.jpg, the file <folder>/Annotations/<class>/<name>.mat with kps (N x 2, NaN where a point
-- is missing; those are left out of a pair). class_of turns the list's class into a name.
function annotations.pf_pascal(root, path, class_of)
  local size_of <const>, list <const> = sizes_of(), {}
  local points <const> = once(function(file) return points_of(la.io.read_mat(file), "kps", file, false) end)
  for _, row in ipairs(la.io.read_csv(path, { required = { "source_image", "target_image" } })) do
    local class <const> = class_of(row.class or row.category
      or error(string.format("%s: needs a column class, by which .mat files are found", path), 0))
    local function of(image)
      local folder <const>, name <const> = image:match "^(.-)JPEGImages/([^/]+)%.%w+$"
      if not folder then
        error(string.format("%s:%d: '%s' is not in a folder JPEGImages, beside which Annotations is looked for", path,
          row.line, image), 0)
      end
      return points(string.format("%s/%sAnnotations/%s/%s.mat", root, folder, class, name))
    end
    local a <const>, b <const> = of(row.source_image), of(row.target_image)
    if #a ~= #b then
      error(string.format("%s:%d: the images have %d and %d keypoints", path, row.line, #a, #b), 0)
    end
    local source <const>, target <const> = root .. "/" .. row.source_image, root .. "/" .. row.target_image
    local source_points <const>, target_points <const> = mutual(a, b, both_known)
    list[#list + 1] = {
      source = source, target = target, category = class, source_size = size_of(source), target_size = size_of(target),
      source_points = source_points, target_points = target_points,
    }
  end
  return list
end

-- ---- Caltech-101 ----

--- The outline of a picture of Caltech-101 as its archives hold it: of
-- <folder>/101_ObjectCategories/<class>/image_N.jpg the file <folder>/Annotations/<class>/annotation_N.mat with
-- obj_contour (2 x N, within the object's box) and box_coord (top, bottom, left, right).
function annotations.caltech_outline(root, image)
  local folder <const>, class <const>, number <const> =
    image:match "^(.-)101_ObjectCategories/([^/]+)/image_([^/.]+)%.%w+$"
  if not folder then
    error(string.format("caltech: '%s' is not 101_ObjectCategories/<class>/image_N.jpg, by which .mat files are found",
      image), 0)
  end
  local path <const> = string.format("%s/%sAnnotations/%s/annotation_%s.mat", root, folder, class, number)
  local found <const> = la.io.read_mat(path)
  local points <const>, box <const> = points_of(found, "obj_contour", path, true), matrix(found, "box_coord", path)
  if #box ~= 4 or #points < 3 then
    error(string.format("%s: needs 4 numbers in box_coord and 3 points in obj_contour, got %d and %d", path, #box,
      #points), 0)
  end
  for k, p in ipairs(points) do
    points[k] = { p[1] + box[3], p[2] + box[1] }
  end
  return points
end

-- ---- PASCAL-Parts ----

local function part_file(image)
  return (image:gsub("%.%w+$", "") .. "_new.mat")
end

-- Keypoints and which of them the picture has, and which parts.
local function read_parts(path)
  local found <const> = la.io.read_mat(path)
  return {
    points = points_of(found, "keypts", path, true), seen = matrix(found, "keypts_status", path),
    parts = matrix(found, "part_mask_status", path),
  }
end

--- PASCAL-Parts: test_pairs_pascal_parts.csv (source, target) and, beside each picture, <name>_new.mat with keypts
-- (2 x N), keypts_status, part_mask (height x width x P) and part_mask_status. PCK, over the points that both have, is
-- relative to the source image's longer side, to be read at 0.05; `parts` are scored by la.metrics.masks.parts_iou.
function annotations.pascal_parts(root, path)
  local size_of <const>, read <const>, list <const> = sizes_of(), once(read_parts), {}
  local rows <const>, columns <const> = la.io.read_csv(path)
  if #columns < 2 then
    error(string.format("%s: needs the columns source and target, got %d columns", path, #columns), 0)
  end
  for _, row in ipairs(rows) do
    local source <const>, target <const> = root .. "/" .. row[columns[1]], root .. "/" .. row[columns[2]]
    local a <const>, b <const> = read(part_file(source)), read(part_file(target))
    local source_points <const>, target_points <const> = mutual(a.points, b.points, function(_, _, k)
      return (a.seen[k] or 0) ~= 0 and (b.seen[k] or 0) ~= 0
    end)
    local parts <const> = {}
    for k = 1, math.min(#a.parts, #b.parts) do
      parts[#parts + 1] = a.parts[k] ~= 0 and b.parts[k] ~= 0 and k or nil
    end
    local size <const> = size_of(source)
    list[#list + 1] = {
      source = source, target = target, category = row.category or row.class or source:match "([^/]+)/[^/]*$" or "all",
      source_size = size, target_size = size_of(target), source_points = source_points, target_points = target_points,
      reference = math.max(size[1], size[2]),
      parts = { source = part_file(source), target = part_file(target), which = parts },
    }
  end
  return list
end

--- The masks of some of a file's parts: uint8 (height, width, #which).
function annotations.part_masks(path, which)
  local masks <const> = la.io.read_mat(path).part_mask
  local shape <const> = mat.is_array(masks) and masks.shape or {}
  if #shape ~= 2 and #shape ~= 3 then
    error(string.format("%s: part_mask must be height x width x parts, got %s", path, tostring(masks)), 0)
  end
  local all <const> = masks:tensor():astype("uint8"):reshape(shape[1], shape[2], shape[3] or 1)
  local chosen <const> = {}
  for k, part in ipairs(which) do
    if part > all:size(3) then
      error(string.format("%s: part_mask has %d parts, not the %d of part_mask_status", path, all:size(3), part), 0)
    end
    chosen[k] = all:narrow(3, part, 1)
  end
  return #chosen == 1 and chosen[1]:contiguous() or la.cat(chosen, 3)
end

return annotations
