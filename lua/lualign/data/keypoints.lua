-- SPDX-License-Identifier: MIT
--
-- la.data.keypoints: lists of image pairs with keypoints, for evaluation.
--
-- A pair is { source =, target = (paths), category =, source_points =, target_points = ({ {x, y}, ... } in 1-based
-- pixels of the image's own size), source_size =, target_size = ({ width, height }) }.

local la <const> = require "lualign"

local keypoints <const> = {}

--- A finite number in a column of a row.
function keypoints.number(row, column, path)
  local value <const> = tonumber(row[column])
  if not value or value ~= value or math.abs(value) == math.huge then
    error(string.format("%s:%d: %s must be a finite number, got '%s'", path, row.line, column,
      tostring(row[column])), 0)
  end
  return value
end

--- The keypoints that both of two lists { {x, y}, ... } have: those with a coordinate of -1 are missing.
function keypoints.mutual(a, b)
  local first <const>, second <const> = {}, {}
  for k = 1, math.min(#a, #b) do
    if a[k][1] ~= -1 and a[k][2] ~= -1 and b[k][1] ~= -1 and b[k][2] ~= -1 then
      first[#first + 1], second[#second + 1] = a[k], b[k]
    end
  end
  return first, second
end

-- "1.5;2;3" -> list; every element a finite number. Nothing is an empty list.
local function list(row, column, path)
  local values <const> = {}
  if row[column] == "" then
    return values
  end
  for text in (row[column] .. ";"):gmatch "([^;]*);" do
    local v <const> = tonumber(text)
    if not v or v ~= v or math.abs(v) == math.huge then
      error(string.format("%s:%d: %s must hold finite numbers joined by ';', got '%s'", path, row.line, column,
        text), 0)
    end
    values[#values + 1] = v
  end
  return values
end

-- { image = { width, height, points } } from a table with columns image, width, height, x0.., y0..
local function read_annotations(path)
  local rows <const> = la.io.read_csv(path, { required = { "image", "category", "width", "height", "x0", "y0" } })
  local images <const> = {}
  for _, row in ipairs(rows) do
    local points <const> = {}
    while row["x" .. #points] do
      local k <const> = #points
      points[k + 1] = { keypoints.number(row, "x" .. k, path), keypoints.number(row, "y" .. k, path) }
    end
    images[row.image] = {
      size = { keypoints.number(row, "width", path), keypoints.number(row, "height", path) },
      points = points,
      category = row.category,
    }
  end
  return images
end

--- PF-WILLOW: root holds keypoints.csv (image,category,width,height,x0..x9,y0..y9) and test_pairs.csv
-- (source_image,target_image,category).
function keypoints.pf_willow(root)
  local images <const> = read_annotations(root .. "/keypoints.csv")
  local path <const> = root .. "/test_pairs.csv"
  local pairs_ <const> = {}
  for _, row in ipairs(la.io.read_csv(path, { required = { "source_image", "target_image", "category" } })) do
    local function annotated(column)
      local image <const> = images[row[column]]
      if not image then
        error(string.format("%s:%d: %s has no keypoints in %s/keypoints.csv", path, row.line, row[column], root), 0)
      end
      return image
    end
    local a <const>, b <const> = annotated "source_image", annotated "target_image"
    local source_points <const>, target_points <const> = keypoints.mutual(a.points, b.points)
    pairs_[#pairs_ + 1] = {
      source = root .. "/" .. row.source_image, target = root .. "/" .. row.target_image, category = row.category,
      source_points = source_points, target_points = target_points, source_size = a.size, target_size = b.size,
    }
  end
  return pairs_
end

--- Any list: columns source_image, target_image, XA, YA, XB, YB (numbers joined by ';', pixels; points with a
-- coordinate of -1 are missing), and optionally category or class. Image paths are relative to root; sizes are read
-- from the images.
function keypoints.list(path, root)
  local pairs_ <const>, sizes <const> = {}, {}
  local function size_of(image)
    if not sizes[image] then
      sizes[image] = { la.image.info(image) }
    end
    return sizes[image]
  end
  local rows <const> = la.io.read_csv(path, { required = { "source_image", "target_image", "XA", "YA", "XB", "YB" } })
  for _, row in ipairs(rows) do
    local xa <const>, ya <const> = list(row, "XA", path), list(row, "YA", path)
    local xb <const>, yb <const> = list(row, "XB", path), list(row, "YB", path)
    if #xa ~= #ya or #xa ~= #xb or #xa ~= #yb then
      error(string.format("%s:%d: XA, YA, XB and YB must be equally long, got %d, %d, %d, %d", path, row.line,
        #xa, #ya, #xb, #yb), 0)
    end
    local a, b = {}, {}
    for k = 1, #xa do
      a[k], b[k] = { xa[k], ya[k] }, { xb[k], yb[k] }
    end
    a, b = keypoints.mutual(a, b)
    local source <const>, target <const> = root .. "/" .. row.source_image, root .. "/" .. row.target_image
    pairs_[#pairs_ + 1] = {
      source = source, target = target, category = row.category or row.class or "all",
      source_points = a, target_points = b, source_size = size_of(source), target_size = size_of(target),
    }
  end
  return pairs_
end

return keypoints
