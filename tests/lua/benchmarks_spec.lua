-- SPDX-License-Identifier: MIT
--
-- Masks, flow, and the layouts of the papers' data sets, against references written out here.

local la <const> = require "lualign"
local cases <const> = require "lib.cases"
local compare <const> = require "lib.compare"
local host <const> = require "lualign.geometry.host"
local make_rng <const> = require "lib.rng"
local tmp <const> = require "lib.tmp"

local masks <const> = la.metrics.masks
local fails <const>, scoped <const> = cases.fails, cases.scoped
local THETA <const> = { 0.9, 0.1, 0.05, -0.08, 1.1, -0.04 }

local function polygon(rng, width, height, count)
  local points <const> = {}
  for k = 1, count do
    points[k] = { rng.number(-2, width + 2), rng.number(-2, height + 2) }
  end
  return points
end

-- Whether a ray from (x, y) to the right crosses the outline an odd number of times, edge by edge.
local function inside(points, x, y)
  local odd = false
  for k = 1, #points do
    local a <const>, b <const> = points[k], points[k % #points + 1]
    if (a[2] > y) ~= (b[2] > y) and x < (b[1] - a[1]) * (y - a[2]) / (b[2] - a[2]) + a[1] then
      odd = not odd
    end
  end
  return odd and 1 or 0
end

describe("masks.fill", function()
  scoped("marks the pixels within, of any outline", function()
    local rng <const> = make_rng "outlines"
    for _, count in ipairs { 3, 4, 7, 15 } do
      for _, size in ipairs { { 1, 1 }, { 7, 5 }, { 31, 22 } } do
        local points <const> = polygon(rng, size[1], size[2], count)
        local got <const> = masks.fill(points, size[1], size[2]):totable()
        for y = 1, size[2] do
          for x = 1, size[1] do
            assert.equal(inside(points, x - 1, y - 1), got[y][x])
          end
        end
      end
    end
  end)

  scoped("includes left and top edges, not right and bottom ones", function()
    assert.same({ { 0, 0, 0, 0 }, { 0, 1, 1, 0 }, { 0, 1, 1, 0 }, { 0, 0, 0, 0 } },
      masks.fill({ { 1, 1 }, { 3, 1 }, { 3, 3 }, { 1, 3 } }, 4, 4):totable())
  end)
end)

describe("scores of masks", function()
  scoped("are what they say, pixel by pixel", function()
    local rng <const> = make_rng "masks"
    local wa <const>, ha <const>, wb <const>, hb <const> = 23, 17, 19, 26
    local a <const> = masks.fill(polygon(rng, wa, ha, 6), wa, ha)
    local b <const> = masks.fill(polygon(rng, wb, hb, 5), wb, hb)
    local stages <const> = { affine = la.tensor { THETA } }
    local map <const> = host.affine(THETA)
    local warped <const> = masks.warp(a, stages, hb, wb)
    local ta <const>, tb <const>, tw <const> = a:totable(), b:totable(), warped:totable()
    local function box(t)
      local x0, x1, y0, y1 = math.huge, 0, math.huge, 0
      for y, row in ipairs(t) do
        for x, v in ipairs(row) do
          if v == 1 then
            x0, x1, y0, y1 = math.min(x0, x), math.max(x1, x), math.min(y0, y), math.max(y1, y)
          end
        end
      end
      return x0 - 1, y0 - 1, x1 - x0 + 1, y1 - y0 + 1
    end
    local ax <const>, ay <const>, aw <const>, ah <const> = box(ta)
    local bx <const>, by <const>, bw <const>, bh <const> = box(tb)
    local both, either, same, off, count = 0, 0, 0, 0, 0
    local function at(x, y) -- the source's mask, 0 outside
      return ta[y] and ta[y][x] or 0
    end
    for y = 1, hb do
      for x = 1, wb do
        local gx <const>, gy <const> = map(-1 + 2 * (x - 1) / (wb - 1), -1 + 2 * (y - 1) / (hb - 1))
        local sx <const>, sy <const> = (gx + 1) / 2 * (wa - 1) + 1, (gy + 1) / 2 * (ha - 1) + 1
        local fx <const>, fy <const> = math.floor(sx), math.floor(sy)
        local u <const>, v <const> = sx - fx, sy - fy
        local value <const> = (1 - u) * (1 - v) * at(fx, fy) + u * (1 - v) * at(fx + 1, fy)
          + (1 - u) * v * at(fx, fy + 1) + u * v * at(fx + 1, fy + 1)
        if math.abs(value - 0.5) > 1e-5 then
          assert.equal(value > 0.5 and 1 or 0, tw[y][x], x .. " " .. y)
        end
        both, either = both + (tw[y][x] & tb[y][x]), either + (tw[y][x] | tb[y][x])
        same = same + (tw[y][x] == tb[y][x] and 1 or 0)
        if math.abs(gx) < 1 and math.abs(gy) < 1 then
          off = off + math.abs((x - bx) / bw - (fx - ax) / aw) + math.abs((y - by) / bh - (fy - ay) / ah)
          count = count + 1
        end
      end
    end
    assert.equal(both / either, masks.iou(warped, b))
    assert.equal(same / (wb * hb), masks.label_transfer(warped, b))
    local flow <const> = la.geometry.flow(stages, hb, wb, { wa, ha })
    compare.close({ masks.localisation_error(a, b, flow) }, { off / count }, 1e-6)
  end)

  scoped("are not numbers where there is nothing to score", function()
    local none <const>, some <const> = la.zeros({ 3, 4 }, { dtype = "uint8" }), la.ones({ 3, 4 }, { dtype = "uint8" })
    local iou <const> = masks.iou(none, none)
    assert.is_true(iou ~= iou)
    local off <const> = masks.localisation_error(none, some, la.zeros(3, 4, 2))
    assert.is_true(off ~= off)
    fails("a must be uint8", masks.iou, la.zeros(3, 4), some)
  end)
end)

describe("geometry.flow", function()
  scoped("is the way of each pixel into the source, in pixels", function()
    local stages <const> = { affine = la.tensor { THETA }, tps = la.geometry.random_thetas("tps", 1, { seed = 3 }) }
    local map <const> = host.compose {
      { model = "affine", theta = THETA }, { model = "tps", theta = stages.tps:flat() },
    }
    local height <const>, width <const>, size <const> = 9, 13, { 31, 20 }
    local got <const> = la.geometry.flow(stages, height, width, size):totable()
    local outside = 0
    for y = 1, height do
      for x = 1, width do
        local gx <const>, gy <const> = map(-1 + 2 * (x - 1) / (width - 1), -1 + 2 * (y - 1) / (height - 1))
        if math.max(math.abs(gx), math.abs(gy)) < 1 - 1e-5 then
          compare.close(got[y][x], { (gx + 1) / 2 * (size[1] - 1) + 1 - x, (gy + 1) / 2 * (size[2] - 1) + 1 - y }, 1e-4)
        elseif math.max(math.abs(gx), math.abs(gy)) > 1 + 1e-5 then
          assert.same({ 1e10, 1e10 }, got[y][x])
          outside = outside + 1
        end
      end
    end
    assert.is_true(outside > 5)
  end)
end)

describe(".flo files", function()
  scoped("give back what was written", function()
    local dir <const> = tmp.dir()
    local flow <const> = la.randn(5, 7, 2)
    la.io.save_flo(dir .. "/a.flo", flow)
    assert.equal("PIEH" .. string.pack("<i4 i4", 7, 5), tmp.read(dir .. "/a.flo"):sub(1, 12))
    assert.equal(flow:bytes(), la.io.load_flo(dir .. "/a.flo"):bytes())
    local bytes <const> = tmp.read(dir .. "/a.flo")
    for _, case in ipairs {
      { bytes:sub(1, -2), "should have 292 bytes" }, { "", "is no .flo file" }, { bytes:sub(1, 8), "is no .flo file" },
      { bytes:sub(1, 4) .. string.pack("<i4 i4", -1, 5), "-1 x 5 pixels" },
      { bytes:sub(1, 4) .. string.pack("<i4 i4", 1 << 30, 1 << 30), "pixels; sides of" },
    } do
      tmp.write(dir .. "/b.flo", case[1])
      fails(case[2], la.io.load_flo, dir .. "/b.flo")
    end
    fails("float32 (height, width, 2)", la.io.save_flo, dir .. "/c.flo", la.zeros(3, 4))
    assert.is_false(tmp.exists(dir .. "/c.flo"))
    tmp.remove(dir)
  end)
end)

describe("flow accuracy", function()
  scoped("counts the mask's pixels that are off by less than alpha of the longer side", function()
    local truth <const> = la.zeros(1, 20, 2)
    local found <const> = {}
    for x = 0, 19 do
      found[x + 1] = { x * 0.1, 0 } -- off by 0 to 1.9 pixels; the limit is 1
    end
    local all <const> = la.ones({ 1, 20 }, { dtype = "uint8" })
    assert.equal(0.5, la.metrics.flow.accuracy(la.tensor { found }, truth, all))
    assert.equal(1, la.metrics.flow.accuracy(la.tensor { found }, truth, all, 0.1))
    local half <const> = la.cat({ la.ones({ 1, 5 }, { dtype = "uint8" }), la.zeros({ 1, 15 }, { dtype = "uint8" }) }, 2)
    assert.equal(1, la.metrics.flow.accuracy(la.tensor { found }, truth, half))
    local unknown <const> = la.full({ 1, 20, 2 }, 1e10)
    local value <const> = la.metrics.flow.accuracy(la.tensor { found }, unknown, all)
    assert.is_true(value ~= value)
    fails("found must be (1, 20, 2)", la.metrics.flow.accuracy, la.zeros(1, 19, 2), truth, all)
  end)
end)

describe("metrics.means", function()
  it("leaves out what is missing or no number", function()
    local all <const>, list <const> = la.metrics.means({
      { category = "b", v = 1 }, { category = "a", v = 0 / 0 }, { category = "b", v = 3 }, { category = "a" },
    }, { { "v", function(row) return row.v end } })
    assert.equal(2, all.v)
    assert.equal(4, all.pairs)
    assert.equal("a", list[1].category)
    assert.is_true(list[1].v ~= list[1].v)
    assert.equal(2, list[2].v)
    assert.equal(2, list[2].pairs)
  end)
end)

-- ---- layouts ----

describe("a data set in its authors' layout", function()
  local dir
  before_each(function() dir = tmp.dir() end)
  after_each(function() tmp.remove(dir) end)

  local function picture(name, width, height)
    la.io.mkdirs(dir .. "/" .. (name:match "^(.*)/" or ""))
    la.image.save(dir .. "/" .. name, la.zeros({ height, width, 3 }, { dtype = "uint8" }))
  end

  scoped("is read: PF-WILLOW", function()
    picture("PF-dataset/car(G)/a.png", 100, 80)
    picture("PF-dataset/car(G)/b.png", 60, 90)
    local head <const>, row <const> = { "imageA", "imageB" }, { "PF-dataset/car(G)/a.png", "PF-dataset/car(G)/b.png" }
    for part, name in ipairs { "XA", "YA", "XB", "YB" } do
      for k = 1, 10 do
        head[#head + 1], row[#row + 1] = name .. k, tostring(part * 10 + k)
      end
    end
    tmp.write(dir .. "/test_pairs_pf.csv", table.concat(head, ",") .. "\n" .. table.concat(row, ",") .. "\n")
    local list <const> = la.data.benchmarks.pf_willow(dir)
    assert.equal(1, #list)
    assert.equal("car(G)", list[1].category)
    assert.same({ 100, 80 }, list[1].source_size)
    assert.same({ 12, 22 }, list[1].source_points[2])
    assert.same({ 40, 50 }, list[1].target_points[10])
    row[5], row[40] = "-1", "-1" -- the third keypoint of a and the eighth of b are missing
    tmp.write(dir .. "/test_pairs_pf.csv", table.concat(head, ",") .. "\n" .. table.concat(row, ",") .. "\n")
    local some <const> = la.data.benchmarks.pf_willow(dir)[1]
    assert.equal(8, #some.source_points)
    assert.same({ { 14, 24 }, { 34, 44 } }, { some.source_points[3], some.target_points[3] })
    assert.same({ { 19, 29 }, { 39, 49 } }, { some.source_points[7], some.target_points[7] })
    assert.equal(9, la.metrics.box_side(some.source_points)) -- of 11 to 20
  end)

  scoped("is read: PF-PASCAL, by both protocols", function()
    picture("x.png", 112, 56)
    tmp.write(dir .. "/test_pairs_pf_pascal.csv",
      "source_image,target_image,class,XA,YA,XB,YB\nx.png,x.png,7,1;11,2;12,3;13,4;14\n")
    local scnet <const> = la.data.benchmarks.pf_pascal(dir)[1]
    assert.equal("car", scnet.category)
    assert.equal(224, scnet.reference)
    assert.same({ 224, 224 }, scnet.target_size)
    assert.same({ { 2, 8 }, { 22, 48 } }, scnet.source_points)
    local box <const> = la.data.benchmarks.pf_pascal(dir, { protocol = "box" })[1]
    assert.is_nil(box.reference)
    assert.same({ { 1, 2 }, { 11, 12 } }, box.source_points)
    -- off by 11.2 of 224 at most counts at 0.05
    local rows <const> = la.evaluate.run({ scnet }, function()
      return { points = la.geometry.normalise({ { 13.1, 8 }, { 22, 59.3 } }, { 224, 224 }) }
    end)
    assert.same({ 0.5, 1, 1 }, rows[1].pck)
    fails("protocol must be scnet or box", la.data.benchmarks.pf_pascal, dir, { protocol = "pf" })
  end)

  scoped("is read: Caltech-101, with outlines in the list", function()
    picture("a.png", 20, 20)
    picture("b.png", 20, 20)
    tmp.write(dir .. "/test_pairs_caltech_with_category.csv", "source,target,class,XA,YA,XB,YB\n"
      .. 'a.png,b.png,5,"2,12,12,2","2,2,12,12","2,12,12,2","2,2,12,12"\n')
    local rows <const> = la.evaluate.run(la.data.benchmarks.caltech(dir), la.evaluate.identity())
    assert.equal(1, rows[1].iou)
    assert.equal(1, rows[1].label_transfer)
    assert.equal("5", rows[1].category)
    tmp.write(dir .. "/test_pairs_caltech_with_category.csv", "source,target,class,XA,YA,XB,YB\n"
      .. 'a.png,b.png,5,"2,12","2,2","2,12,12,2","2,2,12,12"\n')
    fails("csv:2: an outline needs at least 3 points", la.data.benchmarks.caltech, dir)
  end)

  scoped("is read: TSS, of made figures, and its flow is scored and written", function()
    picture("TSS/JODS/p1/image1.png", 40, 30)
    picture("TSS/JODS/p1/image2.png", 40, 30)
    local mask <const> = masks.fill({ { 5, 5 }, { 30, 5 }, { 30, 25 }, { 5, 25 } }, 40, 30) * 255
    la.image.save(dir .. "/TSS/JODS/p1/mask2.png",
      mask:reshape(30, 40, 1):expand(30, 40, 3):contiguous():astype "uint8")
    local shift <const> = { affine = la.tensor { { 1, 0, 5 / 39, 0, 1, 0 } } } -- 2.5 pixels to the right
    la.io.save_flo(dir .. "/TSS/JODS/p1/flow2.flo", la.cat({ la.full({ 30, 40, 1 }, 2.5), la.zeros(30, 40, 1) }, 3))
    tmp.write(dir .. "/test_pairs_tss.csv",
      "source,target,direction,flip,group\nTSS/JODS/p1/image1.png,TSS/JODS/p1/image2.png,2,0,2\n")
    local list <const> = la.data.benchmarks.tss(dir)
    assert.equal("JODS", list[1].category)
    assert.is_false(list[1].flip)
    local rows <const> = la.evaluate.run(list, function() return { map = shift } end, { flows = dir .. "/out" })
    assert.equal(1, rows[1].flow_accuracy)
    local written <const> = la.io.load_flo(dir .. "/out/aff/TSS/JODS/p1/flow2.flo")
    compare.close(written:select(1, 15):select(1, 10):flat(), { 2.5, 0 }, 1e-5)
    -- 2 pixels of 40 are the limit
    assert.equal(0, la.evaluate.run(list, la.evaluate.identity())[1].flow_accuracy)
    fails("gives no transformation", la.evaluate.run, list, function() return { points = {} } end)
  end)

  it("shares what it shares with a training list", function()
    local function row(a, b)
      return { source_image = a, target_image = b }
    end
    assert.same({ pairs = 2, images = 4, of = { pairs = 3, images = 5 } }, la.data.benchmarks.leakage(
      { row("a", "b"), row("c", "d"), row("a", "e") }, { row("b", "a"), row("c", "d"), row("x", "y") }))
  end)
end)
