-- SPDX-License-Identifier: MIT
--
-- Keypoint transfer on made-up pairs whose answers are known.

local la <const> = require "lualign"
local tmp <const> = require "lib.tmp"

local evaluate <const> = la.evaluate

-- Sizes whose coordinates are exact: pixels 1..101 and 1..201.
local function pair(fields)
  local p <const> = {
    source = "a", target = "b", category = "made up", source_size = { 101, 101 }, target_size = { 201, 101 },
    source_points = { { 11, 11 }, { 51, 51 }, { 91, 31 } }, target_points = { { 21, 11 }, { 101, 51 }, { 181, 31 } },
  }
  for name, value in pairs(fields or {}) do
    p[name] = value
  end
  return p
end

local function near(expected, got, tolerance)
  for k, v in ipairs(expected) do
    assert.is_true(math.abs(v - got[k]) <= (tolerance or 1e-9), k .. ": " .. got[k] .. ", expected " .. v)
  end
end

describe("evaluate.identity", function()
  it("copies keypoints to the same relative place", function()
    local method <const> = evaluate.identity()
    local points <const> = method(pair()).points
    near({ -0.8, -0.8 }, points[1])
    near({ 0, 0 }, points[2])
    near({ 0.8, -0.4 }, points[3])
    local rows <const> = evaluate.run({ pair() }, method)
    assert.same({ 1, 1, 1 }, rows[1].pck)
  end)

  it("is scored by hand", function()
    -- the box of the true points is 80 wide, so 4, 8 and 12 pixels count; the copies are off by 0, 6 and 50
    local moved <const> = pair { source_points = { { 11, 11 }, { 51, 57 }, { 91, 81 } } }
    local far <const> = pair { category = "far", source_points = { { 31, 11 }, { 71, 51 }, { 11, 31 } } }
    local rows <const> = evaluate.run({ moved, far }, evaluate.identity())
    near({ 1 / 3, 2 / 3, 2 / 3 }, rows[1].pck)
    near({ 0, 0, 0 }, rows[2].pck)
    assert.equal("a", rows[1].source)
    assert.equal("b", rows[1].target)
    assert.equal("far", rows[2].category)
    local all <const>, categories <const> = la.metrics.summary(rows, 3)
    near({ 1 / 6, 1 / 3, 1 / 3 }, all)
    assert.equal("far", categories[1].category)
  end)

  it("reports progress, and takes other thresholds", function()
    local calls <const> = {}
    local rows <const> = evaluate.run({ pair(), pair() }, evaluate.identity(), {
      alphas = { 0.01, 1 },
      progress = function(done, all, row) calls[#calls + 1] = { done, all, row.category } end,
    })
    assert.same({ { 1, 2, "made up" }, { 2, 2, "made up" } }, calls)
    assert.equal(2, #rows[1].pck)
    assert.has_error(function() evaluate.run({ pair() }, evaluate.identity(), { alpha = { 0.1 } }) end)
  end)
end)

describe("evaluate.aligned", function()
  -- An aligner that always finds the same transformation.
  local function aligner(stages, loaded)
    return {
      load = function(path)
        loaded[#loaded + 1] = path
        return la.tensor { #loaded }
      end,
      run = function(_, a, b)
        assert(la.is_tensor(a) and la.is_tensor(b))
        return { stages = stages, scores = { affine = 3, tps = 4 } }
      end,
    }
  end

  it("sends each target keypoint through the stages into the source", function()
    la.scope(function()
      -- a spline that shifts by (0.1, 0), then an affine map that mirrors and shifts by (0, 0.2)
      local tps <const> = la.geometry.identity "tps" + la.tensor {
        { 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0, 0, 0, 0, 0, 0, 0, 0, 0 },
      }
      local affine <const> = la.tensor { { -1, 0, 0, 0, 1, 0.2 } }
      local loaded <const> = {}
      local method <const> = evaluate.aligned(aligner({ affine = affine, tps = tps }, loaded))
      local result <const> = method(pair())
      assert.equal(affine, result.map.affine)
      assert.equal(tps, result.map.tps)
      local there <const> = pair { source_points = { { 86, 21 }, { 46, 61 }, { 6, 41 } } }
      local row <const> = evaluate.run({ there }, method, { alphas = { 1e-6 } })[1]
      assert.same({ 1 }, row.pck)
      assert.same({ 0 }, row.first.pck) -- the affine map alone: off by 5 pixels
      assert.equal(6, #result.stages.affine)
      assert.equal(18, #result.stages.tps)
      near(affine:flat(), result.stages.affine)
      near(tps:flat(), result.stages.tps)
      assert.same({ affine = 3, tps = 4 }, result.scores)
      -- pictures are loaded once for many pairs
      method(pair { source = "b", target = "a" })
      assert.same({ "a", "b" }, loaded)
    end)
  end)

  it("is scored against the source's own keypoints, in its pixels", function()
    la.scope(function()
      local mirrored <const> = { affine = la.tensor { { -1, 0, 0, 0, 1, 0 } } }
      local method <const> = evaluate.aligned(aligner(mirrored, {}))
      local truth <const> = pair { source_points = { { 91, 11 }, { 51, 51 }, { 11, 31 } } }
      local rows <const> = evaluate.run({ truth, pair() }, method)
      assert.same({ 1, 1, 1 }, rows[1].pck)
      near({ 1 / 3, 1 / 3, 1 / 3 }, rows[2].pck)
      assert.equal(6, #rows[1].stages.affine)
      assert.is_nil(rows[1].stages.tps)
    end)
  end)
end)

describe("evaluate.nearest", function()
  it("finds a picture's keypoints in itself and in its shifted copy", function()
    local folder <const> = tmp.dir()
    -- blobs of different colours, and the same 16 pixels further to the right and 8 down
    local function draw(path, dx, dy)
      local canvas <const> = la.io.canvas(128, 96, { 20, 20, 20 })
      for k = 0, 5 do
        canvas:circle(20 + 15 * k + dx, 20 + 22 * (k % 3) + dy, 7, { 40 * k + 30, 230 - 35 * k, k % 2 * 200 + 20 }, 1)
      end
      la.image.save(path, canvas:tensor())
    end
    draw(folder .. "/a.png", 0, 0)
    draw(folder .. "/b.png", 16, 8)
    local points <const>, shifted <const> = {}, {}
    for k = 0, 5 do
      points[k + 1] = { 21 + 15 * k, 21 + 22 * (k % 3) }
      shifted[k + 1] = { points[k + 1][1] + 16, points[k + 1][2] + 8 }
    end
    local sizes <const> = {}
    local method <const> = evaluate.nearest(function(image)
      sizes[#sizes + 1] = image:shape()
      -- each 4 x 4 block's mean colour about grey
      return la.l2_normalize(la.avg_pool2d(image, { kernel = 4 }) - 110)
    end, 64, "antialias")
    local function made(target, target_points)
      return {
        source = folder .. "/a.png", target = folder .. "/" .. target, category = "blobs", source_size = { 128, 96 },
        target_size = { 128, 96 }, source_points = points, target_points = target_points,
      }
    end
    local list <const> = { made("a.png", points), made("b.png", shifted), made("a.png", shifted) }
    local ok <const>, rows <const> = pcall(evaluate.run, list, method)
    tmp.remove(folder)
    assert.is_true(ok, tostring(rows))
    assert.equal(1, rows[1].pck[3])
    assert.equal(1, rows[2].pck[3])
    assert.is_true(rows[3].pck[3] < 0.5, "the wrong keypoints are found too: this test shows nothing")
    assert.same({ { 1, 64, 64, 3 }, { 1, 64, 64, 3 } }, sizes)
  end)
end)
