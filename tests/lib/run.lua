-- SPDX-License-Identifier: MIT
--
-- run.lua -- runs the program that was built, and commands around it.
--
--   local r = run({ "-e", "print(1)" }, { env = { LUALIGN_MEMORY = "1" }, stdin = "text", dir = "/tmp" })
--   r.status, r.out, r.err
--   run.shell("lualign devices | head -1", options)     -- a shell command, in which lualign is the program
--   run.terminal({ ... }, script)                       -- at a pseudo-terminal, see below
--
-- The program is $LUALIGN_BIN, else lualign in $LUALIGN_BUILD, else the one that runs the specs, else build/lualign.

local lfs <const> = require "lfs"
local shared <const> = require "lib.shared"
local tmp <const> = require "lib.tmp"

local run <const> = {}

local function find_program()
  local build <const> = os.getenv "LUALIGN_BUILD"
  local path <const> = os.getenv "LUALIGN_BIN" or build and build .. "/lualign"
  if path then
    return path:sub(1, 1) == "/" and path or lfs.currentdir() .. "/" .. path
  end
  local self <const> = (lfs.symlinkattributes "/proc/self/exe" or {}).target
  return self and self:match "/lualign$" and self or shared.repository .. "/build/lualign"
end

run.program = find_program()

function run.quote(text)
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

local function quoted_list(list)
  local parts <const> = {}
  for i, text in ipairs(list) do
    parts[i] = run.quote(text)
  end
  return table.concat(parts, " ")
end

-- "export A='1'; unset B; " for { A = "1", B = false }
local function environment(env)
  local parts <const> = {}
  for name, value in pairs(env or {}) do
    parts[#parts + 1] = value and string.format("export %s=%s; ", name, run.quote(value)) or "unset " .. name .. "; "
  end
  table.sort(parts)
  return table.concat(parts)
end

--- Runs a shell command; `options`: env (false unsets), stdin (text), dir. Returns { status, out, err }.
function run.shell(command, options)
  options = options or {}
  local dir <const> = tmp.dir()
  tmp.write(dir .. "/in", options.stdin or "")
  tmp.write(dir .. "/command", table.concat {
    environment(options.env), "lualign() { ", run.quote(run.program), ' "$@"; }\n',
    options.dir and "cd " .. run.quote(options.dir) .. " || exit 99\n" or "", command, "\n",
  })
  local _, _, status <const> = os.execute(string.format("sh %s/command <%s/in >%s/out 2>%s/err", dir, dir, dir, dir))
  local result <const> = { status = status, out = tmp.read(dir .. "/out"), err = tmp.read(dir .. "/err") }
  tmp.remove(dir)
  return result
end

--- Runs the program at a pseudo-terminal. `steps` is a list of { wait, text }: text is typed once `wait` (plain text,
--- nil
-- for at once) has appeared on the screen. Returns what the screen showed, and the exit status. Ends the test as
-- pending where there is no script(1).
function run.terminal(args, steps, options)
  if not os.execute "command -v script >/dev/null 2>&1" then
    shared.pending "needs script(1)"
  end
  local dir <const> = tmp.dir()
  local feeder <const> = {}
  for i, step in ipairs(steps) do
    if step[1] then
      assert(step[1] ~= "" and not step[1]:find "\n", "run.terminal: what is waited for must lie in one line")
      tmp.write(dir .. "/wait" .. i, step[1])
      -- gives up after about 20 s
      local seen <const> = string.format("grep -qF -f %s/wait%d %s/screen || [ -e %s/done ]", dir, i, dir, dir)
      feeder[#feeder + 1] = "n=0; until " .. seen .. " || [ $n -gt 200 ]; do sleep 0.1; n=$((n+1)); done"
    end
    tmp.write(dir .. "/type" .. i, step[2])
    feeder[#feeder + 1] = string.format("cat %s/type%d", dir, i)
  end
  -- the input stays open until the program is gone: script(1) would hang up with it
  feeder[#feeder + 1] = string.format(
    "n=0; until [ -e %s/done ] || [ $n -gt 200 ]; do sleep 0.1; n=$((n+1)); done", dir)
  tmp.write(dir .. "/screen", "")
  -- the shell must outlive the Ctrl-C that is meant for the program
  local command_line <const> = quoted_list { run.program, table.unpack(args) }
  tmp.write(dir .. "/run", string.format("trap : INT\n%s; echo $? >%s/done", command_line, dir))
  tmp.write(dir .. "/feed", table.concat(feeder, "\n") .. "\n")
  local command <const> = string.format("sh %s/feed | TERM=dumb script -qfc 'sh %s/run' %s/screen", dir, dir, dir)
  local result <const> = run.shell(command, options)
  result.screen = tmp.read(dir .. "/screen"):gsub("\r", "")
  result.status = tmp.exists(dir .. "/done") and tonumber(tmp.read(dir .. "/done")) or nil
  tmp.remove(dir)
  return result
end

return setmetatable(run, {
  __call = function(_, args, options)
    return run.shell("lualign " .. quoted_list(args), options)
  end,
})
