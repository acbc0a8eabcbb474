-- SPDX-License-Identifier: MIT
local la <const> = require "lualign"
local optest <const> = require "lib.optest"
local shared <const> = require "lib.shared"
local tmp <const> = require "lib.tmp"

local dir

setup(function()
  dir = tmp.dir()
end)

teardown(function()
  tmp.remove(dir)
end)

describe("io", function()
  it("writes files whole and reads them back", function()
    local path <const> = dir .. "/a/b/text"
    assert.error_matches(function() la.io.write_file(path, "x") end, "a/b/text: cannot be written: No such file")
    la.io.mkdirs(dir .. "/a/b")
    la.io.mkdirs(dir .. "/a/b")
    la.io.write_file(path, "a\0b")
    la.io.write_file(path, "long\0er")
    assert.equal("long\0er", la.io.read_file(path))
    assert.same({ "text" }, tmp.list(dir .. "/a/b"))
    assert.equal("file", la.io.exists(path))
    assert.equal("folder", la.io.exists(dir))
    assert.is_nil(la.io.exists(dir .. "/none"))
    assert.error_matches(function() la.io.read_file(dir .. "/none") end, "none: cannot be read: No such file")
    assert.error_matches(function() la.io.mkdirs(path .. "/c") end, "text")
  end)
end)

describe("json", function()
  local function there_and_back(value)
    return la.io.json_decode(la.io.json_encode(value))
  end

  it("keeps values", function()
    local value <const> = {
      text = 'quotes " and \\, lines\n, \1, \u{1F63A}', yes = true, no = false, none = la.io.null,
      list = { 1, 2, { 3 } },
      nested = { a = { b = { c = "d" } } }, empty = {}, [""] = "no name",
    }
    assert.same(value, there_and_back(value))
  end)

  it("keeps numbers to the last bit", function()
    local list <const> = { 0.1, 1 / 3, 1e300, 5e-324, -2.5, 123456789.123, 2 ^ 53, -2 ^ 53, 1e15, 1e16, 3 }
    for _ = 1, 200 do
      list[#list + 1] = string.unpack("<d", string.pack("<I8", math.random(0) & 0x7fefffffffffffff))
    end
    for i, v in ipairs(there_and_back(list)) do
      assert.equal(list[i], v)
    end
    assert.equal("[0.1,3,-7]", la.io.json_encode { 0.1, 3, -7 })
    assert.equal("integer", math.type(there_and_back { 3.0 }[1]))
    assert.equal("float", math.type(there_and_back { 3.5 }[1]))
  end)

  it("tells arrays from objects", function()
    assert.equal("{}", la.io.json_encode {})
    assert.equal("[]", la.io.json_encode(la.io.array {}))
    assert.equal('{"a":[],"b":{}}', la.io.json_encode(la.io.json_decode '{"b": {}, "a": [ ]}'))
    assert.equal('{"a":1,"b":2,"c":3}', la.io.json_encode { c = 3, a = 1, b = 2 })
  end)

  it("indents", function()
    local text <const> = la.io.json_encode({ b = { 1, 2 }, a = { { x = 1 } }, c = {} }, { indent = true })
    assert.equal('{\n  "a": [\n    {\n      "x": 1\n    }\n  ],\n  "b": [1, 2],\n  "c": {}\n}', text)
  end)

  it("names what it cannot write", function()
    local loop <const> = {}
    loop.down = { loop }
    local cases <const> = {
      { { a = { 1, 0 / 0 } }, "the value.a%[2%] is %-?nan" }, { { math.huge }, "the value%[1%] is inf" },
      { { 1 << 53, (1 << 53) + 1 }, "the value%[2%] is 9007199254740993" },
      { { f = print }, "the value.f is a function" },
      { { 1, nil, 3 }, "array with holes: no element 2 of 2" }, { { 1, a = 2 }, "names and numbers as keys" },
      { { [1.5] = 1 }, "has a number as key" }, { loop, "the value.down%[1%] holds itself" },
      { { "\xff" }, "is no UTF%-8" },
    }
    for _, case in ipairs(cases) do
      assert.error_matches(function() la.io.json_encode(case[1]) end, case[2])
    end
    local twice <const> = { 1 }
    assert.equal("[[1],[1]]", la.io.json_encode { twice, twice })
    assert.error_matches(function() la.io.json_encode({}, { indnt = true }) end, "did you mean 'indent'")
  end)

  it("says where a text is no JSON", function()
    local cases <const> = {
      { '{"a": }', "json_decode: no JSON at byte" }, { "", "no JSON at byte 1" },
      { "1 2", "byte 3 comes after the end" }, { '{"a":1,"a":2}', "has 'a' twice" }, { "[1e999]", "too large" },
      { '["\\u0000"]', "\\u0000" }, { "[nan]", "no JSON" },
      { '["\xff"]', "byte 3 of the JSON is no UTF%-8" },
    }
    for _, case in ipairs(cases) do
      assert.error_matches(function() la.io.json_decode(case[1]) end, case[2])
    end
    assert.error_matches(function() la.io.json_decode("[", "settings.json") end, "^settings.json: no JSON")
    assert.equal(la.io.null, la.io.json_decode "null")
    assert.equal("text", la.io.json_decode ' "text"\n')
  end)
end)

describe("csv", function()
  local function read(text, required)
    tmp.write(dir .. "/t.csv", text)
    return la.io.read_csv(dir .. "/t.csv", { required = required or {} })
  end

  it("reads rows by column, with their lines", function()
    local rows <const>, columns <const> = read "image,x,y\na.jpg,1,2\n\nb.jpg,,4\n"
    assert.same({ "image", "x", "y" }, columns)
    assert.same({
      { image = "a.jpg", x = "1", y = "2", line = 2 }, { image = "b.jpg", x = "", y = "4", line = 4 },
    }, rows)
  end)

  it("reads quoted fields, line ends of all kinds and a mark of byte order", function()
    local rows <const> = read '\xef\xbb\xbf"a","b c"\r\n"1,2","say ""x"""\r\n"two\nlines",3\nlast,"4"'
    assert.same({
      { a = "1,2", ["b c"] = 'say "x"', line = 2 }, { a = "two\nlines", ["b c"] = "3", line = 3 },
      { a = "last", ["b c"] = "4", line = 5 },
    }, rows)
    assert.same({ { a = "", b = "", line = 2 } }, (read "a,b\n,\n"))
    assert.same({}, (read "a,b"))
  end)

  it("names file, line and column of what is wrong", function()
    local cases <const> = {
      { "image,target\n", { "source" }, "t.csv: has no column 'source'; its columns are image, target" },
      { "source_imag\n", { "source_image" }, "no column 'source_image', did you mean 'source_imag'%?" },
      { "a,b\n1,2\n1\n", {}, "t.csv:3: expected 2 fields, got 1" }, { "", {}, "t.csv: is empty" },
      { 'a\n1\n"open\n', {}, "t.csv:3: a quoted field does not end" },
      { 'a\n"x"y\n', {}, "t.csv:2: 'y' after a quoted field" },
      { "a,a\n", {}, "two columns are called 'a'" }, { "a,line\n", {}, "must not be called 'line'" },
    }
    for _, case in ipairs(cases) do
      local ok <const>, message <const> = pcall(read, case[1], case[2]) -- luassert would cut file and line off
      assert.is_false(ok)
      assert.matches(case[3], message)
    end
  end)
end)

describe("safetensors", function()
  it("come back with names in order, texts, types and shapes", function()
    local path <const> = dir .. "/t.safetensors"
    local x <const> = la.randn(3, 4)
    la.io.save_safetensors(path, {
      { "weights", x:transpose(1, 2) }, { "bytes", la.tensor({ 1, 255 }, "uint8") }, { "count", la.tensor(7, "int32") },
    }, { kind = "test", config = "{}" })
    local tensors <const>, metadata <const>, names <const> = la.io.load_safetensors(path)
    assert.same({ "weights", "bytes", "count" }, names)
    assert.same({ kind = "test", config = "{}" }, metadata)
    assert.same({ 4, 3 }, tensors.weights:shape())
    optest.close(tensors.weights, x:transpose(1, 2), 0)
    assert.same({ 1, 255 }, tensors.bytes:flat())
    assert.equal("uint8", tensors.bytes.dtype)
    assert.equal(7, tensors.count:item())
    assert.equal("int32", tensors.count.dtype)
  end)

  it("are written by name too, and may be empty", function()
    local path <const> = dir .. "/n.safetensors"
    la.io.save_safetensors(path, { b = la.zeros(1), a = la.ones(0, 3) })
    local tensors <const>, metadata <const>, names <const> = la.io.load_safetensors(path)
    assert.same({ "a", "b" }, names)
    assert.same({}, metadata)
    assert.same({ 0, 3 }, tensors.a:shape())
    la.io.save_safetensors(path, {})
    assert.same({}, (la.io.load_safetensors(path)))
  end)

  it("say what cannot be written, and leave what was there", function()
    local path <const> = dir .. "/n.safetensors"
    local before <const> = la.io.read_file(path)
    local t <const> = la.zeros(1)
    local function save(...)
      local arguments <const> = { ... }
      return function() la.io.save_safetensors(path, table.unpack(arguments)) end
    end
    assert.error_matches(save { { "a", t }, { "a", t } }, "n.safetensors: tensor name 'a' is given twice")
    assert.error_matches(save { { "a", 3 } }, "'a' must be a tensor, got a number")
    assert.error_matches(save { { t } }, "name 1 must be a string, got a userdata")
    assert.error_matches(save { t }, "element 1 must be { name, tensor }")
    assert.error_matches(save { [true] = t }, "a name must be a string, got true")
    assert.error_matches(save({ a = t }, { n = 3 }), "metadata value 1 must be a string, got a number")
    assert.error_matches(save { ["a\0b"] = t }, "has a NUL in it")
    assert.error_matches(function() la.io.save_safetensors("/nowhere/x", { a = t }) end, "x: cannot be written")
    assert.equal(before, la.io.read_file(path))
    assert.same({ "n.safetensors" }, (function()
      local found <const> = {}
      for _, name in ipairs(tmp.list(dir)) do
        found[#found + 1] = name:match "^n%..*"
      end
      return found
    end)())
  end)

  it("that end early or lie are refused by name", function()
    local path <const> = dir .. "/cut.safetensors"
    la.io.save_safetensors(path, { a = la.zeros(5), b = la.ones(2, 2) })
    local bytes <const> = la.io.read_file(path)
    for _, n in ipairs { 0, 7, 8, 20, #bytes - 37, #bytes - 1 } do
      tmp.write(path, bytes:sub(1, n))
      assert.error_matches(function() la.io.load_safetensors(path) end, "cut.safetensors: ")
    end
    tmp.write(path, (bytes:gsub("F32", "F64", 1)))
    assert.error_matches(function() la.io.load_safetensors(path) end, "5 elements of F64 take 40 bytes")
  end)

  it("of the shipped weights have their tensors", function()
    local path <const> = shared.repository .. "/third_party/weights/mobilenetv2-oidv4.safetensors"
    local tensors <const>, _, names <const> = la.io.load_safetensors(path)
    assert.equal(104, #names)
    assert.same({ 32, 3, 3, 3 }, tensors["conv.weight"]:shape())
    assert.equal("float32", tensors["conv.weight"].dtype)
  end)
end)

describe("the loader", function()
  local names <const> = {}

  setup(function()
    for i = 1, 12 do
      names[i] = string.format("%s/%d.png", dir, i)
      la.image.save(names[i], la.io.canvas(6, 4, { 10 * i, i, 0 }))
    end
  end)

  it("gives pictures and tags in the order of submission", function()
    local loader <close> = la.io.loader { threads = 3, ahead = 2 }
    for i = 1, 12 do
      loader:submit(names[i], { size = { i, 3 } }, { number = i })
    end
    assert.equal(12, loader:pending())
    for i = 1, 12 do
      local picture <const>, tag <const> = loader:next()
      assert.same({ i, 3, 3 }, picture:shape())
      assert.equal("float32", picture.dtype)
      assert.equal(10 * i, picture[1][1][1]:item())
      assert.equal(i, tag.number)
    end
    assert.is_nil(loader:next())
  end)

  it("gives batches, whose failures do not disturb the next", function()
    local loader <close> = la.io.loader {}
    for _, i in ipairs { 3, 1, 2 } do
      loader:submit(names[i], nil, i)
    end
    loader:submit(names[1])
    loader:submit(dir .. "/none.png")
    loader:submit(names[7])
    local batch <const>, tags <const> = loader:batch(3)
    assert.same({ 3, 4, 6, 3 }, batch:shape())
    assert.same({ 30, 10, 20 }, batch:select(4, 1):select(3, 6):select(2, 4):flat())
    assert.same({ 3, 1, 2 }, tags)
    assert.error_matches(function() loader:batch(2) end, "none.png: cannot be read")
    assert.equal(70, (loader:next())[1][1][1]:item())
    assert.error_matches(function() loader:batch(1) end, "batch of 1 asked for, 0 pictures were submitted")
  end)

  it("refuses batches of different sizes", function()
    local loader <close> = la.io.loader()
    loader:submit(names[1])
    loader:submit(names[2], { size = 5 })
    assert.error_matches(function() loader:batch(2) end, "one size .*got 4 x 6 and, as number 2, 5 x 5")
  end)

  it("checks options when they are given", function()
    local loader <const> = la.io.loader { threads = 1 }
    assert.error_matches(function() loader:submit(names[1], { sise = 5 }) end, "did you mean 'size'")
    assert.equal(0, loader:pending())
    loader:submit(names[1])
    loader:close()
    loader:close()
    assert.error_matches(function() loader:next() end, "loader: is closed")
    assert.error_matches(function() la.io.loader { thread = 1 } end, "did you mean 'threads'")
    assert.error_matches(function() la.io.loader { threads = 0 } end, "between 1 and 64, got 0")
  end)
end)
