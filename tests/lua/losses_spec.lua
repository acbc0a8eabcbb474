-- SPDX-License-Identifier: MIT

local la <const> = require "lualign"
local compare <const> = require "lib.compare"
local host <const> = require "lualign.geometry.host"
local make_rng <const> = require "lib.rng"
local P <const> = require "lib.plain"

local losses <const> = la.losses

local function scoped(name, fn)
  it(name, function() la.scope(fn) end)
end

-- Thetas of n samples, as lists: around the identity.
local function thetas(model, n, spread, seed)
  local rng <const>, rows <const> = make_rng(seed), {}
  for i = 1, n do
    rows[i] = la.geometry.identity_theta(model)
    for k, v in ipairs(rows[i]) do
      rows[i][k] = v + rng.number(-spread, spread)
    end
  end
  return rows
end

describe("losses.transformed_grid", function()
  scoped("is the mean squared distance of the points", function()
    for _, model in ipairs { "affine", "similarity", "tps", "homography" } do
      local a <const>, b <const> = thetas(model, 3, 0.2, "a" .. model), thetas(model, 3, 0.2, "b" .. model)
      local sum = 0
      for n = 1, 3 do
        local f <const> = model == "homography" and host.homography(a[n]) or host[model](a[n])
        local g <const> = model == "homography" and host.homography(b[n]) or host[model](b[n])
        for i = 0, 19 do
          for j = 0, 19 do
            local x <const>, y <const> = -1 + 2 * j / 19, -1 + 2 * i / 19
            local fx <const>, fy <const> = f(x, y)
            local gx <const>, gy <const> = g(x, y)
            sum = sum + (fx - gx) ^ 2 + (fy - gy) ^ 2
          end
        end
      end
      compare.close(losses.transformed_grid(la.tensor(a), la.tensor(b), model), sum / 1200, 1e-5)
    end
  end)

  scoped("has gradients", function()
    for _, model in ipairs { "affine", "tps" } do
      local truth <const> = la.tensor(thetas(model, 2, 0.3, "truth"))
      la.gradcheck(function(theta)
        return losses.transformed_grid(theta, truth, model, { size = 5 })
      end, { la.tensor(thetas(model, 2, 0.3, "guess")) })
    end
  end)
end)

describe("losses.theta_mse", function()
  scoped("is the mean squared difference", function()
    local a <const>, b <const> = la.tensor { { 1, 2, 3 } }, la.tensor { { 1, 4, 0 } }
    compare.close(losses.theta_mse(a, b), 13 / 3, 1e-6)
  end)
end)

describe("losses.soft_inlier_count", function()
  local function correlation(n, h, w, K)
    return la.tensor(make_rng("correlation").uniform(0, 1, n, h, w, K):nested())
  end

  local function both(n)
    return { affine = la.tensor(thetas("affine", n, 0.2, 1)), tps = la.tensor(thetas("tps", n, 0.2, 2)) }
  end

  scoped("counts on affine and composition, one number per sample", function()
    local s <const> = correlation(2, 5, 4, 20)
    local stages <const> = both(2)
    local affine <const>, composed <const> = losses.soft_inlier_count(s, stages)
    assert.are.same({ 2 }, affine:shape())
    assert.are.same({ 2 }, composed:shape())
    local o <const> = 227 / 210
    local grid <const> = la.affine_grid(stages.affine, { height = 5, width = 4, offset = o })
    local spline <const> = la.tps_grid(stages.tps, { height = 5, width = 4, offset = o, reg = 0.2 })
    compare.close(affine, P(la.soft_inlier_count(s, grid)), 0)
    compare.close(composed, P(la.soft_inlier_count(s, la.compose_sampled(grid, spline))), 0)
    compare.close(losses.weak(s, stages), P(-(affine + composed):mean()), 1e-6)
  end)

  scoped("does with one of the two", function()
    local s <const> = correlation(1, 5, 4, 20)
    local stages <const> = both(1)
    local affine <const>, none <const> = losses.soft_inlier_count(s, { affine = stages.affine })
    assert.is_nil(none)
    compare.close(losses.weak(s, { affine = stages.affine }), P(-affine:mean()), 1e-6)
    local nothing <const>, spline <const> = losses.soft_inlier_count(s, { tps = stages.tps })
    assert.is_nil(nothing)
    compare.close(losses.weak(s, { tps = stages.tps }), P(-spline:mean()), 1e-6)
    assert.has_error(function() losses.soft_inlier_count(s, {}) end)
  end)

  scoped("takes other grids, orders and neighbours", function()
    local s <const> = correlation(1, 3, 4, 30)
    local stages <const> = both(1)
    local opts <const> = { source = { 5, 6 }, order = "row", dilation = 8, normalize = false, offset = 1, reg = 0 }
    local affine <const>, composed <const> = losses.soft_inlier_count(s, stages, opts)
    opts.mode = "plain"
    local a <const>, c <const> = losses.soft_inlier_count(s, stages, opts)
    compare.close(affine, P(a), 2e-6)
    compare.close(composed, P(c), 2e-6)
    assert.has_error(function() losses.soft_inlier_count(s, stages, { dilatation = 4 }) end)
  end)
end)

-- What the option means, in other words: the correlation itself smoothed over the source cells (the filter is its own
-- transpose), counted on without smoothing; the masks' sum is 1 where they do not reach the border.
describe("losses.weak with smoothed masks", function()
  scoped("counts on the correlation smoothed over the source", function()
    local rng <const> = make_rng "smooth"
    local n <const>, side <const>, K <const> = 2, 5, 49
    local s <const> = rng.uniform(0, 1, n, side, side, K)
    local smooth <const> = P.build({ n, side, side, K }, function(i, r, c, k)
      local row <const>, column <const> = (k - 1) % 7 + 1, (k - 1) // 7 + 1
      local sum = 0
      for dr = -1, 1 do
        for dc = -1, 1 do
          local y <const>, x <const> = row + dr, column + dc
          if y >= 1 and y <= 7 and x >= 1 and x <= 7 then
            sum = sum + (2 - math.abs(dr)) * (2 - math.abs(dc)) / 16 * s:at(i, r, c, y + 7 * (x - 1))
          end
        end
      end
      return sum
    end)
    local a <const> = la.tensor { { 0.3, 0.05, 0.1, -0.04, 0.35, -0.05 }, { 0.4, 0, -0.1, 0.1, 0.3, 0.1 } } -- inside
    local stages <const> = { affine = a, tps = la.tensor(thetas("tps", n, 0.05, "inner")) }
    local opts <const> = { source = { 7, 7 }, smooth = true }
    compare.close({ losses.weak(la.tensor(s:nested()), stages, opts):item() },
      { losses.weak(la.tensor(smooth:nested()), stages, { source = { 7, 7 } }):item() }, 1e-5)
    la.gradcheck(function(x) return losses.weak(x, stages, opts) end, { la.tensor(s:nested()) })
    assert.has_error(function() losses.weak(la.tensor(s:nested()), stages, { smooth = true, dilation = 8 }) end)
  end)
end)

describe("losses.weak_contrast", function()
  scoped("is the hinge on the counts of negative and positive pairs", function()
    local function pair(seed)
      la.seed(seed)
      return {
        correlation = la.l2_normalize(la.rand(3, 5, 5, 25)),
        stages = {
          affine = la.tensor(thetas("affine", 3, 0.1, "c" .. seed)),
          tps = la.tensor(thetas("tps", 3, 0.1, "d" .. seed)),
        },
      }
    end
    local p <const>, n <const> = pair(1), pair(2)
    local function scores(x)
      local a <const>, c <const> = losses.soft_inlier_count(x.correlation, x.stages, { offset = 1.1 })
      return (a + c):flat()
    end
    local sp <const>, sn <const> = scores(p), scores(n)
    for _, margin in ipairs { 0, 0.001, 0.02 } do
      local sum = 0
      for k = 1, 3 do
        sum = sum + math.max(0, margin + sn[k] - sp[k]) / 3
      end
      compare.close({ losses.weak_contrast(p, n, { margin = margin, offset = 1.1 }):item() }, { sum }, 1e-4)
    end
    compare.close({ losses.weak_contrast(p, n, { offset = 1.1 }):item() },
      { (sn[1] + sn[2] + sn[3] - sp[1] - sp[2] - sp[3]) / 3 }, 1e-4)
    assert.has_error(function() losses.weak_contrast(p, n, { margins = 1 }) end)
  end)
end)

describe("losses.weak_symmetric", function()
  scoped("is the mean of both ways, and the cycle's weight in it", function()
    local function way(seed)
      return {
        correlation = la.tensor(make_rng("w" .. seed).uniform(0, 1, 2, 5, 5, 25):nested()),
        stages = {
          affine = la.tensor(thetas("affine", 2, 0.1, "e" .. seed)),
          tps = la.tensor(thetas("tps", 2, 0.1, "f" .. seed)),
        },
      }
    end
    local there <const>, back <const> = way(1), way(2)
    local how <const> = { offset = 1.1, normalize = false }
    local both <const> = (losses.weak(there.correlation, there.stages, how):item()
      + losses.weak(back.correlation, back.stages, how):item()) / 2
    compare.close({ losses.weak_symmetric(there, back, how):item() }, { both }, 1e-5)
    compare.close({ losses.weak_symmetric(back, there, how):item() }, { both }, 1e-5)
    local cycle <const> = losses.cycle(there.stages, back.stages):item()
    how.cycle = 3
    compare.close({ losses.weak_symmetric(there, back, how):item() }, { both + 3 * cycle }, 1e-5)
    assert.is_true(cycle > 1e-4)
    assert.has_error(function() losses.weak_symmetric(there, back, { cycles = 1 }) end)
  end)
end)

describe("losses.cycle", function()
  scoped("is the squared way from a point to there and back again", function()
    local there <const>, back <const> = thetas("affine", 2, 0.2, "there"), thetas("tps", 2, 0.1, "back")
    local total, count = 0, 0
    for n = 1, 2 do
      local f <const>, g <const> = host.affine(there[n]), host.tps(back[n])
      for i = 0, 6 do
        for j = 0, 6 do
          local x <const>, y <const> = -1 + j / 3, -1 + i / 3
          local u <const>, v <const> = g(x, y)
          if math.max(math.abs(u), math.abs(v)) <= 1 then
            local p <const>, q <const> = f(u, v)
            total, count = total + (p - x) ^ 2 + (q - y) ^ 2, count + 1
          end
        end
      end
    end
    local a <const>, b <const> = { affine = la.tensor(there) }, { tps = la.tensor(back) }
    compare.close({ losses.cycle(a, b, { size = 7 }):item() }, { total / count }, 1e-5)
    la.gradcheck(function(x, y)
      return losses.cycle({ affine = x }, { tps = y }, { size = 4 })
    end, { a.affine, la.tensor(thetas("tps", 2, 0.05, "inner")) * 0.8 })
  end)

  scoped("is 0 for a map and its inverse", function()
    local theta <const> = la.tensor { { 0.8, 0.1, 0.1, -0.1, 0.9, 0 } }
    local d <const> = 0.8 * 0.9 + 0.01
    local inverse <const> = la.tensor { { 0.9 / d, -0.1 / d, -0.09 / d, 0.1 / d, 0.8 / d, -0.01 / d } }
    assert.is_true(losses.cycle({ affine = theta }, { affine = inverse }):item() < 1e-12)
  end)
end)
