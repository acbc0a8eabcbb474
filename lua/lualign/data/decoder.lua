-- SPDX-License-Identifier: MIT
--
-- Decoding ahead: a queue of image jobs over la.io.loader, filled a batch early. Jobs are matched to batches by a key, so that
-- a batch that was not prefetched, or another one, is simply decoded when asked for.

local la <const> = require "lualign"

local Decoder <const> = {}
Decoder.__index = Decoder

--- jobs(i, rng): list of { path, options } for item i; the same number for each item.
local function new(jobs, threads)
  return setmetatable({ jobs = jobs, loader = la.io.loader { threads = threads or 2 }, queue = {} }, Decoder)
end

local function key_of(indices)
  return table.concat(indices, ",")
end

--- Queues the pictures of a batch for decoding; rng(i) gives the generator of sample i.
function Decoder:submit(indices, rng)
  local count = 0
  for _, i in ipairs(indices) do
    for _, job in ipairs(self.jobs(i, rng(i))) do
      self.loader:submit(job.path, job.options)
      count = count + 1
    end
  end
  self.queue[#self.queue + 1] = { key = key_of(indices), count = count }
end

--- All images of a batch as one tensor (jobs, h, w, 3), in the order of indices and, within one, of its jobs.
function Decoder:fetch(indices, rng)
  local key <const> = key_of(indices)
  while self.queue[1] and self.queue[1].key ~= key do -- decoded for a batch that nobody wants any more
    self.loader:batch(table.remove(self.queue, 1).count)
  end
  if not self.queue[1] then
    self:submit(indices, rng)
  end
  return self.loader:batch(table.remove(self.queue, 1).count)
end

return new
