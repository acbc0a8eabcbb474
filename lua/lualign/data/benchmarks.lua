-- SPDX-License-Identifier: MIT
--
-- la.data.benchmarks: the data sets that the alignment papers report on, in their authors' layouts (and in that of our
-- own lists where there is one): lists of pairs for la.evaluate.
--
--   pf_willow(root)   pf_pascal(root, { protocol = "scnet" })   caltech(root)   tss(root)   pascal_parts(root)
--   spair(root, { split = "test" })
--
-- A pair is { source =, target = (paths), category =, source_size =, target_size = ({ width, height }) } and
--   source_points, target_points   keypoints, { {x, y}, ... }, from 1; `reference`, the length that PCK is relative to
--   source_outline, target_outline closed polygons, from 0
--   parts                          masks of parts, in .mat files; difficulty: how hard the pair is, by kind
--   truth, mask                    a .flo file and a picture on the target's grid; flip: the source is mirrored first

local la <const> = require "lualign"
local keypoints <const> = require "lualign.data.keypoints"
local options <const> = require "lualign.util.options"
local sizes_of <const> = require "lualign.data.sizes"

local benchmarks <const> = {}

local function first_existing(root, names)
  for _, name in ipairs(names) do
    if la.io.exists(root .. "/" .. name) then
      return root .. "/" .. name
    end
  end
  error(string.format("%s has none of %s", root, table.concat(names, ", ")), 0)
end

-- ---- keypoints ----

-- Whether keypoints are to come from .mat files.
local function from_mat(where, o)
  if o.annotations ~= "list" and o.annotations ~= "mat" then
    error(string.format("%s: annotations must be list or mat, got '%s'", where, tostring(o.annotations)), 3)
  end
  return o.annotations == "mat"
end

-- The authors' list of PF-WILLOW: imageA, imageB, XA1..XA10, YA1.., XB1.., YB1...
local function willow_pairs(root, path)
  local size_of <const>, list <const> = sizes_of(), {}
  for _, row in ipairs(la.io.read_csv(path, { required = { "imageA", "imageB", "XA1", "YB10" } })) do
    local function points(x, y)
      local out <const> = {}
      for k = 1, 10 do
        out[k] = { keypoints.number(row, x .. k, path), keypoints.number(row, y .. k, path) }
      end
      return out
    end
    local a <const>, b <const> = root .. "/" .. row.imageA, root .. "/" .. row.imageB
    local source_points <const>, target_points <const> = keypoints.mutual(points("XA", "YA"), points("XB", "YB"))
    list[#list + 1] = {
      source = a, target = b, category = row.imageA:match "([^/]+)/[^/]*$" or "all",
      source_points = source_points, target_points = target_points,
      source_size = size_of(a), target_size = size_of(b),
    }
  end
  return list
end

--- PF-WILLOW: the authors' test_pairs_pf.csv, or keypoints.csv and test_pairs.csv. PCK is relative to the longer side
-- of the box around the source's keypoints. opts.annotations = "mat", or no list: all pairs, keypoints from the .mat
-- files (lualign.data.annotations).
function benchmarks.pf_willow(root, opts)
  local o <const> = options.check("pf_willow", opts, { annotations = "list" })
  if from_mat("pf_willow", o) or not la.io.exists(root .. "/test_pairs_pf.csv")
    and not la.io.exists(root .. "/test_pairs.csv") then
    return require("lualign.data.annotations").pf_willow(root)
  end
  local path <const> = first_existing(root, { "test_pairs_pf.csv", "test_pairs.csv" })
  if path:find "_pf%.csv$" then
    return willow_pairs(root, path)
  end
  return keypoints.pf_willow(root)
end

local CLASSES <const> = {
  "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog", "horse",
  "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
}

-- "7" -> "car".
local function class_name(class)
  return CLASSES[math.tointeger(tonumber(class))] or class
end

-- Both images brought to 224 x 224 as the SCNet procedure has it: keypoints are scaled as they are, counted from 1.
local function to_square(pair)
  for _, side in ipairs { "source", "target" } do
    local size <const>, scaled <const> = pair[side .. "_size"], {}
    for k, p in ipairs(pair[side .. "_points"]) do
      scaled[k] = { p[1] * 224 / size[1], p[2] * 224 / size[2] }
    end
    pair[side .. "_points"], pair[side .. "_size"] = scaled, { 224, 224 }
  end
  pair.reference = 224
end

--- PF-PASCAL: test_pairs_pf_pascal.csv, or test_pairs.csv. opts.protocol: "scnet", keypoints in images of 224 x 224 and
-- PCK relative to 224, the paper's; or "box", original pixels and the box around the source's keypoints. opts.list:
-- another list of that form. opts.annotations = "mat": keypoints from the archive's .mat files, so that the list needs
-- source_image, target_image and class alone (lualign.data.annotations).
function benchmarks.pf_pascal(root, opts)
  local o <const> = options.check("pf_pascal", opts, {
    protocol = "scnet", list = options.optional "string", annotations = "list",
  })
  if o.protocol ~= "scnet" and o.protocol ~= "box" then
    error(string.format("pf_pascal: protocol must be scnet or box, got '%s'", o.protocol), 2)
  end
  local path <const> = o.list or first_existing(root, { "test_pairs_pf_pascal.csv", "test_pairs.csv" })
  local list <const> = not from_mat("pf_pascal", o) and keypoints.list(path, root)
    or require("lualign.data.annotations").pf_pascal(root, path, class_name)
  for _, pair in ipairs(list) do
    pair.category = class_name(pair.category)
    if o.protocol == "scnet" then
      to_square(pair)
    end
  end
  return list
end

--- PASCAL-Parts: test_pairs_pascal_parts.csv and .mat files beside the pictures (lualign.data.annotations).
function benchmarks.pascal_parts(root)
  return require("lualign.data.annotations").pascal_parts(root, root .. "/test_pairs_pascal_parts.csv")
end

--- SPair-71k (lualign.data.spair).
function benchmarks.spair(root, opts)
  return require("lualign.data.spair").pairs(root, opts)
end

-- ---- masks ----

-- "1,2;3" or "1.5;2" -> numbers.
local function numbers_of(row, column, path)
  local list <const> = {}
  for text in row[column]:gmatch "[^,;%s]+" do
    local value <const> = tonumber(text)
    if not value or value ~= value or math.abs(value) == math.huge then
      error(string.format("%s:%d: %s must hold finite numbers, got '%s'", path, row.line, column, text), 0)
    end
    list[#list + 1] = value
  end
  return list
end

local function outline(row, x, y, path)
  local xs <const>, ys <const>, points <const> = numbers_of(row, x, path), numbers_of(row, y, path), {}
  if #xs ~= #ys or #xs < 3 then
    error(string.format("%s:%d: an outline needs at least 3 points and as many x as y, got %d and %d", path, row.line,
      #xs, #ys), 0)
  end
  for k = 1, #xs do
    points[k] = { xs[k], ys[k] }
  end
  return points
end

-- Outlines by image, of contours.csv.
local function read_contours(root)
  local path <const>, found <const> = root .. "/contours.csv", {}
  for _, row in ipairs(la.io.read_csv(path, { required = { "image", "contour_x", "contour_y" } })) do
    found[row.image] = outline(row, "contour_x", "contour_y", path)
  end
  return found
end

-- The class of a pair: what the list calls it, or the picture's folder where that is a number or nothing.
local function class_of(row, image)
  local class <const>, folder <const> = row.category or row.class, image:match "([^/]+)/[^/]*$"
  return class and not tonumber(class) and class or folder or class or "all"
end

-- function(row, side) -> the outline of a pair's side, "A" or "B": from the list itself, contours.csv or .mat files.
local function outlines(root, path, by_mat)
  if by_mat then
    local read <const> = require("lualign.data.annotations").caltech_outline
    return function(_, _, image) return read(root, image) end
  elseif not path:find "/test_pairs%.csv$" then
    return function(row, side) return outline(row, "X" .. side, "Y" .. side, path) end
  end
  local contours <const> = read_contours(root)
  return function(row, _, image)
    return contours[image] or error(string.format("%s:%d: %s has no outline in contours.csv", path, row.line, image), 0)
  end
end

--- Caltech-101: the authors' test_pairs_caltech_with_category.csv, which holds the outlines, or test_pairs.csv and
-- contours.csv. opts.annotations = "mat": outlines from the archive's .mat files (lualign.data.annotations).
function benchmarks.caltech(root, opts)
  local by_mat <const> = from_mat("caltech", options.check("caltech", opts, { annotations = "list" }))
  local path <const> = first_existing(root, { "test_pairs_caltech_with_category.csv", "test_pairs.csv" })
  local in_list <const> = not by_mat and not path:find "/test_pairs%.csv$"
  local size_of <const>, outline_of <const>, list <const> = sizes_of(), outlines(root, path, by_mat), {}
  for _, row in ipairs(la.io.read_csv(path, { required = in_list and { "XA", "YA", "XB", "YB" } or {} })) do
    local a <const>, b <const> = row.source_image or row.source, row.target_image or row.target
    if not a or not b then
      error(string.format("%s: needs the columns source_image and target_image", path), 0)
    end
    local source <const>, target <const> = root .. "/" .. a, root .. "/" .. b
    list[#list + 1] = {
      source = source, target = target, category = class_of(row, a),
      source_size = size_of(source), target_size = size_of(target),
      source_outline = outline_of(row, "A", a), target_outline = outline_of(row, "B", b),
    }
  end
  return list
end

-- ---- flow ----

--- TSS: test_pairs_tss.csv with source, target, flow direction, flip of the source (0 or 1) and group, by position; in
-- each pair's folder image1.png, image2.png, mask1.png, mask2.png, flow1.flo, flow2.flo, flowN and maskN on image N's
-- grid. The flow with direction N is that of the target, image N. The category is the folder above the pair's.
-- la.data.figures.write_tss makes such a set.
function benchmarks.tss(root)
  local path <const> = root .. "/test_pairs_tss.csv"
  local size_of <const>, list <const> = sizes_of(), {}
  local rows <const>, columns <const> = la.io.read_csv(path)
  if #columns < 4 then
    error(string.format("%s: needs source, target, flow direction and flip, got %d columns", path, #columns), 0)
  end
  for _, row in ipairs(rows) do
    local source <const>, target <const> = root .. "/" .. row[columns[1]], root .. "/" .. row[columns[2]]
    local folder <const>, number <const> = target:match "^(.*)/[^/]*$", row[columns[3]]
    local flip <const> = row[columns[4]]
    if number ~= "1" and number ~= "2" then
      error(string.format("%s:%d: the flow direction must be 1 or 2, got '%s'", path, row.line, number), 0)
    elseif flip ~= "0" and flip ~= "1" then
      error(string.format("%s:%d: the flip of the source must be 0 or 1, got '%s'", path, row.line, flip), 0)
    elseif not folder then
      error(string.format("%s:%d: the target must be in its pair's folder, got '%s'", path, row.line, target), 0)
    end
    list[#list + 1] = {
      source = source, target = target, source_size = size_of(source), target_size = size_of(target),
      category = target:match "([^/]+)/[^/]+/[^/]*$" or "all", flip = flip == "1",
      folder = row[columns[1]]:match "^(.*)/" or ".",
      truth = folder .. "/flow" .. number .. ".flo", mask = folder .. "/mask" .. number .. ".png", direction = number,
    }
  end
  return list
end

--- What PF-PASCAL's test pairs share with a training list: { pairs = how many occur in it, in one order or the other,
-- images = how many of the test's images it holds, of = { pairs, images } }.
function benchmarks.leakage(test, train)
  local seen <const>, images <const> = {}, {}
  for _, row in ipairs(train) do
    seen[row.source_image .. "\n" .. row.target_image], seen[row.target_image .. "\n" .. row.source_image] = true, true
    images[row.source_image], images[row.target_image] = true, true
  end
  local pairs_, shared, all <const> = 0, 0, {}
  for _, row in ipairs(test) do
    pairs_ = pairs_ + (seen[row.source_image .. "\n" .. row.target_image] and 1 or 0)
    all[row.source_image], all[row.target_image] = true, true
  end
  local count = 0
  for image in pairs(all) do
    count = count + 1
    shared = shared + (images[image] and 1 or 0)
  end
  return { pairs = pairs_, images = shared, of = { pairs = #test, images = count } }
end

return benchmarks
