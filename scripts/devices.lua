-- SPDX-License-Identifier: MIT
--
-- lualign devices: lists the OpenCL devices; * marks the one that would be taken.

local la <const> = require "lualign"
local cli <const> = require "lualign.cli"

cli.parse(cli.parser("devices", "Lists the OpenCL devices; * marks the one that would be taken."), arg)

local list <const>, problem <const> = la.device.list()
if #list == 0 then
  cli.fail("%s", problem)
end
local chosen <const> = la.device.choose()

local rows <const> = { { "", "type", "name", "platform", "units", "memory", "version" } }
for i, d in ipairs(list) do
  rows[i + 1] = {
    string.format("%s%d", i == chosen and "*" or " ", d.number), d.type, d.name, d.platform, tostring(d.units),
    string.format("%.1f GiB", d.memory / 2 ^ 30), d.version,
  }
end

local widths <const> = {}
for _, row in ipairs(rows) do
  for column, cell in ipairs(row) do
    widths[column] = math.max(widths[column] or 0, #cell)
  end
end
for _, row in ipairs(rows) do
  local cells <const> = {}
  for column, cell in ipairs(row) do
    cells[column] = cell .. (" "):rep(widths[column] - #cell)
  end
  print((table.concat(cells, "  "):gsub("%s+$", "")))
end
