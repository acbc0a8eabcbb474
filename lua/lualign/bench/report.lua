-- SPDX-License-Identifier: MIT
--
-- report: a table of results, as text, JSON, CSV and a bar chart.
--
--   report.new {
--     title = "layers", columns = { { "layer" }, { "ms", digits = 3, unit = "ms" } },
--     bars = { "forward" }, unit = "% of peak",        -- the columns that the chart shows
--   }
--
-- Rows are tables by column name; what is missing shows as a dash and is left out of files. Columns that are `hidden`
-- are in files only.

local chart <const> = require "lualign.bench.chart"
local la <const> = require "lualign"

local Report <const> = {}
Report.__index = Report

--- An empty report; see the head of this file. `facts` of the device are added.
local function new(given)
  local info <const> = la.device.info()
  given.rows = {}
  given.facts = given.facts or {}
  given.facts.device, given.facts.driver, given.facts.platform = info.name, info.driver, info.platform
  given.facts.units, given.facts.version = info.units, la.version
  return setmetatable(given, Report)
end

--- Adds a row.
function Report:add(row)
  self.rows[#self.rows + 1] = row
end

-- A number that JSON can hold, or nothing.
local function finite(value)
  return not (type(value) == "number" and (value ~= value or value == math.huge or value == -math.huge)) and value
    or nil
end

local function cell(column, row)
  local value <const> = finite(row[column[1]])
  if value == nil then
    return "-"
  end
  if type(value) == "number" and column.digits then
    return string.format("%." .. column.digits .. "f", value)
  end
  return tostring(value)
end

local function is_number(self, column)
  for _, row in ipairs(self.rows) do
    if type(row[column[1]]) == "number" then
      return true
    end
  end
  return column.digits ~= nil
end

-- Length in characters, not bytes.
local function width_of(text)
  return utf8.len(text) or #text
end

--- The table as text; columns that no row has a value for are left out.
function Report:text()
  local lines <const> = {}
  for _, column in ipairs(self.columns) do
    local shown = false
    for _, row in ipairs(self.rows) do
      shown = shown or row[column[1]] ~= nil
    end
    if shown and not column.hidden then
      local title <const> = column.title or column[1]
      local cells <const>, right <const> = { title }, is_number(self, column)
      local width = width_of(title)
      for i, row in ipairs(self.rows) do
        cells[i + 1] = cell(column, row)
        width = math.max(width, width_of(cells[i + 1]))
      end
      for i, text in ipairs(cells) do
        local space <const> = (" "):rep(width - width_of(text))
        lines[i] = (lines[i] and lines[i] .. "  " or "") .. (right and space .. text or text .. space)
      end
    end
  end
  for i, line in ipairs(lines) do
    lines[i] = line:gsub("%s+$", "")
  end
  return table.concat(lines, "\n")
end

--- Prints what was measured on what, the table, and the notes.
function Report:print()
  local f <const> = self.facts
  local head <const> = { string.format("%s: %s, %s, %d unit%s", self.title, f.platform, f.device, f.units,
    f.units == 1 and "" or "s") }
  if f.peak_gflops then
    head[#head + 1] = string.format("multiply-add peak %.0f GFLOP/s", f.peak_gflops)
  end
  if f.copy_gbs then
    head[#head + 1] = string.format("copy %.0f GB/s", f.copy_gbs)
  end
  print(table.concat(head, "; "))
  print(self:text())
  for _, note in ipairs(self.notes or {}) do
    print(note)
  end
end

--- { title, facts, rows } as JSON.
function Report:json()
  local rows <const> = {}
  for i, row in ipairs(self.rows) do
    rows[i] = {}
    for _, column in ipairs(self.columns) do
      rows[i][column[1]] = finite(row[column[1]])
    end
  end
  return la.io.json_encode({ title = self.title, facts = self.facts, rows = la.io.array(rows) },
    { indent = true }) .. "\n"
end

local function csv_field(value)
  local text <const> = tostring(value)
  return text:find '[",\r\n]' and '"' .. text:gsub('"', '""') .. '"' or text
end

--- The rows as CSV with the columns' names above, as RFC 4180 has it.
function Report:csv()
  local lines <const> = {}
  local function line(of)
    local fields <const> = {}
    for k, column in ipairs(self.columns) do
      local value <const> = finite(of(column))
      fields[k] = value == nil and "" or csv_field(value)
    end
    lines[#lines + 1] = table.concat(fields, ",")
  end
  line(function(column) return column[1] end)
  for _, row in ipairs(self.rows) do
    line(function(column) return row[column[1]] end)
  end
  return table.concat(lines, "\r\n") .. "\r\n"
end

--- A bar chart of the columns in `bars`, one group a row, named by the first column.
function Report:svg()
  local series <const> = {}
  for _, key in ipairs(self.bars) do
    for _, column in ipairs(self.columns) do
      if column[1] == key then
        series[#series + 1] = { key = key, title = column.title or key }
      end
    end
  end
  local groups <const> = {}
  for i, row in ipairs(self.rows) do
    local values <const> = {}
    for k, s in ipairs(series) do
      values[k] = finite(row[s.key])
    end
    groups[i] = { label = tostring(row[self.columns[1][1]]), values = values }
  end
  local f <const> = self.facts
  return chart {
    title = self.chart_title or self.title, unit = self.unit, series = series, groups = groups, mark = self.mark,
    footnote = string.format("%s, %s, %d units, lualign %s", f.platform, f.device, f.units, f.version),
  }
end

--- Writes the files that are asked for: { json = path, csv = path, svg = path }.
function Report:write(paths)
  for _, kind in ipairs { "json", "csv", "svg" } do
    if paths[kind] then
      la.io.write_file(paths[kind], self[kind](self))
      io.stderr:write("wrote ", paths[kind], "\n")
    end
  end
end

return { new = new }
