-- SPDX-License-Identifier: MIT
--
-- Trunks against torchvision's, computed in double precision: tests/golden/trunks.json; trunks.py beside it says how.

local la <const> = require "lualign"
local pattern <const> = require "lib.pattern"

-- The weights of trunks.py; those of convolutions are (O, I, H, W) there, (O, H, W, I) here.
local function fill(trunk)
  local names <const>, own <const> = {}, {}
  for _, entry in ipairs(trunk:state_dict()) do
    names[#names + 1] = entry[1]
    own[entry[1]] = entry[2]
  end
  table.sort(names)
  for j, name in ipairs(names) do
    la.scope(function()
      local s <const> = own[name]:shape()
      local t <const> = pattern.tensor(name, #s == 4 and { s[1], s[4], s[2], s[3] } or s, j)
      own[name]:copy_(#s == 4 and t:permute { 1, 3, 4, 2 } or t)
    end)
  end
end

local here <const> = debug.getinfo(1, "S").source:match "^@(.*)/lua/[^/]*$"
local golden <const> = la.io.json_decode(la.io.read_file(here .. "/golden/trunks.json"))

describe("trunk", function()
  for label, expected in pairs(golden) do
    it(label .. " computes what torchvision's does", function()
      la.scope(la.no_grad, function()
        local kind <const>, last <const> = label:match "^(%S+) (%S+)$"
        local trunk <const> = la.models[kind] { weights = false, last = last }
        fill(trunk)
        local x <const> = pattern.image(64, 96)
        for _, mode in ipairs { "evaluation", "fused" } do
          trunk[mode == "fused" and "fuse" or "eval"](trunk)
          pattern.check(trunk:features(x, { last })[1], expected, label .. ", " .. mode)
        end
      end)
    end)
  end
end)
