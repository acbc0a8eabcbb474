-- SPDX-License-Identifier: MIT
--
-- server.lua -- a folder served by HTTP on this machine, by tools/file_server.c, which says what its addresses mean.
--
--   local s = server.start(folder)       s.url = "http://127.0.0.1:40001/"
--   s:requests()                         { "GET /plain/a.bin -", ... } so far
--   s:stop()

local core <const> = require "lualign.core"
local run <const> = require "lib.run"
local tmp <const> = require "lib.tmp"

local Server <const> = {}
Server.__index = Server

local server <const> = {}

local function program()
  local build <const> = os.getenv "LUALIGN_BUILD" or run.program:match "^(.*)/[^/]*$"
  return build .. "/tests/file_server"
end

--- Starts one; it ends with stop, or with the process that started it.
function server.start(folder)
  local self <const> = setmetatable({ dir = tmp.dir() }, Server)
  self.pipe = assert(io.popen(string.format("exec %s %s %s/log >%s/port", run.quote(program()), run.quote(folder),
    self.dir, self.dir), "w"))
  local port
  for _ = 1, 400 do
    port = tmp.exists(self.dir .. "/port") and tmp.read(self.dir .. "/port"):match "^(%d+)\n"
    if port then
      break
    end
    core.io.sleep(0.05)
  end
  self.url = "http://127.0.0.1:" .. assert(port, "file_server gave no port") .. "/"
  return self
end

--- The requests so far, in order; behind each where its Range began, or -.
function Server:requests()
  local list <const> = {}
  for line in tmp.read(self.dir .. "/log"):gmatch "[^\n]+" do
    list[#list + 1] = line
  end
  return list
end

function Server:stop()
  self.pipe:close()
  tmp.remove(self.dir)
end

return server
