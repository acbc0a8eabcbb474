-- SPDX-License-Identifier: MIT
--
-- One short training run on two devices, those that LUALIGN_DEVICE and LUALIGN_OTHER_DEVICE name: two compilers, one
-- result.

local run <const> = require "lib.run"
local shared <const> = require "lib.shared"

local TOLERANCE <const> = 1e-4 -- relative, that of convolutions

local function train(device)
  local script <const> = shared.repository .. "/tests/devices/training.lua"
  local r <const> = run({ script }, { env = { LUALIGN_DEVICE = device } })
  assert.are.equal(0, r.status, r.err)
  local labels <const>, numbers <const> = {}, {}
  for label, number in r.out:gmatch "(%a+) (%-?[%d.]+e?[-+]?%d*)" do
    if label ~= "parameter" then
      labels[#labels + 1] = label
      numbers[#numbers + 1] = tonumber(number)
    end
  end
  return numbers, labels
end

describe("a short training run", function()
  it("gives the same losses and parameters on two devices", function()
    local here <const>, other <const> = os.getenv "LUALIGN_DEVICE", os.getenv "LUALIGN_OTHER_DEVICE"
    if not other then
      shared.pending "LUALIGN_OTHER_DEVICE names no second device"
    end
    local a <const>, labels <const> = train(here)
    local b <const> = train(other)
    assert.are.equal(#a, #b)
    assert.is_true(#a > 8)
    local worst = 0
    for i, v in ipairs(a) do
      local err <const> = math.abs(v - b[i]) / math.max(math.abs(v), 0.1)
      worst = math.max(worst, err)
      assert.is_true(err <= TOLERANCE, ("%s, number %d: %.9g and %.9g"):format(labels[i], i, v, b[i]))
    end
    assert.is_true(a[8] < a[1], "the loss did not fall")
    print(("worst relative difference %.2g"):format(worst))
  end)
end)
