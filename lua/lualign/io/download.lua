-- SPDX-License-Identifier: MIT
--
-- lualign.io.download: files from the network, by the program curl.
--
--   download.file("https://host/data.zip", "data.zip", { sha256 = "...", progress = function(done, total) ... end })
--
-- What has come is in data.zip.part until all of it is there and its checksum is right; only then it gets its name. A
-- .part that an earlier call left is continued where it ends, if the server says that the file is still the same one
-- (data.zip.part.json holds its address, tag, date and size); otherwise it begins again. A connection that breaks is
-- tried again, after 1, 2, 4, 8 seconds, at most 60.

local la <const> = require "lualign"
local lfs <const> = require "lfs"
local options <const> = require "lualign.util.options"
local process <const> = require "lualign.util.process"

local download <const> = {}

-- Of curl: what may be better the next time. 6, a host that is not found, is tried only once more.
local PASSING <const> = {
  [5] = true, [6] = true, [7] = true, [16] = true, [18] = true, [28] = true, [35] = true, [52] = true, [55] = true,
  [56] = true, [92] = true, [95] = true,
}
local UNKNOWN_HOST <const>, NO_RANGES <const>, HTTP_ERROR <const> = 6, 33, 22
local BUSY <const> = {
  [408] = true, [425] = true, [429] = true, [500] = true, [502] = true, [503] = true, [504] = true,
}
local BEYOND <const> = 416 -- a range past the end

local function size_of(path)
  return lfs.attributes(path, "size")
end

-- ---- checksums ----

local SUMS <const> = {
  sha256 = {
    digits = 64, label = "SHA-256",
    { "sha256sum", "--" }, { "shasum", "-a", "256", "--" }, { "openssl", "dgst", "-sha256", "-r" },
  },
  md5 = { digits = 32, label = "MD5", { "md5sum", "--" }, { "openssl", "dgst", "-md5", "-r" } },
}

--- The checksum of a file, kind "sha256" or "md5", in lower-case hexadecimal digits.
function download.checksum(path, kind)
  for _, program in ipairs(SUMS[kind]) do
    local arguments <const> = table.move(program, 1, #program, 1, {})
    arguments[#arguments + 1] = path
    local r <const> = process.run(arguments, { optional = true })
    local digits <const> = r and r.status == 0 and r.out:match "^\\?(%x+)"
    if digits and #digits == SUMS[kind].digits then
      return digits:lower()
    end
  end
  error(string.format("download: needs one of the programs %s and openssl to compute the checksum of %s (install the "
    .. "package coreutils)", SUMS[kind][1][1], path), 0)
end

--- What is wrong with a file: nil if it has so many bytes and that checksum, as far as those are given. A checksum of
-- fewer digits is a beginning, as in resnet18-f37072fd.pth.
function download.problem(path, expected)
  local bytes <const> = size_of(path)
  if expected.bytes and bytes ~= expected.bytes then
    return string.format("has %d bytes, expected %d", bytes, expected.bytes)
  end
  for kind, sum in pairs(SUMS) do
    local wanted <const> = expected[kind]
    local found <const> = wanted and download.checksum(path, kind)
    if wanted and found:sub(1, #wanted) ~= wanted:lower() then
      return string.format("has the %s %s, expected %s%s", sum.label, found, wanted:lower(),
        #wanted < sum.digits and "..." or "")
    end
  end
  return nil
end

-- ---- what the server said ----

-- The fields of the last answer in what curl wrote: { status =, etag =, modified =, total =, type =, wait = }; nil
-- until it is whole. From a file:// address there is no status.
local function head_of(path)
  local file <close> = io.open(path, "rb")
  local text <const> = file and file:read "a":gsub("\r\n", "\n") or ""
  local block
  for one in text:gmatch "(.-)\n\n" do
    block = one:find "%S" and one or block
  end
  if not block then
    return nil
  end
  local fields <const> = {}
  for name, value in block:gmatch "\n([%w-]+):[ \t]*([^\n]*)" do
    fields[name:lower()] = value
  end
  local status <const> = math.tointeger(tonumber(block:match "HTTP/[%d.]+ (%d+)"))
  local total = status ~= 206 and fields["content-length"] or (fields["content-range"] or ""):match "/(%d+)%s*$"
  if not status then -- file://: its first line is a field
    total = block:match "^Content%-Length: (%d+)"
  end
  return {
    status = status, etag = fields.etag, modified = fields["last-modified"], total = math.tointeger(tonumber(total)),
    type = fields["content-type"], wait = tonumber(fields["retry-after"]),
  }
end

-- ---- one attempt ----

local Job <const> = {}
Job.__index = Job

function Job:__close()
  os.remove(self.part .. ".lock")
  os.remove(self.headers)
end

--- What is known of the file that .part is the beginning of: { url =, etag =, modified =, total = }.
function Job:read_state()
  local ok <const>, state <const> = pcall(function()
    return la.io.json_decode(la.io.read_file(self.part .. ".json"))
  end)
  return ok and type(state) == "table" and state or {}
end

--- Throws away what has come.
function Job:forget()
  os.remove(self.part)
  os.remove(self.part .. ".json")
end

--- How many bytes are there to go on from, and what is known of the file they are of.
function Job:beginning(url)
  local from <const>, state <const> = size_of(self.part) or 0, self:read_state()
  local same <const> = state.url == url
  if from == 0 or self.restarts >= 2 or not same and not (self.o.sha256 or self.o.md5)
    or state.total and from > state.total then
    self:forget()
    return 0, {}
  end
  return from, same and state or {}
end

--- What curl is called with.
function Job:arguments(url, from, state)
  local list <const> = {
    "curl", "-q", "--silent", "--show-error", "--fail", "--location", "--globoff", "--no-buffer",
    "--max-redirs", "20", "--proto", "=http,https,ftp,file",
    "--proto-redir", url:find "^https:" and "=https" or "=http,https",
    "--suppress-connect-headers", "--connect-timeout", "30", "--speed-limit", "100", "--speed-time", "60",
    "--user-agent", "lualign/" .. la.version,
    "--dump-header", self.headers, "--output", self.part,
  }
  local function add(...)
    table.move({ ... }, 1, select("#", ...), #list + 1, list)
  end
  if from > 0 then
    add("--continue-at", tostring(from))
    local validator <const> = state.etag and not state.etag:find "^W/" and state.etag or state.modified
    if validator and url:find "^http" then
      add("--header", "If-Range: " .. validator)
    end
  end
  add("--url", url)
  return list
end

--- Looks at the answer's head, once it is there. True if there is no use in going on: self.refused or self.restart says
-- why.
function Job:look(url, state)
  local head <const> = not self.head and head_of(self.headers)
  if not head or head.status and head.status ~= 200 and head.status ~= 206 then
    return false
  end
  self.head = head
  if not head.status and self.from > 0 then -- file://: the size of what is left
    head.total = nil
  end
  if (head.type or ""):find "^text/html" and not self.path:find "%.html?$" then
    self.refused = "the server sent a web page instead of the file"
  elseif self.o.bytes and head.total and head.total ~= self.o.bytes then
    self.refused = string.format("the server has %d bytes, expected %d: not the file that is meant", head.total,
      self.o.bytes)
  elseif head.status == 206 and (state.etag and head.etag and state.etag ~= head.etag
    or state.total and head.total and state.total ~= head.total) then
    self.restart = "the file has changed since"
  else
    la.io.write_file(self.part .. ".json", la.io.json_encode {
      url = url, etag = head.etag, modified = head.modified, total = head.total,
    })
    return false
  end
  return true
end

--- What has come of an attempt: "whole", "again" (in self.wait seconds or more), "anew" or "failed", and why.
function Job:judge(r, url)
  local head <const>, said <const> = self.head or head_of(self.headers) or {}, r.err:match "curl: %(%d+%) ([^\n]*)"
  if self.refused then
    self:forget()
    return "failed", self.refused
  elseif self.restart or r.status == NO_RANGES or head.status == BEYOND then
    return "anew", self.restart or "the server does not go on where the file ended, or it has changed"
  elseif r.status == 0 then
    return "whole"
  elseif r.status == HTTP_ERROR and head.status then
    self.wait = math.min(head.wait or 0, 60)
    return BUSY[head.status] and "again" or "failed", "the server answered " .. head.status
  elseif PASSING[r.status] then
    return r.status == UNKNOWN_HOST and self.unknown and "failed" or "again", said or "curl ended with " .. r.status
  end
  return "failed", said or string.format("curl ended with %d for %s", r.status, url)
end

--- One attempt, see judge.
function Job:attempt(url)
  local from <const>, state <const> = self:beginning(url)
  self.head, self.refused, self.restart, self.wait, self.from = nil, nil, nil, 0, from
  self.pieces = self.pieces or from > 0
  if state.total and state.total == from then
    return "whole"
  end
  os.remove(self.headers)
  local r <const> = process.run(self:arguments(url, from, state), {
    package = "curl",
    poll = function()
      if self:look(url, state) then
        return true
      end
      self.o.progress(size_of(self.part) or 0, self.head and self.head.total)
      return false
    end,
  })
  self:look(url, state)
  local outcome <const>, why <const> = self:judge(r, url)
  self.unknown = r.status == UNKNOWN_HOST
  return outcome, why
end

-- ---- all attempts ----

--- The file from one address, into .part: nil, or why it cannot be had.
function Job:transfer(url)
  local failures, before = 0, 0
  while true do
    local outcome <const>, why <const> = self:attempt(url)
    local now <const> = size_of(self.part) or 0
    if outcome == "whole" then
      self.o.progress(now, now)
      return nil
    elseif outcome == "failed" or outcome == "anew" and self.restarts > 3 then
      return why
    elseif outcome == "anew" then
      self.restarts = self.restarts + 1
      self.o.note(why .. ": beginning again")
      self:forget()
    else
      failures = now > before and 1 or failures + 1
      if failures > self.o.retries then
        return why
      end
      local pause <const> = math.max(self.wait, math.min(self.o.pause * 2 ^ (failures - 1), 60))
      self.o.note(string.format("%s: trying again in %g s", why, pause))
      process.sleep(pause)
    end
    before = size_of(self.part) or 0
  end
end

--- The same, checked: pieces that do not fit together are thrown away once.
function Job:checked(url)
  while true do
    local why <const> = self:transfer(url)
    if why then
      return why
    end
    local wrong <const> = download.problem(self.part, self.o)
    if not wrong then
      return nil
    end
    self:forget()
    if not self.pieces then
      return "what came " .. wrong .. "; it was thrown away"
    end
    self.o.note("what came in pieces " .. wrong .. ": beginning again")
    self.pieces = false
    self.restarts = 2
  end
end

local function none() end

--- Brings a file here. urls: its address, or a list of addresses that are tried in turn. opts: bytes, sha256, md5, what
-- it must be; retries (4), how often a connection that breaks without having brought anything is tried again; pause
-- (1), seconds before the first such; progress(done, total), called a few times a second, total is nil while unknown;
-- note(text), what happened on the way. An error that names every address and why it failed leaves nothing but a .part
-- that the next call goes on from.
function download.file(urls, path, opts)
  local o <const> = options.check("download.file", opts, {
    bytes = options.optional "number", sha256 = options.optional "string", md5 = options.optional "string",
    retries = 4, pause = options.any(1), progress = none, note = none,
  })
  urls = type(urls) == "string" and { urls } or urls
  la.io.mkdirs(path:match "^(.*)/[^/]*$" or ".")
  local lock <close> = assert(io.open(path .. ".part.lock", "w"))
  local held <const>, problem <const> = lfs.lock(lock, "w")
  if not held then
    error(string.format("%s is being downloaded by another process (%s)", path, problem), 0)
  end
  local job <close> = setmetatable({
    path = path, part = path .. ".part", headers = path .. ".part.head", o = o, restarts = 0,
  }, Job)
  local failures <const> = {}
  for _, url in ipairs(urls) do
    if not url:find "^%a[%w+.-]*://[^%s%c]+$" then
      error(string.format("'%s' is no address: it must look like https://host/file", url), 0)
    end
    local why <const> = job:checked(url)
    if not why then
      assert(os.rename(job.part, path))
      os.remove(job.part .. ".json")
      return path
    end
    failures[#failures + 1] = string.format("%s: %s", url, why)
  end
  return error(table.concat(failures, "\n"), 0)
end

return download
