-- SPDX-License-Identifier: MIT
--
-- la.metrics: scores of an alignment. Keypoints are lists { {x, y}, ... } in pixels of their image, 1-based as in the
-- data sets of the field: the centre of the first pixel is 1. la.metrics.masks and la.metrics.flow score masks and
-- flow; la.metrics.report makes tables of scores.

local metrics <const> = setmetatable({}, {
  __index = function(self, name)
    if name == "masks" or name == "flow" or name == "report" then
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

-- Adds a number to a mean; NaN and nil do not count.
local function count_in(means, name, value, weight)
  if value and value == value then
    local m <const> = means[name] or { sum = 0, count = 0 }
    m.sum, m.count = m.sum + weight * value, m.count + weight
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
-- columns: { { name, function(row) }, ... }. weight: function(row), what a row counts, 1 if left out: with the number
-- of its points the mean is over points. Returns { pairs =, name = mean, ... }, and a sorted list of the same with
-- category =.
function metrics.means(rows, columns, weight)
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
      local counts <const> = weight and weight(row) or 1
      count_in(all, column[1], value, counts)
      count_in(own.means, column[1], value, counts)
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

--- The same of PCK at `count` thresholds. rows: list of { category =, pck = {..} }. Returns the overall list, zeros of
-- no rows, and a sorted list of { category =, pairs =, pck = {..} }.
function metrics.summary(rows, count)
  local columns <const> = {}
  for k = 1, count do
    columns[k] = { k, function(row) return row.pck[k] end }
  end
  local all <const>, categories <const> = metrics.means(rows, columns)
  for i, c in ipairs(categories) do
    categories[i] = { category = c.category, pairs = c.pairs, pck = table.move(c, 1, count, 1, {}) }
  end
  local means <const> = {}
  for k = 1, count do
    means[k] = #rows > 0 and all[k] or 0
  end
  return means, categories
end

return metrics
