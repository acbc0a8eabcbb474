-- SPDX-License-Identifier: MIT
--
-- shared.lua -- data sets and weights that are not part of the repository.
--
-- They are looked for under $LUALIGN_SHARED, by default ../shared beside the repository. Tests that need them are
-- pending, saying what is missing, where they are not there.
--
--   it("reads the list", function()
--     local root = shared.skip_without("data/pf-willow")   -- its path, or the test ends here as pending

local lfs <const> = require "lfs"

local shared <const> = {}

-- The folder that holds tests/lib/shared.lua, two up, as an absolute path.
local function repository()
  local source <const> = debug.getinfo(1, "S").source:sub(2)
  local path <const> = source:sub(1, 1) == "/" and source or lfs.currentdir() .. "/" .. source
  return path:match("^(.*)/tests/lib/[^/]*$")
end

shared.repository = repository()
shared.root = os.getenv("LUALIGN_SHARED") or shared.repository .. "/../shared"

--- The path of a file or folder below the root, or nil.
function shared.find(name)
  local path <const> = shared.root .. "/" .. name
  return lfs.attributes(path, "mode") and path or nil
end

-- busted's own `pending`, which ends the running test, is only in the environment of the test's function; its core is
-- an upvalue of the function that runs tests, further down the stack.
local function end_as_pending(message)
  for level = 2, 60 do
    local info <const> = debug.getinfo(level, "f")
    if not info then
      break
    end
    local i = 1
    while true do
      local name <const>, value <const> = debug.getupvalue(info.func, i)
      if not name then
        break
      end
      if name == "busted" and type(value) == "table" and value.safe and value.pending then
        value.pending(message)
      end
      i = i + 1
    end
  end
  error("pending outside a test: " .. message, 0)
end

--- Ends the running test as pending, with a message.
shared.pending = end_as_pending

--- The path of what is asked for; ends the running test as pending where it is not there.
function shared.skip_without(name)
  local path <const> = shared.find(name)
  if not path then
    end_as_pending(string.format("needs %s in %s (set LUALIGN_SHARED)", name, shared.root))
  end
  return path
end

return shared
