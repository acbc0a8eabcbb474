-- SPDX-License-Identifier: MIT
--
-- Scores of an alignment by object masks: label transfer accuracy, intersection over union and localisation error, as
-- the alignment papers report them on Caltech-101, with the conventions of their code.

local la <const> = require "lualign"

local masks <const> = {}

-- Where the row y crosses the outline, sorted.
local function crossings(points, y)
  local list <const> = {}
  local before = points[#points]
  for _, p in ipairs(points) do
    local a <const>, b <const> = p, before
    if a[2] <= y and y < b[2] or b[2] <= y and y < a[2] then
      list[#list + 1] = (b[1] - a[1]) * (y - a[2]) / (b[2] - a[2]) + a[1]
    end
    before = p
  end
  table.sort(list)
  return list
end

--- The pixels within a closed outline { {x, y}, ... }: uint8 (height, width), 1 inside. The first pixel is at (0, 0); a
-- pixel is inside if a ray from it to the right crosses the outline an odd number of times, as skimage's polygon had
-- it.
function masks.fill(points, width, height)
  local rows <const> = {}
  for y = 0, height - 1 do
    local parts <const>, at = {}, 0
    local list <const> = crossings(points, y)
    for k = 1, #list - 1, 2 do
      local from <const> = math.min(math.max(math.ceil(list[k]), at), width)
      local to <const> = math.min(math.max(math.ceil(list[k + 1]), from), width)
      parts[#parts + 1] = ("\0"):rep(from - at) .. ("\1"):rep(to - from)
      at = to
    end
    parts[#parts + 1] = ("\0"):rep(width - at)
    rows[y + 1] = table.concat(parts)
  end
  return la.from_bytes(table.concat(rows), "uint8", { height, width })
end

--- The source's mask (hA, wA) seen in the target's frame: uint8 (height, width), where the warped mask is above 1/2.
function masks.warp(mask, stages, height, width)
  return la.scope(la.no_grad, function()
    local grid <const> = la.geometry.point_grid(stages, height, width)
    local image <const> = mask:astype("float32"):reshape(1, mask:size(1), mask:size(2), 1)
    return la.gt(la.grid_sample(image, grid), 0.5):astype("uint8"):reshape(height, width)
  end)
end

local function bytes_of(mask, name)
  if mask.dtype ~= "uint8" or mask:dim() ~= 2 then
    error(string.format("masks: %s must be uint8 (height, width), got %s (%s)", name, mask.dtype,
      table.concat(mask:shape(), ", ")), 3)
  end
  return mask:bytes()
end

-- The bytes of two masks of one size.
local function both_bytes(name, a, b)
  local x <const>, y <const> = bytes_of(a, "a"), bytes_of(b, "b")
  if a:size(1) ~= b:size(1) or a:size(2) ~= b:size(2) then
    error(string.format("masks.%s: a and b must be of one size, got (%s) and (%s)", name, table.concat(a:shape(), ", "),
      table.concat(b:shape(), ", ")), 3)
  end
  return x, y
end

--- |a and b| / |a or b| of a mask and a true one, b, of the same size; NaN where b is empty.
function masks.iou(a, b)
  local x <const>, y <const> = both_bytes("iou", a, b)
  local both, either, all = 0, 0, 0
  for k = 1, #x do
    local p <const>, q <const> = x:byte(k), y:byte(k)
    both, either, all = both + (p & q), either + (p | q), all + q
  end
  return all > 0 and both / either or 0 / 0
end

--- The share of pixels whose labels agree.
function masks.label_transfer(a, b)
  local x <const>, y <const> = both_bytes("label_transfer", a, b)
  local same = 0
  for k = 1, #x do
    same = same + (x:byte(k) == y:byte(k) and 1 or 0)
  end
  return same / #x
end

--- Intersection over union of parts, each weighted by its share of the target's pixels. source: uint8 (hA, wA, P);
-- target: (h, w, P), the source is warped onto it by `stages`. NaN where the target's parts are empty.
function masks.parts_iou(source, target, stages)
  if source:dim() ~= 3 or target:dim() ~= 3 or source:size(3) ~= target:size(3) then
    error(string.format("masks.parts_iou: both must be (height, width, parts), got (%s) and (%s)",
      table.concat(source:shape(), ", "), table.concat(target:shape(), ", ")), 2)
  end
  local h <const>, w <const>, count <const> = target:size(1), target:size(2), target:size(3)
  return la.scope(la.no_grad, function()
    local grid <const> = la.geometry.point_grid(stages, h, w)
    local image <const> = la.gt(source, 0):astype("float32"):unsqueeze(1)
    local a <const> = la.gt(la.grid_sample(image, grid), 0.5):astype("float32"):reshape(h * w, count)
    local b <const> = la.gt(target, 0):astype("float32"):reshape(h * w, count)
    local both <const>, area <const> = (a * b):sum(1):flat(), b:sum(1):flat()
    local either <const>, sum, all = (a + b - a * b):sum(1):flat(), 0, 0
    for k = 1, count do
      sum, all = sum + (area[k] > 0 and area[k] * both[k] / either[k] or 0), all + area[k]
    end
    return sum / all
  end)
end

-- The box of a mask in pixels counted from 0: left, top, width, height; nil if it is empty.
local function box(mask)
  local bytes <const>, width <const> = mask:bytes(), mask:size(2)
  local x0, x1, y0, y1 = math.huge, -1, nil, nil
  for y = 0, mask:size(1) - 1 do
    local row <const> = bytes:sub(y * width + 1, (y + 1) * width)
    local first <const> = row:find("\1", 1, true)
    if first then
      local last <const> = #row - row:reverse():find("\1", 1, true) + 1
      x0, x1 = math.min(x0, first - 1), math.max(x1, last - 1)
      y0, y1 = y0 or y, y
    end
  end
  if x1 >= 0 then
    return x0, y0, x1 - x0 + 1, y1 - y0 + 1
  end
  return nil
end

--- The mean difference of positions within the objects' boxes: of the target's pixels that land in the source, |u_B -
-- u_A| + |v_B - v_A|, where u and v are (position from 1 - left from 0) / width of the box (the paper's code counts so;
-- source positions lose their fractions). source, target: masks; flow: as la.geometry.flow gives it on the target.
-- NaN where a mask is empty or nothing lands in the source.
function masks.localisation_error(source, target, flow)
  local ax <const>, ay <const>, aw <const>, ah <const> = box(source)
  local bx <const>, by <const>, bw <const>, bh <const> = box(target)
  if not ax or not bx then
    return 0 / 0
  end
  local width <const>, wa <const>, ha <const> = target:size(2), source:size(2), source:size(1)
  local numbers <const> = flow:flat()
  local sum, count = 0, 0
  for k = 0, #numbers // 2 - 1 do
    local x <const>, y <const> = k % width + 1, k // width + 1
    local sx <const>, sy <const> = x + numbers[2 * k + 1], y + numbers[2 * k + 2]
    if sx >= 1 and sx <= wa and sy >= 1 and sy <= ha then
      sum = sum + math.abs((x - bx) / bw - (math.floor(sx) - ax) / aw)
        + math.abs((y - by) / bh - (math.floor(sy) - ay) / ah)
      count = count + 1
    end
  end
  return sum / count
end

return masks
