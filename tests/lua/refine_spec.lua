-- SPDX-License-Identifier: MIT
--
-- Gradient ascent on the soft inlier count, on features that are a smooth function of the place, seen through a known
-- map.

local la <const> = require "lualign"
local compare <const> = require "lib.compare"
local make_rng <const> = require "lib.rng"

local OFFSET <const> = 239 / 224
local IDENTITY <const> = { 1, 0, 0, 0, 1, 0 }
local TRUTH <const> = { 0.9, -0.18, 0.12, 0.15, 1.05, -0.1 }

local function scoped(name, fn)
  it(name, function() la.scope(fn) end)
end

-- Random waves: a smooth vector for every place.
local function field(seed, channels)
  local rng <const>, waves <const> = make_rng(seed), {}
  for c = 1, channels do
    waves[c] = { rng.number(-9, 9), rng.number(-9, 9), rng.number(0, 2 * math.pi) }
  end
  return function(x, y)
    local v <const> = {}
    for c, w in ipairs(waves) do
      v[c] = math.cos(w[1] * x + w[2] * y + w[3])
    end
    return v
  end
end

-- The field on an n x n grid of cells, seen through an affine map (a list).
local function features(at, n, theta)
  local rows <const> = {}
  for i = 1, n do
    rows[i] = {}
    for j = 1, n do
      local x <const>, y <const> = (-1 + 2 * (j - 1) / (n - 1)) / OFFSET, (-1 + 2 * (i - 1) / (n - 1)) / OFFSET
      rows[i][j] = at(theta[1] * x + theta[2] * y + theta[3], theta[4] * x + theta[5] * y + theta[6])
    end
  end
  return la.l2_normalize(la.tensor { rows })
end

-- Raw correlation of the field with the field seen through theta: the map from target to source is theta.
local function correlation(seed, theta, n)
  local at <const> = field(seed, 96)
  return la.correlation(features(at, n or 15, IDENTITY), features(at, n or 15, theta), { normalize = false })
end

-- Mean and largest distance from where stages send points to where theta sends them.
local function distance(stages, theta)
  local points <const> = {}
  for i = -4, 4 do
    for j = -4, 4 do
      points[#points + 1] = { j / 5, i / 5 }
    end
  end
  local mapped <const> = la.geometry.map_points(stages, la.tensor { points }):totable()[1]
  local sum, most = 0, 0
  for k, p in ipairs(points) do
    local dx <const> = mapped[k][1] - (theta[1] * p[1] + theta[2] * p[2] + theta[3])
    local dy <const> = mapped[k][2] - (theta[4] * p[1] + theta[5] * p[2] + theta[6])
    local d <const> = math.sqrt(dx * dx + dy * dy)
    sum, most = sum + d, math.max(most, d)
  end
  return sum / #points, most
end

local function stages_of(result, row)
  local function one(t) return t:narrow(1, row or 1, 1) end
  return { affine = one(result.affine), tps = one(result.tps) }
end

-- The count, written out.
local function count_of(raw, stages, power)
  local n <const>, h <const>, w <const> = raw:size(1), raw:size(2), raw:size(3)
  local cells <const> = la.affine_grid(la.tensor { IDENTITY }, { height = h, width = w }):reshape(1, h * w, 2) / OFFSET
  local grid <const> = la.geometry.map_points(stages, cells:expand(n, h * w, 2)) * OFFSET
  return la.soft_inlier_count(la.refine.sharpen(raw, power), grid:reshape(n, h, w, 2), { source = { h, w } })
end

local function identities(n)
  return { affine = la.geometry.identity("affine", n or 1), tps = la.geometry.identity("tps", n or 1) }
end

describe("refine", function()
  scoped("recovers a known affine map, scoring above the identity", function()
    local raw <const> = correlation("recover", TRUTH)
    local result <const> = la.refine.run(raw)
    assert.same({ 1, 6 }, result.affine:shape())
    assert.same({ 1, 18 }, result.tps:shape())
    assert.same({ 1 }, result.score:shape())
    local mean <const>, most <const> = distance(stages_of(result), TRUTH)
    local before <const> = distance(identities(), TRUTH)
    assert.is_true(mean < 0.04 and most < 0.15, string.format("mean %.4f, most %.4f", mean, most))
    assert.is_true(mean < before / 4, string.format("%.4f, from %.4f", mean, before))
    local score <const>, at_identity <const> = result.score:item(), count_of(raw, identities(), 4):item()
    assert.is_true(score > 1.2 * at_identity, string.format("%.4f, identity %.4f", score, at_identity))
  end)

  scoped("finds a mirrored picture from its starts", function()
    local mirrored <const> = { -1, 0.05, 0.05, 0, 1, 0 }
    local raw <const> = correlation("mirror", mirrored)
    local mean <const> = distance(stages_of(la.refine.run(raw)), mirrored)
    assert.is_true(mean < 0.04, "mean distance " .. mean)
    local alone <const> = distance(stages_of(la.refine.run(raw, identities(), { starts = false })), mirrored)
    assert.is_true(alone > 0.2, "one start found it too: this test shows nothing")
  end)

  scoped("its score is the soft inlier count of its result", function()
    for _, power in ipairs { 1, 3 } do
      local raw <const> = correlation("score", TRUTH, 9)
      local result <const> = la.refine.run(raw, nil, { steps = 7, power = power })
      compare.close(result.score, count_of(raw, { affine = result.affine, tps = result.tps }, power), 1e-5)
    end
  end)

  scoped("polishes given stages, and leaves the given tensors alone", function()
    local raw <const> = correlation("polish", TRUTH)
    local near <const> = {}
    for k, v in ipairs(TRUTH) do
      near[k] = v + (k % 2 == 0 and 0.05 or -0.05)
    end
    local given <const> = { affine = la.tensor { near }, tps = la.geometry.identity("tps") }
    local affine_before <const>, tps_before <const> = given.affine:bytes(), given.tps:bytes()
    local result <const> = la.refine.run(raw, given, { starts = false })
    assert.equal(affine_before, given.affine:bytes())
    assert.equal(tps_before, given.tps:bytes())
    assert.is_true(result.score:item() > count_of(raw, given, 4):item())
    assert.is_true((distance(stages_of(result), TRUTH)) < 0.6 * distance(given, TRUTH))
  end)

  scoped("without steps and starts gives back what was given", function()
    local raw <const> = correlation("none", TRUTH, 9)
    local given <const> = { affine = la.tensor { TRUTH }, tps = la.geometry.identity("tps") }
    local result <const> = la.refine.run(raw, given, { steps = 0, starts = false })
    assert.equal(given.affine:bytes(), result.affine:bytes())
    assert.equal(given.tps:bytes(), result.tps:bytes())
    compare.close(result.score, count_of(raw, given, 4), 1e-5)
    local only <const> = la.refine.run(raw, { affine = given.affine }, { steps = 0, starts = false })
    compare.close(only.tps, la.geometry.identity("tps"), 0)
  end)

  scoped("refines the samples of a batch as it would alone", function()
    local other <const> = { 1.1, 0.1, -0.15, -0.05, 0.95, 0.1 }
    local a <const>, b <const> = correlation("one", TRUTH, 9), correlation("two", other, 9)
    local both <const> = la.refine.run(la.cat({ a, b }, 1), nil, { steps = 15 })
    assert.same({ 2, 6 }, both.affine:shape())
    for row, raw in ipairs { a, b } do
      local alone <const> = la.refine.run(raw, nil, { steps = 15 })
      compare.close(both.affine:narrow(1, row, 1), alone.affine, 1e-4)
      compare.close(both.tps:narrow(1, row, 1), alone.tps, 1e-4)
      compare.close(both.score:narrow(1, row, 1), alone.score, 1e-4)
    end
  end)

  scoped("works where gradients are off, and leaves none behind", function()
    local raw <const> = correlation("grad", TRUTH, 9)
    local result <const> = la.no_grad(la.refine.run, raw, nil, { steps = 3 })
    assert.is_false(result.affine.requires_grad)
    assert.is_false(result.score.requires_grad)
    assert.is_nil(raw.grad)
  end)

  it("takes no more memory the second time", function()
    local function once()
      la.scope(function()
        la.refine.run(correlation("memory", TRUTH, 9), nil, { steps = 4 }).score:item()
      end)
    end
    once()
    once()
    local before <const> = la.device.memory()
    once()
    local after <const> = la.device.memory()
    assert.equal(before.allocations, after.allocations)
    assert.is_true(before.allocations > 0)
  end)

  scoped("names an unknown option and the nearest one", function()
    local ok <const>, message <const> = pcall(la.refine.run, correlation("options", TRUTH, 5), nil, { stps = 3 })
    assert.is_false(ok)
    assert.truthy(message:find("'stps', did you mean 'steps'", 1, true), message)
  end)
end)

describe("refine.sharpen", function()
  scoped("is relu(c)^power over the root of its square sum", function()
    local rng <const> = make_rng "sharpen"
    local rows <const> = { { {}, {} }, { {}, {} } }
    for i = 1, 2 do
      for j = 1, 2 do
        for k = 1, 4 do
          rows[i][j][k] = rng.number(-1, 1)
        end
      end
    end
    for _, power in ipairs { 1, 2.5, 4 } do
      local got <const> = la.refine.sharpen(la.tensor { rows }, power):flat()
      local n = 0
      for i = 1, 2 do
        for j = 1, 2 do
          local sum = 1e-6
          for _, v in ipairs(rows[i][j]) do
            sum = sum + math.max(v, 0) ^ (2 * power)
          end
          for _, v in ipairs(rows[i][j]) do
            n = n + 1
            local want <const> = math.max(v, 0) ^ power / math.sqrt(sum)
            assert.is_true(math.abs(got[n] - want) < 1e-5, got[n] .. ", expected " .. want)
          end
        end
      end
    end
  end)
end)
