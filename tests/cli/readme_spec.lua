-- SPDX-License-Identifier: MIT
--
-- What the README shows is what is tested here: its training script runs, and is the file that this test runs.
local run <const> = require "lib.run"
local tmp <const> = require "lib.tmp"

local shared <const> = require "lib.shared"

local function read(name)
  return tmp.read(shared.repository .. "/" .. name)
end

describe("the README", function()
  it("shows the training script that is tested", function()
    local shown <const> = read "README.md":match "```lua file=tests/readme/train.lua\n(.-)```"
    assert.equal(read "tests/readme/train.lua", shown)
  end)

  it("has a training script that trains and leaves a checkpoint", function()
    local folder <const> = tmp.dir()
    local result <const> = run { shared.repository .. "/tests/readme/train.lua", "2", folder }
    assert.equal(0, result.status, result.err)
    assert.is_true(tmp.exists(folder .. "/last.safetensors"))
    tmp.remove(folder)
  end)
end)
