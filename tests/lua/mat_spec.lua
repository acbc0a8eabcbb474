-- SPDX-License-Identifier: MIT
--
-- la.io.read_mat: files written by hand and by libmatio, whole, cut and changed.

local la <const> = require "lualign"
local matfile <const> = require "lib.matfile"
local make_rng <const> = require "lib.rng"
local shared <const> = require "lib.shared"
local tmp <const> = require "lib.tmp"

local have_matio <const> = pcall(require, "lualign.mat")

local function needs_matio()
  if not have_matio then
    shared.pending "this build has no libmatio"
  end
end

local function fails(message, path)
  local ok <const>, got <const> = pcall(la.io.read_mat, path)
  assert.is_false(ok)
  assert.truthy(got:find("read_mat: " .. path .. ": ", 1, true), got)
  assert.truthy(got:find(message, 1, true), got)
end

local n <const> = matfile.numbers

-- One of everything.
local VARIABLES <const> = {
  { "kps", n { { 1.5, 0 / 0 }, { 3, 4 }, { 5, 6.25 } } },
  { "number", n({ { 7 } }, "int32") },
  { "yes", n({ { 1 } }, "logical") },
  { "mask", n({ { 1, 0, 1 }, { 0, 1, 1 } }, "logical") },
  { "cube", n({ shape = { 2, 3, 2 }, data = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, -12 } }, "int16") },
  { "large", n({ { math.maxinteger, math.mininteger } }, "int64") },
  { "none", n({ shape = { 0, 4 }, data = {} }) },
  { "text", matfile.text "a word" },
  { "nothing", matfile.text "" },
  { "list", matfile.cell { { matfile.text "x", n { { 1, 2 } }, matfile.cell { { n { { 3 } } } } } } },
  { "grid", matfile.cell { { n { { 1 } }, n { { 2 } } }, { n { { 3 } }, n { { 4 } } } } },
  { "thing", matfile.struct { { "name", matfile.text "car" }, { "inner", matfile.struct { { "v", n { { 9 } } } } } } },
  { "things", matfile.struct { shape = { 2, 1 }, names = { "a", "b" },
    data = { n { { 1 } }, matfile.text "p", n { { 2 } }, matfile.text "q" } } },
}

local function check_all(found)
  local kps <const> = found.kps
  assert.same({ 3, 2 }, kps.shape)
  assert.equal("double", kps.class)
  local rows <const> = kps:totable()
  assert.is_true(rows[1][2] ~= rows[1][2])
  assert.same({ 1.5, { 3, 4 }, { 5, 6.25 } }, { rows[1][1], rows[2], rows[3] })
  assert.equal(7, found.number)
  assert.equal(true, found.yes)
  assert.equal("logical", found.mask.class)
  assert.same({ { 1, 0, 1 }, { 0, 1, 1 } }, found.mask:totable())
  assert.same({ { { 1, 7 }, { 3, 9 }, { 5, 11 } }, { { 2, 8 }, { 4, 10 }, { 6, -12 } } }, found.cube:totable())
  assert.same({ math.maxinteger, math.mininteger }, found.large:flat())
  assert.same({ 0, 4 }, found.none.shape)
  assert.same({}, found.none:totable())
  assert.equal("a word", found.text)
  assert.equal("", found.nothing)
  assert.equal("x", found.list[1])
  assert.same({ { 1, 2 } }, found.list[2]:totable())
  assert.same({ 3 }, found.list[3])
  assert.same({ { 1, 2 }, { 3, 4 } }, found.grid)
  assert.same({ name = "car", inner = { v = 9 } }, found.thing)
  assert.same({ { a = 1, b = "p" }, { a = 2, b = "q" } }, found.things)
end

describe("read_mat", function()
  local dir
  before_each(function() dir = tmp.dir() end)
  after_each(function() tmp.remove(dir) end)

  it("reads what was written, in either byte order, plain and compressed", function()
    needs_matio()
    for _, order in ipairs { "<", ">" } do
      for _, compress in ipairs { false, true } do
        matfile.write(dir .. "/a.mat", VARIABLES, { order = order, compress = compress })
        check_all(la.io.read_mat(dir .. "/a.mat"))
      end
    end
  end)

  it("makes tensors", function()
    needs_matio()
    matfile.write(dir .. "/a.mat", VARIABLES)
    local found <const> = la.io.read_mat(dir .. "/a.mat")
    la.scope(function()
      assert.equal("uint8", found.mask:tensor().dtype)
      assert.same(found.mask:totable(), found.mask:tensor():totable())
      assert.equal("float32", found.cube:tensor().dtype)
      assert.same(found.cube:totable(), found.cube:tensor():totable())
    end)
  end)

  it("reads what libmatio writes: versions 5, compressed, and 7.3", function()
    needs_matio()
    local program <const> = (os.getenv "LUALIGN_BUILD" or "build") .. "/tests/make_mat"
    if not tmp.exists(program) then
      shared.pending "make_mat is not built"
    end
    for _, version in ipairs { "5", "5z", "7.3" } do
      local path <const> = dir .. "/" .. version .. ".mat"
      local ok <const>, _, status <const> = os.execute(string.format("%s %s %s", program, path, version))
      if status ~= 77 then
        assert.is_true(ok)
        local found <const> = la.io.read_mat(path)
        assert.same({ { 0.5, 3.5 }, { 1.5, 4.5 }, { 2.5, 5.5 } }, found.matrix:totable())
        assert.equal(0.5, found.number)
        assert.equal(0, found.empty:numel())
        assert.equal("a word", found.text)
        assert.same({ { { -3, 3 }, { -1, 5 }, { 1, 7 } }, { { -2, 4 }, { 0, 6 }, { 2, 8 } } }, found.cube:totable())
        assert.same({ { 1, 1 }, { 0, 1 } }, found.bits:totable())
        assert.equal("logical", found.bits.class)
        assert.same({ { 1, 2, 3 }, { -1, -2, -3 } }, { found.complex.real:flat(), found.complex.imag:flat() })
        assert.equal("one", found.cells[1])
        assert.same({ { 0.5, 2.5 }, { 1.5, 3.5 } }, found.cells[2]:totable())
        assert.equal("car", found.thing.name)
        assert.same({ 2, 3 }, found.thing.points.shape)
        assert.equal("right", found.things[2].name)
        assert.equal(0.5, found.things[1].points)
        assert.same({ 1, 2 }, found.things[2].points.shape)
      end
    end
  end)

  it("refuses what is no such file", function()
    needs_matio()
    fails("there is no such file", dir .. "/none.mat")
    fails("it is no file", dir)
    for name, text in pairs { empty = "", text = ("text "):rep(50), zeros = ("\0"):rep(4096) } do
      tmp.write(dir .. "/" .. name, text)
      fails("it is no .mat file of version 5 or 7.3", dir .. "/" .. name)
    end
    local whole <const> = matfile.bytes { { "a", n { { 1, 2 } } } }
    tmp.write(dir .. "/seven.mat", whole:sub(1, 124) .. string.pack("<I2", 0x200) .. whole:sub(127) .. ("x"):rep(600))
    fails("HDF5", dir .. "/seven.mat")
    tmp.write(dir .. "/more.mat", whole .. "abc")
    fails("3 bytes follow its last element", dir .. "/more.mat")
    tmp.write(dir .. "/other.mat", whole .. string.pack("<I4 I4", 9, 0))
    fails("there is no variable at byte", dir .. "/other.mat")
  end)

  it("refuses a file cut anywhere", function()
    needs_matio()
    local few <const> = { VARIABLES[1], VARIABLES[10], VARIABLES[13] }
    for _, compress in ipairs { false, true } do
      local whole <const> = matfile.bytes(few, { compress = compress })
      for length = 0, #whole - 1, 7 do
        tmp.write(dir .. "/cut.mat", whole:sub(1, length))
        local ok <const>, got <const> = pcall(la.io.read_mat, dir .. "/cut.mat")
        local at_end <const> = ok and (got.things == nil) -- cut between two variables it is a shorter file
        assert.is_true(not ok or at_end, length)
        assert.is_true(ok or got:find("read_mat: ", 1, true) == 1, got)
      end
    end
  end)

  it("refuses a compressed variable with a wrong bit anywhere", function()
    needs_matio()
    local whole <const>, rng <const> = matfile.bytes({ VARIABLES[1] }, { compress = true }), make_rng "bits"
    for _ = 1, 60 do
      local at <const> = rng.integer(137, #whole) -- after the header and the tag
      tmp.write(dir .. "/bit.mat", whole:sub(1, at - 1) .. string.char(whole:byte(at) ~ 1 << rng.integer(0, 7))
        .. whole:sub(at + 1))
      fails("a compressed variable is damaged", dir .. "/bit.mat")
    end
  end)

  it("refuses arrays with fewer data than their shapes say", function()
    needs_matio()
    local short <const> = n({ shape = { 3, 4 }, data = { 1, 2, 3 } })
    for _, compress in ipairs { false, true } do
      for _, value in ipairs { short, matfile.cell { { n { { 1 } }, short } }, matfile.struct { { "a", short } },
        n({ shape = { 3, 4 }, data = { 1, 2, 3 } }, "int16") } do
        matfile.write(dir .. "/a.mat", { { "first", n { { 5, 6 } } }, { "a", value }, { "after", n { { 1, 2 } } } },
          { compress = compress })
        fails("an array has fewer data than its shape says", dir .. "/a.mat")
      end
      matfile.write(dir .. "/a.mat",
        { { "a", matfile.struct { shape = { 2, 2 }, names = { "x" }, data = { short } } } }, { compress = compress })
      fails("fewer data", dir .. "/a.mat")
      matfile.write(dir .. "/a.mat", { { "a", matfile.struct { shape = { 2, 2 }, names = { "x" },
        data = { n { { 1 } } } } } }, { compress = compress })
      fails("shorter than its shape says", dir .. "/a.mat")
    end
  end)

  it("refuses shapes that ask for all memory", function()
    needs_matio()
    local huge <const> = { shape = { 0x7fffffff, 0x7fffffff }, data = { 1, 2 } }
    for _, compress in ipairs { false, true } do
      matfile.write(dir .. "/a.mat", { { "a", n(huge) } }, { compress = compress })
      fails("", dir .. "/a.mat")
      for _, side in ipairs { 1000, 40000, 100000 } do
        matfile.write(dir .. "/a.mat", { { "a", n({ shape = { side, side }, data = { 1 } }, "uint8") } },
          { compress = compress })
        fails("", dir .. "/a.mat")
      end
      matfile.write(dir .. "/a.mat", { { "a", matfile.struct { shape = { 0x7fff, 0x7fff }, names = { "x" },
        data = { n { { 1 } } } } } }, { compress = compress })
      fails("", dir .. "/a.mat")
    end
    local deep = n { { 1 } }
    for _ = 1, 200 do
      deep = matfile.cell { { deep } }
    end
    matfile.write(dir .. "/a.mat", { { "a", deep } })
    fails("nested too deep", dir .. "/a.mat")
  end)

  -- What libmatio makes of a changed file is its own affair; that it ends as values or a message is ours.
  it("survives files with changed bytes", function()
    needs_matio()
    local rng <const> = make_rng "mutations"
    local refused = 0
    for round = 1, 400 do
      local bytes = matfile.bytes(VARIABLES, { compress = round % 4 == 0, order = round % 5 == 0 and ">" or "<" })
      for _ = 1, rng.integer(1, 6) do
        local at <const> = rng.integer(129, #bytes)
        local new <const> = rng.integer(1, 2) == 1 and string.char(rng.integer(0, 255))
          or string.pack("<I4", rng.integer(0, 1) == 1 and 0xffffffff or rng.integer(0, 70000))
        bytes = bytes:sub(1, at - 1) .. new .. bytes:sub(at + #new)
      end
      tmp.write(dir .. "/a.mat", bytes)
      local ok <const>, got <const> = pcall(la.io.read_mat, dir .. "/a.mat")
      assert.equal(ok and "table" or "string", type(got))
      assert.is_true(ok or got:find("read_mat: ", 1, true) == 1, got)
      refused = refused + (ok and 0 or 1)
    end
    assert.is_true(refused > 20, "so few were refused: " .. refused)
  end)

  it("names the package where the build has no libmatio", function()
    require "lualign.io.mat"
    local searchers <const>, loaded <const> = package.searchers, package.loaded["lualign.mat"]
    package.loaded["lualign.mat"], package.searchers = nil, {}
    local ok <const>, got <const> = pcall(la.io.read_mat, dir .. "/a.mat")
    package.searchers, package.loaded["lualign.mat"] = searchers, loaded
    assert.is_false(ok)
    assert.truthy(got:find("libmatio-dev", 1, true), got)
  end)
end)
