-- SPDX-License-Identifier: MIT
--
-- lualign bench data: how much of a training step waits for pictures. Steps as lualign.train runs them: the next batch
-- is decoded while the device computes.

local child <const> = require "lualign.bench.child"
local la <const> = require "lualign"
local report <const> = require "lualign.bench.report"
local rng <const> = require "lualign.util.rng"
local timing <const> = require "lualign.bench.timing"

local data <const> = {}

-- Smooth colours, which compress like photographs: a few random pixels, enlarged.
local function picture(height, width)
  local coarse <const> = la.rand(1, 12, 16, 3) * 255
  return la.resize(coarse, { height = height, width = width }):squeeze(1):astype("uint8")
end

-- A folder with one category of n JPEG files.
local function make_pictures(folder, n, height, width)
  la.io.mkdirs(folder .. "/all")
  la.no_grad(function()
    for i = 1, n do
      la.image.save(string.format("%s/all/%d.jpg", folder, i), picture(height, width))
    end
  end)
end

-- Runs `steps` steps and gives the median seconds of a step, of its wait for the batch, and of decoding a batch alone.
local function measure(o, set)
  local model <const> = la.models.weakalign { backbone = o.backbone, weights = false, size = o.size }
  model:eval():requires_grad_(o.everything)
  for _, p in ipairs(model:regressor_parameters()) do
    p:requires_grad_(true)
  end
  model.through_warp = o.everything
  local optimizer <const> = la.optim.Adam(o.everything and model:parameters() or model:regressor_parameters(),
    { lr = 1e-8 })
  local function indices(step)
    local list <const> = {}
    for k = 1, o.images do
      list[k] = (step * o.images + k - 1) % set:length() + 1
    end
    return list, function(i) return rng(1, step, i) end
  end
  local waits <const>, steps <const>, alone <const> = {}, {}, {}
  for step = 1, o.steps + 1 do -- the first one compiles
    local from <const> = la.device.clock()
    local batch <const> = set:batch(indices(step))
    local ready <const> = la.device.clock()
    set:prefetch(indices(step + 1))
    la.scope(function()
      optimizer:zero_grad()
      local t <const> = model(batch.source, batch.target)
      local loss <const> = la.losses.weak(t.correlation, t:compose(), { offset = model.config.offset })
      loss:backward()
      optimizer:step()
      la.device.finish()
    end)
    if step > 1 then
      waits[step - 1], steps[step - 1] = ready - from, la.device.clock() - from
    end
  end
  set:batch(indices(o.steps + 2)) -- what was prefetched
  for k = 1, 3 do
    local from <const> = la.device.clock()
    set:batch(indices(o.steps + 2 + k))
    la.device.finish()
    alone[k] = la.device.clock() - from
  end
  return timing.median(steps), timing.median(waits), timing.median(alone)
end

-- What is trained: regressors on a small trunk, which computes least for each picture, and the paper's recipe.
local KINDS <const> = {
  { title = "regressors on MobileNetV2", backbone = "mobilenetv2", images = 16, everything = false },
  { title = "everything, ResNet-101", backbone = "resnet101", images = 4, everything = true },
}

local COLUMNS <const> = {
  { "training" }, { "pairs" }, { "step_ms", title = "step ms", digits = 1 },
  { "wait_ms", title = "waits ms", digits = 2 }, { "wait_percent", title = "% of the step", digits = 2 },
  { "decode_ms", title = "decoding alone ms", digits = 1 },
}

--- o: images (pairs in a step), size, rounds (steps), kinds (how many of them), tick.
function data.run(o)
  local r <const> = report.new {
    title = "data", columns = COLUMNS, bars = { "wait_percent" }, unit = "% of a step that waits for pictures",
  }
  local folder <const> = child.folder()
  local ok <const>, message <const> = pcall(function()
    make_pictures(folder, 8, 375, 500)
    local count <const> = o.kinds or #KINDS
    for i = 1, count do
      local kind <const> = KINDS[i]
      local set <const> = la.data.pairs { root = folder, size = o.size or 240, augment = "crop_flip" }
      local how <const> = {
        backbone = kind.backbone, everything = kind.everything, images = o.images or kind.images, size = o.size or 240,
        steps = o.rounds,
      }
      local step <const>, wait <const>, alone <const> = measure(how, set)
      r:add {
        training = kind.title, pairs = how.images, step_ms = step * 1e3, wait_ms = wait * 1e3,
        wait_percent = 100 * wait / step, decode_ms = alone * 1e3,
      }
      collectgarbage()
      o.tick(i, count, kind.title)
    end
  end)
  child.remove(folder)
  if not ok then
    error(message, 0)
  end
  return r
end

return data
