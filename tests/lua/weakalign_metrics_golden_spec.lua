-- SPDX-License-Identifier: MIT
--
-- Scores against those of an independent program in the authors' arithmetic: tests/golden/weakalign_metrics.json;
-- weakalign_metrics.py beside it says how. Random inputs are drawn here in the same order as there.

local la <const> = require "lualign"
local make_rng <const> = require "lib.rng"
local shared <const> = require "lib.shared"
local tmp <const> = require "lib.tmp"

local here <const> = debug.getinfo(1, "S").source:match "^@(.*)/lua/[^/]*$"
local golden <const> = la.io.json_decode(la.io.read_file(here .. "/golden/weakalign_metrics.json"))
local MODELS <const> = { "identity", "affine", "tps", "homography", "affine tps", "affine homography tps" }
local DIGITS <const> = 5e-5 -- four decimals

local function near(expected, got, label)
  if expected == la.io.null then
    assert.is_true(got ~= got, label .. " should not be a number")
  else
    assert.is_true(math.abs(expected - got) <= DIGITS, string.format("%s is %.6f, expected %.6f", label, got, expected))
  end
end

local function all_near(expected, got, label)
  assert.equal(#expected, #got, label)
  for k, v in ipairs(expected) do
    near(v, got[k], label .. " " .. k)
  end
end

-- ---- what the program draws ----

local function random_theta(rng, model)
  local theta <const> = la.geometry.identity_theta(model)
  for i, v in ipairs(theta) do
    theta[i] = v + rng.number(-0.2, 0.2)
  end
  return theta
end

local function random_stages(rng, models)
  local list <const> = {}
  for model in models:gmatch "%S+" do
    list[#list + 1] = { model = model, theta = model ~= "identity" and random_theta(rng, model) }
  end
  return list
end

local function to_map(list)
  local map <const> = {}
  for k, stage in ipairs(list) do
    if stage.model == "identity" then
      map[k] = { model = "affine", theta = la.geometry.identity "affine" }
    else
      map[k] = { model = stage.model, theta = la.tensor { stage.theta } }
    end
  end
  return map
end

-- A method that gives pair i the transformation that the program gives it.
local function given(name, models)
  local i = -1
  return function()
    i = i + 1
    return { map = to_map(random_stages(make_rng(string.format("%s %s %d", name, models, i)), models)) }
  end
end

local function random_outline(rng, width, height)
  local count <const>, turn <const>, outline <const> = rng.integer(3, 12), rng.number(0, 2 * math.pi), {}
  for k = 0, count - 1 do
    local a <const>, r <const> = turn + 2 * math.pi * k / count, rng.number(0.15, 0.6)
    outline[k + 1] = { width * (0.5 + r * math.cos(a)), height * (0.5 + r * math.sin(a)) }
  end
  return outline
end

-- A data set in PF-PASCAL's layout, padded to 20 keypoints by -1; every eighth pair has none.
local function write_keypoints(dir, name, count)
  local rng <const>, lines <const> = make_rng(name), { "source_image,target_image,class,XA,YA,XB,YB" }
  local function picture()
    local width <const>, height <const> = rng.integer(20, 400), rng.integer(20, 400)
    local file <const> = string.format("%dx%d.png", width, height)
    la.image.save(dir .. "/" .. file, la.zeros({ height, width, 3 }, { dtype = "uint8" }))
    return file, width, height
  end
  for i = 0, count - 1 do
    local a <const>, wa <const>, ha <const> = picture()
    local b <const>, wb <const>, hb <const> = picture()
    local points <const> = i % 8 == 7 and 0 or rng.integer(1, 17)
    local xa <const>, ya <const>, xb <const>, yb <const> = {}, {}, {}, {}
    for k = 1, 20 do
      if k <= points then
        local u <const>, v <const> = rng.number(0, 1), rng.number(0, 1)
        xb[k], yb[k] = 1 + u * (wb - 1), 1 + v * (hb - 1)
        xa[k], ya[k] = 1 + (u + rng.number(-0.1, 0.1)) * (wa - 1), 1 + (v + rng.number(-0.1, 0.1)) * (ha - 1)
      else
        xa[k], ya[k], xb[k], yb[k] = -1, -1, -1, -1
      end
      for _, list in ipairs { xa, ya, xb, yb } do
        list[k] = string.format("%.17g", list[k])
      end
    end
    lines[#lines + 1] = table.concat({ a, b, "class " .. i % 3 + 1, table.concat(xa, ";"), table.concat(ya, ";"),
      table.concat(xb, ";"), table.concat(yb, ";") }, ",")
  end
  tmp.write(dir .. "/test_pairs_pf_pascal.csv", table.concat(lines, "\n") .. "\n")
end

local function made_outlines(name, count)
  local rng <const>, list <const> = make_rng(name), {}
  for i = 0, count - 1 do
    local a <const> = { rng.integer(9, 90), rng.integer(9, 90) }
    local b = { rng.integer(9, 90), rng.integer(9, 90) }
    b = i % 4 == 3 and a or b
    local outlines <const> = { random_outline(rng, a[1], a[2]), random_outline(rng, b[1], b[2]) }
    local away <const> = i % 8 == 5 and 2 or i % 8 == 6 and 1 -- that object is outside its image
    for _, p in ipairs(outlines[away] or {}) do
      p[1] = p[1] + 3 * (away == 2 and b or a)[1]
    end
    list[i + 1] = {
      source = "a", target = "b", category = "all", source_size = a, target_size = b, source_outline = outlines[1],
      target_outline = outlines[2],
    }
  end
  return list
end

-- ---- tables of scores ----

local PCK <const>, AREA <const> = {}, {}
for k = 1, 3 do
  PCK[k] = { k, function(row) return row.pck[k] end }
  AREA[k] = { k, function(row) return row[({ "label_transfer", "iou", "localisation_error" })[k]] end }
end

local function check_pck(expected, list, method, label)
  local rows <const> = la.evaluate.run(list, method)
  local all <const>, classes <const> = la.metrics.means(rows, PCK)
  all_near(expected.pairs, { all[1], all[2], all[3] }, label .. ", mean of pairs")
  local points <const> = la.metrics.means(rows, PCK, function(row) return row.points end)
  all_near(expected.points, { points[1], points[2], points[3] }, label .. ", mean of points")
  local count = 0
  for _, c in ipairs(classes) do
    all_near(expected.classes[c.category], { c[1], c[2], c[3] }, label .. ", " .. c.category)
    count = count + 1
  end
  for _ in pairs(expected.classes) do
    count = count - 1
  end
  assert.equal(0, count)
end

describe("made-up pairs score what the papers' code gives them:", function()
  for _, models in ipairs(MODELS) do
    it("keypoints, " .. models, function()
      local dir <const> = tmp.dir()
      local ok <const>, why <const> = pcall(la.scope, function()
        write_keypoints(dir, "keypoints", 48)
        for _, protocol in ipairs { "box", "scnet" } do
          check_pck(golden.made.pck[models][protocol], la.data.benchmarks.pf_pascal(dir, { protocol = protocol }),
            given("made", models), protocol)
        end
      end)
      tmp.remove(dir)
      assert(ok, why)
    end)

    it("masks, " .. models, function()
      la.scope(function()
        local expected <const> = golden.made.area[models]
        local rows <const> = la.evaluate.run(made_outlines("outlines", 24), given("made", models))
        for i, row in ipairs(rows) do
          all_near(expected.each[i], { row.label_transfer, row.iou, row.localisation_error }, "pair " .. i)
        end
        local all <const> = la.metrics.means(rows, AREA)
        all_near(expected.mean, { all[1], all[2], all[3] }, "mean")
      end)
    end)
  end

  it("flow", function()
    local rng <const> = make_rng "flows"
    for i, expected in ipairs(golden.made.flow) do
      la.scope(function()
        local wa <const>, ha <const> = rng.integer(9, 90), rng.integer(9, 90)
        local wb <const>, hb <const> = rng.integer(9, 90), rng.integer(9, 90)
        local truth <const>, stages <const> = random_stages(rng, "affine tps"), {}
        for k, stage in ipairs(truth) do
          local theta <const> = {}
          for j, v in ipairs(stage.theta) do
            theta[j] = v + rng.number(-0.1, 0.1)
          end
          stages[k] = { model = stage.model, theta = theta }
        end
        local mask <const> = la.metrics.masks.fill(random_outline(rng, wb, hb), wb, hb)
        local true_flow <const> = la.geometry.flow(to_map(truth), hb, wb, { wa, ha })
        for _ = 1, wb * hb // 20 do
          local row <const>, column <const> = rng.integer(0, hb - 1), rng.integer(0, wb - 1)
          true_flow:select(1, row + 1):select(1, column + 1):fill_(rng.integer(0, 1) == 1 and 1.5e9 or 0 / 0)
        end
        local found <const>, got <const> = la.geometry.flow(to_map(stages), hb, wb, { wa, ha }), {}
        for k, alpha in ipairs(la.evaluate.ALPHAS) do
          got[k] = la.metrics.flow.accuracy(found, true_flow, mask, alpha)
        end
        all_near(expected, got, "pair " .. i)
      end)
    end
  end)
end)

describe("the data sets score what the papers' code gives them:", function()
  for _, models in ipairs(MODELS) do
    it("PF-WILLOW, " .. models, function()
      local root <const> = shared.skip_without "data/pf-willow"
      check_pck(golden.willow[models], la.data.benchmarks.pf_willow(root), given("willow", models), "PF-WILLOW")
    end)

    it("PF-PASCAL, " .. models, function()
      local root <const> = shared.skip_without "data/pf-pascal-subset"
      for _, protocol in ipairs { "box", "scnet" } do
        local list <const>, expected <const> = la.data.benchmarks.pf_pascal(root, { protocol = protocol }), {}
        for name, values in pairs(golden.pascal[protocol][models]) do
          expected[name] = values
        end
        local classes <const> = expected.classes
        expected.classes = { bicycle = classes["2"], car = classes["7"], motorbike = classes["14"] }
        check_pck(expected, list, given("pascal", models), protocol)
      end
    end)

    it("Caltech-101, every twelfth pair, " .. models, function()
      local all <const>, list <const> = la.data.benchmarks.caltech(shared.skip_without "data/caltech101-contours"), {}
      for k = 1, #all, 12 do
        list[#list + 1] = all[k]
      end
      local means <const> = la.metrics.means(la.evaluate.run(list, given("caltech", models)), AREA)
      all_near(golden.caltech[models].mean, { means[1], means[2], means[3] }, "Caltech-101")
    end)
  end
end)
