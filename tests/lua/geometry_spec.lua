-- SPDX-License-Identifier: MIT

local la <const> = require "lualign"
local compare <const> = require "lib.compare"
local sampling <const> = require "lib.sampling"
local host <const> = require "lualign.geometry.host"
local make_rng <const> = require "lib.rng"
local P <const> = require "lib.plain"

local geometry <const> = la.geometry

-- Numbers of [0, 1), as random_theta asks for them.
local function uniform(seed)
  local rng <const> = make_rng(seed)
  return { uniform = function() return rng.number(0, 1) end }
end

local function scoped(name, fn)
  it(name, function() la.scope(fn) end)
end

local AFFINE <const> = { 0.9, 0.1, 0.05, -0.08, 1.1, -0.04 }

describe("geometry.identity", function()
  scoped("leaves every cell in its place", function()
    local want <const> = geometry.grid("affine", { 1, 0, 0, 0, 1, 0 }, 5, 7)
    compare.close(geometry.grid("tps", geometry.identity "tps", 5, 7), P(want), 1e-6)
    compare.close(geometry.grid("homography", geometry.identity "homography", 5, 7), P(want), 1e-6)
    compare.close(geometry.grid("similarity", geometry.identity "similarity", 5, 7), P(want), 1e-6)
    local grid <const> = { 4, 3 }
    local theta <const> = geometry.identity("tps", 2, { grid = grid })
    assert.are.same({ 2, 24 }, theta:shape())
    compare.close(geometry.grid("tps", theta, 5, 7, { grid = grid }), P(la.cat({ want, want }, 1)), 1e-6)
  end)

  it("names the models that there are", function()
    assert.has_error(function() geometry.identity "rigid" end)
  end)
end)

describe("geometry.random_theta", function()
  it("stays within the papers' ranges", function()
    local rng <const> = uniform "ranges"
    for _ = 1, 200 do
      local a <const> = geometry.random_theta("affine", rng)
      assert.is_true(math.abs(a[3]) <= 0.5 and math.abs(a[6]) <= 0.5)
      assert.is_true(a[1] >= 0.5 * math.cos(math.pi / 6) and a[1] <= 1.5)
      assert.is_true(math.abs(a[2]) <= 0.75 and math.abs(a[4]) <= 0.75)
      local t <const> = geometry.random_theta("tps", rng)
      for k, v in ipairs(geometry.identity_theta "tps") do
        assert.is_true(math.abs(t[k] - v) <= 0.4)
      end
      local b <const> = geometry.random_theta("affine", rng, { style = "cnngeometric" })
      local det <const> = b[1] * b[5] - b[2] * b[4] -- of diag(l1, l2)
      assert.is_true(det >= 0.75 ^ 2 - 1e-9 and det <= 1.25 ^ 2 + 1e-9 and math.abs(b[3]) <= 0.25)
      assert.are.equal(8, #geometry.random_theta("homography", rng, { style = "cnngeometric" }))
    end
    assert.has_error(function() geometry.random_theta("affine", rng, { style = "wild" }) end)
  end)

  -- A = R(rotation) R(shear)' diag R(shear): the rotation is what is left of a symmetric matrix.
  it("turns by at most 15 degrees in the later style", function()
    local rng <const> = uniform "turns"
    for _ = 1, 100 do
      local b <const> = geometry.random_theta("affine", rng, { style = "cnngeometric" })
      local turn <const> = math.atan(b[4] - b[2], b[1] + b[5])
      assert.is_true(math.abs(turn) <= math.pi / 12 + 1e-9)
    end
  end)

  scoped("gives the same rows for the same seed", function()
    local a <const> = geometry.random_thetas("tps", 3, { seed = 7 })
    local b <const> = geometry.random_thetas("tps", 2, { seed = 7 })
    assert.are.same({ 3, 18 }, a:shape())
    compare.close(a:narrow(1, 1, 2), P(b), 0)
    assert.is_true(compare.error(geometry.random_thetas("tps", 2, { seed = 8 }), P(b)) > 0.01)
  end)
end)

describe("geometry.normalise", function()
  it("puts the centres of the first and last pixel at -1 and 1, and back", function()
    local p <const> = geometry.normalise({ { 1, 1 }, { 500, 333 }, { 250.5, 167 } }, { 500, 333 })
    assert.are.same({ { -1, -1 }, { 1, 1 }, { 0, 0 } }, p)
    assert.are.same({ { 1, 1 }, { 500, 333 }, { 250.5, 167 } }, geometry.to_pixels(p, { 500, 333 }))
  end)
end)

describe("geometry.warp_grid and map_points", function()
  local function thetas(seed)
    local rng <const> = uniform(seed)
    return geometry.random_theta("affine", rng), geometry.random_theta("tps", rng),
      geometry.random_theta("homography", rng)
  end

  scoped("compose exactly, the last stage first", function()
    local affine <const>, tps <const>, corners <const> = thetas "compose"
    local lists <const> = {
      { { model = "affine", theta = affine }, { model = "tps", theta = tps, reg = 0.2 } },
      { { model = "tps", theta = tps }, { model = "affine", theta = affine } },
      {
        { model = "affine", theta = affine }, { model = "homography", theta = corners }, { model = "tps", theta = tps },
      },
      { { model = "homography", theta = corners } },
      { { model = "similarity", theta = { 0.9, -0.2, 0.1, 0.05 } }, { model = "tps", theta = tps } },
      { { model = "tps", theta = tps }, { model = "similarity", theta = { 0.9, -0.2, 0.1, 0.05 } } },
    }
    local points <const> = make_rng("points").uniform(-1, 1, 1, 7, 2)
    for _, list in ipairs(lists) do
      local map <const> = host.compose(list)
      local function mapped(p)
        local out <const> = p:copy()
        for k = 1, #p.data, 2 do
          out.data[k], out.data[k + 1] = map(p.data[k], p.data[k + 1])
        end
        return out
      end
      compare.close(geometry.map_points(list, la.tensor(points:nested())), mapped(points), 1e-5)
      local base <const> = P(geometry.grid("affine", { 1, 0, 0, 0, 1, 0 }, 5, 7))
      -- points nudge a homography's denominator, grids do not
      compare.close(geometry.warp_grid(list, 5, 7), mapped(base), 2e-5)
    end
  end)

  scoped("take stages by name: affine(tps(p))", function()
    local affine <const>, tps <const> = thetas "names"
    local by_name <const> = geometry.warp_grid({ tps = la.tensor { tps }, affine = la.tensor { affine } }, 5, 7)
    local list <const> = { { model = "affine", theta = affine }, { model = "tps", theta = tps } }
    local by_list <const> = geometry.warp_grid(list, 5, 7)
    compare.close(by_name, P(by_list), 0)
    assert.has_error(function() geometry.warp_grid({}, 5, 7) end)
    assert.has_error(function() geometry.warp_grid({ afine = affine }, 5, 7) end)
  end)

  scoped("carry gradients to every stage", function()
    local affine <const>, tps <const> = thetas "gradients"
    la.gradcheck(function(a, t)
      return geometry.warp_grid({ affine = a, tps = t }, 3, 5)
    end, { la.tensor { affine }, la.tensor { tps } })
  end)
end)

describe("geometry.inverse_points", function()
  scoped("undoes map_points", function()
    local rng <const> = uniform "inverse"
    local calm <const> = { uniform = function() return 0.5 + 0.4 * (rng:uniform() - 0.5) end }
    local stages <const> = {
      affine = la.tensor { geometry.random_theta("affine", rng) },
      tps = la.tensor { geometry.random_theta("tps", calm) },
    }
    local points <const> = make_rng("undo").uniform(-0.9, 0.9, 1, 9, 2):nested()
    local mapped <const> = geometry.map_points(stages, la.tensor(points)):totable()[1]
    local found <const>, residuals <const> = geometry.inverse_points(stages, mapped)
    compare.close(found, points[1], 1e-5)
    for _, r in ipairs(residuals) do
      assert.is_true(r < 1e-9)
    end
  end)

  it("says where there is no solution", function()
    local flat <const> = { affine = { 0, 0, 0.5, 0, 1, 0 } } -- everything at x = 0.5
    local _ <const>, residuals <const> = geometry.inverse_points(flat, { { 0.25, 0 }, { 0.5, 0.25 } })
    assert.is_true(residuals[1] > 0.2)
  end)

  it("starts where it is told", function()
    local found <const>, residuals <const> = geometry.inverse_points({ affine = AFFINE }, { { 0.3, 0.2 } },
      { start = { { 0, 0 } } })
    local x <const>, y <const> = host.affine(AFFINE)(found[1][1], found[1][2])
    assert.is_true(math.abs(x - 0.3) < 1e-9 and math.abs(y - 0.2) < 1e-9 and residuals[1] < 1e-9)
  end)
end)

describe("geometry.inverse_grid", function()
  scoped("undoes warp_grid for every cell, as the host's inverse does", function()
    local rng <const> = uniform "inverse grid"
    local calm <const> = { uniform = function() return 0.5 + 0.4 * (rng:uniform() - 0.5) end }
    for _, models in ipairs { { "affine", "tps" }, { "homography" }, { "tps", "similarity" } } do
      local rows <const>, stages <const> = { {}, {} }, {}
      for k, model in ipairs(models) do
        for n = 1, 2 do
          rows[n][k] = geometry.random_theta(model, model == "affine" and rng or calm)
        end
        stages[k] = { model = model, theta = la.tensor { rows[1][k], rows[2][k] } }
      end
      local grid <const>, residuals <const> = geometry.inverse_grid(stages, 5, 7)
      assert.same({ 2, 5, 7, 2 }, grid:shape())
      assert.same({ 2, 5, 7 }, residuals:shape())
      local at <const>, left <const>, solved = grid:totable(), residuals:totable(), 0
      for n = 1, 2 do
        local list <const> = {}
        for k, model in ipairs(models) do
          list[k] = { model = model, theta = rows[n][k] }
        end
        for i = 1, 5 do
          for j = 1, 7 do
            local x <const>, y <const>, r <const> = host.inverse(host.compose(list), -1 + (j - 1) / 3, -1 + (i - 1) / 2)
            if r < 1e-9 and left[n][i][j] < 1e-5 then
              compare.close(at[n][i][j], { x, y }, 2e-4)
              solved = solved + 1
            end
          end
        end
      end
      assert.is_true(solved >= 60, solved .. " of 70 were solved")
    end
  end)

  scoped("says where there is no solution", function()
    local flat <const> = { affine = la.tensor { { 0, 0, 0.5, 0, 1, 0 } } } -- everything at x = 0.5
    local left <const> = select(2, geometry.inverse_grid(flat, 2, 5)):totable()
    for i = 1, 2 do
      for j = 1, 5 do
        assert.is_true(left[1][i][j] >= math.abs(-1 + (j - 1) / 2 - 0.5) - 1e-5)
      end
    end
  end)
end)

describe("geometry.synthetic_pair", function()
  scoped("warps the source's own frame: target(g) = source(T(g))", function()
    -- a smooth image: sampling the source once more is then near enough
    local h <const>, w <const> = 96, 128
    local image <const> = P.build({ 1, h, w, 1 }, function(_, y, x) return math.sin(0.05 * x) + math.cos(0.07 * y) end)
    local theta <const> = { 0.9, 0.05, 0.02, -0.04, 0.85, -0.03 }
    local source <const>, target <const> =
      geometry.synthetic_pair(la.tensor(image:nested()), la.tensor { theta }, "affine", { size = 65 })
    assert.are.same({ 1, 65, 65, 1 }, source:shape())
    local again <const> = la.grid_sample(source, geometry.grid("affine", theta, 65, 65))
    local inner <const> = { { 2, 9, 49 }, { 3, 9, 49 } }
    local function middle(t)
      for _, n in ipairs(inner) do
        t = t:narrow(n[1], n[2], n[3])
      end
      return t
    end
    compare.close(middle(target), P(middle(again)), 5e-3)
  end)

  scoped("samples the mirrored image as the paper says, for every model", function()
    local rng <const> = make_rng "mirrored"
    local image <const> = rng.uniform(0, 255, 2, 12, 16, 3)
    local wide <const> = P.build({ 2, 24, 32, 3 }, function(n, i, j, c)
      i, j = i - 6, j - 8
      i = i < 1 and 1 - i or i > 12 and 25 - i or i
      j = j < 1 and 1 - j or j > 16 and 33 - j or j
      return image:at(n, i, j, c)
    end)
    for _, model in ipairs { "affine", "tps", "homography" } do
      local theta <const> = geometry.random_thetas(model, 2, { seed = 3 })
      local source <const>, target <const> =
        geometry.synthetic_pair(la.tensor(image:nested()), theta, model, { size = 5 })
      local function want(grid)
        local scaled <const> = P(grid)
        for k, v in ipairs(scaled.data) do
          scaled.data[k] = v * 9 / 32
        end
        return sampling.sample(wide, scaled)
      end
      compare.close(source, want(geometry.grid("affine", geometry.identity("affine", 2), 5, 5)), 1e-5)
      compare.close(target, want(geometry.grid(model, theta, 5, 5)), 1e-5)
    end
  end)

  scoped("resizes to a canvas first", function()
    local image <const> = la.tensor(make_rng("canvas").uniform(0, 1, 1, 9, 7, 3):nested())
    local a <const> = geometry.synthetic_pair(image, la.tensor { AFFINE }, "affine", { size = 5, canvas = { 12, 16 } })
    local resized <const> = la.resize(image, { height = 12, width = 16 })
    compare.close(a, P((geometry.synthetic_pair(resized, la.tensor { AFFINE }, "affine", { size = 5 }))), 0)
  end)
end)

describe("an alignment", function()
  scoped("shows the target in the source's frame, as warped shows the source in the target's", function()
    local ramp <const> = P.build({ 40, 50, 3 }, function(y, x, c) return 20 + 3 * x + y + c end)
    local picture <const> = la.tensor(ramp:nested()):astype "uint8"
    local t <const> = la.align(picture, picture, { refine = 1, starts = false })
    t.stages = { affine = la.tensor { { 1, 0, 0.2, 0, 0.9, -0.1 } } }
    local inverse <const> = { affine = la.tensor { { 1, 0, -0.2, 0, 1 / 0.9, 0.1 / 0.9 } } }
    local grid <const> = geometry.warp_grid(inverse, 40, 50)
    local expected <const> = la.clamp(la.grid_sample(picture:astype("float32"):unsqueeze(1), grid) + 0.5,
      { min = 0, max = 255 }):astype("uint8"):squeeze(1)
    local a <const>, b <const> = t:unwarped():astype "float32", expected:astype "float32"
    assert.same({ 40, 50, 3 }, a:shape())
    local there <const> = la.grid_sample(picture:astype("float32"):unsqueeze(1), geometry.warp_grid(t.stages, 31, 44))
    assert.equal(la.clamp(there + 0.5, { min = 0, max = 255 }):astype("uint8"):bytes(), t:warped(31, 44):bytes())
    -- rounding may go either way where it is close, and where the border of the picture is
    assert.is_true(la.abs(a - b):sum():item() / a:numel() < 0.2)
    assert.is_true(b:mean():item() > 50)
  end)
end)
