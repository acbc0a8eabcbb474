-- SPDX-License-Identifier: MIT
--
-- The numbers of the papers' own code, to 1e-4: correlation, transformations, losses and their gradients, the
-- regressor, synthetic pairs. They were computed with the authors' modules (weakalign, cnngeometric_pytorch) and,
-- independently, in double precision. Angles are in radians.

local la <const> = require "lualign"
local compare <const> = require "lib.compare"
local host <const> = require "lualign.geometry.host"

-- |got - want| <= 1e-4 |want| + rounding, the latter since the numbers are given with seven decimals or so.
local function near(got, want, rounding)
  got = type(got) == "table" and got or { got }
  want = type(want) == "table" and want or { want }
  assert.are.equal(#want, #got)
  for k, v in ipairs(want) do
    assert.is_true(math.abs(got[k] - v) <= 1e-4 * math.abs(v) + (rounding or 2e-7),
      string.format("number %d is %.9g, expected %.9g", k, got[k], v))
  end
end

local BASE <const> = la.geometry.identity_theta "tps"
local AFFINE <const> = { 0.9, 0.1, 0.05, -0.08, 1.1, -0.04 }
local TPS <const> = {}
for i = 0, 17 do
  TPS[i + 1] = BASE[i + 1] + 0.1 * math.sin(i + 1)
end

-- The correlation (1, 15, 15, 225) that the scores are taken on: source cell k innermost.
local function correlation()
  local data <const> = {}
  for r = 0, 14 do
    for c = 0, 14 do
      local sum, start <const> = 1e-6, #data
      for k = 0, 224 do
        local raw <const> = math.max(0, math.sin(0.37 * (225 * k + 15 * r + c)) + 0.2)
        data[start + k + 1] = raw
        sum = sum + raw * raw
      end
      for k = 1, 225 do
        data[start + k] = data[start + k] / math.sqrt(sum)
      end
    end
  end
  return la.tensor(data):reshape(1, 15, 15, 225)
end

local function scoped(name, fn)
  it(name, function() la.scope(fn) end)
end

describe("golden numbers", function()
  it("of the spline's inverse system matrix", function()
    near(host.tps_inverse(3, 3, 0)[1], {
      0.2338949, -0.2094074, 0.0316910, -0.2094074, 0.0823870, 0.0146635, 0.0316909, 0.0146635, 0.0098239, -0.4257321,
      -0.2803142, -0.2803141,
    })
    near(host.tps_inverse(3, 3, 0.2)[1], {
      0.2078552, -0.1786386, 0.0220675, -0.1786385, 0.0571923, 0.0188778, 0.0220675, 0.0188779, 0.0103389, -0.3751038,
      -0.2668459, -0.2668458,
    })
  end)

  scoped("of the spline's points", function()
    local points <const> = { { 0, 0 }, { 0.5, -0.25 }, { -1, 1 }, { 0.9, 0.3 }, { -0.3, -0.7 } }
    local want <const> = {
      [0] = { -0.0958924, 0.0990607, 0.4747532, -0.2250326, -0.9858880, 0.9463427, 0.9664520, 0.2295923, -0.3580907,
        -0.6625860 },
      [0.2] = { -0.0859969, 0.0888382, 0.4779883, -0.2276435, -0.9839043, 0.9470262, 0.9622811, 0.2341382, -0.3522598,
        -0.6651012 },
    }
    for reg, numbers in pairs(want) do
      near(la.tps_points(la.tensor { TPS }, la.tensor { points }, { reg = reg }):flat(), numbers)
      local map <const> = host.tps(TPS, 3, reg)
      for i, p in ipairs(points) do
        near({ map(p[1], p[2]) }, { numbers[2 * i - 1], numbers[2 * i] })
      end
    end
  end)

  scoped("of the transformed grid loss", function()
    local identity <const> = la.tensor { { 1, 0, 0, 0, 1, 0 } }
    near(la.losses.transformed_grid(la.tensor { AFFINE }, identity, "affine"):item(), 0.01751053)
    near(la.losses.transformed_grid(la.tensor { TPS }, la.tensor { BASE }, "tps"):item(), 0.00540380)
  end)

  for _, mode in ipairs { "fused", "plain" } do
    scoped("of the soft inlier counts, " .. mode, function()
      local s <const> = correlation()
      local opts <const> = { mode = mode }
      local stages <const> = { affine = la.tensor { AFFINE }, tps = la.tensor { TPS } }
      local affine <const>, composed <const> = la.losses.soft_inlier_count(s, stages, opts)
      local _ <const>, spline <const> = la.losses.soft_inlier_count(s, { tps = stages.tps }, opts)
      near(affine:item(), 0.0450706)
      near(spline:item(), 0.0445485)
      near(composed:item(), 0.0462583)
      near(la.losses.weak(s, stages, opts):item(), -0.0913289)
      -- the sums of the masks: what the normalised count is divided by, less 1e-5 for each of 225 * 225 elements
      opts.normalize = false
      local raw <const>, raw_composed <const> = la.losses.soft_inlier_count(s, stages, opts)
      near(raw:item() / affine:item() - 0.50625, 203.524)
      near(raw_composed:item() / composed:item() - 0.50625, 162.0)
    end)

    scoped("of the weak loss's gradients, " .. mode, function()
      local s <const> = correlation():requires_grad_(true)
      local affine <const> = la.tensor({ AFFINE }):requires_grad_(true)
      local tps <const> = la.tensor({ TPS }):requires_grad_(true)
      la.losses.weak(s, { affine = affine, tps = tps }, { mode = mode }):backward()
      near(affine.grad:flat(), { 0.0071188, -0.0236450, -0.0108547, 0.0268439, -0.0261742, 0.0042675 })
      near(tps.grad:flat(), {
        0.0034393, 0.0011302, 0.0000114, -0.0012719, -0.0005530, -0.0046760, 0.0018669, 0.0048843, -0.0009779,
        -0.0042334, -0.0099703, -0.0006606, 0.0037920, 0.0061988, -0.0043293, 0.0037574, 0.0086737, -0.0055250,
      })
      local sum, flat <const> = 0, s.grad:flat()
      for _, v in ipairs(flat) do
        sum = sum + v
      end
      near(sum, -1.9944031)
      near(flat[(7 * 15 + 7) * 225 + 112 + 1], -0.0048297)
    end)
  end

  scoped("of the cells in bounds", function()
    local size <const> = { height = 15, width = 15, offset = 227 / 210 }
    local function count(grid)
      local n, v <const> = 0, grid:flat()
      for k = 1, #v, 2 do
        n = n + (math.abs(v[k]) < 1 and math.abs(v[k + 1]) < 1 and 1 or 0)
      end
      return n
    end
    assert.are.equal(188, count(la.affine_grid(la.tensor { AFFINE }, size)))
    size.reg = 0.2
    assert.are.equal(197, count(la.tps_grid(la.tensor { TPS }, size)))
  end)

  scoped("of the regressor", function()
    local function list(n, f)
      local values <const> = {}
      for i = 0, n - 1 do
        values[i + 1] = f(i)
      end
      return la.tensor(values)
    end
    -- the authors number weights (outputs, inputs, rows, columns); ours lie as (outputs, rows, columns, inputs)
    local function weight(outputs, inputs, k)
      local parts <const> = {}
      for o = 0, outputs - 1 do
        for y = 0, k - 1 do
          for x = 0, k - 1 do
            for i = 0, inputs - 1 do
              parts[#parts + 1] = string.pack("<f", 0.05 * math.sin(0.1 * (((o * inputs + i) * k + y) * k + x)))
            end
          end
        end
      end
      return la.from_bytes(table.concat(parts), "float32", { outputs, k, k, inputs })
    end
    local function bias(n)
      return list(n, function(i) return 0.1 * math.sin(i) end)
    end
    local function normalised(x, n)
      return la.relu(la.batch_norm(x, list(n, function(i) return 1 + 0.1 * math.sin(i) end),
        list(n, function(i) return 0.1 * math.cos(i) end), list(n, function(i) return 0.05 * math.sin(2 * i) end),
        list(n, function(i) return 1 + 0.5 * math.sin(3 * i) ^ 2 end), { training = false, eps = 1e-5 }))
    end
    local x = normalised(la.conv2d(correlation(), weight(128, 225, 7), bias(128)), 128)
    x = normalised(la.conv2d(x, weight(64, 128, 5), bias(64)), 64)
    assert.are.same({ 1, 5, 5, 64 }, x:shape())
    -- the linear layer takes channels first
    local flat <const> = x:permute({ 1, 4, 2, 3 }):reshape(1, 1600)
    local last <const> = list(6 * 1600, function(i) return 0.05 * math.sin(0.1 * i) end):reshape(6, 1600)
    local theta <const> = la.linear(flat, last, bias(6))
    near(theta:flat(), { 0.080533, 0.049518, 0.077967, 0.074035, -0.179643, 0.047042 }, 6e-7)
  end)

  scoped("of a synthetic pair", function()
    local data <const> = {}
    for y = 0, 479 do
      for x = 0, 639 do
        for c = 0, 2 do
          data[#data + 1] = string.pack("<f", 0.1 * x + 0.01 * y + c)
        end
      end
    end
    local image <const> = la.from_bytes(table.concat(data), "float32", { 1, 480, 640, 3 })
    local source <const>, target <const> = la.geometry.synthetic_pair(image, la.tensor { AFFINE }, "affine")
    local function at(t)
      local v <const> = t:totable()[1]
      return { v[1][1][1], v[240][240][1], v[121][61][2] } -- [c, y, x] = [0, 0, 0], [0, 239, 239], [1, 120, 60]
    end
    near(at(source), { 15.010469, 53.679531, 26.395302 })
    near(at(target), { 15.828852, 54.551853, 28.197996 })
  end)

  scoped("of a resized image", function()
    local data <const> = {}
    for y = 0, 332 do
      for x = 0, 499 do
        for c = 0, 2 do
          data[#data + 1] = string.pack("<f", 100 + c + 100 * math.sin(0.05 * x) * math.cos(0.03 * y))
        end
      end
    end
    local image <const> = la.from_bytes(table.concat(data), "float32", { 1, 333, 500, 3 })
    local v <const> = la.resize(image, { height = 240, width = 240 }):totable()[1]
    near({ v[1][1][1], v[18][102][1], v[240][240][3], v[121][61][2] }, { 100.0, 31.70060, 117.63125, 100.44298 })
  end)

  it("of a keypoint's normalised coordinates", function()
    local p <const> = la.geometry.normalise({ { 253.631662, 58.181333 } }, { 500, 333 })
    near(p[1], { 0.0125518, -0.6555341 })
    near(la.geometry.to_pixels(p, { 500, 333 })[1], { 253.631662, 58.181333 })
  end)

  -- The papers count source cells column by column: channel 1 is row 1 of column 0.
  scoped("of the order of source cells", function()
    local a <const>, b <const> = la.zeros(1, 15, 15, 2), la.ones(1, 15, 15, 2)
    a:narrow(2, 3, 1):narrow(3, 5, 1):fill_(1) -- row 2, column 4, from 0
    local s <const> = la.correlation(a, b):totable()[1][1][1]
    for k, v in ipairs(s) do
      compare.close({ v }, { k - 1 == 2 + 15 * 4 and 1 or 0 }, 1e-6)
    end
  end)
end)
