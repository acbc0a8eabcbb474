-- SPDX-License-Identifier: MIT
--
-- la.metrics.report: tables of scores as the papers print them: a line for each method, a column for each class or
-- group, then the means.
--
--   local columns <const> = report.columns(rows[1], alphas)
--   local summaries <const> = {}
--   for _, entry in ipairs(report.entries("weak", rows)) do
--     summaries[#summaries + 1] = report.summary(entry, columns)
--   end
--   print(report.text(summaries, columns))      report.csv(summaries, columns)      report.pairs_csv(entries, columns)
--
-- rows are those of la.evaluate.run.

local means <const> = require("lualign.metrics").means

local report <const> = {}

local AT <const> = { { "PCK", "pck" }, { "flow", "flow_accuracies" } }
local SCORES <const> = { { "LT-ACC", "label_transfer" }, { "IoU", "iou" }, { "LOC-ERR", "localisation_error" } }

-- "PCK@0.10", with more decimals where it takes them.
local function name_at(score, alpha)
  local text <const> = string.format("%.2f", alpha)
  return score .. "@" .. (tonumber(text) == alpha and text or string.format("%.14g", alpha))
end

--- What pairs like this row are scored by: { { name, function(row) }, ... }.
function report.columns(row, alphas)
  local columns <const> = {}
  for _, score in ipairs(AT) do
    for k, alpha in ipairs(row[score[2]] and alphas or {}) do
      columns[#columns + 1] = { name_at(score[1], alpha), function(r) return r[score[2]][k] end }
    end
  end
  for _, score in ipairs(SCORES) do
    if row[score[2]] then
      columns[#columns + 1] = { score[1], function(r) return r[score[2]] end }
    end
  end
  return columns
end

--- What one method's rows give a line each to: { { name =, rows = }, ... }: the first of two stages alone, and all.
function report.entries(name, rows)
  if not rows[1] or not rows[1].first then
    return { { name = name, rows = rows } }
  end
  local first <const>, models <const> = {}, rows[1].models
  for k, row in ipairs(rows) do
    local alone <const> = { source = row.source, target = row.target, category = row.category }
    alone.difficulty = row.difficulty
    for key, value in pairs(row.first) do
      alone[key] = value
    end
    first[k] = alone
  end
  return {
    { name = name .. ", " .. models[1], rows = first },
    { name = name .. ", " .. table.concat(models, "+"), rows = rows },
  }
end

local function points_of(row)
  return row.points or 1
end

--- What a row counts in means by "pair" or by "point", as la.metrics.means takes it.
function report.weight(average)
  return average == "point" and points_of or nil
end

--- The means of one entry: { name =, pairs =, all = { score = mean }, classes = the same of the classes' means, each of
-- the same weight, categories = { { category =, pairs =, score = mean }, ... } }. average: "pair", the mean of all
-- pairs' scores, or "point", where every keypoint counts the same.
function report.summary(entry, columns, average)
  local all <const>, categories <const> = means(entry.rows, columns, report.weight(average))
  local plain <const> = {}
  for k, column in ipairs(columns) do
    plain[k] = { column[1], function(c) return c[column[1]] end }
  end
  return {
    name = entry.name, pairs = #entry.rows, all = all, categories = categories, classes = (means(categories, plain)),
  }
end

-- ---- text ----

local function number(value)
  return value and value == value and string.format("%.3f", value) or "-"
end

-- Lines of { name, value, ... } under heads, broken into as many blocks as the width asks for.
local function blocks(heads, lines, width)
  local first = #heads[1]
  for _, line in ipairs(lines) do
    first = math.max(first, #line[1])
  end
  local out <const>, from = {}, 2
  while from <= #heads do
    local to, taken = from - 1, first
    repeat
      to = to + 1
      taken = taken + math.max(#heads[to], 5) + 2
    until to == #heads or taken + math.max(#heads[to + 1], 5) + 2 > width
    for _, line in ipairs { heads, table.unpack(lines) } do
      local parts <const> = { string.format("%-" .. first .. "s", line[1]) }
      for k = from, to do
        parts[#parts + 1] = string.format("%" .. math.max(#heads[k], 5) .. "s", line[k])
      end
      out[#out + 1] = table.concat(parts, "  ")
    end
    out[#out + 1] = to < #heads and "" or nil
    from = to + 1
  end
  return table.concat(out, "\n")
end

--- One score by class: a line for each summary; the last columns are the mean of the classes and the mean of all.
function report.by_class(summaries, name, width)
  local heads <const>, lines <const> = { name }, {}
  for k, c in ipairs(summaries[1].categories) do
    heads[k + 1] = c.category
  end
  heads[#heads + 1], heads[#heads + 2] = "classes", "all"
  for i, s in ipairs(summaries) do
    local line <const> = { s.name }
    for k, c in ipairs(s.categories) do
      line[k + 1] = number(c[name])
    end
    line[#line + 1], line[#line + 2] = number(s.classes[name]), number(s.all[name])
    lines[i] = line
  end
  return blocks(heads, lines, width or 100)
end

--- Any groups of pairs, as la.data.spair.breakdown gives them: groups[i] belongs to summary i.
function report.by_group(summaries, groups, name, width)
  local heads <const>, lines <const> = { name }, {}
  for k, group in ipairs(groups[1]) do
    heads[k + 1] = group.kind .. " " .. group.category
  end
  for i, list in ipairs(groups) do
    local line <const> = { summaries[i].name }
    for k, group in ipairs(list) do
      line[k + 1] = number(group[name])
    end
    lines[i] = line
  end
  return blocks(heads, lines, width or 100)
end

--- All scores over all pairs: a line for each summary.
function report.overall(summaries, columns, width)
  local heads <const>, lines <const> = { "method" }, {}
  for k, column in ipairs(columns) do
    heads[k + 1] = column[1]
  end
  for i, s in ipairs(summaries) do
    lines[i] = { s.name }
    for k, column in ipairs(columns) do
      lines[i][k + 1] = number(s.all[column[1]])
    end
  end
  return blocks(heads, lines, width or 100)
end

--- The whole report: each score by class where there is more than one, then all scores over all pairs.
function report.text(summaries, columns, width)
  local parts <const> = {}
  if #summaries[1].categories > 1 then
    for _, column in ipairs(columns) do
      parts[#parts + 1] = report.by_class(summaries, column[1], width)
    end
  end
  if #parts ~= 1 then
    parts[#parts + 1] = report.overall(summaries, columns, width)
  end
  return table.concat(parts, "\n\n")
end

-- ---- CSV ----

--- One line of CSV; numbers with nine digits, what is not a number as nothing, texts in quotes where they need them.
function report.csv_line(fields)
  local out <const> = {}
  for k, value in ipairs(fields) do
    if type(value) == "number" then
      out[k] = value == value and string.format("%.9g", value) or ""
    else
      out[k] = value:find '[,"\r\n]' and '"' .. value:gsub('"', '""') .. '"' or value
    end
  end
  return table.concat(out, ",")
end

local function with_scores(fields, columns, value_of)
  for _, column in ipairs(columns) do
    fields[#fields + 1] = value_of(column)
  end
  return report.csv_line(fields)
end

local function name_of(column)
  return column[1]
end

--- The table as CSV: method, category, pairs and the scores, for each class, the mean of the classes, and all pairs.
function report.csv(summaries, columns)
  local out <const> = { with_scores({ "method", "category", "pairs" }, columns, name_of) }
  for _, s in ipairs(summaries) do
    local function add(category, pairs_, values)
      out[#out + 1] = with_scores({ s.name, category, pairs_ }, columns, function(c) return values[c[1]] end)
    end
    for _, c in ipairs(s.categories) do
      add(c.category, c.pairs, c)
    end
    add("mean of classes", s.pairs, s.classes)
    add("all", s.pairs, s.all)
  end
  return table.concat(out, "\n") .. "\n"
end

--- Every pair's scores as CSV: method, source, target, category and the scores, a line for each pair of each entry.
function report.pairs_csv(entries, columns)
  local out <const> = { with_scores({ "method", "source", "target", "category" }, columns, name_of) }
  for _, entry in ipairs(entries) do
    for _, row in ipairs(entry.rows) do
      out[#out + 1] = with_scores({ entry.name, row.source, row.target, row.category }, columns, function(c)
        return c[2](row)
      end)
    end
  end
  return table.concat(out, "\n") .. "\n"
end

return report
