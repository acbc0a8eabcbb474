-- SPDX-License-Identifier: MIT
--
-- la.models.finetune: which parameters of a trunk train, also as the authors' code has it.

local la <const> = require "lualign"
local scoped <const> = require("lib.cases").scoped

-- The names of the trunk's parameters that train, in the trunk's own names.
local function trained(model)
  local set <const> = {}
  for _, entry in ipairs(model.FeatureExtraction:named_parameters()) do
    set[entry[1]] = entry[2].requires_grad or nil
  end
  return set
end

local function count(set)
  local n = 0
  for _ in pairs(set) do
    n = n + 1
  end
  return n
end

-- 3 + 4 + 23 blocks of three convolutions and batch norms, a shortcut in each layer, and the first of both
local CONVOLUTIONS <const>, NORMS <const> = 30 * 3 + 3 + 1, 2 * (30 * 3 + 3 + 1)

describe("finetune", function()
  local net
  setup(function()
    net = la.models.weakalign { backbone = "resnet101", weights = false, stages = { "affine" } }
  end)

  scoped("trains everything, or what is named", function()
    local some <const>, all <const> = la.models.finetune(net)
    assert.same({ CONVOLUTIONS + NORMS, CONVOLUTIONS + NORMS }, { some, all })
    assert.equal(3 * 3, (la.models.finetune(net, { names = { "layer3.22." } })))
    assert.is_true(trained(net)["resnet101.layer3.22.bn3.bias"])
    assert.is_nil(trained(net)["resnet101.layer3.2.bn3.bias"])
    assert.equal(0, (la.models.finetune(net, { names = {} })))
    local ok <const>, message <const> = pcall(la.models.finetune, net, { names = { "layer4" } })
    assert.is_false(ok)
    assert.truthy(message:find("no parameter of the trunk has layer4 in its name; there is 'resnet101.conv1.weight'", 1,
      true), message)
    for _, p in ipairs(net.FeatureRegression:parameters()) do -- not its affair
      assert.is_true(p.requires_grad)
    end
  end)

  scoped("leaves batch norms out, all of them", function()
    assert.equal(CONVOLUTIONS, (la.models.finetune(net, { batch_norm = false })))
    local set <const> = trained(net)
    for _, name in ipairs { "bn1.weight", "layer1.0.downsample.1.weight", "layer2.1.bn2.bias" } do
      assert.is_nil(set["resnet101." .. name], name)
    end
    assert.is_true(set["resnet101.layer1.0.downsample.0.weight"])
  end)

  scoped("leaves out what the authors' code takes for one, by its own names", function()
    -- the first batch norm and three shortcuts' train on: two parameters each
    assert.equal(CONVOLUTIONS + 2 * 4, (la.models.finetune(net, { batch_norm = false, authors = true })))
    local set <const> = trained(net)
    assert.is_true(set["resnet101.bn1.weight"] and set["resnet101.layer1.0.downsample.1.weight"])
    assert.is_nil(set["resnet101.layer2.1.bn2.bias"])
    assert.equal(3 * 3, (la.models.finetune(net, { names = { "6.22." }, authors = true })))
    assert.is_true(trained(net)["resnet101.layer3.22.conv1.weight"])
    assert.equal(CONVOLUTIONS + NORMS, count((function()
      la.models.finetune(net, { authors = true })
      return trained(net)
    end)()))
  end)

  scoped("knows the authors' names of their own trunks alone", function()
    local other <const> = la.models.weakalign { backbone = "mobilenetv2", weights = false, stages = { "affine" } }
    local ok <const>, message <const> = pcall(la.models.finetune, other, { authors = true })
    assert.is_false(ok)
    assert.truthy(message:find("is of a trunk that the authors' models do not have", 1, true), message)
    assert.is_true(la.models.finetune(other, { batch_norm = false }) > 0)
  end)
end)
