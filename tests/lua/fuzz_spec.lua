-- SPDX-License-Identifier: MIT
-- Every op called with arguments that nobody would pass: it returns tensors or raises a message that names it.
local la <const> = require "lualign"
local fuzz <const> = require "fuzz.op_arguments"

local CALLS <const> = tonumber(os.getenv "LUALIGN_FUZZ_CALLS") or 200
local SEED <const> = os.getenv "LUALIGN_FUZZ_SEED" or "1"

describe("arguments that nobody would pass to", function()
  for _, op in ipairs(la.ops()) do
    it(op.name, function()
      local passed <const> = fuzz(op, CALLS, SEED)
      assert.is_true(passed > CALLS // 20, ("only %d calls went through"):format(passed))
      assert.is_true(passed < CALLS, "every call went through")
    end)
  end
end)
