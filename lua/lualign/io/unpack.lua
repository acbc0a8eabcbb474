-- SPDX-License-Identifier: MIT
--
-- lualign.io.unpack: zip and tar archives, by the programs unzip and tar (or bsdtar).
--
--   unpack.archive("data.tar.gz", "data")       -- data must not be there yet
--
-- An archive with a name that leads out of the folder (absolute, or with ..), or with a link that does, is refused.

local lfs <const> = require "lfs"
local process <const> = require "lualign.util.process"

local unpack <const> = {}

local KINDS <const> = {
  { "PK\3\4", "zip" }, { "PK\5\6", "zip" }, { "\x1f\x8b", "tar" }, { "BZh", "tar" }, { "\xfd7zXZ\0", "tar" },
  { "\x28\xb5\x2f\xfd", "tar" },
}

--- "zip" or "tar" (also a compressed one), or nil if a file is no archive.
function unpack.kind(path)
  local file <close> = assert(io.open(path, "rb"))
  local start <const> = file:read(512) or ""
  for _, kind in ipairs(KINDS) do
    if start:sub(1, #kind[1]) == kind[1] then
      return kind[2]
    end
  end
  return start:sub(258, 262) == "ustar" and "tar" or nil
end

local function fail(path, text, ...)
  error(string.format("%s: " .. text, path, ...), 0)
end

-- What a program wrote last on its standard error, without its name.
local function complaint(r)
  local last
  for line in r.err:gmatch "[^\n]+" do
    if not line:find "exiting now" and not line:find "Error is not recoverable" and not line:find "exit delayed" then
      last = last or line
    end
  end
  return last and last:gsub("^%s+", "") or "status " .. r.status
end

-- ---- names and links ----

-- Whether there is a .. in a path, between slashes of either kind.
local function climbs(name)
  return ("/" .. name:gsub("\\", "/") .. "/"):find("/../", 1, true) ~= nil
end

local function check_names(path, text)
  local count = 0
  for name in text:gmatch "[^\n]+" do
    count = count + 1
    if name:find "^/" or name:find "^%a:[/\\]" or climbs(name) then
      fail(path, "refused: '%s' in it leads out of the folder", name)
    end
  end
  if count == 0 then
    fail(path, "holds no files")
  end
end

-- Whether a link in a folder so many levels deep leads out of the top. A .. behind a name could climb from where
-- another link leads to, so only those at the beginning are accepted.
local function link_leads_out(target, depth)
  local rest = target
  while rest:find "^%.%./" or rest == ".." do
    rest, depth = rest:sub(4), depth - 1
  end
  return depth < 0 or target:find "^/" ~= nil or climbs(rest)
end

-- Every link in a folder must lead to something inside it. within: the path from the top of it.
local function check_links(path, folder, within, shared)
  for name in lfs.dir(folder) do
    if name ~= "." and name ~= ".." then
      local full <const>, inside <const> = folder .. "/" .. name, within .. name
      local a <const> = assert(lfs.symlinkattributes(full))
      if a.mode == "directory" then
        check_links(path, full, inside .. "/", shared)
      elseif a.mode == "link" then
        local target <const> = a.target or "/"
        if link_leads_out(target, select(2, within:gsub("/", ""))) then
          fail(path, "refused: '%s' in it is a link to '%s', out of the folder", inside, target)
        end
      elseif a.mode ~= "file" then
        fail(path, "refused: '%s' in it is a %s", inside, a.mode)
      elseif a.nlink > 1 then
        local key <const> = a.dev .. ":" .. a.ino
        shared[key] = shared[key] or { left = a.nlink, name = inside }
        shared[key].left = shared[key].left - 1
      end
    end
  end
end

-- ---- the programs ----

-- Runs the first of some programs that there is.
local function first_of(programs, package)
  for k, arguments in ipairs(programs) do
    local r <const> = process.run(arguments, { optional = k < #programs, package = package })
    if r then
      return r
    end
  end
end

local LIST <const> = {
  zip = function(path) return { { "unzip", "-Z1", path }, { "bsdtar", "-tf", path } } end,
  tar = function(path) return { { "tar", "-tf", path }, { "bsdtar", "-tf", path } } end,
}

local EXTRACT <const> = {
  zip = function(path, folder)
    return { { "unzip", "-q", "-o", "-P", "none", path, "-d", folder }, { "bsdtar", "-xof", path, "-C", folder } }
  end,
  tar = function(path, folder)
    local options <const> = { "-x", "-o", "--no-same-permissions", "-f", path, "-C", folder }
    return { { "tar", table.unpack(options) }, { "bsdtar", table.unpack(options) } }
  end,
}

local PACKAGE <const> = { zip = "unzip or libarchive-tools", tar = "tar or libarchive-tools" }

--- An error that names the package if what unpacks such a file, by its name, is not installed.
function unpack.check_programs(name)
  local kind <const> = name:find "%.zip$" and "zip" or "tar"
  first_of(kind == "zip" and { { "unzip", "-v" }, { "bsdtar", "--version" } }
    or { { "tar", "--version" }, { "bsdtar", "--version" } }, PACKAGE[kind])
end

--- Takes a file or a folder with all that it holds away; links are not followed.
function unpack.remove(path)
  if lfs.symlinkattributes(path, "mode") == "directory" then
    for name in lfs.dir(path) do
      if name ~= "." and name ~= ".." then
        unpack.remove(path .. "/" .. name)
      end
    end
    lfs.rmdir(path)
  else
    os.remove(path)
  end
end

-- A folder that goes, unless it is told to stay.
local Fresh <const> = {
  __close = function(self)
    if self.folder then
      unpack.remove(self.folder)
    end
  end,
}

--- Unpacks a zip or tar archive (plain, or compressed by gzip, bzip2, xz or zstd) into a folder that it makes. Whatever
-- goes wrong, and a name or link that leads out of the folder, is an error, after which the folder is gone.
function unpack.archive(path, folder)
  local kind <const> = unpack.kind(path)
  if not kind then
    fail(path, "is neither a zip nor a tar archive")
  end
  local listing <const> = first_of(LIST[kind](path), PACKAGE[kind])
  if listing.status ~= 0 then
    fail(path, "broken archive: %s", complaint(listing))
  end
  check_names(path, listing.out)
  assert(lfs.mkdir(folder))
  local fresh <close> = setmetatable({ folder = folder }, Fresh)
  local r <const> = first_of(EXTRACT[kind](path, folder), PACKAGE[kind])
  process.run { "chmod", "-R", "u+rwX", folder } -- whatever the archive says, it can be read, moved and taken away
  if r.status ~= 0 and not (kind == "zip" and r.status == 1) then -- unzip's 1: only warnings
    fail(path, "cannot be unpacked: %s", complaint(r))
  end
  local shared <const> = {}
  check_links(path, folder, "", shared)
  for _, file in pairs(shared) do
    if file.left ~= 0 then
      fail(path, "refused: '%s' in it is a link to a file out of the folder", file.name)
    end
  end
  fresh.folder = nil
  return folder
end

return unpack
