-- SPDX-License-Identifier: MIT
--
-- Checkpoints of the authors' code in the program: import, inspect, and what takes them as they are.

local la <const> = require "lualign"
local run <const> = require "lib.run"
local tmp <const> = require "lib.tmp"
local torchfile <const> = require "lib.torchfile"

-- What a command that must end well says, and what one that must not says of it.
local function succeeds(...)
  local r <const> = run { ... }
  assert.equal(0, r.status, r.err)
  return r.out
end

local function fails(...)
  local r <const> = run { ... }
  assert.equal(1, r.status, r.out)
  return r.err
end

describe("a checkpoint of the authors", function()
  local dir

  local function write(name, list, format)
    local path <const> = dir .. "/" .. name
    local state <const>, storages <const> = torchfile.state(list)
    tmp.write(path, torchfile[format or "legacy"](torchfile.pickle.dict {
      { "epoch", torchfile.pickle.int(3) }, { "state_dict", state },
    }, storages))
    return path
  end

  setup(function() dir = tmp.dir() end)
  teardown(function() tmp.remove(dir) end)

  it("of two stages on ResNet-101, 498 tensors, comes in and goes back out the same", function()
    local list <const> = torchfile.resnet101({}, "FeatureExtraction.model.")
    torchfile.regressor(torchfile.regressor(list, "FeatureRegression.", 6), "FeatureRegression2.", 18)
    assert.equal(498, #list)
    local path <const> = write("joint.pth.tar", list)
    local ours <const>, theirs <const> = dir .. "/ours.safetensors", dir .. "/theirs.safetensors"
    assert.truthy(succeeds("import", path, ours):find("498 tensors", 1, true))
    succeeds("import", "--pytorch", ours, theirs)
    la.scope(function()
      local dict <const> = la.io.load_safetensors(theirs)
      for _, item in ipairs(list) do
        local t <const> = dict[item[1]]
        assert.same(item[2], t:shape(), item[1])
        assert.equal(string.unpack("<f", string.pack("<f", item[3])), t:min():item(), item[1])
        assert.equal(t:min():item(), t:max():item(), item[1])
        dict[item[1]] = nil
      end
      assert.is_nil(next(dict))
    end)
    tmp.remove(path)
  end)

  it("of one stage on VGG-16, with old names, is joined to another and evaluated as it is", function()
    local affine <const> = torchfile.regressor(torchfile.vgg16({}, "FeatureExtraction.vgg."), "FeatureRegression.", 6)
    local tps <const> = torchfile.regressor(torchfile.vgg16({}, "FeatureExtraction.model."), "FeatureRegression.", 18)
    affine[#affine + 1] = { "FeatureRegression.conv.1.num_batches_tracked", {}, 0 }
    assert.equal(35, #affine)
    local first <const>, second <const> = write("affine.pth.tar", affine), write("tps.pth", tps, "zip")
    local joined <const> = dir .. "/joined.safetensors"
    assert.truthy(succeeds("import", first, joined, "--second", second):find("48 tensors", 1, true))
    la.scope(function()
      local model <const> = la.models.load(joined)
      assert.same({ "affine", "tps" }, model.config.stages)
      assert.equal(227 / 210, model.config.offset)
      assert.equal(18, model.FeatureRegression2.linear.bias:numel())
    end)
    local listing <const> = succeeds("inspect", first)
    assert.truthy(listing:find("FeatureRegression.linear.bias%s+float32%s+%(6%)"))
    assert.truthy(listing:find("35 tensors", 1, true))
    assert.truthy(fails("import", joined, dir .. "/x.safetensors", "--second", second)
      :find("the first model must have one stage", 1, true))
  end)

  it("is refused with a reason where it is not one", function()
    local broken <const> = write("broken.pth", torchfile.regressor({}, "FeatureRegression.", 7))
    assert.truthy(fails("import", broken, dir .. "/x.safetensors"):find("has 7 outputs", 1, true))
    local headless <const> = write("headless.pth", torchfile.regressor({}, "FeatureRegression.", 6))
    assert.truthy(fails("import", headless, dir .. "/x.safetensors"):find("no features of a ResNet", 1, true))
    local other <const> = write("other.pth", { { "weight", { 2 }, 1 } })
    assert.truthy(fails("import", other, dir .. "/x.safetensors"):find("holds no model of lualign", 1, true))
    assert.is_false(tmp.exists(dir .. "/x.safetensors"))
    tmp.write(dir .. "/text.pth", "hello")
    assert.truthy(fails("inspect", dir .. "/text.pth"):find("text.pth", 1, true))
  end)
end)
