-- SPDX-License-Identifier: MIT
--
-- la.metrics: scores of an alignment. Keypoints are lists { {x, y}, ... } in pixels of their image, 1-based as in the
-- data sets of the field: the centre of the first pixel is 1. la.metrics.masks and la.metrics.flow score masks and
-- flow.

local metrics <const> = setmetatable({}, {
  __index = function(self, name)
    if name == "masks" or name == "flow" then
      rawset(self, name, require("lualign.metrics." .. name))
    end
    return rawget(self, name)
  end,
})

--- The longer side of the box around keypoints: the reference length of PF-WILLOW.
function metrics.box_side(points)
  local x0, x1, y0, y1 = math.huge, -math.huge, math.huge, -math.huge
  for _, p in ipairs(points) do
    x0, x1 = math.min(x0, p[1]), math.max(x1, p[1])
    y0, y1 = math.min(y0, p[2]), math.max(y1, p[2])
  end
  return math.max(x1 - x0, y1 - y0)
end

--- PCK of one pair: the share of keypoints whose distance to the truth is at most alpha * side (inclusive).
function metrics.pck(found, truth, alpha, side)
  if #found ~= #truth or #truth == 0 then
    error(string.format("pck: needs as many found points as true ones, got %d and %d", #found, #truth), 2)
  end
  local right = 0
  for i, p in ipairs(truth) do
    local dx <const>, dy <const> = found[i][1] - p[1], found[i][2] - p[2]
    if math.sqrt(dx * dx + dy * dy) <= alpha * side then
      right = right + 1
    end
  end
  return right / #truth
end

--- PCK of one pair at several alphas, with the box around the true points as reference: a list.
function metrics.pck_at(found, truth, alphas)
  local side <const> = metrics.box_side(truth)
  local scores <const> = {}
  for i, alpha in ipairs(alphas) do
    scores[i] = metrics.pck(found, truth, alpha, side)
  end
  return scores
end

--- Means over pairs, in all and by category.
-- rows: list of { category = name, pck = {..} }. Returns the overall list, and a sorted list of
-- { category =, pairs =, pck = {..} }.
function metrics.summary(rows, count)
  local all <const>, by_name <const>, categories <const> = {}, {}, {}
  for k = 1, count do
    all[k] = 0
  end
  for _, row in ipairs(rows) do
    local c = by_name[row.category]
    if not c then
      c = { category = row.category, pairs = 0, pck = {} }
      for k = 1, count do
        c.pck[k] = 0
      end
      by_name[row.category] = c
      categories[#categories + 1] = c
    end
    c.pairs = c.pairs + 1
    for k = 1, count do
      c.pck[k] = c.pck[k] + row.pck[k]
      all[k] = all[k] + row.pck[k] / #rows
    end
  end
  for _, c in ipairs(categories) do
    for k = 1, count do
      c.pck[k] = c.pck[k] / c.pairs
    end
  end
  table.sort(categories, function(a, b) return a.category < b.category end)
  return all, categories
end

-- Adds a number to a mean; NaN and nil do not count.
local function count_in(means, name, value)
  if value and value == value then
    local m <const> = means[name] or { sum = 0, count = 0 }
    m.sum, m.count = m.sum + value, m.count + 1
    means[name] = m
  end
end

local function mean_of(means, columns)
  local out <const> = {}
  for _, column in ipairs(columns) do
    local m <const> = means[column[1]]
    out[column[1]] = m and m.sum / m.count or 0 / 0
  end
  return out
end

--- Means over pairs of any scores, in all and by category; NaN and what is missing do not count.
-- columns: { { name, function(row) }, ... }. Returns { pairs =, name = mean, ... }, and a sorted list of the same with
-- category =.
function metrics.means(rows, columns)
  local all <const>, by_category <const>, names <const> = {}, {}, {}
  for _, row in ipairs(rows) do
    local own = by_category[row.category]
    if not own then
      own = { pairs = 0, means = {} }
      by_category[row.category] = own
      names[#names + 1] = row.category
    end
    own.pairs = own.pairs + 1
    for _, column in ipairs(columns) do
      local value <const> = column[2](row)
      count_in(all, column[1], value)
      count_in(own.means, column[1], value)
    end
  end
  table.sort(names)
  local list <const> = {}
  for k, name in ipairs(names) do
    list[k] = mean_of(by_category[name].means, columns)
    list[k].category, list[k].pairs = name, by_category[name].pairs
  end
  local total <const> = mean_of(all, columns)
  total.pairs = #rows
  return total, list
end

return metrics
