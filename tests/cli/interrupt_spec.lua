-- SPDX-License-Identifier: MIT
--
-- Ctrl-C in scripts: the first stops, or asks; the second kills.

local run <const> = require "lib.run"
local tmp <const> = require "lib.tmp"

-- Runs a script, sends SIGINT each time the file `ready` has grown by a line, `times` times; the shell's view of the
-- end.
local function interrupted(code, times)
  local dir <const> = tmp.dir()
  tmp.write(dir .. "/a.lua", [[
local function ready()
  local file = io.open("ready", "a")
  file:write("x\n")
  file:close()
end
]] .. code)
  local r <const> = run.shell(string.format([[
lines() { n=0; until [ "$(cat ready 2>/dev/null | wc -l)" -ge $1 ] || [ $n -gt 100 ]; do sleep 0.1; n=$((n+1)); done; }
%s a.lua & pid=$!
for i in $(seq %d); do lines $i; kill -INT $pid; done
wait $pid
]], run.quote(run.program), times), { dir = dir })
  tmp.remove(dir)
  return r
end

describe("Ctrl-C", function()
  it("stops a loop with status 130", function()
    local r <const> = interrupted("print 'on'\nready()\nwhile true do end", 1)
    assert.equal(130, r.status)
    assert.equal("on\n", r.out)
    assert.truthy(r.err:find("lualign: a.lua:8: interrupted!", 1, true), r.err)
  end)

  it("is an error that closes what is open", function()
    local r <const> = interrupted([[
local guard <close> = setmetatable({}, { __close = function() print "closed" end })
ready()
while true do end]], 1)
    assert.equal(130, r.status)
    assert.equal("closed\n", r.out)
  end)

  it("kills the second time", function()
    local r <const> = interrupted([[
ready()
pcall(function() while true do end end)
ready()
pcall(function() while true do end end)
while true do end]], 2)
    assert.equal(130, r.status)
    assert.equal("", r.err)
  end)

  it("only asks while it is deferred", function()
    local r <const> = interrupted([[
local interrupt = require "lualign.interrupt"
assert(not interrupt.pending())
interrupt.deferred(function()
  ready()
  while not interrupt.pending() do end
  print("saved", require("lualign").interrupted())
  interrupt.stop()
end)]], 1)
    assert.equal(130, r.status)
    assert.equal("saved\ttrue\n", r.out)
    assert.equal("lualign: interrupted!\n", r.err)
  end)

  it("kills the second time while it is deferred", function()
    local r <const> = interrupted([[
local interrupt = require "lualign.interrupt"
interrupt.deferred(function()
  ready()
  while not interrupt.pending() do end
  ready()
  while true do end
end)]], 2)
    assert.equal(130, r.status)
    assert.equal("", r.err)
  end)
end)
