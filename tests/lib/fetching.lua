-- SPDX-License-Identifier: MIT
--
-- fetching.lua -- what the specs of lualign fetch share: a server, and a folder in which the program runs.
--
--   local f <const> = fetching.new()     f.dir   f.served, the folder that f.host serves
--   f.fetch({ url =, as =, ... }, "--keep")     one file, or a list of files; what comes goes below f.dir/out
--   f.contents "out"     names, joined by spaces     fetching.contains(text, part)     fetching.random_bytes(n)
--   f.stop()

local la <const> = require "lualign"
local assert <const> = require "luassert"
local run <const> = require "lib.run"
local server <const> = require "lib.server"
local shared <const> = require "lib.shared"
local tmp <const> = require "lib.tmp"

local fetching <const> = {}

--- n bytes, others each time.
function fetching.random_bytes(n)
  local parts <const> = {}
  for k = 1, n do
    parts[k] = string.char(math.random(0, 255))
  end
  return table.concat(parts)
end

local function need_programs()
  for _, name in ipairs { "curl", "unzip", "tar", "gzip", "sha256sum", "md5sum" } do
    if not os.execute("command -v " .. name .. " >/dev/null") then
      shared.pending("needs " .. name)
    end
  end
end

--- The SHA-256 of a text.
function fetching.sha256(text)
  need_programs()
  local dir <const> = tmp.dir()
  tmp.write(dir .. "/sum", text)
  local sum <const> = run.shell("sha256sum <" .. dir .. "/sum").out:match "^%x+"
  tmp.remove(dir)
  return sum
end

--- That a text contains a plain one.
function fetching.contains(text, part)
  assert.truthy(text:find(part, 1, true), string.format("no '%s' in:\n%s", part, text))
end

--- See the head of this file.
function fetching.new()
  local f <const> = { dir = tmp.dir(), served = tmp.dir() }
  f.host = server.start(f.served)
  function f.fetch(files, ...)
    need_programs()
    tmp.write(f.dir .. "/table.json", la.io.json_encode { { name = "set", into = "out", title = "a set",
      terms = "none", known = "what is known", layout = { "the layout" },
      files = (files[1] or not next(files)) and files or { files } } })
    return run({ "fetch", "--table", "table.json", "--pause", "0.01", "--retries", "2", "set", ... }, { dir = f.dir })
  end
  function f.contents(folder)
    return table.concat(tmp.list(f.dir .. "/" .. folder), " ")
  end
  function f.stop()
    f.host:stop()
    tmp.remove(f.dir)
    tmp.remove(f.served)
  end
  return f
end

return fetching
