-- SPDX-License-Identifier: MIT
--
-- lualign evaluate as a user meets it: tables, files, and data sets that are not as they should be.

local la <const> = require "lualign"
local run <const> = require "lib.run"
local tmp <const> = require "lib.tmp"

local HEAD <const> = "source_image,target_image,class,XA,YA,XB,YB"
local dir

local function picture(name, width, height)
  la.image.save(dir .. "/" .. name, la.zeros({ height, width, 3 }, { dtype = "uint8" }))
end

local function list(...)
  tmp.write(dir .. "/list.csv", table.concat({ HEAD, ... }, "\n") .. "\n")
end

local function evaluate(...)
  local r <const> = run({ "evaluate", "--root", dir, ... }, { dir = dir })
  assert.equal(0, r.status, r.err)
  return r.out
end

local function pairs_of_list(...)
  return evaluate("--dataset", "pairs", "--list", dir .. "/list.csv", ...)
end

local function refuses(parts, ...)
  local r <const> = run({ "evaluate", "--root", dir, ... }, { dir = dir })
  assert.equal(1, r.status, r.out)
  assert.equal("", r.out)
  for _, part in ipairs(parts) do
    assert.truthy(r.err:find(part, 1, true), string.format("%q expected in: %s", part, r.err))
  end
  assert.is_nil(r.err:find("stack traceback", 1, true), r.err)
end

local function has(text, part)
  assert.truthy(text:find(part, 1, true), string.format("%q expected in:\n%s", part, text))
end

setup(function() la.scope(function()
  dir = tmp.dir()
  picture("a.png", 101, 101)
  picture("b.png", 201, 51)
end) end)
teardown(function() tmp.remove(dir) end)

-- ---- keypoints ----

describe("evaluate, of keypoints,", function()
  -- From b (201 x 51) to a (101 x 101), copied: (21, 6) -> (11, 11), (101, 26) -> (51, 51). Boxes of 40, so 4 pixels
  -- at 0.1; the first pair's copies are off by 0 and 5, the second's, with twice as many points, by 0, 0, 0 and 30.
  local function write_list()
    list("a.png,b.png,1,11;51,11;56,21;101,6;26", "a.png,b.png,car,11;51;51;51,11;51;51;81,21;101;101;101,6;26;26;26")
  end

  it("prints a line for each method, a column for each class, and the means", function()
    write_list()
    assert.equal("pairs: 2 pairs, 2 classes; all is the mean over pairs\n\n"
      .. "PCK@0.10      1    car  classes    all\n"
      .. "identity  0.500  0.750    0.625  0.625\n\n"
      .. "PCK@1.25      1    car  classes    all\n"
      .. "identity  1.000  1.000    1.000  1.000\n\n"
      .. "method    PCK@0.10  PCK@1.25\n"
      .. "identity     0.625     1.000\n", pairs_of_list("--alpha", "0.1,1.25"))
  end)

  it("averages over points, too", function()
    write_list()
    assert.equal("pairs: 2 pairs, 2 classes; all is the mean over keypoints\n\n"
      .. "PCK@0.1001      1    car  classes    all\n"
      .. "identity    0.500  0.750    0.625  0.667\n", pairs_of_list("--alpha", "0.1001", "--average", "point"))
  end)

  it("writes JSON, CSV and a curve of several methods", function()
    write_list()
    local out <const> = pairs_of_list("--model", "identity", "--model", "untrained", "--refine", "1", "--json",
      "out.json", "--csv", "out.csv", "--table", "table.csv", "--curve", "curve.csv")
    has(out, "untrained, refined 1, affine+tps")
    local json <const> = la.io.json_decode(tmp.read(dir .. "/out.json"))
    assert.equal("pair", json.average)
    assert.equal(3, #json.methods)
    assert.equal("untrained, refined 1, affine", json.methods[2].name)
    assert.equal(6, #json.methods[3].pairs[1].stages.affine)
    assert.same({ "affine", "tps" }, json.methods[3].pairs[2].models)
    has(tmp.read(dir .. "/out.json"), '"models":[],')
    assert.equal(0.625, json.methods[1].means["PCK@0.10"])
    assert.equal("car", json.methods[1].categories[2].category)
    local each <const> = la.io.read_csv(dir .. "/out.csv")
    assert.equal(6, #each)
    assert.same({ "identity", "car", "0.75" }, { each[2].method, each[2].category, each[2]["PCK@0.10"] })
    local rows <const> = la.io.read_csv(dir .. "/table.csv")
    assert.equal(3 * 4, #rows)
    assert.same({ "identity", "mean of classes", "2", "0.625" },
      { rows[3].method, rows[3].category, rows[3].pairs, rows[3]["PCK@0.10"] })
    local curve <const> = la.io.read_csv(dir .. "/curve.csv")
    assert.equal(60, #curve)
    assert.equal("0.1", curve[20].alpha)
    assert.equal("0.625", curve[20].identity)
    assert.equal(json.methods[3].means["PCK@0.15"], tonumber(curve[30]["untrained, refined 1, affine+tps"]))
  end)

  it("counts PF-PASCAL by both protocols", function()
    -- off by 11.2 pixels of 101, more than 0.1 of the box, 24.9 of 224
    tmp.write(dir .. "/test_pairs_pf_pascal.csv", HEAD .. "\na.png,a.png,7,11;91,11;22.2,11;91,11;11\n")
    local boxed <const> = evaluate("--dataset", "pf-pascal", "--protocol", "box", "--alpha", "0.1,0.12")
    has(boxed, "pf-pascal, box protocol: 1 pairs")
    assert.truthy(boxed:find "identity%s+0.500%s+0.500\n$", boxed)
    local boxed_wide <const> = evaluate("--dataset", "pf-pascal", "--protocol", "box", "--alpha", "0.15")
    assert.truthy(boxed_wide:find "identity%s+1.000\n$", boxed_wide)
    assert.truthy(evaluate("--dataset", "pf-pascal", "--alpha", "0.11,0.112"):find "identity%s+0.500%s+1.000\n$")
  end)

  it("leaves out pairs without keypoints, and points of -1", function()
    list("a.png,b.png,x,,,,", "a.png,b.png,x,-1,-1,-1,-1", "a.png,b.png,x,-1;11,-1;11,5;21,5;6",
      "a.png,b.png,none,-1;-1,5;-1,7;-1,7;-1")
    local out <const> = pairs_of_list("--alpha", "0.1", "--csv", "out.csv", "--json", "out.json")
    has(out, "4 pairs")
    assert.truthy(out:find "identity%s+%-%s+1.000%s+1.000%s+1.000\n$", out)
    local rows <const> = la.io.read_csv(dir .. "/out.csv")
    assert.same({ "", "", "1", "" }, { rows[1]["PCK@0.10"], rows[2]["PCK@0.10"], rows[3]["PCK@0.10"],
      rows[4]["PCK@0.10"] })
    assert.equal(la.io.null, la.io.json_decode(tmp.read(dir .. "/out.json")).methods[1].pairs[1].pck[1])
    list("a.png,b.png,x,,,,")
    assert.truthy(pairs_of_list():find("identity%s+%-%s+%-%s+%-\n$"))
  end)

  it("reads lists of other programs: BOM, CRLF, quotes, no line end", function()
    picture("with, comma.png", 101, 101)
    tmp.write(dir .. "/list.csv", "\xef\xbb\xbf" .. '"source_image",target_image,"class",XA,YA,XB,YB\r\n'
      .. '"with, comma.png",b.png,"a ""class""","11;51","11;56",21;101,6;26')
    local out <const> = pairs_of_list("--alpha", "0.1", "--csv", "out.csv")
    assert.truthy(out:find "identity%s+0.500\n$", out)
    local row <const> = la.io.read_csv(dir .. "/out.csv")[1]
    assert.equal('a "class"', row.category)
    assert.truthy(row.source:find("with, comma.png", 1, true))
  end)

  it("takes pictures of one pixel's width", function()
    picture("thin.png", 1, 900)
    list("thin.png,thin.png,x,1;1,1;900,1;1,1;900", "a.png,thin.png,x,51;51,1;101,1;1,1;900")
    assert.truthy(pairs_of_list("--alpha", "0.01"):find "identity%s+1.000\n$")
    local refined <const> = pairs_of_list("--alpha", "0.01", "--model", "untrained", "--refine", "1")
    assert.truthy(refined:find "affine%+tps", refined)
  end)

  it("says what is wrong", function()
    local given <const> = { "--dataset", "pairs", "--list", dir .. "/list.csv" }
    local function with(...)
      return table.unpack(table.move({ ... }, 1, select("#", ...), #given + 1, { table.unpack(given) }))
    end
    list()
    refuses({ "the list holds no pairs" }, with())
    list("a.png,b.png,x,1,1,1,1")
    for _, alpha in ipairs { "", "0", "-0.1", "0.1,", "x", "inf", "1e999", "nan" } do
      refuses({ "--alpha must be numbers above 0", "'" .. alpha .. "'" }, with("--alpha=" .. alpha))
    end
    refuses({ "0.1 twice" }, with("--alpha", "0.1,0.2,0.1"))
    refuses({ "--average" }, with("--average", "class"))
    for _, option in ipairs { "--json", "--csv", "--table", "--curve" } do
      refuses({ "none/out: cannot be written: there is no folder none" }, with(option, "none/out"))
    end
    refuses({ "--flows is of flow, which pairs does not have" }, with("--flows", "x"))
    refuses({ "gone.safetensors", "No such file" }, with("--model", "identity", "--model", "gone.safetensors"))
    refuses({ "--second joins one --model, got 2" }, with("--model", "a", "--model", "b", "--second", "c"))
    tmp.write(dir .. "/list.csv", "")
    refuses({ "list.csv", "empty" }, with())
  end)
end)

-- ---- masks ----

describe("evaluate, of masks,", function()
  local SQUARE <const> = '"2,12,12,2","2,2,12,12"'

  local function write_list(...)
    tmp.write(dir .. "/test_pairs_caltech_with_category.csv",
      table.concat({ "source,target,class,XA,YA,XB,YB", ... }, "\n") .. "\n")
  end

  it("prints the three scores by class and over all", function()
    write_list("a.png,a.png,1," .. SQUARE .. "," .. SQUARE, "a.png,a.png,2," .. SQUARE .. ',"12,22,22,12","2,2,12,12"',
      -- nothing of the target's object is in the picture, which has neither overlap nor error then
      "a.png,a.png,2," .. SQUARE .. ',"300,320,300","2,2,12"')
    local out <const> = evaluate("--dataset", "caltech")
    assert.truthy(out:find "LT%-ACC%s+1%s+2%s+classes%s+all\nidentity%s+1.000%s+0.985%s+0.993%s+0.990", out)
    assert.truthy(out:find "IoU%s+1%s+2%s+classes%s+all\nidentity%s+1.000%s+0.000%s+0.500%s+0.500", out)
    -- positions that rounding puts just below a whole one are a pixel off, as in the papers' code
    assert.truthy(out:find "LOC%-ERR%s+1%s+2%s+classes%s+all\nidentity%s+0.004%s+1.000%s+0.502%s+0.502", out)
    assert.truthy(out:find "method%s+LT%-ACC%s+IoU%s+LOC%-ERR\nidentity%s+0.990%s+0.500%s+0.502\n$", out)
  end)

  it("says what is wrong", function()
    write_list("a.png,a.png,1," .. SQUARE .. "," .. SQUARE)
    refuses({ "--curve is of keypoints" }, "--dataset", "caltech", "--curve", "x.csv")
    refuses({ "--average point is of keypoints" }, "--dataset", "caltech", "--average", "point")
    refuses({ "gives no transformation" }, "--dataset", "caltech", "--model", "nearest")
    for _, text in ipairs { "x", "1e999", "nan", "-inf" } do
      write_list("a.png,a.png,1," .. SQUARE .. ',"1,2,' .. text .. '","1,2,3"')
      refuses({ "csv:2: XB must hold finite numbers, got '" .. text .. "'" }, "--dataset", "caltech")
    end
    tmp.write(dir .. "/test_pairs_caltech_with_category.csv", "source,target,XA,YA,XB\na.png,a.png,1,1,1\n")
    refuses({ "test_pairs_caltech_with_category.csv", "no column" }, "--dataset", "caltech")
    tmp.write(dir .. "/test_pairs_caltech_with_category.csv", "source,target,XA,YA,XB,YB\n")
    refuses({ "holds no pairs" }, "--dataset", "caltech")
  end)
end)

-- ---- flow ----

describe("evaluate, of flow,", function()
  local root

  setup(function() la.scope(function()
    root = tmp.dir()
    la.data.figures.write_tss(root, { pairs = 2, size = 40 })
  end) end)
  teardown(function() tmp.remove(root) end)

  local function tss(...)
    return run { "evaluate", "--dataset", "tss", "--root", root, ... }
  end

  local function fails(part)
    local r <const> = tss()
    assert.equal(1, r.status, r.out)
    has(r.err, part)
  end

  it("prints the groups, and writes flows that the authors' kit reads", function()
    local flows <const> = root .. "/flows"
    local r <const> = tss("--flows", flows, "--model", "untrained", "--refine", "1", "--table", root .. "/t.csv")
    assert.equal(0, r.status, r.err)
    has(r.out, "tss: 12 pairs, 3 classes")
    assert.truthy(r.out:find "flow@0.05%s+FG3DCar%s+JODS%s+PASCAL%s+classes%s+all\nuntrained", r.out)
    local rows <const>, sum = la.io.read_csv(root .. "/t.csv"), 0
    assert.equal(2 * 5, #rows)
    for k = 1, 3 do
      assert.equal("4", rows[k].pairs)
      sum = sum + rows[k]["flow@0.05"]
    end
    assert.is_true(math.abs(sum / 3 - rows[4]["flow@0.05"]) < 1e-6)
    la.scope(function()
      for _, stage in ipairs { "aff", "aff_tps" } do
        for _, pair in ipairs(la.data.benchmarks.tss(root)) do
          local below <const> = "TSS_CVPR2016/" .. pair.category .. pair.source:match "(/[^/]+/)[^/]*$"
          local flow <const> = la.io.load_flo(string.format("%s/%s/%sflow%s.flo", flows, stage, below, pair.direction))
          assert.same(la.io.load_flo(pair.truth):shape(), flow:shape())
        end
      end
    end)
  end)

  it("leaves out what has no flow, and takes other thresholds", function()
    la.scope(function()
      local path <const> = root .. "/TSS_CVPR2016/JODS/pair1/flow2.flo"
      local kept <const> = tmp.read(path)
      local flow <const> = la.io.load_flo(path)
      la.io.save_flo(path, la.full(flow:shape(), 1e10))
      local r <const> = tss("--alpha", "0.5,2", "--csv", root .. "/each.csv")
      tmp.write(path, kept)
      assert.equal(0, r.status, r.err)
      has(r.out, "flow@0.50")
      local rows <const> = la.io.read_csv(root .. "/each.csv")
      assert.equal("", rows[5]["flow@2.00"])
      assert.is_true(tonumber(rows[6]["flow@2.00"]) > 0.9)
    end)
  end)

  it("says what is wrong", function()
    local pair <const> = root .. "/TSS_CVPR2016/FG3DCar/pair1"
    local function broken(name, write, message)
      local kept <const> = tmp.read(pair .. "/" .. name)
      os.remove(pair .. "/" .. name)
      write(pair .. "/" .. name)
      fails(message)
      tmp.write(pair .. "/" .. name, kept)
    end
    la.scope(function()
      broken("mask2.png", function(path) la.image.save(path, la.zeros({ 5, 7, 3 }, { dtype = "uint8" })) end,
        "mask2.png: has 7 x 5 pixels")
      broken("flow2.flo", function(path) la.io.save_flo(path, la.zeros(5, 7, 2)) end, "flow2.flo: has 7 x 5 pixels")
      broken("flow2.flo", function(path) tmp.write(path, "PIEH") end, "flow2.flo: is no .flo file")
      broken("mask1.png", function() end, "mask1.png")
    end)
    local path <const> = root .. "/test_pairs_tss.csv"
    local kept <const> = tmp.read(path)
    local function list_of(line)
      tmp.write(path, "source,target,direction,flip,group\n" .. line)
    end
    list_of ""
    fails "holds no pairs"
    list_of "TSS_CVPR2016/JODS/pair1/image1.png,TSS_CVPR2016/JODS/pair1/image2.png,3,0,2\n"
    fails "test_pairs_tss.csv:2: the flow direction must be 1 or 2, got '3'"
    list_of "TSS_CVPR2016/JODS/pair1/image1.png,TSS_CVPR2016/JODS/pair1/image2.png,2,yes,2\n"
    fails "test_pairs_tss.csv:2: the flip of the source must be 0 or 1, got 'yes'"
    tmp.write(path, "source,target,direction\na,b,1\n")
    fails "needs source, target, flow direction and flip, got 3 columns"
    os.remove(path)
    fails "test_pairs_tss.csv"
    tmp.write(path, kept)
  end)
end)
