-- SPDX-License-Identifier: MIT
--
-- la.data.figures.write_tss(root, opts): a small data set in the layout of TSS (la.data.benchmarks.tss reads it), with
-- exact flow. Image 1 of a pair is a figure, image 2 the same seen through a random affine map and spline; sizes
-- differ. Every second pair's image 1 is stored mirrored, and its list says so.
--
--   root/test_pairs_tss.csv                               both directions of every pair
--   root/TSS_CVPR2016/{FG3DCar,JODS,PASCAL}/pair1/        image1.png image2.png mask1.png mask2.png flow1.flo flow2.flo

local la <const> = require "lualign"
local options <const> = require "lualign.util.options"
local rng_of <const> = require "lualign.util.rng"

local GROUPS <const> = { "FG3DCar", "JODS", "PASCAL" }
local UNKNOWN <const> = 1e10

-- Parameters near the identity's.
local function near_identity(r, model, spread)
  local theta <const> = la.geometry.identity_theta(model)
  for k, v in ipairs(theta) do
    theta[k] = v + r:uniform(-spread, spread)
  end
  return la.tensor { theta }
end

-- A canvas at a size, as float32 (1, height, width, C).
local function resized(canvas, size)
  local picture <const> = canvas:tensor():astype("float32"):unsqueeze(1)
  return la.resize(picture, { height = size[2], width = size[1], mode = "aligned" })
end

-- The flow on image 1: where its pixels lie in image 2, by the inverse of the map.
local function inverse_flow(map, size1, size2)
  local pixels <const>, numbers <const> = {}, {}
  for y = 1, size1[2] do
    for x = 1, size1[1] do
      pixels[#pixels + 1] = { x, y }
    end
  end
  local found <const>, residuals <const> = la.geometry.inverse_points(map, la.geometry.normalise(pixels, size1))
  for k, p in ipairs(la.geometry.to_pixels(found, size2)) do
    local known <const> = residuals[k] < 1e-6 and p[1] >= 1 and p[1] <= size2[1] and p[2] >= 1 and p[2] <= size2[2]
    numbers[2 * k - 1] = known and p[1] - pixels[k][1] or UNKNOWN
    numbers[2 * k] = known and p[2] - pixels[k][2] or UNKNOWN
  end
  return la.tensor(numbers):reshape(size1[2], size1[1], 2)
end

-- Rows of a tensor (h, w, C) from right to left.
local function mirrored(t)
  return la.flip(t, 2)
end

-- A flow from image 1 to image 2, widths w1 and w2, when both are mirrored: x becomes w - 1 - x.
local function mirrored_flow(flow, w1, w2)
  local turned <const> = mirrored(flow)
  return la.where(la.lt(turned, 1e9), turned * la.tensor { -1, 1 } + la.tensor { w2 - w1, 0 }, turned)
end

local function save_picture(path, t)
  la.image.save(path, la.clamp(t + 0.5, { min = 0, max = 255 }):astype "uint8")
end

local function write_pair(folder, r, size, mirror)
  local long <const>, short <const> = size, math.max(1, size * 3 // 4)
  local size1 <const>, size2 <const> = { long, short + r:integer(0, size - short) }, { short, long }
  local canvas <const>, _, mask <const> = la.data.figures.draw(r, { size = size })
  local map <const> = { affine = near_identity(r, "affine", 0.15), tps = near_identity(r, "tps", 0.1) }
  local one <const>, figure <const> = resized(canvas, size1), la.gt(resized(mask, size1), 127.5):astype "float32"
  local grid <const> = la.geometry.warp_grid(map, size2[2], size2[1])
  local two <const> = la.grid_sample(one, grid)
  local figure2 <const> = la.gt(la.grid_sample(figure, grid), 0.5):astype "float32"
  local flow1 <const>, flow2 <const> = inverse_flow(map, size1, size2), la.geometry.flow(map, size2[2], size2[1], size1)
  local turn <const> = mirror and mirrored or function(t) return t end
  la.io.mkdirs(folder)
  save_picture(folder .. "/image1.png", turn(one:squeeze(1)))
  save_picture(folder .. "/image2.png", two:squeeze(1))
  save_picture(folder .. "/mask1.png", turn(figure:squeeze(1) * 255))
  save_picture(folder .. "/mask2.png", figure2:squeeze(1) * 255)
  la.io.save_flo(folder .. "/flow1.flo", mirror and mirrored_flow(flow1, size1[1], size2[1]) or flow1)
  la.io.save_flo(folder .. "/flow2.flo", flow2)
end

--- Writes it. opts.pairs = 2: of each group; opts.size = 80: the longer side of images; opts.seed = 1.
return function(root, opts)
  local o <const> = options.check("write_tss", opts, { pairs = 2, size = 80, seed = 1 })
  if not math.tointeger(o.pairs) or o.pairs < 1 or not math.tointeger(o.size) or o.size < 8 then
    error(string.format("write_tss: pairs must be at least 1 and size at least 8, got %s and %s", tostring(o.pairs),
      tostring(o.size)), 2)
  end
  local lines <const> = { "source_image,target_image,flow_direction,flip_source,group" }
  for g, group in ipairs(GROUPS) do
    for k = 1, o.pairs do
      local name <const>, flip <const> = string.format("TSS_CVPR2016/%s/pair%d", group, k), 1 - k % 2
      la.scope(la.no_grad, write_pair, root .. "/" .. name, rng_of(o.seed, g, k), o.size, flip == 1)
      lines[#lines + 1] = string.format("%s/image1.png,%s/image2.png,2,%d,%d", name, name, flip, g)
      lines[#lines + 1] = string.format("%s/image2.png,%s/image1.png,1,%d,%d", name, name, flip, g)
    end
  end
  la.io.write_file(root .. "/test_pairs_tss.csv", table.concat(lines, "\n") .. "\n")
end
