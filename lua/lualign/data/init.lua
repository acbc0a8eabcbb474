-- SPDX-License-Identifier: MIT
--
-- la.data: what networks are trained and tested on. A data set answers
--
--   data:length()                  how many items it has
--   data:prefetch(indices, rng)    starts to decode a batch in the background (optional)
--   data:batch(indices, rng)       a table of tensors, each with one row per index
--
-- rng(i) gives item i's own random generator for this epoch (lualign.util.rng), so that what an item looks like depends
-- neither on the batch it is in nor on the order of decoding.

local loaders <const> = {
  pairs = "lualign.data.pairs",
  synthetic = "lualign.data.synthetic",
  figures = "lualign.data.figures",
  keypoints = "lualign.data.keypoints",
  benchmarks = "lualign.data.benchmarks",
  fetch = "lualign.data.fetch",
}

return setmetatable({}, {
  __index = function(self, name)
    if loaders[name] then
      local module <const> = require(loaders[name])
      rawset(self, name, module)
      return module
    end
    return nil
  end,
})
