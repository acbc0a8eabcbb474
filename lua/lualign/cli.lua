-- SPDX-License-Identifier: MIT
--
-- lualign.cli: what the packaged scripts share: options, bad usage, and the program's own --help, --version, --profile.
--
--   local cli <const> = require "lualign.cli"
--   local parser <const> = cli.parser("align", "Aligns picture A to picture B.")   -- an argparse parser
--   parser:option("--steps", "optimiser steps", 500):convert(cli.count)
--   local args <const> = cli.parse(parser, arg)    -- args.steps, args.seed; --device is obeyed, --seed seeds
--   cli.fail("there is no picture in %s", folder)  -- ends the program: "lualign align: there is ...", status 1
--
-- Bad usage ends the program the same way, with one line on stderr.

local argparse <const> = require "argparse"
local la <const> = require "lualign"

local has_program <const>, program <const> = pcall(require, "lualign.program")

local cli <const> = {}

-- ---- ending ----

-- The program prints `message`, if there is one, and ends with `exit_status`; stock Lua prints the text.
local Exit <const> = { __tostring = function(self) return self.message or "exit status " .. self.exit_status end }

--- Ends the program with a status, after a message if one is given.
function cli.exit(status, message)
  error(setmetatable({ exit_status = status, message = message }, Exit), 0)
end

--- Ends the program with status 1 and a message (string.format's arguments).
function cli.fail(format, ...)
  cli.exit(1, select("#", ...) > 0 and string.format(format, ...) or format)
end

-- ---- options ----

local function number_where(what, fits)
  return function(text)
    local value <const> = tonumber(text)
    if value and value == value and fits(value) then
      return math.tointeger(value) or value
    end
    return nil, string.format("'%s' is not %s", text, what)
  end
end

--- Converters for parser:option(...):convert(...).
cli.count = number_where("a whole number, 0 or more", function(v) return math.tointeger(v) and v >= 0 end)
cli.integer = number_where("a whole number", function(v) return math.tointeger(v) end)
cli.positive = number_where("a number above 0", function(v) return v > 0 and v < math.huge end)
cli.number = number_where("a number", function(v) return v > -math.huge and v < math.huge end)

--- An argparse parser for `lualign <name>` with the options that all scripts have: --device, --seed, --profile, --help.
function cli.parser(name, brief)
  local parser <const> = argparse("lualign " .. name, brief)
  parser:usage_margin(2):help_max_width(100)
  parser:option("--device", "device by number, name or type (gpu, cpu, gpu:2); lualign devices lists them")
    :argname("D"):action(function(_, _, which) la.device.use(which) end)
  local seed <const> = has_program and program.given_seed(1) or 1
  parser:option("--seed", "seed of all random numbers", seed):argname("N"):convert(cli.integer)
  if has_program then
    parser:flag("--profile", "print what each kernel took"):action(function() program.profile() end)
  end
  return parser
end

--- The arguments (a list; without one the program's own) as a table. Lua's random numbers are seeded, the device's when
--- it
-- opens. Bad usage ends the program.
function cli.parse(parser, list)
  local ok <const>, result <const> = parser:pparse(list or arg)
  if not ok then
    local text <const> = tostring(result):gsub("\nDid you mean ", ", did you mean "):gsub("\n", " ")
    cli.fail("%s", text:match "^unknown option" and not text:match "did you mean"
      and text .. "; " .. parser._name .. " --help lists them" or text)
  end
  math.randomseed(result.seed)
  if has_program then
    program.seed(result.seed)
  end
  return result
end

-- ---- progress ----

local Meter <const> = {}
Meter.__index = Meter

--- A count of `total` things on stderr: one line that is redrawn at a terminal, elsewhere a line for every tenth.
-- meter:update(i[, text]) after each, meter:finish() at the end.
function cli.progress(name, total)
  local redraw <const> = has_program and program.stderr_is_terminal() or false
  return setmetatable({ name = name, total = total, redraw = redraw, start = la.device.clock(), shown = 0 }, Meter)
end

--- Shows that i of the total are done, and a few words; where nobody watches, ten lines in all.
function Meter:update(i, text)
  local tenth <const> = i * 10 // math.max(self.total, 1)
  if not self.redraw and tenth == self.shown then
    return
  end
  self.shown = tenth
  local spent <const> = la.device.clock() - self.start
  local left = ""
  if i > 0 and i < self.total and spent >= 2 then
    left = string.format(", %d s left", math.ceil(spent / i * (self.total - i)))
  end
  local line <const> = string.format("%s %d/%d%s%s", self.name, i, self.total, text and " " .. text or "", left)
  io.stderr:write(self.redraw and "\r" .. line .. "\27[K" or line .. "\n")
end

--- Takes the line off the screen.
function Meter:finish()
  if self.redraw then
    io.stderr:write("\r\27[K")
  end
end

-- Bytes as text.
local function bytes_text(bytes)
  return bytes < 1e6 and string.format("%.0f kB", bytes / 1e3) or string.format("%.1f MB", bytes / 1e6)
end

local Transfer <const> = {}
Transfer.__index = Transfer

--- How far downloads are, on stderr: one line that is redrawn at a terminal, elsewhere a line for every tenth, or for
-- every 10 MB where the size is not known. transfer:update(name, done, total), transfer:note(text), transfer:finish().
function cli.transfer()
  return setmetatable({ redraw = has_program and program.stderr_is_terminal() or false }, Transfer)
end

--- Shows that so many of a file's bytes are there; total may be nil. Speed and time left are those of this transfer.
function Transfer:update(name, done, total)
  local now <const> = la.device.clock()
  if self.name ~= name or done < self.first then
    self.name, self.start, self.first, self.shown = name, now, done, nil
  end
  local step <const> = total and done * 10 // math.max(total, 1) or done // 10000000
  if not self.redraw and step == (self.shown or 0) then
    return
  end
  self.shown = step
  local speed <const> = (done - self.first) / math.max(now - self.start, 1e-3)
  local line = string.format("%s %s%s", name, bytes_text(done), total and " of " .. bytes_text(total) or "")
  if now - self.start >= 1 then
    line = line .. string.format(", %s/s", bytes_text(speed))
    if total and done < total and speed > 0 then
      line = line .. string.format(", %d s left", math.ceil((total - done) / speed))
    end
  end
  io.stderr:write(self.redraw and "\r" .. line .. "\27[K" or line .. "\n")
end

--- A line of its own.
function Transfer:note(text)
  self:finish()
  io.stderr:write(text, "\n")
end

Transfer.finish = Meter.finish

-- ---- the program's own pages ----

-- What a script is for: the first sentence of the comment at its head, up to a colon, without "lualign <name> ...: ".
local function brief_of(path, name)
  local file <close> = assert(io.open(path))
  local words <const> = {}
  for line in file:lines() do
    local text <const> = line:match "^%-%-%s*(.*)$"
    if not text or text == "" and #words > 0 then
      break
    end
    if text ~= "" and not text:match "^SPDX" then
      words[#words + 1] = text
    end
  end
  local text = table.concat(words, " ")
  text = text:gsub("^lualign " .. name .. "[^:]*:%s*", ""):gsub("^" .. name .. "%.lua[%s:-]*", "")
  text = text:match "^(.-)[.:]%f[%s\0]" or text
  return text:sub(1, 1):lower() .. text:sub(2)
end

local USAGE <const> = [[
lualign %s: aligns photographs of different objects of one kind, on any OpenCL device.

  lualign [options] command ...      one of the commands below; lualign command --help says more
  lualign [options] script.lua ...   runs your script
  lualign [options]                  the prompt, or what comes on standard input (also as -)

Options, before the command or script:
  --device D    device by number, name or type (gpu, cpu, gpu:2); default: $LUALIGN_DEVICE, else the first GPU,
                else the first device
  --seed N      seeds Lua's random numbers and the device's
  --profile     prints at the end what each kernel took
  -e CODE       runs a piece of Lua, in which la is lualign
  -i            then the prompt
  --version, --help
]]

--- Prints the usage and one line for each command.
function cli.print_help()
  io.write(USAGE:format(la.version), "\nCommands:\n")
  for _, name in ipairs(program.commands()) do
    io.write(string.format("  %-13s %s\n", name, brief_of(program.folders().scripts .. "/" .. name .. ".lua", name)))
  end
end

--- Prints the versions of lualign, Lua and the line editor.
function cli.print_version()
  print(string.format("lualign %s (%s, line editing: %s)", la.version, _VERSION, program.editor()))
end

local function rate(amount, seconds)
  return amount > 0 and seconds > 0 and string.format("%.1f", amount / seconds / 1e9) or "-"
end

--- The kernel table, as text.
function cli.profile_table(rows)
  local total, width = 0, #"kernel"
  for _, row in ipairs(rows) do
    total = total + row.seconds
    width = math.max(width, #row.kernel)
  end
  local format <const> = "%-" .. width .. "s %8s %11s %8s %8s %6s"
  local lines <const> = { format:format("kernel", "calls", "ms", "GB/s", "GFLOP/s", "share") }
  for _, row in ipairs(rows) do
    lines[#lines + 1] = format:format(row.kernel, row.calls, string.format("%.3f", row.seconds * 1e3),
      rate(row.bytes, row.seconds), rate(row.flops, row.seconds),
      string.format("%.1f%%", total > 0 and 100 * row.seconds / total or 0))
  end
  lines[#lines + 1] = format:format("total", "", string.format("%.3f", total * 1e3), "", "", "")
  return table.concat(lines, "\n")
end

--- Prints the kernel table on stderr, if a device was opened.
function cli.print_profile()
  if la.device.is_open() then
    io.stderr:write(cli.profile_table(la.device.profile_rows()), "\n")
  else
    io.stderr:write("no device was opened: there is nothing to profile\n")
  end
end

return cli
