-- SPDX-License-Identifier: MIT

local la <const> = require "lualign"
local optest <const> = require "lib.optest"
local shared <const> = require "lib.shared"
local tmp <const> = require "lib.tmp"
local models <const> = la.models

local function scoped(name, body)
  it(name, function() la.scope(la.no_grad, body) end)
end

local function fails(message, fn, ...)
  local ok <const>, got <const> = pcall(fn, ...)
  assert.is_false(ok)
  assert.truthy(tostring(got):find(message, 1, true), string.format("'%s' is not in '%s'", message, tostring(got)))
end

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
      maps[k] = la.resize(la.l2_normalize(map), { height = 6, width = 5, mode = "half_pixel" })
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
    fails("mobilenetv2: has no layer conv9", models.features,
      { trunks = { { "mobilenetv2", layers = { 1, "conv9" }, weights = false } } })
    fails("needs at least one trunk", models.features, { trunks = {} })
  end)
end)

-- ---- the networks ----

-- A small, random network: features from early blocks on a grid of 12 x 12.
local function small(given)
  local o <const> = { backbone = { { "mobilenetv2", layers = { 1, 3 }, weights = false } }, size = 192 }
  for name, value in pairs(given or {}) do
    o[name] = value
  end
  return models.weakalign(o):eval()
end

describe("the regressor", function()
  scoped("has the authors' names, shapes and counts", function()
    local net <const> = models.regressor {}
    assert.equal(1626182, net:parameter_count())
    assert.equal(1645394, models.regressor { model = "tps" }:parameter_count())
    local shapes <const> = {}
    for i, entry in ipairs(net:state_dict()) do
      shapes[i] = entry[1] .. " " .. table.concat(entry[2]:shape(), "x")
    end
    assert.same({
      "conv.0.weight 128x7x7x225", "conv.0.bias 128", "conv.1.weight 128", "conv.1.bias 128", "conv.1.running_mean 128",
      "conv.1.running_var 128", "conv.3.weight 64x5x5x128", "conv.3.bias 64", "conv.4.weight 64", "conv.4.bias 64",
      "conv.4.running_mean 64", "conv.4.running_var 64", "linear.weight 6x1600", "linear.bias 6",
    }, shapes)
  end)

  scoped("starts at the identity, or as in the papers", function()
    local s <const> = la.l2_normalize(la.rand(2, 15, 15, 225))
    for model, theta in pairs {
      affine = { 1, 0, 0, 0, 1, 0 }, tps = la.geometry.identity_theta "tps",
      homography = { -1, -1, 1, 1, -1, 1, -1, 1 },
    } do
      local got <const> = models.regressor { model = model }:eval()(s)
      assert.is_true((got - la.tensor(theta)):abs():max():item() < 0.02)
    end
    assert.is_true(models.regressor { identity = false }:eval()(s):abs():max():item() < 0.3)
    assert.same({ 2, 9 }, models.regressor { model = "homography", outputs = 9 }(s):shape())
    assert.same({ 2, 32 }, models.regressor { model = "tps", tps_grid = 4 }(s):shape())
  end)

  scoped("takes other grids", function()
    local net <const> = models.regressor { grid = { 11, 13 }, channels = 50 }
    assert.same({ 2, 6 }, net(la.rand(2, 11, 13, 50)):shape())
    fails("must be (N, 11, 13, 50), got (2, 13, 11, 50)", net, la.rand(2, 13, 11, 50))
    fails("grid must be more than 10 x 10 cells, got 10 x 15", models.regressor, { grid = { 10, 15 } })
    fails("affine has 6 parameters, got outputs 5", models.regressor, { outputs = 5 })
  end)
end)

describe("weakalign", function()
  scoped("answers with all stages, the second on the warped source", function()
    local net <const> = small()
    -- away from the identity, so that order and direction show
    net.FeatureRegression.linear.bias:copy_(la.tensor { 0.9, 0.2, 0.1, -0.1, 1.1, -0.2 })
    local a <const>, b <const> = la.rand(2, 192, 192, 3) * 255, la.rand(2, 192, 192, 3) * 255
    local t <const> = net(a, b)
    assert.same({ 2, 6 }, t.affine:shape())
    assert.same({ 2, 18 }, t.tps:shape())
    assert.same({ 2, 12, 12, 144 }, t.correlation:shape())
    local fa <const>, fb <const> = net:features(a), net:features(b)
    optest.close(t.source_features, fa, 1e-6)
    optest.close(t.correlation, la.correlation(fa, fb), 1e-6)
    optest.close(net:correlate(a, b), t.correlation, 1e-6)
    optest.close(t.affine, net:regressor "affine"(t.correlation), 1e-6)
    -- the trunk's own range, zeros outside
    local grid <const> = la.affine_grid(t.affine, { height = 192, width = 192 })
    local warped <const> = la.grid_sample(a / 127.5 - 1, grid)
    local again <const> = net:features((warped + 1) * 127.5)
    optest.close(t.tps, net:regressor "tps"(la.correlation(again, fb)), 1e-5)
    local stages <const> = t:compose()
    assert.is_true(stages.affine:same(t.affine) and stages.tps:same(t.tps))
    assert.is_nil(stages.correlation)
    assert.same({ 2, 5, 7, 2 }, la.geometry.warp_grid(stages, 5, 7):shape())
  end)

  scoped("has one stage or two", function()
    local net <const> = small { stages = { "tps" } }
    local t <const> = net(la.rand(1, 192, 192, 3), la.rand(1, 192, 192, 3))
    assert.same({ 1, 18 }, t.tps:shape())
    assert.is_nil(t.affine)
    assert.is_nil(net.FeatureRegression2)
    fails("has no stage 'affine', but tps", net.regressor, net, "affine")
    fails("one or two transformations, got 3", small, { stages = { "affine", "tps", "homography" } })
    fails("backbone must be", models.weakalign, { backbone = "alexnet" })
    fails("unknown option 'stage', did you mean 'stages'?", models.weakalign, { stage = { "tps" } })
  end)

  it("trains the regressors, the first also through the warp, and leaves the trunk", function()
    la.scope(function()
      local net <const> = small()
      local t = net(la.rand(1, 192, 192, 3) * 255, la.rand(1, 192, 192, 3) * 255)
      t.tps:sum():backward()
      assert.truthy(net.FeatureRegression.linear.weight.grad)
      assert.truthy(net.FeatureRegression2.linear.weight.grad)
      assert.is_nil(net.FeatureExtraction:parameters()[1].grad)
      assert.equal(#net.FeatureRegression:parameters() * 2, #net:regressor_parameters())
      net:zero_grad()
      net.through_warp = false
      t = net(la.rand(1, 192, 192, 3) * 255, la.rand(1, 192, 192, 3) * 255)
      t.tps:sum():backward()
      assert.is_nil(net.FeatureRegression.linear.weight.grad)
      net:requires_grad_(true)
      net(la.rand(1, 192, 192, 3) * 255, la.rand(1, 192, 192, 3) * 255).affine:sum():backward()
      assert.truthy(net.FeatureExtraction:parameters()[1].grad)
    end)
  end)

  scoped("knows where its cells lie", function()
    assert.equal((192 - 1) / (192 - 16), small().config.offset)
    local vgg <const> = models.weakalign { backbone = "vgg16", weights = false, stages = { "affine" } }
    assert.equal(227 / 210, vgg.config.offset)
    assert.equal(1.5, small { offset = 1.5 }.config.offset)
  end)
end)

describe("the authors' files", function()
  -- A state as theirs, of VGG: S*, weights and answer of the golden numbers for the regressor.
  local function theirs()
    local dict <const> = {}
    local function add(name, shape, f)
      local n, parts <const> = 1, {}
      for _, size in ipairs(shape) do
        n = n * size
      end
      for i = 0, n - 1 do
        parts[i + 1] = string.pack("<f", f(i))
      end
      dict[name] = la.from_bytes(table.concat(parts), "float32", shape)
    end
    local function weight(i) return 0.05 * math.sin(0.1 * i) end
    local function bias(i) return 0.1 * math.sin(i) end
    local inputs = 3
    for k, index in ipairs { 0, 2, 5, 7, 10, 12, 14, 17, 19, 21 } do
      local outputs <const> = ({ 64, 64, 128, 128, 256, 256, 256, 512, 512, 512 })[k]
      local name <const> = "FeatureExtraction.vgg." .. index
      dict[name .. ".weight"], dict[name .. ".bias"] = la.rand(outputs, inputs, 3, 3), la.rand(outputs)
      inputs = outputs
    end
    local p <const> = "FeatureRegression."
    add(p .. "conv.0.weight", { 128, 225, 7, 7 }, weight)
    add(p .. "conv.3.weight", { 64, 128, 5, 5 }, weight)
    add(p .. "linear.weight", { 6, 1600 }, weight)
    for name, n in pairs { ["conv.0"] = 128, ["conv.3"] = 64, linear = 6 } do
      add(p .. name .. ".bias", { n }, bias)
    end
    for name, n in pairs { ["conv.1"] = 128, ["conv.4"] = 64 } do
      add(p .. name .. ".weight", { n }, function(i) return 1 + 0.1 * math.sin(i) end)
      add(p .. name .. ".bias", { n }, function(i) return 0.1 * math.cos(i) end)
      add(p .. name .. ".running_mean", { n }, function(i) return 0.05 * math.sin(2 * i) end)
      add(p .. name .. ".running_var", { n }, function(i) return 1 + 0.5 * math.sin(3 * i) ^ 2 end)
      dict[p .. name .. ".num_batches_tracked"] = la.zeros({ 1 }, { dtype = "int32" })
    end
    return dict
  end

  -- Channel k of target cell (r, c) is the source cell in row k % 15, column k // 15.
  local function correlation()
    local parts <const> = {}
    for cell = 0, 224 do
      for k = 0, 224 do
        parts[#parts + 1] = string.pack("<f", math.max(0, math.sin(0.37 * (225 * k + cell)) + 0.2))
      end
    end
    return la.l2_normalize(la.from_bytes(table.concat(parts), "float32", { 1, 15, 15, 225 }))
  end

  scoped("load unchanged, and give the golden answer", function()
    local net <const> = models.weakalign { backbone = "vgg16", stages = { "affine" }, weights = false }:eval()
    local dict <const> = theirs()
    net:load_state_dict(models.from_authors(dict))
    optest.close(net.FeatureRegression(correlation()),
      { { 0.080533, 0.049518, 0.077967, 0.074035, -0.179643, 0.047042 } }, 1e-5)
    optest.close(net.FeatureExtraction.vgg16.layers["2"].weight,
      dict["FeatureExtraction.vgg.2.weight"]:permute { 1, 3, 4, 2 }, 0)
  end)

  scoped("of a spline alone become the second stage", function()
    local dict <const> = models.from_authors({
      ["FeatureRegression.linear.bias"] = la.ones(18), ["FeatureRegression.conv.0.weight"] = la.ones(2, 3, 7, 7),
      ["FeatureRegression.conv.1.num_batches_tracked"] = la.ones(1), ["FeatureExtraction.model.0.weight"] = la.ones(1),
    }, { second = true })
    assert.same({ 18 }, dict["FeatureRegression2.linear.bias"]:shape())
    assert.same({ 2, 7, 7, 3 }, dict["FeatureRegression2.conv.0.weight"]:shape())
    local count = 0
    for _ in pairs(dict) do
      count = count + 1
    end
    assert.equal(2, count)
  end)

  scoped("of ResNet-101 have all names of ours", function()
    local net <const> = models.weakalign { backbone = "resnet101", weights = false }
    local dict <const>, back <const> = {}, { conv1 = 0, bn1 = 1, layer1 = 4, layer2 = 5, layer3 = 6 }
    for _, entry in ipairs(net:state_dict()) do
      local name <const> = entry[1]:gsub("^FeatureExtraction%.resnet101%.(%w+)", function(part)
        return "FeatureExtraction.model." .. back[part]
      end)
      dict[name] = entry[2]:dim() == 4 and entry[2]:permute { 1, 4, 2, 3 } or entry[2]
    end
    assert.same({ 64, 3, 7, 7 }, dict["FeatureExtraction.model.0.weight"]:shape())
    assert.truthy(dict["FeatureExtraction.model.6.22.bn3.running_var"])
    net:load_state_dict(models.from_authors(dict))
  end)
end)

-- ---- files ----

describe("a model in a file", function()
  local function same_state(a, b)
    local theirs <const> = b:state_dict()
    assert.equal(#theirs, #a:state_dict())
    for i, entry in ipairs(a:state_dict()) do
      assert.equal(theirs[i][1], entry[1])
      assert.equal(theirs[i][2]:bytes(), entry[2]:bytes(), entry[1])
    end
  end

  scoped("is built again and has the same state", function()
    local dir <const> = tmp.dir()
    local net <const> = small { stages = { "homography", "tps" }, offset = 1.25 }
    models.save(dir .. "/m.safetensors", net, { metadata = { note = "kept" } })
    local again <const> = models.load(dir .. "/m.safetensors")
    same_state(net, again)
    assert.equal(tostring(net), tostring(again))
    assert.equal(1.25, again.config.offset)
    assert.is_false(again.training)
    local _, metadata <const> = la.io.load_safetensors(dir .. "/m.safetensors")
    assert.equal("kept", metadata.note)
    local features <const> = models.features {
      trunks = { { "mobilenetv2", layers = { 2, 14 }, weights = false, dilated = true } }, grid = { 4, 5 },
    }
    models.save(dir .. "/f.safetensors", features)
    same_state(features, models.load(dir .. "/f.safetensors"))
    assert.same({ 1, 4, 5, 184 }, models.load(dir .. "/f.safetensors")(la.rand(1, 64, 64, 3)):shape())
    tmp.remove(dir)
  end)

  scoped("may leave out a trunk that is in a file of its own", function()
    local dir <const> = tmp.dir()
    local net <const> = models.weakalign { layers = { 3 }, stages = { "affine" } }
    models.save(dir .. "/whole.safetensors", net)
    models.save(dir .. "/small.safetensors", net, { trunks = false })
    same_state(net, models.load(dir .. "/small.safetensors"))
    assert.is_true(#tmp.read(dir .. "/small.safetensors") < #tmp.read(dir .. "/whole.safetensors"))
    -- not if it was trained
    net.FeatureExtraction.mobilenetv2.conv.bias:add_(1)
    fails("the trunk mobilenetv2 is not that of", models.save, dir .. "/x.safetensors", net, { trunks = false })
    assert.is_false(tmp.exists(dir .. "/x.safetensors"))
    tmp.remove(dir)
  end)

  scoped("that is none is refused", function()
    local dir <const> = tmp.dir()
    local path <const> = dir .. "/x.safetensors"
    la.io.save_safetensors(path, { { "a", la.ones(1) } }, {})
    fails("x.safetensors' holds no model of lualign", models.load, path)
    la.io.save_safetensors(path, { { "a", la.ones(1) } }, { format = "lualign", config = '{"kind":"os.execute"}' })
    fails("a model of an unknown kind, 'os.execute'", models.load, path)
    models.save(path, small { stages = { "affine" } })
    local dict <const>, metadata <const> = la.io.load_safetensors(path)
    dict["FeatureRegression.linear.bias"] = nil
    local list <const> = {}
    for name, t in pairs(dict) do
      list[#list + 1] = { name, t }
    end
    la.io.save_safetensors(path, list, metadata)
    fails("missing: FeatureRegression.linear.bias", models.load, path)
    fails("save: Linear has no config", models.save, path, la.nn.Linear { 1, 1 })
    tmp.remove(dir)
  end)
end)
