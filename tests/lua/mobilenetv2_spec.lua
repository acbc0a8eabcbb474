-- SPDX-License-Identifier: MIT
--
-- MobileNetV2 with files of torchvision's and timm's names, against both in double precision: golden/mobilenetv2.json;
-- mobilenetv2.py beside it says how it was made.

local la <const> = require "lualign"
local compare <const> = require "lib.compare"
local pattern <const> = require "lib.pattern"
local tmp <const> = require "lib.tmp"
local torchfile <const> = require "lib.torchfile"
local fails <const> = require("lib.cases").fails

local here <const> = debug.getinfo(1, "S").source:match "^@(.*)/lua/[^/]*$"
local golden <const> = la.io.json_decode(la.io.read_file(here .. "/golden/mobilenetv2.json"))

local dir

-- The state of a network in PyTorch's names and layouts, as a file.
local function save(source, change)
  local dict <const> = {}
  for j, row in ipairs(golden[source].state) do
    dict[row[1]] = pattern.tensor(row[1], row[2], j)
    local norm <const> = row[1]:match "^(.*%.)running_var$"
    if norm then
      dict[norm .. "num_batches_tracked"] = la.tensor { 3 }
    end
  end
  if change then
    change(dict)
  end
  local path <const> = dir .. "/" .. source .. ".safetensors"
  la.io.save_safetensors(path, dict, { format = "pt" })
  return path
end

-- it() in a scope without gradients, with a folder.
local function scoped(name, fn)
  it(name, function()
    dir = tmp.dir()
    local ok <const>, problem <const> = pcall(la.scope, la.no_grad, fn)
    tmp.remove(dir)
    if not ok then
      error(problem, 0)
    end
  end)
end

describe("mobilenetv2", function()
  for _, source in ipairs { "torchvision", "timm" } do
    scoped("computes what " .. source .. "'s does", function()
      local trunk <const> = la.models.mobilenetv2 { weights = save(source) }
      assert.equal("pytorch", trunk.form)
      local layers <const> = {}
      for layer in pairs(golden[source].layers) do
        layers[#layers + 1] = math.tointeger(tonumber(layer))
      end
      assert.equal(7, #layers)
      local x <const> = pattern.image(64, 97)
      for _, mode in ipairs { "eval", "fuse" } do
        trunk[mode](trunk)
        for k, y in ipairs(trunk:features(x, layers)) do
          pattern.check(y, golden[source].layers[tostring(layers[k])],
            string.format("%s, block %d, %s", source, layers[k], mode))
        end
      end
    end)
  end

  scoped("takes pictures as torchvision does", function()
    local trunk <const> = la.models.mobilenetv2 { weights = false, last = 0, form = "pytorch" }
    local x <const> = la.tensor { 0, 255, 100 }:reshape(1, 1, 1, 3)
    compare.close(trunk:preprocess(x):flat(), { -0.485 / 0.229, (1 - 0.456) / 0.224, (100 / 255 - 0.406) / 0.225 },
      1e-5, "preprocess")
  end)

  scoped("says which form it has, and lets it be chosen", function()
    local path <const> = save "timm"
    local function same_as(a, b)
      local x <const> = pattern.image(33, 20)
      return a(x):bytes() == b(x):bytes()
    end
    local own <const> = la.models.mobilenetv2 { last = 3 }
    assert.equal("tensorflow", own.form)
    assert.truthy(same_as(own, la.models.mobilenetv2 { last = 3, form = "tensorflow" }))
    assert.falsy(same_as(own, la.models.mobilenetv2 { last = 3, form = "pytorch" }))
    local given <const> = la.models.mobilenetv2 { weights = path, last = 3, form = "tensorflow" }
    assert.equal("tensorflow", given.form)
    assert.falsy(same_as(given, la.models.mobilenetv2 { weights = path, last = 3 }))
    -- zeros on both sides, or at the bottom and the right: sizes agree, values do not
    assert.same({ 1, 5, 3, 32 }, given(pattern.image(33, 20)):shape())
    fails("form must be tensorflow or pytorch, got 'caffe'", la.models.mobilenetv2, { weights = false, form = "caffe" })
  end)

  scoped("is dilated alike in both forms", function()
    local x <const> = pattern.image(64, 64)
    for _, form in ipairs { "tensorflow", "pytorch" } do
      local trunk <const> = la.models.mobilenetv2 { weights = false, last = 14, dilated = true, form = form }
      assert.same({ 1, 4, 4, 160 }, trunk(x):shape())
    end
  end)

  scoped("is read from torch.save's files", function()
    local safe <const>, list <const> = save "torchvision", {}
    for name, t in pairs(la.io.load_safetensors(safe)) do
      list[#list + 1] = { name, t:shape(), t:flat() }
    end
    local path <const> = dir .. "/mobilenet_v2.pth"
    tmp.write(path, torchfile.zip(torchfile.state(list)))
    local a <const>, b <const> = la.models.mobilenetv2 { weights = safe, last = 5 },
      la.models.mobilenetv2 { weights = path, last = 5 }
    assert.equal("pytorch", b.form)
    assert.equal(a(pattern.image(40, 40)):bytes(), b(pattern.image(40, 40)):bytes())
  end)

  scoped("keeps its form in files of models, joined and saved without trunks too", function()
    local path <const> = save "torchvision"
    local function make(stage)
      return la.models.weakalign {
        backbone = { { "mobilenetv2", layers = { 1 }, weights = path } }, stages = { stage }, size = 176,
      }:eval()
    end
    local net <const> = make "affine"
    local x <const> = pattern.image(176, 176)
    local f <const> = net.FeatureExtraction(x):bytes()
    local saved <const>, slim <const> = dir .. "/net.safetensors", dir .. "/slim.safetensors"
    la.models.save(saved, net)
    la.models.save(slim, net, { trunks = false })
    for _, other in ipairs { la.models.load(saved), la.models.join(net, make "tps") } do
      assert.equal("pytorch", other.FeatureExtraction.mobilenetv2.form)
      assert.equal(f, other.FeatureExtraction(x):bytes())
    end
    assert.equal("pytorch", la.models.features {
      trunks = { { "mobilenetv2", layers = { 1 }, weights = path } },
    }.config.trunks[1].form)
    fails("resnet18: unknown option 'form'", la.models.features,
      { trunks = { { "resnet18", layers = { "layer1" }, weights = false, form = "pytorch" } } })
  end)

  scoped("refuses files that do not fit", function()
    local function refuses(text, change)
      fails(text, la.models.mobilenetv2, { weights = save("torchvision", change) })
    end
    refuses("lacks features.3.conv.2.weight", function(d) d["features.3.conv.2.weight"] = nil end)
    refuses("lacks features.0.1.running_mean", function(d) d["features.0.1.running_mean"] = nil end)
    refuses("features.0.1.bias is (31), which does not fit features.0.0.weight, (32, 3, 3, 3)",
      function(d) d["features.0.1.bias"] = la.ones(31) end)
    refuses("features.2.conv.1.0.weight", function(d) d["features.2.conv.1.0.weight"] = la.ones(3) end)
    refuses("block1.depthwise.weight", function(d)
      for _, part in ipairs { "weight", "bias", "running_mean", "running_var" } do
        d["features.2.conv.1.1." .. part] = la.ones(5)
      end
      d["features.2.conv.1.0.weight"] = la.ones(5, 1, 3, 3)
    end)
    fails("efficientnet_lite0: '" .. dir .. "/torchvision.safetensors' does not fit: block10",
      la.models.efficientnet_lite0, { weights = save "torchvision" })
  end)
end)
