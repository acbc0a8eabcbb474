-- SPDX-License-Identifier: MIT

local la <const> = require "lualign"
local cases <const> = require "lib.cases"
local optest <const> = require "lib.optest"
local tmp <const> = require "lib.tmp"
local models <const> = la.models
local fails <const>, scoped <const> = cases.fails, cases.scoped_without_grad

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
    fails("one or more transformations, got none", small, { stages = {} })
    fails("must be affine, similarity, tps or homography, got shear", small, { stages = { "shear" } })
    fails("only a spline has a grid, not affine", small, { stages = { { model = "affine", grid = 4 } } })
    fails("backbone must be", models.weakalign, { backbone = "alexnet" })
    fails("unknown option 'stage', did you mean 'stages'?", models.weakalign, { stage = { "tps" } })
  end)

  scoped("cascades any stages, each on what all before it made of the source", function()
    local net <const> = small { stages = { "tps", "similarity", { model = "tps", grid = 4 }, "homography" } }
    assert.same({ "tps", "similarity", { model = "tps", grid = 4 }, "homography" }, net.config.stages)
    net.FeatureRegression2.linear.bias:copy_(la.tensor { 0.9, 0.2, 0.1, -0.1 })
    local a <const>, b <const> = la.rand(1, 192, 192, 3) * 255, la.rand(1, 192, 192, 3) * 255
    local t <const> = net(a, b)
    assert.same({ 1, 4 }, t.similarity:shape())
    assert.same({ 1, 32 }, t.stages[3].theta:shape())
    assert.same({ 1, 8 }, t.homography:shape())
    local list <const> = t:compose()
    assert.equal(4, #list)
    local before <const> = la.geometry.warp_grid({ list[1], list[2] }, 192, 192)
    local again <const> = net:features((la.grid_sample(a / 127.5 - 1, before) + 1) * 127.5)
    optest.close(t.stages[3].theta, net:regressor(3)(la.correlation(again, t.target_features)), 1e-5)
    assert.equal(#net.FeatureRegression:parameters() * 4, #net:regressor_parameters())
    la.enable_grad(function()
      local trained <const> = net(a, b)
      la.losses.weak(trained.correlation, trained:compose()):backward()
    end)
    for k = 1, 4 do
      assert.truthy(net:regressor(k).linear.bias.grad, k)
    end
    local path <const> = tmp.dir() .. "/cascade.safetensors"
    models.save(path, net)
    local twin <const> = models.load(path)
    optest.close(twin(a, b).homography, t.homography, 1e-6)
  end)

  scoped("takes splines of any grid, with a regulariser", function()
    local spline <const> = { model = "tps", grid = { 2, 4 }, reg = 0.3 }
    local net <const> = small { stages = { spline, { model = "tps", reg = 0.5 }, "affine" } }
    net.FeatureRegression.linear.bias:copy_(net.FeatureRegression.linear.bias + la.randn(16) * 0.1)
    local a <const>, b <const> = la.rand(1, 192, 192, 3) * 255, la.rand(1, 192, 192, 3) * 255
    local t <const> = net(a, b)
    assert.same({ 1, 16 }, t.stages[1].theta:shape())
    local grid <const> = la.tps_grid(t.stages[1].theta, { height = 192, width = 192, grid = { 2, 4 }, reg = 0.3 })
    local again <const> = net:features((la.grid_sample(a / 127.5 - 1, grid) + 1) * 127.5)
    optest.close(t.stages[2].theta, net:regressor(2)(la.correlation(again, t.target_features)), 1e-5)
    optest.close(la.geometry.warp_grid(t, 5, 7), la.geometry.warp_grid({
      { model = "tps", theta = t.stages[1].theta, grid = { 2, 4 }, reg = 0.3 },
      { model = "tps", theta = t.stages[2].theta, reg = 0.5 }, { model = "affine", theta = t.affine },
    }, 5, 7), 0)
    assert.same({ 2, 4 }, la.geometry.plain_stages(t:compose())[1].grid)
    assert.equal(0.3, la.geometry.plain_stages(t:compose())[1].reg)
    assert.truthy(tostring(net):find "tps 2 x 4", tostring(net))
    local path <const> = tmp.dir() .. "/splines.safetensors"
    models.save(path, net)
    optest.close(la.geometry.warp_grid(models.load(path)(a, b), 5, 7), la.geometry.warp_grid(t, 5, 7), 1e-6)
    fails("only a spline has a reg, not affine", small, { stages = { { model = "affine", reg = 0.1 } } })
    fails("grid must be a number, at least 2, or { rows, columns }, got { 1, 4 }", small,
      { stages = { { model = "tps", grid = { 1, 4 } } } })
    fails("got 2.5", small, { stages = { { model = "tps", grid = 2.5 } } })
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
