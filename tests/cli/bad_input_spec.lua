-- SPDX-License-Identifier: MIT
--
-- Bad input, through the program: status 1, one line on stderr that says what and where, nothing half written.

local la <const> = require "lualign"
local run <const> = require "lib.run"
local tmp <const> = require "lib.tmp"

local folder

-- A drawing of this size.
local function draw(name, width, height)
  local canvas <const> = la.io.canvas(width, height, { 90, 120, 40 })
  canvas:ellipse(width / 2, height / 2, width / 4, height / 3, 0.4, { 240, 60, 30 }, 1)
  canvas:noise(7, 20, 2)
  la.image.save(folder .. "/" .. name, canvas:tensor())
end

local function write(name, text)
  tmp.write(folder .. "/" .. name, text)
end

local function read(name)
  return tmp.read(folder .. "/" .. name)
end

setup(function()
  folder = tmp.dir()
  draw("a.png", 64, 48)
  draw("b.png", 56, 60)
  draw("a.jpg", 64, 48)
  for _, name in ipairs { "png", "jpg" } do
    local whole <const> = read("a." .. name)
    write("half." .. name, whole:sub(1, #whole // 2))
    write("head." .. name, whole:sub(1, 12))
  end
  local png <const> = read "a.png"
  local middle <const> = #png // 2
  write("damaged.png", png:sub(1, middle) .. string.char(png:byte(middle + 1) ~ 0xff) .. png:sub(middle + 2))
  write("text.jpg", "This is a text, not a picture.\n")
  write("empty.png", "")
  write("empty.jpg", "")
end)

teardown(function()
  tmp.remove(folder)
end)

-- The program fails with status 1 and one line on stderr (past the device's and the progress), in which all of `parts`
-- appear; its standard output is empty; the working folder holds the names that it held before.
local function fails(args, parts, options)
  options = options or {}
  options.dir = folder
  local before <const> = tmp.list(folder)
  local r <const> = run(args, options)
  assert.equal(1, r.status, r.err)
  assert.equal("", r.out)
  local lines <const> = {}
  for line in r.err:gmatch "[^\n]+" do
    if not (line:find "^device: .+ units%)$" or line:find "^evaluate %d+/%d+$") then
      lines[#lines + 1] = line
    end
  end
  assert.equal(1, #lines, r.err)
  assert.equal("lualign", lines[1]:sub(1, 7))
  for _, part in ipairs(parts) do
    assert.truthy(lines[1]:find(part, 1, true), string.format("%q expected in: %s", part, lines[1]))
  end
  assert.same(before, tmp.list(folder))
  return lines[1]
end

-- ---- pictures ----

describe("align refuses", function()
  local function refuses(name, ...)
    fails({ "align", name, "b.png", "-o", "out" }, { "align", name, ... })
    fails({ "align", "b.png", name, "-o", "out" }, { "align", name, ... })
  end

  it("a missing picture", function()
    refuses("missing.png", "No such file")
  end)

  it("a folder", function()
    refuses(".", "not a file")
  end)

  it("pictures that end early", function()
    refuses("half.jpg", "ends early")
    refuses("half.png", "ends early")
    refuses("head.jpg")
    refuses("head.png", "ends early")
  end)

  it("a damaged picture", function()
    refuses("damaged.png", "damaged")
  end)

  it("what is no picture", function()
    refuses("text.jpg", "not a picture")
    refuses("empty.png", "empty")
    refuses("empty.jpg", "empty")
  end)

  it("an output folder that is a file", function()
    write("taken", "x")
    fails({ "align", "a.png", "b.png", "-o", "taken", "--refine", "1" }, { "taken", "not a folder" })
    assert.equal("x", read "taken")
  end)

  it("bad usage", function()
    fails({ "align", "a.png", "b.png", "--refin", "3" }, { "'--refin'", "did you mean '--refine'" })
    fails({ "align", "a.png", "b.png", "--whatever" }, { "'--whatever'" })
    fails({ "align", "a.png" }, { "'target'" })
    fails({ "align", "a.png", "b.png", "c.png" }, { "too many arguments" })
    fails({ "align", "a.png", "b.png", "--refine", "0" }, { "without a model", "refine must be at least 1" })
    fails({ "align", "a.png", "b.png", "--refine", "many" }, { "'many' is not a whole number" })
    fails({ "align", "a.png", "b.png", "--power", "0" }, { "'0' is not a number above 0" })
    fails({ "align", "a.png", "b.png", "--device", "none such" }, { "none such", "fits none of the devices" })
  end)
end)

-- ---- checkpoints ----

describe("a checkpoint", function()
  local weights <const> = la.models.find_weights "mobilenetv2"

  local function refuses(name, ...)
    fails({ "align", "a.png", "b.png", "-o", "out", "--model", name }, { name, ... })
    write("pairs.csv", "source_image,target_image,XA,YA,XB,YB\na.png,b.png,1,2,3,4\n")
    fails({ "evaluate", "--dataset", "pairs", "--root", ".", "--list", "pairs.csv", "--model", name,
      "--json", "out.json" }, { name, ... })
    fails({ "train_weak", "--pairs", ".:pairs.csv", "--model", name, "--out", "run" }, { name, ... })
  end

  it("that is missing", function()
    refuses("missing.safetensors", "No such file")
  end)

  it("cut in half", function()
    local whole <const> = tmp.read(weights)
    write("half.safetensors", whole:sub(1, #whole // 2))
    refuses("half.safetensors", "ends early")
    write("header.safetensors", whole:sub(1, 300))
    refuses("header.safetensors")
  end)

  it("of no bytes", function()
    write("empty.safetensors", "")
    refuses("empty.safetensors", "0 bytes")
  end)

  it("whose header's length lies", function()
    local whole <const> = tmp.read(weights)
    for _, length in ipairs { 0, 1, 17, #whole, 1 << 40, -1 } do
      write("lying.safetensors", string.pack("<i8", length) .. whole:sub(9))
      fails({ "align", "a.png", "b.png", "-o", "out", "--model", "lying.safetensors" }, { "lying.safetensors" })
    end
  end)

  it("that is something else", function()
    write("text.safetensors", ("not a checkpoint\n"):rep(100))
    refuses("text.safetensors")
    refuses("a.png")
    write("weights.safetensors", tmp.read(weights))
    refuses("weights.safetensors", "holds no model")
  end)
end)

-- ---- lists ----

describe("evaluate refuses", function()
  local function refuses(parts, ...)
    fails({ "evaluate", "--json", "out.json", ... }, parts)
  end

  -- A list with these lines under the full head.
  local function list(...)
    write("list.csv", table.concat({ "source_image,target_image,XA,YA,XB,YB", ... }, "\n") .. "\n")
  end

  local GOOD <const> = "a.png,b.png,1;2,3;4,5;6,7;8"
  local PAIRS <const> = { "--dataset", "pairs", "--root", ".", "--list", "list.csv" }

  it("an unknown data set", function()
    refuses({ "--dataset", "'pf-willow', 'pf-pascal'" }, "--dataset", "pf-pillow", "--root", ".")
  end)

  it("missing options", function()
    refuses { "missing option '--root'" }
    refuses({ "needs --list" }, "--dataset", "pairs", "--root", ".")
  end)

  it("a missing list", function()
    os.remove(folder .. "/list.csv")
    refuses({ "list.csv", "No such file" }, table.unpack(PAIRS))
    refuses({ "has no folder with pictures" }, "--root", ".")
    refuses({ "has none of test_pairs_pf_pascal.csv" }, "--root", ".", "--dataset", "pf-pascal")
  end)

  it("missing columns", function()
    write("list.csv", "source_image,target_image,XA,YA,XB\na.png,b.png,1,2,3\n")
    refuses({ "list.csv", "YB" }, table.unpack(PAIRS))
    write("list.csv", "image,target_image,XA,YA,XB,YB\na.png,b.png,1,2,3,4\n")
    refuses({ "list.csv", "source_image" }, table.unpack(PAIRS))
    write("list.csv", "")
    refuses({ "list.csv" }, table.unpack(PAIRS))
  end)

  it("a line with too few fields", function()
    list(GOOD, "a.png,b.png,1;2,3;4")
    refuses({ "list.csv:3" }, table.unpack(PAIRS))
  end)

  it("numbers that are none", function()
    for _, text in ipairs { "nan", "NaN", "-nan", "inf", "-inf", "1e999", "x", "" } do
      list(GOOD, "a.png,b.png,1;2,3;4,5;" .. text .. ",7;8")
      refuses({ "list.csv:3", "XB", "finite", "'" .. text .. "'" }, table.unpack(PAIRS))
    end
    list("a.png,b.png,1;2,3;4,5;6,7")
    refuses({ "list.csv:2", "equally long", "2, 2, 2, 1" }, table.unpack(PAIRS))
  end)

  it("a picture that is missing or cut", function()
    list(GOOD, "a.png,missing.png,1;2,3;4,5;6,7;8")
    refuses({ "missing.png", "No such file" }, table.unpack(PAIRS))
    list(GOOD, "a.png,half.png,1;2,3;4,5;6,7;8")
    refuses({ "half.png", "ends early" }, "--model", "nearest", table.unpack(PAIRS))
  end)

  it("an image without a line in keypoints.csv", function()
    local root <const> = tmp.dir()
    tmp.write(root .. "/keypoints.csv", "image,category,width,height,x0,x1,y0,y1\na.png,duck,64,48,1,2,3,4\n")
    tmp.write(root .. "/test_pairs.csv", "source_image,target_image,category\na.png,a.png,duck\na.png,b.png,duck\n")
    refuses({ "test_pairs.csv:3", "b.png", "keypoints.csv" }, "--root", root)
    tmp.write(root .. "/keypoints.csv", "image,category,width,height,x0,x1,y0,y1\na.png,duck,64,48,1,nan,3,4\n")
    refuses({ "keypoints.csv:2", "x1", "'nan'" }, "--root", root)
    tmp.remove(root)
  end)

  it("a file to write into a folder that is not there", function()
    list(GOOD)
    local r <const> = run({ "evaluate", "--json", "none/out.json", table.unpack(PAIRS) }, { dir = folder })
    assert.equal(1, r.status)
    assert.truthy(r.err:find("none/out.json", 1, true), r.err)
    assert.is_false(tmp.exists(folder .. "/none"))
  end)
end)

describe("training refuses", function()
  it("lists with missing columns, and places without pictures", function()
    write("pairs.csv", "source_image,category\na.png,x\n")
    la.scope(function()
      la.models.save(folder .. "/model.safetensors",
        la.models.weakalign { backbone = "mobilenetv2", stages = { "affine", "tps" } })
    end)
    local weak <const> = { "train_weak", "--model", "model.safetensors", "--out", "run", "--steps", "1" }
    local function with(...)
      return table.move({ ... }, 1, select("#", ...), #weak + 1, { table.unpack(weak) })
    end
    fails(with("--pairs", ".:pairs.csv"), { "pairs.csv", "target_image" })
    fails(with("--pairs", ".:gone.csv"), { "gone.csv", "No such file" })
    fails(with("--pairs", "pairs.csv"), { "--pairs must be ROOT:FILE", "'pairs.csv'" })
    fails({ "train_weak", "--pairs", ".:pairs.csv" }, { "missing option '--model'" })
    fails({ "train_strong", "--out", "run" }, { "missing option '--images'" })
    fails({ "train_strong", "--images", "gone.csv", "--out", "run" }, { "gone.csv", "No such file" })
    fails({ "train_strong", "--images", "pairs.csv", "--out", "run" }, { "pairs.csv", "image" })
    fails({ "train_strong", "--images", ".", "--backbone", "resnet", "--out", "run" }, { "resnet" })
    os.remove(folder .. "/model.safetensors")
  end)
end)

-- ---- devices ----

describe("without", function()
  it("an OpenCL device", function()
    local vendors <const> = tmp.dir()
    local env <const> = { OCL_ICD_VENDORS = vendors, OCL_ICD_FILENAMES = "" }
    fails({ "align", "a.png", "b.png", "-o", "out" }, { "no OpenCL device" }, { env = env })
    fails({ "devices" }, { "no OpenCL device" }, { env = env })
    tmp.remove(vendors)
  end)

  it("enough device memory", function()
    local line <const> = fails({ "align", "a.png", "b.png", "-o", "out" },
      { "out of device memory: asked for", "in use of 8.00 MiB", "LUALIGN_MEMORY" }, { env = { LUALIGN_MEMORY = "8" } })
    assert.truthy(line:find "asked for [%d.]+ MiB", line)
    fails({ "align", "a.png", "b.png" }, { "LUALIGN_MEMORY must be a number of MiB, got 'x'" },
      { env = { LUALIGN_MEMORY = "x" } })
  end)
end)

-- ---- channels ----

describe("wrong channel counts", function()
  -- The program, given a piece of Lua, fails with a message that holds all parts.
  local function code_fails(code, ...)
    fails({ "-e", code }, { ... })
  end

  it("of pictures to align", function()
    code_fails("la.align(la.zeros(20, 30, 4), 'b.png')", "align: source must be", "(H, W, 3)", "got (20, 30, 4)")
    code_fails("la.align('a.png', la.zeros(20, 30))", "align: target must be", "(H, W, 3)", "got (20, 30)")
    code_fails("la.align('a.png', la.zeros(1, 20, 30, 3))", "align: target must be", "got (1, 20, 30, 3)")
    code_fails("la.align('a.png', 7)", "align: target must be", "got number")
  end)

  it("of ops", function()
    code_fails("la.conv2d(la.zeros(1, 8, 8, 4), la.zeros(5, 3, 3, 3))", "conv2d", "4", "3")
    code_fails("la.conv2d(la.zeros(8, 8), la.zeros(5, 3, 3, 3))", "conv2d", "(8, 8)")
    code_fails("la.correlation(la.zeros(1, 3, 3, 4), la.zeros(1, 3, 3, 5))", "correlation", "4", "5")
    code_fails("la.grid_sample(la.zeros(1, 8, 8, 3), la.zeros(1, 4, 4, 3))", "grid_sample", "(1, 4, 4, 3)")
    code_fails("la.models.features { trunks = { { 'mobilenetv2', layers = { 8 } } } }(la.zeros(1, 32, 32, 4))",
      "3", "4")
  end)

  it("of pictures to save", function()
    code_fails("la.image.save('out.png', la.zeros(20, 30, 4))", "(H, W, 3)", "got (20, 30, 4)")
    code_fails("la.image.save('out.gif', la.zeros(20, 30, 3))", "out.gif", ".png")
  end)
end)
