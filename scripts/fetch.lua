-- SPDX-License-Identifier: MIT
--
-- lualign fetch NAME ...: downloads data sets and checkpoints. Without a name it lists them.

local la <const> = require "lualign"
local cli <const> = require "lualign.cli"

local parser <const> = cli.parser("fetch", "Downloads data sets and checkpoints; without a name it lists them. What is "
  .. "there is left alone; what was interrupted goes on where it ended.")
parser:argument("name", "see the list"):args "*"
parser:option("--into", "folder for the result, in place of the one listed"):argname("DIR")
parser:option("--url", "another address of the (first) file, or of a folder with all of them, ending in /")
  :argname("URL")
parser:flag("--keep", "keep archives after unpacking")
parser:flag("--dry-run", "only say what would be downloaded")
parser:option("--table", "JSON with more rows: [{\"name\":, \"into\":, \"files\": [{\"url\":, \"as\":, \"sha256\":}]}]")
  :argname("FILE")
parser:option("--retries", "how often a broken connection that brings nothing is tried again", 4):argname("N")
  :convert(cli.count)
parser:option("--pause", "seconds before the first time, then twice as long each time", 1):argname("S")
  :convert(cli.positive)
local args <const> = cli.parse(parser, arg)

local fetch <const> = la.data.fetch
local rows <const> = fetch.rows(args.table)

local function list()
  for _, row in ipairs(rows) do
    local there = 0
    for _, file in ipairs(row.files) do
      there = there + (fetch.is_there(row, file, args.into) and 1 or 0)
    end
    local size <const>, all <const> = fetch.size(row)
    print(string.format("%-34s %8s  %s", row.name, all and string.format("%.0f MB", math.max(size / 1e6, 1)) or
      size > 1e6 and string.format("> %.0f MB", size / 1e6) or "size ?", row.title or ""))
    print(string.format("  to %s%s; terms: %s", args.into or row.into, there == #row.files and ": is there"
      or there > 0 and string.format(": %d of %d files are there", there, #row.files) or "", row.terms or "not stated"))
  end
end

if #args.name == 0 then
  return list()
elseif #args.name > 1 and (args.url or args.into) then
  cli.fail("--url and --into take one name, got %d", #args.name)
end

local meter <const> = cli.transfer()
for _, name in ipairs(args.name) do
  local row <const> = fetch.find(rows, name)
  local ok <const>, problem <const> = pcall(fetch.get, row.name, {
    into = args.into, url = args.url, keep = args.keep, dry_run = args.dry_run, rows = rows, retries = args.retries,
    pause = args.pause,
    say = function(text)
      meter:finish()
      print(text)
    end,
    note = function(text) meter:note(text) end,
    progress = function(file, done, total) meter:update(file, done, total) end,
  })
  meter:finish()
  if not ok then
    error(problem, 0)
  end
end
