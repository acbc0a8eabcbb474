-- SPDX-License-Identifier: MIT
--
-- la.data.fetch: data sets and checkpoints by name, see lualign.data.known; what lualign fetch does.
--
--   fetch.get("pf-willow")                      into datasets/proposal-flow-willow
--   fetch.get("weakalign", { into = "models" })
--
-- What is there already is left alone. Archives are unpacked beside their place and moved into it when they are whole.

local la <const> = require "lualign"
local download <const> = require "lualign.io.download"
local folders <const> = require "lualign.data.folders"
local interrupt <const> = require "lualign.interrupt"
local known <const> = require "lualign.data.known"
local lfs <const> = require "lfs"
local options <const> = require "lualign.util.options"
local process <const> = require "lualign.util.process"
local unpack <const> = require "lualign.io.unpack"

local fetch <const> = {}

-- ---- rows ----

local ROW <const> = {
  name = options.required "string", into = options.required "string", files = options.required "table", title = "",
  terms = "not stated", known = options.optional "string", layout = options.optional "table",
}

local FILE <const> = {
  url = options.required, as = options.required "string", bytes = options.optional "number",
  about = options.optional "number", sha256 = options.optional "string", md5 = options.optional "string",
  unpack = false, gives = options.optional "table", from = options.optional "string",
  inner = options.optional "table", rename = options.optional "table",
}

local function check_below(where, path)
  if type(path) ~= "string" or path == "" or path:find "^/" or ("/" .. path .. "/"):find("/../", 1, true) then
    error(string.format("%s: '%s' must be a path below the folder", where, tostring(path)), 0)
  end
end

local function check_file(where, file)
  options.check(where, file, FILE)
  check_below(where, file.as)
  if file.as:find "/" or file.as:find "^%." then
    error(string.format("%s: as must be the name of a file, got '%s'", where, file.as), 0)
  end
  for _, list in ipairs { file.gives or {}, file.inner or {}, { file.from } } do
    for _, path in ipairs(list) do
      check_below(where, path)
    end
  end
  for _, change in ipairs(file.rename or {}) do
    check_below(where, change[1])
    check_below(where, change[2])
  end
  local urls <const> = type(file.url) == "table" and file.url or { file.url }
  if #urls == 0 or type(urls[1]) ~= "string" then
    error(string.format("%s: url must be an address or a list of some", where), 0)
  end
  for kind, digits in pairs { sha256 = 64, md5 = 32 } do
    local sum <const> = file[kind]
    if sum and (sum:find "[^%x]" or #sum < 8 or #sum > digits) then
      error(string.format("%s: %s must be 8 to %d hexadecimal digits, got '%s'", where, kind, digits, sum), 0)
    end
  end
end

--- All rows that are known, and those of a JSON file in the same form: [{"name": "mine", "into": "data", "files":
-- [{"url": "https://...", "as": "mine.zip", "unpack": true, "gives": ["mine"]}]}]. One with a name that is known
-- stands for it.
function fetch.rows(path)
  local rows <const> = table.move(known, 1, #known, 1, {})
  local own <const> = path and la.io.json_decode(la.io.read_file(path), path) or {}
  if type(own) ~= "table" or #own == 0 and next(own) then
    error(path .. ": must be a list of rows", 0)
  end
  for k, row in ipairs(own) do
    local where <const> = string.format("%s: row %d", path, k)
    options.check(where, row, ROW)
    if row.into == "" or #row.files == 0 then
      error(where .. ": into must name a folder, and files hold at least one", 0)
    end
    for _, file in ipairs(row.files) do
      check_file(where, file)
    end
    local at = #rows + 1
    for i, other in ipairs(rows) do
      at = other.name == row.name and i or at
    end
    rows[at] = row
  end
  return rows
end

--- The row of a name; an error that names the nearest one.
function fetch.find(rows, name)
  local names <const> = {}
  for k, row in ipairs(rows) do
    if row.name == name then
      return row
    end
    names[k] = row.name
  end
  error(string.format("unknown data set '%s'%s (lualign fetch lists them)", name, options.hint(name, names)), 0)
end

-- ---- what is there ----

local function root_of(row, into)
  local root <const> = (into or row.into):gsub("(.)/+$", "%1")
  return root:find "^%-" and "./" .. root or root
end

-- Archives whose contents are not known beforehand leave a list of what was in them.
local function stamp_of(file, root)
  return root .. "/." .. file.as .. ".unpacked"
end

local function given_by(file, root)
  if file.gives then
    return file.gives
  end
  local names <const> = {}
  if la.io.exists(stamp_of(file, root)) then
    for name in la.io.read_file(stamp_of(file, root)):gmatch "[^\n]+" do
      names[#names + 1] = name
    end
  end
  return names
end

--- Whether a file of a row is there, unpacked if it is an archive.
function fetch.is_there(row, file, into)
  local root <const> = root_of(row, into)
  if not file.unpack then
    local path <const> = root .. "/" .. file.as
    return la.io.exists(path) == "file" and (not file.bytes or lfs.attributes(path, "size") == file.bytes)
  end
  local names <const> = given_by(file, root)
  for _, name in ipairs(names) do
    if not la.io.exists(root .. "/" .. name) then
      return false
    end
  end
  return #names > 0
end

--- Bytes of a row's files, as far as they are known, and whether all are.
function fetch.size(row)
  local sum, all = 0, true
  for _, file in ipairs(row.files) do
    sum, all = sum + (file.bytes or file.about or 0), all and (file.bytes or file.about) ~= nil
  end
  return sum, all
end

-- ---- archives ----

local JUNK <const> = { __MACOSX = true, [".DS_Store"] = true }

local function entries_of(folder)
  local names <const> = {}
  for _, name in ipairs(folders.names(folder)) do
    if not JUNK[name] then
      names[#names + 1] = name
    end
  end
  return names
end

local function move(from, to)
  local ok <const>, problem <const> = os.rename(from, to)
  if not ok then
    error(problem, 0)
  end
end

-- Unpacks the archives in a folder that file.inner names, and renames what file.rename says.
local function arrange(file, folder)
  for _, name in ipairs(file.inner or {}) do
    if la.io.exists(folder .. "/" .. name) ~= "file" then
      error(string.format("%s: has no '%s' in it", file.as, name), 0)
    end
    local place <const> = folder .. "/.inner"
    unpack.archive(folder .. "/" .. name, place)
    os.remove(folder .. "/" .. name)
    for _, entry in ipairs(entries_of(place)) do
      move(place .. "/" .. entry, folder .. "/" .. entry)
    end
    unpack.remove(place)
  end
  for _, change in ipairs(file.rename or {}) do
    if la.io.exists(folder .. "/" .. change[1]) then
      move(folder .. "/" .. change[1], folder .. "/" .. change[2])
    end
  end
end

-- The contents of an archive to their place. Everything that can fail comes before the first move.
local function place(file, archive, root)
  local folder <const> = root .. "/.fetch-" .. file.as
  unpack.remove(folder)
  local fresh <close> = setmetatable({ folder }, { __close = function(self) unpack.remove(self[1]) end })
  unpack.archive(archive, fresh[1])
  local content <const> = file.from and folder .. "/" .. file.from or folder
  if la.io.exists(content) ~= "folder" then
    error(string.format("%s: has no folder '%s' in it", archive, file.from), 0)
  end
  arrange(file, content)
  local entries <const>, needed <const> = entries_of(content), {}
  for _, name in ipairs(file.gives or entries) do
    if not la.io.exists(content .. "/" .. name) then
      error(string.format("%s: has no '%s' in it, but %s", archive, name, table.concat(entries, ", ", 1,
        math.min(#entries, 8))), 0)
    end
    needed[name:match "^[^/]+"] = true
  end
  for name in pairs(needed) do
    if la.io.exists(root .. "/" .. name) then
      error(string.format("%s/%s is there, but not all that belongs to it: move it away and try again", root, name), 0)
    end
  end
  for _, name in ipairs(entries) do
    if not la.io.exists(root .. "/" .. name) then
      move(content .. "/" .. name, root .. "/" .. name)
    end
  end
  if not file.gives then
    la.io.write_file(stamp_of(file, root), table.concat(entries, "\n") .. "\n")
  end
end

-- ---- one file ----

local function urls_of(row, file, o)
  if not o.url or not o.url:find "/$" and file ~= row.files[1] then
    return type(file.url) == "table" and file.url or { file.url }
  end
  return { o.url:find "/$" and o.url .. file.as or o.url }
end

local function plan(row, file, root, o)
  local size <const> = file.bytes or file.about
  o.say(string.format("would download %s%s to %s/%s%s%s", table.concat(urls_of(row, file, o), " or "),
    size and string.format(" (%s%.1f MB)", file.bytes and "" or "about ", size / 1e6) or "", root, file.as,
    file.sha256 and ", check its SHA-256" or file.md5 and ", check its MD5" or "",
    file.unpack and ", unpack it" .. (file.gives and " to " .. table.concat(file.gives, ", ") or "") or ""))
end

local function fetch_file(row, file, root, o)
  local path <const> = root .. "/" .. file.as
  local placed <const> = la.io.exists(path) == "file"
  if placed then
    local wrong <const> = download.problem(path, file)
    if wrong then
      error(string.format("%s is there, but %s: move it away and try again", path, wrong), 0)
    end
  else
    download.file(urls_of(row, file, o), path, {
      bytes = file.bytes, sha256 = file.sha256, md5 = file.md5, retries = o.retries, pause = o.pause, note = o.note,
      progress = function(done, total) o.progress(file.as, done, total or file.bytes) end,
    })
    if not file.unpack then
      o.say(string.format("%s: %d bytes%s", path, lfs.attributes(path, "size"),
        (file.sha256 or file.md5) and ", checksum right" or ""))
    end
  end
  if file.unpack then
    o.note("unpacking " .. path)
    local ok <const>, problem <const> = pcall(place, file, path, root)
    if not (placed or o.keep or interrupt.pending()) then
      os.remove(path) -- without use if it could not be unpacked
    end
    if not ok then
      error(problem, 0)
    end
    o.say(string.format("%s: unpacked to %s", file.as, table.concat(given_by(file, root), ", ")))
  end
end

-- ---- all of a row ----

local function failure_text(row, root, failures)
  local lines <const> = { string.format("%s: %d of %d files could not be had", row.name, #failures, #row.files) }
  for _, failure in ipairs(failures) do
    lines[#lines + 1] = string.format("  %s", failure[1].as)
    for line in failure[2]:gmatch "[^\n]+" do
      lines[#lines + 1] = "    " .. line
    end
  end
  if row.known then
    lines[#lines + 1] = "known: " .. row.known
  end
  if row.layout then
    lines[#lines + 1] = "by another address: --url; or by hand: place the file above (an archive is then unpacked), or"
    lines[#lines + 1] = "what is missing of this, in " .. root .. ", and run this again:"
    for _, line in ipairs(row.layout) do
      lines[#lines + 1] = "  " .. line
    end
  end
  return table.concat(lines, "\n")
end

local function get(row, o)
  local root <const>, failures <const>, missing <const> = root_of(row, o.into), {}, {}
  for _, file in ipairs(row.files) do
    if not fetch.is_there(row, file, o.into) then
      missing[#missing + 1] = file
    end
  end
  if #missing == 0 then
    o.say(string.format("%s: is in %s already", row.name, root))
    return root
  elseif o.dry_run then
    for _, file in ipairs(missing) do
      plan(row, file, root, o)
    end
    return root
  end
  process.run({ "curl", "--version" }, { package = "curl" })
  for _, file in ipairs(missing) do
    if file.unpack then
      unpack.check_programs(file.as)
    end
  end
  o.say(string.format("%s: to %s; terms: %s", row.name, root, row.terms or ROW.terms))
  for _, file in ipairs(missing) do
    local ok <const>, problem <const> = pcall(fetch_file, row, file, root, o)
    if interrupt.pending() then
      interrupt.stop()
    elseif not ok then
      failures[#failures + 1] = { file, tostring(problem) }
    end
  end
  if #failures > 0 then
    error(failure_text(row, root, failures), 0)
  end
  return root
end

local function nothing() end

--- Brings a data set or checkpoint here, if it is not, and gives its folder. opts: into, the folder; url, another
-- address of its first file, or, ending in /, of the folder that has all its files; keep, archives stay after
-- unpacking; dry_run, only say what would be done; rows (fetch.rows()); retries, pause: see download.file; say(text),
-- note(text), progress(name, done, total): what to show. What could not be had is one error, after the rest was
-- brought, that says what is known and how to place it by hand. After Ctrl-C what has come stays as .part.
function fetch.get(name, opts)
  local o <const> = options.check("fetch.get", opts, {
    into = options.optional "string", url = options.optional "string", keep = false, dry_run = false,
    rows = options.optional "table", retries = 4, pause = options.any(1), say = nothing, note = nothing,
    progress = nothing,
  })
  local row <const> = fetch.find(o.rows or known, name)
  return interrupt.deferred(get, row, o)
end

return fetch
