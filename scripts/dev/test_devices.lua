-- SPDX-License-Identifier: MIT
--
-- build/lualign scripts/dev/test_devices.lua: what to test on, one OpenCL implementation a line, by the name of its
-- platform, which LUALIGN_DEVICE understands; PoCL's first if it is there. Devices of one platform differ less than
-- platforms do.

local la <const> = require "lualign"

local seen <const>, first <const>, rest <const> = {}, {}, {}
for _, device in ipairs(la.device.list()) do
  if not seen[device.platform] then
    seen[device.platform] = true
    local list <const> = device.platform == "Portable Computing Language" and first or rest
    list[#list + 1] = device.platform
  end
end
table.move(rest, 1, #rest, #first + 1, first)
print(table.concat(first, "\n"))
os.exit(#first > 0)
