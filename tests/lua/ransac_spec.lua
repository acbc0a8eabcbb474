-- SPDX-License-Identifier: MIT
--
-- Robust fitting: exact matches among wrong ones, least squares against what is least, and what cannot be fitted.

local la <const> = require "lualign"
local make_rng <const> = require "lualign.util.rng"
local shared <const> = require "lib.shared"
local tmp <const> = require "lib.tmp"

local host <const>, ransac <const> = la.geometry.host, la.ransac

local AFFINE <const> = { 0.8, -0.3, 0.1, 0.25, 1.1, -0.2 }
local HOMOGRAPHY <const> = { 0.9, 0.2, -0.1, -0.15, 1.05, 0.2, 0.2, -0.15, 1 }

local function map_of(model, theta)
  return model == "affine" and host.affine(theta) or host.homography(theta)
end

-- `right` matches of a map, with normal noise, then `wrong` ones anywhere.
local function matches(rng, map, right, wrong, noise)
  local source <const>, target <const> = {}, {}
  for k = 1, right + wrong do
    target[k] = { rng:uniform(-1, 1), rng:uniform(-1, 1) }
    if k <= right then
      local x <const>, y <const> = map(target[k][1], target[k][2])
      source[k] = { x + noise * rng:normal(), y + noise * rng:normal() }
    else
      source[k] = { rng:uniform(-3, 3), rng:uniform(-3, 3) }
    end
  end
  return source, target
end

local function farthest(a, b, points)
  local most = 0
  for _, p in ipairs(points) do
    local ax <const>, ay <const> = a(p[1], p[2])
    local bx <const>, by <const> = b(p[1], p[2])
    most = math.max(most, math.sqrt((ax - bx) ^ 2 + (ay - by) ^ 2))
  end
  return most
end

local function squares(map, source, target, indices)
  local sum = 0
  for _, k in ipairs(indices) do
    local x <const>, y <const> = map(target[k][1], target[k][2])
    sum = sum + (x - source[k][1]) ^ 2 + (y - source[k][2]) ^ 2
  end
  return sum
end

for model, theta in pairs { affine = AFFINE, homography = HOMOGRAPHY } do
  describe("ransac by " .. model, function()
    local truth <const> = map_of(model, theta)

    it("finds exact matches among as many wrong ones and more", function()
      for seed = 1, 12 do
        local right <const>, wrong <const> = 30, ({ 0, 30, 60 })[seed % 3 + 1]
        local source <const>, target <const> = matches(make_rng(seed, 77), truth, right, wrong, 0)
        local fit <const> = ransac.fit(source, target, { model = model, threshold = 0.01, seed = seed, trials = 4000 })
        assert.is_true(farthest(truth, map_of(model, fit.theta), target) < 1e-9, "seed " .. seed)
        for k = 1, right do
          assert.equal(k, fit.inliers[k])
        end
        assert.is_true(#fit.inliers <= right + 2) -- a wrong one may be right by chance
        for k, v in ipairs(fit.theta) do
          assert.is_true(math.abs(v - theta[k]) < 1e-8, model .. " " .. k)
        end
      end
    end)

    it("needs one sample where all matches are right, and few where most are", function()
      local source <const>, target <const> = matches(make_rng(5), truth, 40, 0, 0)
      assert.equal(1, ransac.fit(source, target, { model = model, threshold = 0.01 }).trials)
      source[1] = { 3, 3 }
      local fit <const> = ransac.fit(source, target, { model = model, threshold = 0.01 })
      assert.is_true(fit.trials > 1 and fit.trials < 12, "trials: " .. fit.trials)
      source[1], source[2], source[3] = { 3, 3 }, { -3, 1 }, { 2, -3 }
      assert.equal(2, ransac.fit(source, target, { model = model, threshold = 0.01, trials = 2 }).trials)
    end)

    it("is of least squares on its inliers", function()
      for seed = 1, 6 do
        local rng <const> = make_rng(seed, 78)
        local source <const>, target <const> = matches(rng, truth, 40, 25, 0.02)
        local fit <const> = ransac.fit(source, target, { model = model, threshold = 0.06, seed = seed })
        assert.is_true(#fit.inliers > 30)
        assert.is_true(farthest(truth, map_of(model, fit.theta), target) < 0.05)
        local least <const> = squares(map_of(model, fit.theta), source, target, fit.inliers)
        for k = 1, model == "affine" and 6 or 8 do
          for _, step in ipairs { -1e-4, 1e-4 } do
            local other <const> = table.move(fit.theta, 1, #fit.theta, 1, {})
            other[k] = other[k] + step
            assert.is_true(squares(map_of(model, other), source, target, fit.inliers) > least,
              string.format("seed %d: theta %d %+g is better", seed, k, step))
          end
        end
      end
    end)

    it("gives the same answer for the same seed, wherever it is", function()
      local source <const>, target <const> = matches(make_rng(9), truth, 20, 40, 0.03)
      local first <const> = ransac.fit(source, target, { model = model, seed = 3 })
      math.random()
      assert.same(first, ransac.fit(source, target, { model = model, seed = 3 }))
      -- far off and large, the same up to rounding
      local function moved(points)
        local out <const> = {}
        for k, p in ipairs(points) do
          out[k] = { p[1] * 1000 + 5e4, p[2] * 1000 - 2e4 }
        end
        return out
      end
      local far <const> = ransac.fit(moved(source), moved(target), { model = model, seed = 3, threshold = 100 })
      assert.same(first.inliers, far.inliers)
    end)

    it("says why where there is none", function()
      local n <const> = model == "affine" and 3 or 4
      local source <const>, target <const> = matches(make_rng(4), truth, n - 1, 0, 0)
      local fit, reason = ransac.fit(source, target, { model = model })
      assert.is_nil(fit)
      assert.equal(string.format("%d matches; a transformation by %s needs %d", n - 1, model, n), reason)
      fit, reason = ransac.fit({}, {}, { model = model })
      assert.is_nil(fit)
      assert.truthy(reason:find("^0 matches"))
      local line <const>, same <const>, free <const> = {}, {}, {}
      for k = 1, 9 do
        line[k], same[k], free[k] = { k / 10, 0.3 - k / 5 }, { 0.2, 0.1 }, { math.cos(k), math.sin(3 * k) }
      end
      for _, case in ipairs { { line, free }, { free, line }, { same, free }, { free, same }, { line, line } } do
        fit, reason = ransac.fit(case[1], case[2], { model = model, trials = 50 })
        assert.is_nil(fit)
        assert.truthy(reason:find("points coincide or lie on a line", 1, true), reason)
      end
    end)
  end)
end

describe("ransac", function()
  it("takes no homography from points of which three lie on a line", function()
    -- four of the five lie on one: an affine map needs no more than three that do not
    local target <const> = { { -1, 0 }, { 0, 0 }, { 1, 0 }, { 0, 1 }, { 0.5, 0 } }
    assert.equal(5, #ransac.fit(target, target, { threshold = 1e-6 }).inliers)
    assert.is_nil((ransac.fit(target, target, { model = "homography", trials = 100 })))
  end)

  it("refuses what makes no sense", function()
    local p <const> = { { 0, 0 }, { 1, 0 }, { 0, 1 } }
    for _, case in ipairs {
      { "as many source points as target points, got 3 and 2", p, { p[1], p[2] } },
      { "match 2 must be finite", { p[1], { 0 / 0, 1 }, p[3] }, p },
      { "model must be affine or homography, got tps", p, p, { model = "tps" } },
      { "threshold must be above 0", p, p, { threshold = 0 } },
      { "confidence within (0, 1)", p, p, { confidence = 1 } },
      { "did you mean 'threshold'?", p, p, { treshold = 1 } },
    } do
      local ok <const>, message <const> = pcall(ransac.fit, case[2], case[3], case[4])
      assert.is_false(ok)
      assert.truthy(tostring(message):find(case[1], 1, true), tostring(message))
    end
  end)
end)

describe("ransac.matches", function()
  it("are mutual, at the centres of cells", function()
    la.scope(function()
      local rng <const> = make_rng(21)
      local ha <const>, wa <const>, hb <const>, wb <const>, c <const>, size <const> = 3, 4, 5, 3, 6, 60
      local function features(count)
        local rows <const> = {}
        for k = 1, count do
          rows[k] = {}
          for i = 1, c do
            rows[k][i] = rng:normal()
          end
        end
        return rows
      end
      local a <const>, b <const> = features(ha * wa), features(hb * wb)
      local source <const>, target <const> = ransac.matches(la.tensor(a):reshape(1, ha, wa, c),
        la.tensor(b):reshape(1, hb, wb, c), { size = size })
      local function best(row, rows)
        local most, at = -math.huge, nil
        for k, other in ipairs(rows) do
          local sum = 0
          for i = 1, c do
            sum = sum + row[i] * other[i]
          end
          if sum > most then
            most, at = sum, k
          end
        end
        return at
      end
      -- the centre, in pixels from 0, and back
      local function place(k, width, height)
        local x <const> = ((k - 1) % width + 0.5) * size / width - 0.5
        local y <const> = ((k - 1) // width + 0.5) * size / height - 0.5
        return { 2 * x / (size - 1) - 1, 2 * y / (size - 1) - 1 }
      end
      local count = 0
      for k, row in ipairs(b) do
        local j <const> = best(row, a)
        if best(a[j], b) == k then
          count = count + 1
          for _, pair in ipairs { { place(j, wa, ha), source[count] }, { place(k, wb, hb), target[count] } } do
            assert.is_true(math.abs(pair[1][1] - pair[2][1]) + math.abs(pair[1][2] - pair[2][2]) < 1e-12)
          end
        end
      end
      assert.equal(count, #source)
      assert.is_true(count > 2)
    end)
  end)
end)

describe("ransac.method", function()
  local function method(model)
    return ransac.method(function(image)
      return la.l2_normalize(la.avg_pool2d(image, { kernel = 4 }) - 110)
    end, { model = model, size = 64 })
  end

  it("finds a shift, so that points and flow can be scored; and stays in place where nothing matches", function()
    local folder <const> = tmp.dir()
    for name, at in pairs { a = { 0, 0 }, b = { 16, 8 } } do
      local canvas <const> = la.io.canvas(128, 128, { 20, 20, 20 })
      local rng <const> = make_rng(8)
      for k = 0, 24 do
        canvas:circle(20 + 20 * (k % 5) + at[1], 20 + 20 * (k // 5) + at[2], 7, {
          rng:integer(0, 255), rng:integer(0, 255), rng:integer(0, 255),
        }, 1)
      end
      la.image.save(folder .. "/" .. name .. ".png", canvas:tensor())
    end
    la.image.save(folder .. "/plain.png", la.io.canvas(128, 128, { 20, 20, 20 }):tensor())
    local function pair(target)
      return {
        source = folder .. "/a.png", target = folder .. "/" .. target, category = "made", source_size = { 128, 128 },
        target_size = { 128, 128 }, source_points = { { 41, 41 }, { 81, 61 } },
        target_points = { { 57, 49 }, { 97, 69 } },
      }
    end
    local ok <const>, message <const> = pcall(function()
      for _, model in ipairs { "affine", "homography" } do
        local rows <const> = la.evaluate.run({ pair "b.png", pair "plain.png" }, method(model), { alphas = { 0.1 } })
        assert.same({ 1 }, rows[1].pck)
        assert.is_true(rows[1].scores.inliers > 20)
        assert.is_nil(rows[1].scores.failed)
        assert.equal(model == "affine" and 6 or 9, #rows[1].stages[model])
        assert.equal(0, rows[2].scores.inliers)
        assert.truthy(rows[2].scores.failed:find "needs")
        assert.same(la.geometry.identity_theta(model), rows[2].stages[model])
      end
    end)
    tmp.remove(folder)
    assert.is_true(ok, tostring(message))
  end)

  it("gives its figures on PF-WILLOW", function()
    local list <const> = la.data.benchmarks.pf_willow(shared.skip_without "data/pf-willow")
    local features <const> = la.align.default_features()
    for model, expected in pairs { affine = { 0.280, 0.575, 0.752 }, homography = { 0.298, 0.617, 0.786 } } do
      local rows <const> = la.evaluate.run(list, ransac.method(features, { model = model }))
      local all <const> = la.metrics.summary(rows, 3)
      for k, v in ipairs(expected) do
        assert.is_true(math.abs(all[k] - v) <= 0.006, string.format("%s: PCK@%.2f is %.4f, expected %.3f", model,
          la.evaluate.ALPHAS[k], all[k], v))
      end
    end
  end)
end)
