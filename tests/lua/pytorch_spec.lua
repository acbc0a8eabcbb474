-- SPDX-License-Identifier: MIT
--
-- The reader of torch.save's files: what it reads, and what it refuses.

local la <const> = require "lualign"
local tmp <const> = require "lib.tmp"
local torchfile <const> = require "lib.torchfile"
local P <const> = torchfile.pickle

local dir

local function load(bytes)
  local path <const> = dir .. "/file.pth"
  tmp.write(path, bytes)
  return la.io.load_pytorch(path)
end

-- Expects the reader to refuse the bytes, with the words.
local function refused(bytes, words)
  local ok <const>, message <const> = pcall(load, bytes)
  assert.is_false(ok)
  assert.equal("string", type(message))
  assert.truthy(message:find(words, 1, true), string.format("'%s' is not in '%s'", words, message))
end

local STORAGE <const> = { key = "0", count = 6, bytes = string.pack("<ffffff", 1, 2, 3, 4, 5, 6) }

-- A state of one tensor "x" with other settings than sound ones.
local function one(change)
  local t <const> = { storage = STORAGE, size = { 2, 3 }, stride = { 3, 1 } }
  for key, value in pairs(change or {}) do
    t[key] = value
  end
  return P.dict { { "x", P.tensor(t) } }
end

describe("a file of torch.save", function()
  setup(function() dir = tmp.dir() end)
  teardown(function() tmp.remove(dir) end)

  for _, format in ipairs { "legacy", "zip" } do
    describe("in the " .. format .. " format", function()
      local write <const> = torchfile[format]

      it("gives its tensors by name, and their names in order", function()
        local state <const>, storages <const> = torchfile.state {
          { "b.weight", { 2, 3 }, { 1, 2, 3, 4, 5, 6 } }, { "a", { 2 }, { 7, 8 } }, { "scalar", {}, { 9 } },
          { "empty", { 0, 4 }, {} },
        }
        local dict <const>, names <const> = load(write(state, storages))
        assert.same({ "b.weight", "a", "scalar", "empty" }, names)
        assert.same({ { 1, 2, 3 }, { 4, 5, 6 } }, dict["b.weight"]:totable())
        assert.same({ 7, 8 }, dict.a:totable())
        assert.same({}, dict.scalar:shape())
        assert.equal(9, dict.scalar:item())
        assert.same({ 0, 4 }, dict.empty:shape())
      end)

      it("finds the state in what a training script saved, and makes objects opaque", function()
        local state <const>, storages <const> = torchfile.state { { "w", { 2 }, { 1, 2 } } }
        local outer <const> = P.dict {
          { "epoch", P.int(4) }, { "state_dict", state }, { "best", "G" .. string.pack(">d", 0.25) },
          { "args", P.global("argparse", "Namespace") .. ")\x81" .. P.dict { { "lr", P.int(1) } } .. "b" },
          { "loss", P.call("numpy.core.multiarray", "scalar", P.tuple(P.global("numpy", "dtype") .. P.tuple(P.text "f8")
            .. "R", P.text "01234567")) },
        }
        local dict <const>, names <const>, rest <const> = load(write(outer, storages))
        assert.same({ "w" }, names)
        assert.same({ 1, 2 }, dict.w:totable())
        assert.equal(4, rest.epoch)
        assert.equal(0.25, rest.best)
        assert.equal("(arguments of a script)", tostring(rest.args))
        assert.equal("(a number of numpy)", tostring(rest.loss))
      end)

      it("takes offsets, shared storages, and any order of the dimensions", function()
        local function tensor(offset, size, stride)
          return P.tensor { storage = STORAGE, offset = offset, size = size, stride = stride }
        end
        local dict <const> = load(write(P.dict {
          { "all", tensor(0, { 6 }, { 1 }) }, { "part", tensor(2, { 3 }, { 1 }) },
          { "turned", tensor(0, { 3, 2 }, { 1, 3 }) }, { "thin", tensor(1, { 1, 2, 1 }, { 77, 1, 5 }) },
          { "deep", tensor(0, { 1, 2, 3, 1 }, { 6, 1, 2, 1 }) },
        }, { STORAGE }))
        assert.same({ 1, 2, 3, 4, 5, 6 }, dict.all:totable())
        assert.same({ 3, 4, 5 }, dict.part:totable())
        assert.same({ { 1, 4 }, { 2, 5 }, { 3, 6 } }, dict.turned:totable())
        assert.same({ { { 2 }, { 3 } } }, dict.thin:totable())
        assert.same({ { { { 1 }, { 3 }, { 5 } }, { { 2 }, { 4 }, { 6 } } } }, dict.deep:totable())
      end)

      it("converts element types", function()
        local cases <const> = {
          { "Double", string.pack("<d", 1.5), 1.5, "float32" }, { "Half", "\x00\x3e", 1.5, "float32" },
          { "BFloat16", "\xc0\x3f", 1.5, "float32" }, { "Long", string.pack("<i8", -3), -3, "int32" },
          { "Int", string.pack("<i4", -3), -3, "int32" }, { "Short", string.pack("<i2", -3), -3, "int32" },
          { "Char", "\xfd", -3, "int32" }, { "Byte", "\xfd", 253, "uint8" }, { "Bool", "\x01", 1, "uint8" },
        }
        for _, case in ipairs(cases) do
          local storage <const> = { key = "0", count = 1, class = case[1], bytes = case[2] }
          local dict <const> = load(write(P.dict {
            { "x", P.tensor { storage = storage, size = { 1 }, stride = { 1 } } },
          }, { storage }))
          assert.equal(case[4], dict.x.dtype, case[1])
          assert.equal(case[3], dict.x:item(), case[1])
        end
      end)

      it("is refused where it is cut off anywhere", function()
        local state <const>, storages <const> = torchfile.state { { "a", { 2 }, { 1, 2 } }, { "b", { 1 }, { 3 } } }
        local bytes <const> = write(state, storages)
        for n = 0, #bytes - 1 do
          local ok <const>, message <const> = pcall(load, bytes:sub(1, n))
          assert.is_false(ok, n)
          assert.equal("string", type(message))
        end
      end)

      it("never brings the program down, whatever one byte of it is", function()
        local state <const>, storages <const> = torchfile.state { { "a", { 2 }, { 1, 2 } } }
        local bytes <const> = write(state, storages)
        local rng <const> = require("lualign.util.rng")(7)
        for at = 1, #bytes do
          local value <const> = math.floor(rng:uniform() * 256)
          local changed <const> = bytes:sub(1, at - 1) .. string.char(value) .. bytes:sub(at + 1)
          local ok <const>, message <const> = pcall(load, changed)
          assert.is_true(ok or type(message) == "string", at)
        end
      end)
    end)
  end

  it("takes the views of storages that old files have", function()
    local storage <const> = {
      key = "0", count = 6, bytes = STORAGE.bytes, view = P.tuple(P.text "v", P.int(2), P.int(3)),
    }
    local dict <const> = load(torchfile.legacy(P.dict {
      { "x", P.tensor { storage = storage, offset = 1, size = { 2 }, stride = { 1 } } },
    }, { storage }))
    assert.same({ 4, 5 }, dict.x:totable())
  end)

  -- what, words of the message, bytes
  local function legacy(value, storages)
    return torchfile.legacy(value, storages or { STORAGE })
  end
  local ok_state <const> = one()
  local BAD <const> = {
    { "a call of a system function", "it wants 'os.system'",
      legacy(P.call("os", "system", P.tuple(P.text "true"))) },
    { "the same by another module", "it wants 'posix.system'",
      legacy(P.call("posix", "system", P.tuple(P.text "true"))) },
    { "eval", "it wants 'builtins.eval'", legacy(P.call("builtins", "eval", P.tuple(P.text "1"))) },
    { "eval by STACK_GLOBAL", "it wants 'builtins.eval'", legacy(P.text "builtins" .. P.text "eval" .. "\x93") },
    { "an attribute of a module", "it wants 'torch.load'", legacy(P.global("torch", "load")) },
    { "a nested pickle", "it wants 'torch.storage._load_from_bytes'",
      legacy(P.call("torch.storage", "_load_from_bytes", P.tuple(P.text ""))) },
    { "a global with bytes that are no text", "it wants '??.?'", legacy("c\1\xff\n\x7f\n") },
    { "the opcode INST", "the opcode 0x69", legacy("(ios\nsystem\n") },
    { "the opcode OBJ", "the opcode 0x6f", legacy("(" .. P.global("collections", "OrderedDict") .. "o") },
    { "the opcode EXT1", "the opcode 0x82", legacy("\x82\1") },
    { "a text number", "the opcode 0x49", legacy("I5\n") },
    { "a text persistent id", "the opcode 0x50", legacy("Pstorage\n") },
    { "a call of what is no function", "it calls what is no known class or function", legacy(P.text "f" .. ")R") },
    { "a call of a storage's class", "it calls 'torch.FloatStorage', which is no function",
      legacy(P.global("torch", "FloatStorage") .. ")R") },
    { "a call without a tuple", "are no tuple", legacy(P.global("collections", "OrderedDict") .. P.int(1) .. "R") },
    { "protocol 5", "protocol 5 is not known", torchfile.zip("\x80\5" .. ok_state, { STORAGE }) },
    { "an empty stack", "the stack is empty", legacy("R") },
    { "a missing mark", "a mark is missing", legacy("}u") },
    { "values left over", "values are left over", legacy(P.int(1) .. P.int(2)) },
    { "a key without a value", "a key without a value", legacy("}(" .. P.text "x" .. "u") },
    { "items for a list", "there is no dictionary to add to", legacy("](" .. P.text "x" .. P.int(1) .. "u") },
    { "None as a key", "a key that cannot be one", legacy("}(N" .. P.int(1) .. "u") },
    { "what was never remembered", "nothing was remembered as 9", legacy("h\9") },
    { "a text of four gigabytes", "it ends too early", legacy("X\xff\xff\xff\xff") },
    { "a text of negative length", "it ends too early", legacy("\x8d" .. string.pack("<i8", -1)) },
    { "a frame past the end", "a frame of", legacy("\x95" .. string.pack("<i8", 1 << 40)) },
    { "an unknown reference", "a reference to what is no storage", legacy(P.text "x" .. "Q") },
    { "a tensor without a storage", "a tensor without a storage",
      legacy(P.call("torch._utils", "_rebuild_tensor_v2", P.tuple(P.int(1), P.int(0), P.ints { 1 }, P.ints { 1 }))) },
    { "a negative size", "must be whole numbers", legacy(one { size = { -2, 3 } }) },
    { "a negative offset", "offset must be a whole number", legacy(one { offset = -1 }) },
    { "more strides than sizes", "2 sizes and 3 strides", legacy(one { stride = { 3, 1, 1 } }) },
    { "nine dimensions", "at most 8 whole numbers",
      legacy(one { size = { 1, 1, 1, 1, 1, 1, 1, 1, 1 }, stride = { 1, 1, 1, 1, 1, 1, 1, 1, 1 } }) },
    { "strides that overlap", "leave gaps or overlap", legacy(one { stride = { 1, 1 } }) },
    { "strides that leave gaps", "leave gaps or overlap", legacy(one { size = { 2, 2 }, stride = { 3, 1 } }) },
    { "stride 0", "leave gaps or overlap", legacy(one { stride = { 0, 1 } }) },
    { "an offset past the end", "reaches past the end of its storage (8 of 6", legacy(one { offset = 2 }) },
    { "a huge size", "is too large", legacy(one { size = { 1 << 30, 1 << 30 }, stride = { 1 << 30, 1 } }) },
    { "a storage larger than the file", "ends within the storage '0'",
      legacy(P.dict { { "x", P.tensor { storage = { key = "0", count = 1 << 40 }, size = { 1 }, stride = { 1 } } } },
        { { key = "0", count = 1 << 40, bytes = "" } }) },
    { "a count that is not the storage's", "should have 6 elements, the file says 7",
      legacy(ok_state, { { key = "0", count = 7, bytes = STORAGE.bytes } }) },
    { "a storage that is listed twice", "the storage '0' comes twice", legacy(ok_state, { STORAGE, STORAGE }) },
    { "a storage of no tensor", "belongs to no tensor",
      legacy(ok_state, { STORAGE, { key = "1", count = 0, bytes = "" } }) },
    { "one storage with two sizes", "has two sizes or types", legacy(P.dict {
      { "x", P.tensor { storage = STORAGE, size = { 6 }, stride = { 1 } } },
      { "y", P.tensor { storage = { key = "0", count = 5 }, size = { 5 }, stride = { 1 } } },
    }) },
    { "a view that does not fit", "a view of the storage '0' does not fit", legacy(one {
      storage = { key = "0", count = 6, view = P.tuple(P.text "v", P.int(4), P.int(3)) },
    }) },
    { "a storage that is missing", "the storage '0' is missing", torchfile.zip(ok_state, {}) },
    { "a storage of the wrong size", "should have 24 bytes, has 20",
      torchfile.zip(ok_state, { { key = "0", bytes = STORAGE.bytes:sub(1, 20) } }) },
    { "a compressed archive", "is compressed or encrypted", torchfile.zip(ok_state, { STORAGE }, function(record)
      record.method = 8
    end) },
    { "an encrypted archive", "is compressed or encrypted", torchfile.zip(ok_state, { STORAGE }, function(record)
      record.flags = 1
    end) },
    { "overlapping files", "overlap", torchfile.zip(ok_state, { STORAGE }, function(record, name)
      if name:find "byteorder" then
        record.at = 0
      end
    end) },
    { "a file past the archive's end", "is past its end", torchfile.zip(ok_state, { STORAGE }, function(record)
      record.at = 1 << 30
    end) },
    { "a name that comes twice", "is in it twice", torchfile.archive { { "a/data.pkl", "" }, { "a/data.pkl", "" } } },
    { "an archive of something else", "has no data.pkl", torchfile.archive { { "a.txt", "hello" } } },
    { "a big-endian machine's file", "was not written by a little-endian machine",
      torchfile.archive { { "archive/data.pkl", P.whole(ok_state) }, { "archive/byteorder", "big" } } },
    { "a list", "holds no dictionary", legacy(P.list(P.int(1)), {}) },
    { "no tensors", "holds no tensors", legacy(P.dict { { "x", P.int(1) } }, {}) },
    { "a tar archive", "is no file of torch.save", "pickle\0\0\0\0" .. ("\0"):rep(600) },
    { "nothing", "is no file of torch.save", "" },
  }
  for _, case in ipairs(BAD) do
    it("is refused with " .. case[1], function()
      refused(case[3], case[2])
    end)
  end

  it("that holds itself is read, or refused, in the end", function()
    local ok <const>, message <const> = pcall(load, legacy("}q\0" .. "(" .. P.text "x" .. "h\0u", {}))
    assert.is_false(ok)
    assert.truthy(message:find("holds no tensors", 1, true), message)
  end)
end)
