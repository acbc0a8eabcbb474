-- SPDX-License-Identifier: MIT
--
-- Decoding ahead: a queue of image jobs over la.io.loader, filled a batch early. Jobs are matched to batches by a key,
-- so that a batch that was not prefetched, or another one, is simply decoded when asked for.

local la <const> = require "lualign"

local Decoder <const> = {}
Decoder.__index = Decoder

--- jobs(i, rng): list of { path, options } for item i; the same number for each item.
local function new(jobs, threads)
  return setmetatable({ jobs = jobs, loader = la.io.loader { threads = threads or 2 }, queue = {} }, Decoder)
end

-- What makes one job another picture than the next.
local function key_of(jobs)
  local parts <const> = {}
  for k, job in ipairs(jobs) do
    local o <const> = job.options
    local c <const> = o.crop
    parts[k] = string.format("%s|%s|%s", job.path, o.flip,
      c and string.format("%d %d %d %d", c.top, c.bottom, c.left, c.right) or "whole")
  end
  return table.concat(parts, "\n")
end

local function jobs_of(self, indices, rng)
  local list <const> = {}
  for _, i in ipairs(indices) do
    for _, job in ipairs(self.jobs(i, rng(i))) do
      list[#list + 1] = job
    end
  end
  return list
end

local function enqueue(self, jobs)
  for _, job in ipairs(jobs) do
    self.loader:submit(job.path, job.options)
  end
  self.queue[#self.queue + 1] = { key = key_of(jobs), count = #jobs }
end

--- Queues the pictures of a batch for decoding; rng(i) gives the generator of sample i.
function Decoder:submit(indices, rng)
  enqueue(self, jobs_of(self, indices, rng))
end

--- All images of a batch as one tensor (jobs, h, w, 3), in the order of indices and, within one, of its jobs.
function Decoder:fetch(indices, rng)
  local jobs <const> = jobs_of(self, indices, rng)
  local key <const> = key_of(jobs)
  while self.queue[1] and self.queue[1].key ~= key do -- decoded for a batch that nobody wants any more
    self.loader:batch(table.remove(self.queue, 1).count)
  end
  if not self.queue[1] then
    enqueue(self, jobs)
  end
  return self.loader:batch(table.remove(self.queue, 1).count)
end

return new
