-- SPDX-License-Identifier: MIT
--
-- lualign prebuild: compiles the kernels that a model's work needs on this device, so that no first run has to wait for
-- them. It does the work once, on noise.

local la <const> = require "lualign"
local cli <const> = require "lualign.cli"
local kernels <const> = require "lualign.kernels"

local BACKBONES <const> = { "mobilenetv2", "efficientnet_lite0", "resnet101", "vgg16" }

local parser <const> = cli.parser("prebuild", "Compiles the kernels that a model's work needs on this device.")
parser:option("--model", table.concat(BACKBONES, ", ") .. ", or a checkpoint", "mobilenetv2"):argname("NAME|FILE")
parser:flag("--all", "what all of those need")
parser:option("--work", "align, train or both", "both"):choices { "align", "train", "both" }
parser:option("--record", "also write lists for lualign.kernels into this folder (with an empty cache)"):argname("DIR")
local args <const> = cli.parse(parser, arg)

local function is_backbone(name)
  for _, known in ipairs(BACKBONES) do
    if known == name then
      return true
    end
  end
  return false
end

local function model_of(name)
  if is_backbone(name) then
    return la.models.weakalign { backbone = name, weights = false }
  elseif not la.io.exists(name) then
    cli.fail("--model must be %s or a file, got '%s'", table.concat(BACKBONES, ", "), name)
  end
  return la.models.load(name)
end

-- ---- the work ----

local WORK <const> = {}

local function noise(n, size)
  return (la.rand(n, size, size, 3) * 255):astype("uint8")
end

-- What a person would look at.
local function pictures(t)
  local size <const> = t.target:size(1)
  t:warped(size + 1, size + 2)
  t:overlay()
  t:matches()
end

--- A pair aligned by the model, fused as `align` does it, and refined; and one by the shipped features alone.
function WORK.align(model)
  local size <const> = model.config.size
  local a <const>, b <const> = noise(1, size):squeeze(1), noise(1, size):squeeze(1)
  pictures(la.align(a, b, { model = model:fuse(), refine = 1 }))
  pictures(la.align(a, b, { refine = 1 }))
end

--- One step of training from pairs alone, all layers trained, and one of training from known transformations.
function WORK.train(model)
  local size <const> = model.config.size
  local source <const>, target <const> = noise(2, size), noise(2, size)
  local optimizer <const> = la.optim.Adam(model:parameters(), { lr = 1e-6 })
  model:eval():requires_grad_(true)
  model.through_warp = true
  la.scope(function()
    local t <const> = model(source, target)
    local counted <const> = la.correlation(t.source_features, t.target_features, { normalize = false })
    la.losses.weak(counted, t:compose(), { offset = model.config.offset }):backward()
    optimizer:step()
  end)
end

local function seconds(value)
  return string.format("%.1f s", value)
end

-- Does it, and says what was compiled meanwhile. The number of programs that failed; a failure of another kind is an
-- error.
local function build(title, work, model)
  local before <const>, start <const> = #la.device.builds(), la.device.clock()
  kernels.want(model, work)
  local ok <const>, message <const> = pcall(function()
    la.scope(WORK[work], model)
    la.device.finish()
  end)
  local list <const>, failed = la.device.builds(), 0
  for i = before + 1, #list do
    local b <const> = list[i]
    failed = failed + (b.error and 1 or 0)
    print(string.format("  %-20s %6s  %s%s", b.program, seconds(b.seconds), b.options,
      b.error and "FAILED: " .. b.error or ""))
  end
  print(string.format("%s: %d programs compiled, %d failed, %s", title, #list - before, failed,
    seconds(la.device.clock() - start)))
  if not ok and failed == 0 then
    error(message, 0)
  end
  return failed
end

local failed = 0
for _, name in ipairs(args.all and BACKBONES or { args.model }) do
  for _, work in ipairs(args.work == "both" and { "align", "train" } or { args.work }) do
    local model <const> = model_of(name) -- aligning leaves it fused
    failed = failed + build(name .. ", " .. work, work, model)
    if args.record then
      kernels.record(args.record, kernels.trunk_of(model) .. "-" .. work)
    end
  end
end
if failed > 0 then
  cli.exit(1)
end
