-- SPDX-License-Identifier: MIT
--
-- Data sets written here in their authors' layouts, .mat and .json files included, and scored by `lualign evaluate`.

local la <const> = require "lualign"
local compare <const> = require "lib.compare"
local make_rng <const> = require "lib.rng"
local matfile <const> = require "lib.matfile"
local run <const> = require "lib.run"
local shared <const> = require "lib.shared"
local tmp <const> = require "lib.tmp"
local fails <const> = require("lib.cases").fails

local n <const> = matfile.numbers
local NAN <const> = 0 / 0

local function needs_matio()
  if not pcall(require, "lualign.mat") then
    shared.pending "this build has no libmatio"
  end
end

local dir
local function folder(name)
  la.io.mkdirs(dir .. "/" .. name)
end

local function picture(name, width, height)
  folder(name:match "^(.*)/" or "")
  la.image.save(dir .. "/" .. name, la.zeros({ height, width, 3 }, { dtype = "uint8" }))
end

local function mat(name, variables, opts)
  folder(name:match "^(.*)/")
  matfile.write(dir .. "/" .. name, variables, opts)
end

-- The scores that the command wrote, and what it printed.
local function evaluate(...)
  local r <const> = run { "evaluate", "--root", dir, "--json", dir .. "/out.json", ... }
  assert.equal(0, r.status, r.err)
  local methods <const> = la.io.json_decode(tmp.read(dir .. "/out.json")).methods
  return methods[#methods], r.out
end

describe("a layout", function()
  before_each(function() dir = tmp.dir() end)
  after_each(function() tmp.remove(dir) end)

  it("of PF-WILLOW's archive has all pairs of a folder", function()
    needs_matio()
    local points <const> = {}
    for k, name in ipairs { "a", "b", "c" } do
      picture("PF-dataset/duck(S)/" .. name .. ".png", 100, 60 + 10 * k)
      points[k] = { { 10 * k, 20.5, 30 }, { 11, 21, 31.25 } }
      mat("PF-dataset/duck(S)/" .. name .. ".mat", { { "pts_coord", n(points[k]) } }, { compress = true })
    end
    picture("PF-dataset/duck(S)/nothing.png", 9, 9)
    folder "PF-dataset/empty"
    local list <const> = la.data.benchmarks.pf_willow(dir)
    assert.equal(6, #list)
    assert.equal("duck(S)", list[2].category)
    assert.equal(dir .. "/PF-dataset/duck(S)/c.png", list[2].target)
    assert.same({ 100, 90 }, list[2].target_size)
    assert.same({ { 30, 11 }, { 20.5, 21 }, { 30, 31.25 } }, list[2].target_points)
    assert.equal(6, #evaluate("--dataset", "pf-willow").pairs)
    mat("PF-dataset/duck(S)/b.mat", { { "other", n { { 1, 2 } } } })
    fails("needs a matrix called 'pts_coord', got none", la.data.benchmarks.pf_willow, dir)
    mat("PF-dataset/duck(S)/b.mat", { { "pts_coord", n { { 1, 2 }, { 3, 4 }, { 5, 6 } } } })
    fails("pts_coord must be 2 x N, got 3 x 2", la.data.benchmarks.pf_willow, dir)
  end)

  it("of PF-WILLOW's own files agrees with the list made of them", function()
    needs_matio()
    local root <const> = shared.skip_without "data/pf-willow"
    local by_name <const> = {}
    for _, pair in ipairs(la.data.benchmarks.pf_willow(root)) do
      by_name[pair.source .. " " .. pair.target] = pair
    end
    local list <const> = la.data.benchmarks.pf_willow(root, { annotations = "mat" })
    assert.equal(450, #list)
    for _, pair in ipairs(list) do
      local other <const> = by_name[pair.source .. " " .. pair.target]
      for k, p in ipairs(pair.source_points) do
        assert.is_true(math.abs(p[1] - other.source_points[k][1]) < 0.006)
        assert.is_true(math.abs(p[2] - other.source_points[k][2]) < 0.006)
      end
    end
  end)

  it("of PF-PASCAL's archive has the points that both pictures have", function()
    needs_matio()
    picture("PF-dataset-PASCAL/JPEGImages/2008_1.png", 112, 56)
    picture("PF-dataset-PASCAL/JPEGImages/2008_2.png", 100, 80)
    mat("PF-dataset-PASCAL/Annotations/car/2008_1.mat",
      { { "kps", n { { 1, 11 }, { NAN, NAN }, { 3, 13 }, { 4, 14 } } }, { "bbox", n { { 1, 2, 50, 40 } } } })
    mat("PF-dataset-PASCAL/Annotations/car/2008_2.mat",
      { { "kps", n { { 2, 12 }, { 3, 13 }, { NAN, NAN }, { 5, 25 } } }, { "bbox", n { { 1, 2, 50, 40 } } } })
    local head <const> = "source_image,target_image,class\n"
    local names <const> = "PF-dataset-PASCAL/JPEGImages/2008_1.png,PF-dataset-PASCAL/JPEGImages/2008_2.png,"
    tmp.write(dir .. "/test_pairs.csv", head .. names .. "7\n")
    local box <const> = la.data.benchmarks.pf_pascal(dir, { protocol = "box", annotations = "mat" })[1]
    assert.equal("car", box.category)
    assert.same({ { 1, 11 }, { 4, 14 } }, box.source_points)
    assert.same({ { 2, 12 }, { 5, 25 } }, box.target_points)
    local scores <const> = evaluate("--dataset", "pf-pascal", "--annotations", "mat")
    assert.equal(1, #scores.pairs)
    assert.equal("car", scores.pairs[1].category)
    mat("PF-dataset-PASCAL/Annotations/car/2008_2.mat", { { "kps", n { { 2, 12 } } } })
    fails("csv:2: the images have 4 and 1 keypoints", la.data.benchmarks.pf_pascal, dir, { annotations = "mat" })
    tmp.write(dir .. "/test_pairs.csv", head .. names .. "boat\n")
    fails("there is no such file", la.data.benchmarks.pf_pascal, dir, { annotations = "mat" })
    tmp.write(dir .. "/test_pairs.csv", head .. "a.png,b.png,7\n")
    fails("is not in a folder JPEGImages", la.data.benchmarks.pf_pascal, dir, { annotations = "mat" })
    fails("annotations must be list or mat", la.data.benchmarks.pf_pascal, dir, { annotations = "txt" })
  end)

  it("of Caltech-101's archives has outlines within boxes", function()
    needs_matio()
    for k, name in ipairs { "0001", "0002" } do
      picture("101_ObjectCategories/ant/image_" .. name .. ".png", 30, 20 + k)
      mat("Annotations/ant/annotation_" .. name .. ".mat", {
        { "box_coord", n({ { 2, 15, 4 + k, 20 } }, "uint16") },
        { "obj_contour", n { { 0.5, 10, 10, 0 }, { 0, 0, 8.5, 8 } } },
      })
    end
    tmp.write(dir .. "/test_pairs.csv",
      "source,target\n101_ObjectCategories/ant/image_0001.png,101_ObjectCategories/ant/image_0002.png\n")
    local pair <const> = la.data.benchmarks.caltech(dir, { annotations = "mat" })[1]
    assert.same({ { 5.5, 2 }, { 15, 2 }, { 15, 10.5 }, { 5, 10 } }, pair.source_outline)
    assert.same({ { 6.5, 2 }, { 16, 2 }, { 16, 10.5 }, { 6, 10 } }, pair.target_outline)
    assert.equal("ant", pair.category)
    assert.is_true(evaluate("--dataset", "caltech", "--annotations", "mat").pairs[1].iou > 0.5)
    mat("Annotations/ant/annotation_0002.mat",
      { { "box_coord", n { { 1, 2 } } }, { "obj_contour", n { { 1 }, { 2 } } } })
    fails("needs 4 numbers in box_coord and 3 points in obj_contour, got 2 and 1", la.data.benchmarks.caltech, dir,
      { annotations = "mat" })
    tmp.write(dir .. "/test_pairs.csv", "source,target\nant/image_0001.png,ant/image_0002.png\n")
    picture("ant/image_0001.png", 9, 9)
    picture("ant/image_0002.png", 9, 9)
    fails("is not 101_ObjectCategories/<class>/image_N.jpg", la.data.benchmarks.caltech, dir, { annotations = "mat" })
  end)

  it("of PASCAL-Parts has the points and parts that both pictures have", function()
    needs_matio()
    local rng <const> = make_rng "parts"
    local sizes <const>, masks <const> = { { 40, 30 }, { 25, 35 } }, {}
    local status <const> = { { 1, 1, 0, 1 }, { 1, 1, 1, 0 } }
    for k, name in ipairs { "a", "b" } do
      local w <const>, h <const> = sizes[k][1], sizes[k][2]
      picture("images/dog/" .. name .. ".png", w, h)
      masks[k] = { shape = { h, w, 4 }, data = {} }
      for part = 0, 3 do
        for x = 0, w - 1 do
          for y = 0, h - 1 do -- a box each, with holes
            local inside <const> = x >= 3 * part and x < 3 * part + w // 2 and y >= part and y < part + h // 2
            masks[k].data[#masks[k].data + 1] = inside and rng.integer(0, 9) > 0 and 1 or 0
          end
        end
      end
      mat("images/dog/" .. name .. "_new.mat", {
        { "keypts", n { { 2 * k, 10, 12 }, { 5, 8 + k, 20 } } }, { "keypts_status", n { { 1, 1, k - 1 } } },
        { "part_mask", n(masks[k], "logical") }, { "part_mask_status", n { status[k] } },
      }, { compress = k == 1 })
    end
    tmp.write(dir .. "/test_pairs_pascal_parts.csv", "source,target\nimages/dog/a.png,images/dog/b.png\n")
    local pair <const> = la.data.benchmarks.pascal_parts(dir)[1]
    assert.same({ { 2, 5 }, { 10, 9 } }, pair.source_points)
    assert.same({ { 4, 5 }, { 10, 10 } }, pair.target_points)
    assert.equal(40, pair.reference)
    assert.same({ 1, 2 }, pair.parts.which)

    -- by hand, of parts 1 and 2, the source's masks stretched onto the target
    local function at(k, x, y, part)
      local w <const>, h <const> = sizes[k][1], sizes[k][2]
      return masks[k].data[(part - 1) * w * h + x * h + y + 1]
    end
    local sum, all = 0, 0
    local w <const>, h <const> = sizes[2][1], sizes[2][2]
    for part = 1, 2 do
      local both, either, area = 0, 0, 0
      for x = 0, w - 1 do
        for y = 0, h - 1 do
          local sx <const>, sy <const> = x * 39 / (w - 1), y * 29 / (h - 1)
          local fx <const>, fy <const> = math.min(math.floor(sx), 38), math.min(math.floor(sy), 28)
          local u <const>, v <const> = sx - fx, sy - fy
          local value <const> = (1 - u) * (1 - v) * at(1, fx, fy, part) + u * (1 - v) * at(1, fx + 1, fy, part)
            + (1 - u) * v * at(1, fx, fy + 1, part) + u * v * at(1, fx + 1, fy + 1, part)
          local p <const>, q <const> = value > 0.5 and 1 or 0, at(2, x, y, part)
          both, either, area = both + p * q, either + math.max(p, q), area + q
        end
      end
      sum, all = sum + area * both / either, all + area
    end
    local scores <const>, out <const> = evaluate("--dataset", "pascal-parts", "--alpha", "0.05")
    compare.close({ scores.means.IoU }, { sum / all }, 1e-3) -- a pixel at the threshold may go either way
    assert.equal("dog", scores.pairs[1].category)
    assert.truthy(out:find("method%s+PCK@0.05%s+IoU\nidentity%s+%d%.%d+%s+%d%.%d+\n$"), out)
    mat("images/dog/b_new.mat", { { "keypts", n { { 1 }, { 2 } } } })
    fails("needs a matrix called 'keypts_status'", la.data.benchmarks.pascal_parts, dir)
  end)

  it("of the lists for strong training gives pictures below another root, and fixed transformations", function()
    picture("VOC2011/JPEGImages/a.png", 40, 30)
    picture("VOC2011/JPEGImages/b.png", 40, 30)
    folder "lists"
    tmp.write(dir .. "/lists/train.csv", "image\nJPEGImages/a.png\nJPEGImages/b.png\n")
    tmp.write(dir .. "/lists/affine.csv",
      "image,A22,A21,A12,A11,ty,tx\nJPEGImages/a.png,1.1,0.2,0.3,0.9,-0.1,0.05\n")
    local header <const>, row <const>, theta <const> = { "image" }, { "JPEGImages/b.png" }, {}
    for k = 1, 18 do
      header[k + 1], row[k + 1], theta[k] = "t" .. k, k / 16, k / 16
    end
    tmp.write(dir .. "/lists/tps.csv", table.concat(header, ",") .. "\n" .. table.concat(row, ",") .. "\n")
    local synthetic <const>, root <const> = la.data.synthetic, dir .. "/VOC2011"
    assert.same({ root .. "/JPEGImages/a.png", root .. "/JPEGImages/b.png" },
      synthetic.find_images({ dir .. "/lists/train.csv" }, root))
    local images <const>, thetas <const> = synthetic.read_list(dir .. "/lists/affine.csv", root, "affine")
    assert.same({ { 0.9, 0.3, 0.05, 0.2, 1.1, -0.1 } }, thetas)
    la.scope(function()
      local set <const> = synthetic { images = images, thetas = thetas, size = 21, canvas = { 30, 40 } }
      local batch <const> = set:batch({ 1, 1 }, function(i) return require "lualign.util.rng"(1, 1, i) end)
      compare.close(batch.theta:flat(), { 0.9, 0.3, 0.05, 0.2, 1.1, -0.1, 0.9, 0.3, 0.05, 0.2, 1.1, -0.1 }, 1e-6)
    end)
    assert.same({ theta }, select(2, synthetic.read_list(dir .. "/lists/tps.csv", root, "tps")))
    fails("has no column 'A11'", synthetic.read_list, dir .. "/lists/train.csv", root, "affine")
    fails("thetas must be as many as images, 1, got 0", synthetic, { images = images, thetas = {} })
    local r <const> = run {
      "train_strong", "--images", dir .. "/lists/affine.csv", "--root", root, "--fixed", "--stages", "affine",
      "--steps", "1", "--batch", "1", "--out", dir .. "/out",
    }
    assert.equal(0, r.status, r.err)
  end)

  -- three pairs of two classes: points are copied by the identity to the same relative place
  local function write_spair()
    for _, name in ipairs { "cat/a", "cat/b", "bus/c", "bus/d" } do
      picture("JPEGImages/" .. name .. ".jpg.png", 101, 51)
      os.rename(dir .. "/JPEGImages/" .. name .. ".jpg.png", dir .. "/JPEGImages/" .. name .. ".jpg")
    end
    folder "PairAnnotation/test"
    folder "Layout/large"
    local pairs_ <const> = {
      { "000001-a-b:cat", "cat", "a.jpg", "b.jpg", { { 10, 10 }, { 20, 20 } }, { { 10, 14 }, { 20, 26 } },
        0, 1, 0, 3 },
      { "000002-b-a:cat", "cat", "b.jpg", "a.jpg", { { 5, 5 } }, { { 5, 6 } }, 2, 1, 1, 0 },
      { "000003-c-d:bus", "bus", "c.jpg", "d.jpg", { { 30, 30 } }, { { 60, 30 } }, 0, 0, 0, 0 },
    }
    local names <const> = {}
    for k, p in ipairs(pairs_) do
      names[k] = p[1]
      tmp.write(dir .. "/PairAnnotation/test/" .. p[1] .. ".json", la.io.json_encode {
        pair_id = k, category = p[2], src_imname = p[3], trg_imname = p[4], src_kps = p[5], trg_kps = p[6],
        src_bndbox = { 1, 1, 5, 5 }, trg_bndbox = { 10, 5, 60, 35 }, src_imsize = { 101, 51, 3 },
        viewpoint_variation = p[7], scale_variation = p[8], truncation = p[9], occlusion = p[10], mirror = 0,
      })
    end
    return names
  end

  it("of SPair-71k is scored by the target's box, by class and by difficulty", function()
    local names <const> = write_spair()
    tmp.write(dir .. "/Layout/large/test.txt", table.concat(names, "\n") .. "\n")
    local list <const> = la.data.benchmarks.spair(dir)
    assert.equal(3, #list)
    assert.equal(dir .. "/JPEGImages/cat/b.jpg", list[1].source) -- where points are looked for
    assert.same({ { 10, 14 }, { 20, 26 } }, list[1].source_points)
    assert.same({ { 10, 10 }, { 20, 20 } }, list[1].target_points)
    assert.equal(50, list[1].reference)
    assert.same({ viewpoint = "easy", scale = "medium", truncation = "none", occlusion = "both" }, list[1].difficulty)
    -- off by 4 and 6, by 1, by 30 of 50
    local scores <const>, out <const> = evaluate("--dataset", "spair-71k", "--alpha", "0.1")
    assert.equal(0.5, scores.means["PCK@0.10"])
    local function group(kind, level)
      for _, g in ipairs(scores.difficulty) do
        if g.kind == kind and g.category == level then
          return { g.pairs, g["PCK@0.10"] }
        end
      end
    end
    assert.same({ 2, 0.25 }, group("viewpoint", "easy"))
    assert.same({ 1, 1 }, group("viewpoint", "hard"))
    assert.same({ 2, 0.75 }, group("scale", "medium"))
    assert.same({ 1, 1 }, group("truncation", "source"))
    assert.same({ 1, 0.5 }, group("occlusion", "both"))
    assert.is_nil(group("viewpoint", "medium"))
    assert.truthy(out:find("PCK@0.10%s+bus%s+cat%s+classes%s+all\nidentity%s+0.000%s+0.750%s+0.375%s+0.500\n$"), out)
    assert.truthy(out:find("viewpoint easy", 1, true), out)
    local pooled <const> = evaluate("--dataset", "spair-71k", "--alpha", "0.1", "--average", "point")
    assert.is_true(math.abs(pooled.difficulty[1]["PCK@0.10"] - 1 / 3) < 1e-12, pooled.difficulty[1].category)
    tmp.write(dir .. "/Layout/large/test.txt", names[2] .. "\r\n")
    assert.equal(1, #evaluate("--dataset", "spair-71k").pairs)
    -- a pair without points has no score, whatever the method
    local path <const> = dir .. "/PairAnnotation/test/" .. names[2] .. ".json"
    local none <const> = la.io.json_decode(tmp.read(path))
    none.src_kps, none.trg_kps = la.io.array {}, la.io.array {}
    tmp.write(path, la.io.json_encode(none))
    local row <const> = evaluate("--dataset", "spair-71k", "--model", "nearest").pairs[1]
    assert.same({ 0, la.io.null }, { row.points, row.pck[1] })
    os.remove(dir .. "/Layout/large/test.txt")
    assert.equal(3, #la.data.benchmarks.spair(dir))
  end)

  it("of SPair-71k that is not right is refused, by file and field", function()
    local names <const> = write_spair()
    local path <const> = dir .. "/PairAnnotation/test/" .. names[2] .. ".json"
    local good <const> = la.io.json_decode(tmp.read(path))
    for key, case in pairs {
      category = { 5, "category must be a name" }, src_kps = { { { 1 } }, "point 1 of src_kps must be two numbers" },
      trg_kps = { { { 1, 2 }, { 3, 4 } }, "src_kps and trg_kps must be equally long, got 1 and 2" },
      trg_bndbox = { { 1, 2, 3 }, "trg_bndbox must be four numbers" },
      trg_imname = { "none.jpg", "none.jpg" },
    } do
      local bad <const> = {}
      for k, v in pairs(good) do
        bad[k] = v
      end
      bad[key] = case[1]
      tmp.write(path, la.io.json_encode(bad))
      fails(case[2], la.data.benchmarks.spair, dir)
    end
    tmp.write(path, "{")
    fails(".json: no JSON at byte", la.data.benchmarks.spair, dir)
    tmp.write(path, "3")
    fails("is no annotation of a pair", la.data.benchmarks.spair, dir)
    fails("there is no folder", la.data.benchmarks.spair, dir, { split = "trn" })
  end)
end)
