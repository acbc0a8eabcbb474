-- SPDX-License-Identifier: MIT

local la <const> = require "lualign"
local cases <const> = require "lib.cases"
local optest <const> = require "lib.optest"
local shared <const> = require "lib.shared"
local tmp <const> = require "lib.tmp"
local models <const> = la.models
local fails <const>, scoped <const> = cases.fails, cases.scoped_without_grad

-- The image of the weights' check values: already in the trunks' range.
local function check_image(n)
  local parts <const> = {}
  for y = 0, n - 1 do
    for x = 0, n - 1 do
      parts[#parts + 1] = string.pack("<fff", math.sin(0.05 * x + 0.03 * y), math.cos(0.04 * x - 0.02 * y),
        math.sin(0.01 * x + 0.06 * y))
    end
  end
  return la.from_bytes(table.concat(parts), "float32", { 1, n, n, 3 })
end

-- Sum, sum of absolute values, and single cells against what the weights' README has.
local function check_output(label, y, want)
  local size <const> = want.size
  assert.same({ 1, size[1], size[1], size[2] }, y:shape(), label)
  local scale <const> = want.absolute
  local function near(got, expected, what, tolerance)
    assert.is_true(math.abs(got - expected) <= tolerance, string.format("%s, %s: %g, expected %g", label, what, got,
      expected))
  end
  near(y:sum():item(), want.sum, "sum", 1e-3 * math.abs(want.sum))
  near(y:abs():sum():item(), want.absolute, "sum of absolute values", 1e-3 * scale)
  local mean <const> = scale / y:numel()
  for _, cell in ipairs(want.cells or {}) do
    local values <const> = y[1][cell.at[1] + 1][cell.at[2] + 1]:flat()
    for k, v in ipairs(cell) do
      near(values[cell.from + k - 1], v, "cell", 1e-3 * mean)
    end
  end
end

describe("trunk", function()
  scoped("mobilenetv2 has its check values", function()
    local path <const> = shared.find "weights/mobilenetv2-oidv4.safetensors" or models.find_weights "mobilenetv2"
    local trunk <const> = models.mobilenetv2 { weights = path }
    local x <const> = check_image(240)
    local b7 <const>, b11 <const>, b12 <const>, b14 <const>, b15 <const> =
      table.unpack(trunk:features(x, { 7, 11, 12, 14, 15 }))
    check_output("block 7", b7, {
      size = { 15, 64 }, sum = -952.79, absolute = 20456.0, cells = {
        { at = { 0, 0 }, from = 1, 0.32579, 2.80335, -1.38849, -2.03887 },
        { at = { 7, 7 }, from = 1, 1.74670, 0.30833, -1.94893, -0.96431 },
        { at = { 14, 14 }, from = 61, 1.44996, -3.73887, -0.86918, -1.76297 },
      },
    })
    check_output("block 11", b11, {
      size = { 15, 96 }, sum = 96.75, absolute = 17714.6, cells = {
        { at = { 0, 0 }, from = 1, -1.24670, -1.78222, -0.79087, -3.31122 },
        { at = { 7, 7 }, from = 1, -0.03757, -0.43609, -0.05278, -0.86795 },
        { at = { 14, 14 }, from = 93, 0.41888, -1.90123, 0.94328, -0.00798 },
      },
    })
    check_output("block 12", b12, {
      size = { 15, 96 }, sum = 1328.33, absolute = 32034.6, cells = {
        { at = { 0, 0 }, from = 1, -5.09529, 9.07373, 17.69016, -10.35484 },
        { at = { 7, 7 }, from = 1, 0.87242, 0.33091, 0.65735, -1.16434 },
        { at = { 14, 14 }, from = 93, -1.57016, -1.42711, 2.76615, -1.16267 },
      },
    })
    check_output("block 14", b14, { size = { 8, 160 }, sum = 282.25, absolute = 8549.2 })
    check_output("block 15", b15, { size = { 8, 160 }, sum = 719.36, absolute = 13517.7 })
    local dilated <const> = models.mobilenetv2 { weights = path, dilated = true }
    local d14 <const>, d15 <const> = table.unpack(dilated:features(x, { 14, 15 }))
    check_output("block 14, dilated", d14, { size = { 15, 160 }, sum = 1645.09, absolute = 30429.6 })
    check_output("block 15, dilated", d15, { size = { 15, 160 }, sum = 3301.57, absolute = 46945.7 })
  end)

  scoped("efficientnet_lite0 has its check values", function()
    local trunk <const> = models.efficientnet_lite0 {
      weights = shared.skip_without "weights/efficientnet-lite0-imagenet.safetensors",
    }
    local b7 <const>, b10 <const>, b14 <const> = table.unpack(trunk:features(check_image(240), { 7, 10, 14 }))
    check_output("block 7", b7, {
      size = { 15, 80 }, sum = 5552.44, absolute = 114081.3, cells = {
        { at = { 0, 0 }, from = 1, 6.86151, 0.25480, -11.19663, -17.13845 },
        { at = { 7, 7 }, from = 1, -4.62850, -3.58387, -3.70400, -19.23673 },
        { at = { 14, 14 }, from = 77, -3.07680, 4.85128, -12.61870, 5.02441 },
      },
    })
    check_output("block 10", b10, {
      size = { 15, 112 }, sum = -83.90, absolute = 112959.6, cells = {
        { at = { 0, 0 }, from = 1, 3.26389, 8.70724, 2.23236, 2.56911 },
        { at = { 7, 7 }, from = 1, 1.46526, 10.77083, 4.84466, 7.19234 },
        { at = { 14, 14 }, from = 109, 11.45248, 1.02498, 4.92142, 2.43289 },
      },
    })
    check_output("block 14", b14, {
      size = { 8, 192 }, sum = 1693.28, absolute = 42940.1, cells = {
        { at = { 0, 0 }, from = 1, 2.96794, 1.23329, 1.49678, -8.02252 },
        { at = { 4, 4 }, from = 1, 6.68308, -12.47195, -0.12523, -3.49551 },
        { at = { 7, 7 }, from = 189, -0.97989, -1.79342, -6.19835, 7.49801 },
      },
    })
  end)

  scoped("layers come in the order asked for, and nothing past them is run", function()
    local trunk <const> = models.mobilenetv2 { weights = false, last = 4 }
    local x <const> = la.rand(1, 33, 47, 3)
    local list <const> = trunk:features(x, { 3, "conv", 0, 3 })
    assert.same({ 1, 5, 6, 32 }, list[1]:shape())
    assert.same({ 1, 17, 24, 32 }, list[2]:shape())
    assert.same({ 1, 17, 24, 16 }, list[3]:shape())
    assert.is_true(list[1]:same(list[4]))
    trunk.block4.forward = function() error "run" end
    trunk:features(x, { 3 })
    assert.same({ 1, 5, 6, 32 }, models.mobilenetv2 { weights = false, last = 4 }(x):shape())
    fails("mobilenetv2: has no layer 5, it has 0, 1, 2, 3, 4, conv", trunk.features, trunk, x, { 5 })
    fails("images must be (N, H, W, 3), got (33, 47, 3)", trunk.preprocess, trunk, x[1])
  end)

  scoped("inputs are brought into each trunk's range", function()
    local x <const> = la.tensor { { { { 0, 127, 255 } } } }
    local function range(trunk)
      return trunk:preprocess(x):flat()
    end
    optest.close(la.tensor(range(models.mobilenetv2 { weights = false, last = 0 })), { -1, 127 / 127.5 - 1, 1 }, 1e-6)
    optest.close(la.tensor(range(models.efficientnet_lite0 { weights = false, last = 0 })), { -127 / 128, 0, 1 }, 1e-6)
    local imagenet <const> = models.vgg16 { weights = false }
    optest.close(la.tensor(range(imagenet)),
      { -0.485 / 0.229, (127 / 255 - 0.456) / 0.224, (1 - 0.406) / 0.225 }, 1e-6)
    optest.close(imagenet:preprocess(imagenet.neutral:reshape(1, 1, 1, 3)), la.zeros(1, 1, 1, 3), 1e-6, "neutral", 1)
  end)
end)

describe("resnet101", function()
  -- every tensor of table 8.3, in torchvision's names and our layout
  scoped("has the names and shapes of torchvision's", function()
    local net <const> = models.resnet101 { weights = false }
    assert.equal(27535424, net:parameter_count())
    local dict <const> = net:state_dict()
    assert.equal(470, #dict)
    local shape <const> = {}
    for _, entry in ipairs(dict) do
      shape[entry[1]] = table.concat(entry[2]:shape(), "x")
    end
    assert.equal("64x7x7x3", shape["conv1.weight"])
    assert.equal("64", shape["bn1.running_var"])
    for layer, blocks in ipairs { 3, 4, 23 } do
      local planes <const> = 32 << layer
      for b = 0, blocks - 1 do
        local inputs <const> = b > 0 and 4 * planes or layer == 1 and 64 or 2 * planes
        local p <const> = string.format("layer%d.%d.", layer, b)
        assert.equal(string.format("%dx1x1x%d", planes, inputs), shape[p .. "conv1.weight"])
        assert.equal(string.format("%dx3x3x%d", planes, planes), shape[p .. "conv2.weight"])
        assert.equal(string.format("%dx1x1x%d", 4 * planes, planes), shape[p .. "conv3.weight"])
        assert.equal(tostring(4 * planes), shape[p .. "bn3.running_mean"])
        assert.equal(b == 0 and string.format("%dx1x1x%d", 4 * planes, inputs) or nil,
          shape[p .. "downsample.0.weight"])
        assert.is_nil(shape[p .. "conv1.bias"])
      end
    end
  end)

  scoped("is what it is said to be, written out", function()
    local net <const> = models.resnet { blocks = { 1, 2 }, width = 4, weights = false }:eval()
    for _, entry in ipairs(net:named_buffers()) do
      entry[2]:copy_(la.rand(entry[2]:shape()) + 0.5)
    end
    local state <const> = {}
    for _, entry in ipairs(net:state_dict()) do
      state[entry[1]] = entry[2]
    end
    local function bn(x, name)
      return la.batch_norm(x, state[name .. ".weight"], state[name .. ".bias"], state[name .. ".running_mean"],
        state[name .. ".running_var"])
    end
    local function block(x, name, stride)
      local y = la.relu(bn(la.conv2d(x, state[name .. ".conv1.weight"]), name .. ".bn1"))
      y = la.relu(bn(la.conv2d(y, state[name .. ".conv2.weight"], { stride = stride, padding = 1 }), name .. ".bn2"))
      y = bn(la.conv2d(y, state[name .. ".conv3.weight"]), name .. ".bn3")
      if state[name .. ".downsample.0.weight"] then
        x = bn(la.conv2d(x, state[name .. ".downsample.0.weight"], { stride = stride }), name .. ".downsample.1")
      end
      return la.relu(x + y)
    end
    local x <const> = la.randn(2, 37, 33, 3)
    local y = la.relu(bn(la.conv2d(x, state["conv1.weight"], { stride = 2, padding = 3 }), "bn1"))
    y = la.max_pool2d(y, { kernel = 3, stride = 2, padding = 1 })
    local first <const> = block(y, "layer1.0", 1)
    local second <const> = block(first, "layer2.0", 2)
    local third <const> = block(second, "layer2.1", 1)
    local got <const> = net:features(x, { "layer1", "layer2.0", "layer2", "layer1.0" })
    optest.close(got[1], first, 1e-6)
    optest.close(got[2], second, 1e-6)
    optest.close(got[3], third, 1e-6)
    optest.close(got[4], first, 1e-6)
    assert.same({ 2, 5, 5, 32 }, got[3]:shape())
    fails("resnet: has no layer layer3", net.features, net, x, { "layer3" })
  end)
end)

describe("vgg16", function()
  scoped("ends at the fourth pool, with 20 tensors", function()
    local net <const> = models.vgg16 { weights = false }
    assert.equal(7635264, net:parameter_count())
    assert.equal(20, #net:state_dict())
    assert.same({ 512, 3, 3, 512 }, net.layers["21"].weight:shape())
    local list <const> = net:features(la.rand(1, 32, 48, 3), { "conv1_2", "relu3_3", "pool4" })
    assert.same({ 1, 32, 48, 64 }, list[1]:shape())
    assert.same({ 1, 8, 12, 256 }, list[2]:shape())
    assert.same({ 1, 2, 3, 512 }, list[3]:shape())
    assert.is_true(list[1]:min():item() < 0)
    assert.equal(0, math.min(0, list[2]:min():item()))
  end)
end)

describe("weights in PyTorch's layout", function()
  scoped("are turned", function()
    local dir <const> = tmp.dir()
    local a <const> = models.vgg16 { weights = false }
    local list <const> = {}
    for i, entry in ipairs(a:state_dict()) do
      local t <const> = entry[2]
      list[i] = { entry[1]:gsub("^layers", "features"), t:dim() == 4 and t:permute({ 1, 4, 2, 3 }):contiguous() or t }
    end
    la.io.save_safetensors(dir .. "/vgg.safetensors", list, {})
    local b <const> = models.vgg16 { weights = dir .. "/vgg.safetensors" }
    for i, entry in ipairs(b:state_dict()) do
      assert.equal(a:state_dict()[i][2]:bytes(), entry[2]:bytes(), entry[1])
    end
    table.remove(list)
    la.io.save_safetensors(dir .. "/half.safetensors", list, {})
    fails("half.safetensors' lacks layers.21.bias", models.vgg16, { weights = dir .. "/half.safetensors" })
    tmp.remove(dir)
  end)

  it("are found by name, or what is missing is said", function()
    assert.truthy(models.find_weights("mobilenetv2"):find "/mobilenetv2%-oidv4%.safetensors$")
    fails("'nothing.safetensors' is not in ", models.find_weights, "nothing")
    fails("there is no file './nothing.safetensors'", models.find_weights, "./nothing.safetensors")
    fails("set LUALIGN_WEIGHTS", models.find_weights, "nothing")
  end)
end)

describe("features", function()
  scoped("are normalised layers on one grid", function()
    local features <const> = models.features {
      trunks = {
        { "mobilenetv2", layers = { 2, 7, 14 }, weights = false },
        { "efficientnet_lite0", layers = { 4 }, weights = false },
      },
    }
    assert.equal(24 + 64 + 160 + 40, features.channels)
    local x <const> = la.rand(2, 96, 72, 3) * 255
    local got <const> = features(x)
    assert.same({ 2, 6, 5, 288 }, got:shape())
    local maps <const> = features.mobilenetv2:features(features.mobilenetv2:preprocess(x), { 2, 7, 14 })
    maps[4] = features.efficientnet_lite0:features(features.efficientnet_lite0:preprocess(x), { 4 })[1]
    for k, map in ipairs(maps) do
      maps[k] = la.l2_normalize(la.resize(map, { height = 6, width = 5, mode = "half_pixel" }))
    end
    optest.close(got, la.l2_normalize(la.cat(maps, -1)), 1e-6)
    assert.same({ 2, 6, 5, 288 }, features(x:astype("uint8")):shape())
  end)

  scoped("of one layer are normalised once, on a grid of choice", function()
    local trunks <const> = { { "mobilenetv2", layers = { 5 }, weights = false } }
    local x <const> = la.rand(1, 64, 64, 3) * 255
    local plain <const> = models.features { trunks = trunks, grid = { 8, 8 } }
    local map <const> = plain.mobilenetv2:features(plain.mobilenetv2:preprocess(x), { 5 })[1]
    assert.equal(la.l2_normalize(map):bytes(), plain(x):bytes())
    assert.same({ 1, 5, 3, 32 }, models.features { trunks = trunks, grid = { 5, 3 } }(x):shape())
  end)

  it("refuse what they do not know", function()
    fails("there is no trunk 'mobilenetv3', did you mean 'mobilenetv2'?", models.features,
      { trunks = { { "mobilenetv3", layers = { 1 } } } })
    fails("option 'layers' is missing", models.features, { trunks = { { "mobilenetv2" } } })
    fails("mobilenetv2: last must be a block from 0 to 16, got 17", models.features,
      { trunks = { { "mobilenetv2", layers = { 17 }, weights = false } } })
    fails("mobilenetv2: last must be a block from 0 to 16, got conv9", models.features,
      { trunks = { { "mobilenetv2", layers = { 1, "conv9" }, weights = false } } })
    fails("needs at least one trunk", models.features, { trunks = {} })
  end)
end)
