-- SPDX-License-Identifier: MIT
--
-- chart: horizontal bars as SVG, a group of bars for each row.
--
--   chart {
--     title = "layers", unit = "% of peak", footnote = "on what", mark = 100,     -- mark: a line at that value
--     series = { { title = "forward" }, { title = "data gradient" } },
--     groups = { { label = "3x3", values = { 93.1, 88.0 } } },                    -- a value may be missing
--   }

local BAR <const>, GAP <const> = 11, 9 -- pixels: a bar; between groups
local WIDTH <const>, CHARACTER <const> = 860, 6.6
local TOP <const>, BOTTOM <const> = 64, 46
local COLOURS <const> = { "#3b6fb6", "#e08a2e", "#4d9e5f", "#b0455b", "#7b62a8", "#7a7f87" }

local function escape(text)
  return (text:gsub("[&<>\"']", { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;", ["'"] = "&#39;" }))
end

-- A round step of which about five fit.
local function step_for(largest)
  local raw <const> = largest / 5
  local power <const> = 10 ^ math.floor(math.log(raw, 10))
  for _, factor in ipairs { 1, 2, 5 } do
    if factor * power >= raw then
      return factor * power
    end
  end
  return 10 * power
end

local function number(value)
  return value >= 100 and string.format("%.0f", value) or value >= 1 and string.format("%.1f", value)
    or string.format("%.2g", value)
end

-- The largest value, and the width that labels need.
local function extent(o)
  local largest, left = o.mark or 0, 0
  for _, group in ipairs(o.groups) do
    left = math.max(left, utf8.len(group.label) or #group.label)
    for k = 1, #o.series do
      largest = math.max(largest, group.values[k] or 0)
    end
  end
  return largest > 0 and largest or 1, math.min(math.ceil(left * CHARACTER) + 20, WIDTH // 2)
end

local function legend(out, o)
  local x = 12
  for k, s in ipairs(o.series) do
    out('<rect x="%d" y="36" width="10" height="10" fill="%s"/>', x, COLOURS[(k - 1) % #COLOURS + 1])
    out('<text x="%d" y="45">%s</text>', x + 15, escape(s.title))
    x = x + 15 + math.ceil(CHARACTER * #s.title) + 18
  end
end

local function axis(out, o, left, bottom, scale, largest)
  local step <const> = step_for(largest)
  for i = 0, math.floor(largest / step + 1e-9) do
    local x <const> = left + i * step * scale
    out('<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="#d9dce1"/>', x, TOP - 6, x, bottom)
    out('<text x="%.1f" y="%d" text-anchor="middle" fill="#5b616b">%g</text>', x, bottom + 14, i * step)
  end
  if o.unit then
    out('<text x="%d" y="%d" text-anchor="end" fill="#5b616b">%s</text>', WIDTH - 12, bottom + 30, escape(o.unit))
  end
  if o.mark then
    out('<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="#333" stroke-dasharray="4 3"/>', left + o.mark * scale,
      TOP - 6, left + o.mark * scale, bottom)
  end
end

local function bars(out, o, left, scale)
  local y = TOP
  for _, group in ipairs(o.groups) do
    local height <const> = BAR * #o.series
    out('<text x="%d" y="%.1f" text-anchor="end">%s</text>', left - 8, y + height / 2 + 4, escape(group.label))
    for k = 1, #o.series do
      local value <const> = group.values[k]
      if value then
        out('<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/>', left, y, math.max(value, 0) * scale, BAR - 1,
          COLOURS[(k - 1) % #COLOURS + 1])
        out('<text x="%.1f" y="%d" font-size="9" fill="#5b616b">%s</text>', left + math.max(value, 0) * scale + 3,
          y + BAR - 2, number(value))
      end
      y = y + BAR
    end
    y = y + GAP
  end
end

return function(o)
  local lines <const> = {}
  local function out(format, ...)
    lines[#lines + 1] = select("#", ...) > 0 and string.format(format, ...) or format
  end
  local largest <const>, left <const> = extent(o)
  local scale <const> = (WIDTH - left - 60) / largest
  local bottom <const> = TOP + #o.groups * (BAR * #o.series + GAP)
  out('<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" '
    .. 'font-family="sans-serif" font-size="11" fill="#22262b">', WIDTH, bottom + BOTTOM, WIDTH, bottom + BOTTOM)
  out('<rect width="%d" height="%d" fill="#ffffff"/>', WIDTH, bottom + BOTTOM)
  out('<text x="12" y="22" font-size="15" font-weight="bold">%s</text>', escape(o.title))
  legend(out, o)
  axis(out, o, left, bottom, scale, largest)
  bars(out, o, left, scale)
  if o.footnote then
    out('<text x="12" y="%d" fill="#5b616b">%s</text>', bottom + 30, escape(o.footnote))
  end
  out "</svg>"
  return table.concat(lines, "\n") .. "\n"
end
