-- SPDX-License-Identifier: MIT
--
-- peer: PyTorch, and OpenVINO where it can be imported, on the same work, in turn with ours.
--
--   local peer <const> = require "lualign.bench.peer".open { python = "python3", ways = { "installed", "best" } }
--   local contender <const> = peer:contender({ kind = "resnet101", images = 2, size = 240 }, "best")
--   contender.sample()     seconds;   contender.done()   lets go of it
--   peer:close()
--
-- Ways: installed (NCHW, nothing set), best (channels last, malloc told to keep memory), compile (torch.compile of
-- that), openvino, openvino_bf16. Each process is a child that runs scripts/dev/peer.py and answers a line of JSON for
-- each line: requests through a named pipe, answers from its standard output.

local la <const> = require "lualign"

local Peer <const> = {}
Peer.__index = Peer

local WAYS <const> = { "installed", "best", "compile", "openvino", "openvino_bf16" }

-- glibc gives freed memory back to the system and gets it again, page by page, unless told otherwise.
local KEEP <const> = "GLIBC_TUNABLES=glibc.malloc.mmap_threshold=4294967296:glibc.malloc.trim_threshold=17179869184"

local function quote(text)
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

-- The first line that a shell command prints.
local function line_of(command)
  local pipe <close> = assert(io.popen(command))
  return pipe:read "l"
end

local function script_path()
  local has_program <const>, program <const> = pcall(require, "lualign.program")
  local folder <const> = has_program and program.folders().scripts or "scripts"
  local path <const> = folder .. "/dev/peer.py"
  if not la.io.exists(path) then
    error(string.format("bench: --peer needs %s, which is not there", path), 0)
  end
  return path
end

-- ---- one process ----

local Worker <const> = {}
Worker.__index = Worker

local function start(python, environment)
  local folder <const> = line_of "mktemp -d"
  if not folder then
    error("bench: --peer needs mktemp", 0)
  end
  local pipe <const> = folder .. "/requests"
  os.execute("mkfifo " .. quote(pipe))
  local command <const> = string.format("env %s %s %s <%s 2>%s/log", environment, quote(python), quote(script_path()),
    quote(pipe), quote(folder))
  local self <const> = setmetatable({ folder = folder, python = python, last = 0 }, Worker)
  self.answers = assert(io.popen(command, "r"))
  self.requests = assert(io.open(pipe, "r+")) -- a reader too: neither waits for the child nor breaks when it is gone
  self.requests:setvbuf "line"
  return self
end

-- What the child wrote last on its standard error.
function Worker:complaint()
  local ok <const>, text <const> = pcall(la.io.read_file, self.folder .. "/log")
  local last
  for line in (ok and text or ""):gmatch "[^\n]+" do
    last = line
  end
  return last or "it said nothing"
end

--- The answer to a request; an error if the child says that there was one, or is gone.
function Worker:ask(request)
  self.requests:write(la.io.json_encode(request), "\n")
  local line <const> = self.answers:read "l"
  if not line then
    error(string.format("bench: the peer, %s, ended: %s", self.python, self:complaint()), 0)
  end
  local reply <const> = la.io.json_decode(line)
  if reply.error then
    error("bench: the peer says: " .. reply.error, 0)
  end
  return reply
end

--- Ends the process. It is told to, since processes that were started later hold its pipe open too.
function Worker:close()
  self.requests:write(la.io.json_encode { ["do"] = "quit" }, "\n")
  self.requests:close()
  self.answers:close()
  os.execute("rm -rf " .. quote(self.folder))
end

-- ---- the peer ----

--- Starts nothing yet but one process, to learn what there is. o: python; ways (default: all but compile that there
-- are). A peer that cannot be used is an error.
function Peer.open(o)
  local self <const> = setmetatable({ python = o.python, workers = {} }, Peer)
  if not os.execute(string.format("%s -c 'import torch' >/dev/null 2>&1", quote(o.python))) then
    error(string.format("bench: --peer must be a Python that can import torch, got '%s'", o.python), 0)
  end
  self.info = self:worker("best"):ask { ["do"] = "info" }
  self.ways = {}
  for _, way in ipairs(o.ways or { "installed", "best", "openvino", "openvino_bf16" }) do
    if self.info.openvino or not way:find "^openvino" then
      self.ways[#self.ways + 1] = way
    end
  end
  return self
end

--- The names of all ways.
function Peer.all()
  return WAYS
end

--- The process for a way: one with nothing set, one that keeps its memory.
function Peer:worker(way)
  local which <const> = way == "installed" and "installed" or "kept"
  if not self.workers[which] then
    self.workers[which] = start(self.python, which == "kept" and KEEP or "LUALIGN=1")
  end
  return self.workers[which]
end

--- Whether it is known how to do a kind of work in that way: OpenVINO and torch.compile only run networks forward.
function Peer.can(_self, way, kind)
  if kind == "vgg16" or kind == "small" then
    return false
  end
  local network <const> = kind ~= "conv" and kind ~= "matmul" and kind ~= "weak_step"
  return network or way == "installed" or way == "best"
end

--- A contender for timing.turns: the work, described as scripts/dev/peer.py has it, in that way ("best").
function Peer:contender(work, way)
  way = way or "best"
  local worker <const> = self:worker(way)
  worker.last = worker.last + 1
  local id <const> = worker.last
  worker:ask { ["do"] = "prepare", id = id, way = way, work = work }
  return {
    sample = function() return worker:ask({ ["do"] = "run", id = id }).seconds end,
    done = function() worker:ask { ["do"] = "free", id = id } end,
  }
end

--- The largest resident set, in bytes, of a process that does nothing but that work, twice.
function Peer:memory_of(work, way)
  local worker <const> = start(self.python, way == "installed" and "LUALIGN=1" or KEEP)
  local ok <const>, result <const> = pcall(function()
    worker:ask { ["do"] = "prepare", id = 1, way = way, work = work }
    return worker:ask({ ["do"] = "memory" }).bytes
  end)
  worker:close()
  if not ok then
    error(result, 0)
  end
  return result
end

--- Ends the processes.
function Peer:close()
  for name, worker in pairs(self.workers) do
    worker:close()
    self.workers[name] = nil
  end
end

return Peer
