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
    for _, model in ipairs { "affine", "tps", "homography" } do
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
