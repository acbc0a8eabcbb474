-- SPDX-License-Identifier: MIT
--
-- build/lualign scripts/dev/test_devices.lua: the numbers of the devices to test on, one per OpenCL implementation and
-- PoCL's first if it is there: "2 1". Devices that implement the same OpenCL differ less than their drivers do.

local la <const> = require "lualign"

local seen <const>, first <const>, rest <const> = {}, {}, {}
for i, device in ipairs(la.device.list()) do
  if not seen[device.platform] then
    seen[device.platform] = true
    local list <const> = device.platform == "Portable Computing Language" and first or rest
    list[#list + 1] = i
    io.stderr:write(("test: device %d is %s, %s\n"):format(i, device.name, device.platform))
  end
end
table.move(rest, 1, #rest, #first + 1, first)
print(table.concat(first, " "))
os.exit(#first > 0)
