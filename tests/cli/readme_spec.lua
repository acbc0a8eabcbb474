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

  it("shows a session at the prompt that works", function()
    local shown <const> = {}
    for line in read("README.md"):match("```\n(> p = .-)```"):gmatch "> ([^\n]*)" do
      shown[#shown + 1] = line
    end
    local typed <const> = read "tests/readme/prompt.txt"
    assert.equal(typed, table.concat(shown, "\n") .. "\n")
    local folder <const> = tmp.dir()
    local result <const> = run({ "-i" }, { stdin = typed, dir = folder })
    assert.equal(0, result.status, result.err)
    assert.matches("alignment affine%+tps, soft inliers 0%.%d+", result.out)
    assert.matches("la.soft_inlier_count%(", result.out)
    assert.is_true(tmp.exists(folder .. "/overlay.png"))
    tmp.remove(folder)
  end)

  it("has a training script that trains and leaves a checkpoint", function()
    local folder <const> = tmp.dir()
    local result <const> = run { shared.repository .. "/tests/readme/train.lua", "2", folder }
    assert.equal(0, result.status, result.err)
    assert.is_true(tmp.exists(folder .. "/last.safetensors"))
    tmp.remove(folder)
  end)
end)
