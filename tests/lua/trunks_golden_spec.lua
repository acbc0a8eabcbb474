-- SPDX-License-Identifier: MIT
--
-- Trunks against torchvision's, computed in double precision: tests/golden/trunks.json; trunks.py beside it says how.

local la <const> = require "lualign"
local compare <const> = require "lib.compare"

local PERIOD <const> = 2003

-- n numbers of the pattern from number `first` on.
local function pattern(n, first)
  local list <const> = {}
  for i = 0, PERIOD - 1 do
    local k <const> = (i + first) % PERIOD
    list[i + 1] = ((17 * k * k + 7 * k) % PERIOD) / PERIOD - 0.5
  end
  local times <const> = (n + PERIOD - 1) // PERIOD
  return la.tensor(list):unsqueeze(1):expand(times, PERIOD):reshape(times * PERIOD):narrow(1, 1, n)
end

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
      local p <const> = pattern(own[name]:numel(), 31 * (j - 1))
      local t
      if #s == 4 then
        t = (p * math.sqrt(24 / (s[2] * s[3] * s[4]))):reshape(s[1], s[4], s[2], s[3]):permute { 1, 3, 4, 2 }
      elseif name:find "bias$" or name:find "running_mean$" then
        t = p * 0.1
      else
        t = p * 0.5 + 1
      end
      own[name]:copy_(t)
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
        local x <const> = (pattern(64 * 96 * 3, 0) * 2):reshape(1, 64, 96, 3)
        for _, mode in ipairs { "evaluation", "fused" } do
          trunk[mode == "fused" and "fuse" or "eval"](trunk)
          local y <const> = trunk:features(x, { last })[1]
          assert.same(expected.shape, y:shape())
          local flat <const>, got <const> = y:flat(), {}
          for k, i in ipairs(expected.at) do
            got[k] = flat[i + 1]
          end
          local square = 0
          for _, v in ipairs(flat) do
            square = square + v * v
          end
          compare.close(got, expected.values, 1e-4, label .. ", " .. mode)
          compare.close({ math.sqrt(square / #flat) }, { expected.rms }, 1e-5, label .. ", " .. mode .. ", rms")
        end
      end)
    end)
  end
end)
