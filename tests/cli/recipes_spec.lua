-- SPDX-License-Identifier: MIT
--
-- The training scripts' published recipes, a step or two of each, on drawn pictures.

local la <const> = require "lualign"
local lfs <const> = require "lfs"
local run <const> = require "lib.run"
local tmp <const> = require "lib.tmp"

local function succeeds(...)
  local r <const> = run { ... }
  assert.equal(0, r.status, r.err)
  return r.out, r.err
end

describe("the recipe", function()
  local dir

  setup(function()
    dir = tmp.dir()
    local rows <const> = { "source_image,target_image,category,XA,YA,XB,YB" }
    for k, category in ipairs { "a", "b" } do
      la.io.mkdirs(dir .. "/" .. category)
      for i = 1, 2 do
        local canvas <const> = la.io.canvas(80, 64, { 30 * k, 60 * i, 90 })
        canvas:ellipse(40 + 4 * i, 32, 20, 14, 0.3 * k, { 240, 200, 40 * k }, 1)
        canvas:noise(k + i, 12, 2)
        la.image.save(string.format("%s/%s/%d.png", dir, category, i), canvas:tensor())
      end
      rows[#rows + 1] = string.format("%s/1.png,%s/2.png,%s,24;60,32;40,28;64,32;40", category, category, category)
    end
    tmp.write(dir .. "/pairs.csv", table.concat(rows, "\n") .. "\n")
  end)
  teardown(function() tmp.remove(dir) end)

  it("of the paper trains both stages in two phases, then weakly, by validation", function()
    local strong <const>, weak <const> = dir .. "/strong", dir .. "/weak"
    succeeds("train_strong", "--images", dir .. "/a", "--validate", dir .. "/b", "--recipe", "paper", "--epochs", "1",
      "--batch", "2", "--out", strong)
    for _, stage in ipairs { "affine", "tps" } do
      for phase = 1, 2 do
        local log <const> = tmp.read(string.format("%s/%s/phase%d/log.tsv", strong, stage, phase))
        assert.truthy(log:find("loss %d"), log)
        assert.truthy(log:find(phase == 1 and "\t0.001\t" or "\t0.0002\t", 1, true), log)
      end
    end
    local _, err <const> = succeeds("train_weak", "--recipe", "paper", "--model", strong .. "/model.safetensors",
      "--pairs", dir .. ":pairs.csv", "--validate", dir .. ":pairs.csv", "--batch", "1", "--steps", "2", "--out", weak)
    assert.truthy(err:find("validation at step 2: pck %d"), err)
    assert.truthy(err:find("lr 5.00e-08", 1, true), err)
    assert.truthy(tmp.exists(weak .. "/best.safetensors"))
    la.scope(function() -- everything moved, the trunk too, by about the rate
      local before <const> = la.models.load(strong .. "/model.safetensors")
      local after <const> = la.models.load(weak .. "/model.safetensors")
      for _, name in ipairs { "FeatureExtraction", "FeatureRegression", "FeatureRegression2" } do
        local most = 0
        for k, p in ipairs(before[name]:parameters()) do
          most = math.max(most, la.abs(p - after[name]:parameters()[k]):max():item())
        end
        assert.is_true(most > 0 and most < 1e-6, name .. " moved by " .. most)
      end
    end)
  end)

  it("with negatives needs two categories, and trains on named parameters alone if told to", function()
    local model <const> = dir .. "/small.safetensors"
    la.scope(function() la.models.save(model, la.models.weakalign { backbone = "mobilenetv2" }) end)
    succeeds("train_weak", "--model", model, "--pairs", dir .. ":pairs.csv", "--negatives", "0.1", "--batch", "1",
      "--steps", "1", "--train", "everything", "--finetune", "block15", "--lr", "1e-3", "--out", dir .. "/contrast")
    la.scope(function()
      local before <const>, after <const> = la.models.load(model), la.models.load(dir .. "/contrast/model.safetensors")
      local new <const> = after.FeatureExtraction:named_parameters()
      local moved <const> = { [true] = 0, [false] = 0 }
      for k, entry in ipairs(before.FeatureExtraction:named_parameters()) do
        local named <const> = entry[1]:find("block15", 1, true) ~= nil
        moved[named] = moved[named] + (entry[2]:bytes() ~= new[k][2]:bytes() and 1 or 0)
      end
      assert.equal(0, moved[false])
      assert.is_true(moved[true] > 0)
    end)
    tmp.write(dir .. "/one.csv", "source_image,target_image,category\na/1.png,a/2.png,a\n")
    local r <const> = run {
      "train_weak", "--model", model, "--pairs", dir .. ":one.csv", "--negatives", "0.1", "--out", dir .. "/x",
    }
    assert.equal(1, r.status)
    assert.truthy(r.err:find("negatives need pairs of at least two categories", 1, true), r.err)
  end)

  -- What differs between two models in files: how much parameters of the trunk moved, and running statistics.
  local function moved(before, after)
    local a <const>, b <const> = la.models.load(before).FeatureExtraction, la.models.load(after).FeatureExtraction
    local most <const> = {}
    for kind, of in pairs { weights = a.named_parameters, statistics = a.named_buffers } do
      local new <const> = {}
      for _, entry in ipairs(of(b)) do
        new[entry[1]] = entry[2]
      end
      most[kind] = 0
      for _, entry in ipairs(of(a)) do
        most[kind] = math.max(most[kind], la.abs(entry[2] - new[entry[1]]):max():item())
      end
    end
    return most
  end

  -- Of a trunk with batch norms, which the shipped one no longer has.
  local function save_resnet(path, stages)
    la.scope(function()
      la.seed(7)
      la.models.save(path, la.models.weakalign { backbone = "resnet18", weights = false, stages = stages })
    end)
  end

  it("of cnngeometric renews the trunk's statistics, and no weights; the paper's leaves both", function()
    local start <const> = dir .. "/start.safetensors"
    save_resnet(start, { "homography" })
    for recipe, changes in pairs { cnngeometric = true, paper = false } do
      succeeds("train_strong", "--images", dir .. "/a", "--recipe", recipe, "--epochs", "1", "--batch", "2", "--model",
        start, "--out", dir .. "/" .. recipe)
      local most <const> = la.scope(moved, start, dir .. "/" .. recipe .. "/model.safetensors")
      assert.equal(0, most.weights)
      assert.equal(changes, most.statistics > 0)
      local log <const> = tmp.read(dir .. "/" .. recipe .. "/homography/phase1/log.tsv")
      assert.truthy(log:find("\t0.001\t", 1, true), log)
    end
  end)

  it("takes other layers, splines and losses", function()
    succeeds("train_strong", "--images", dir .. "/a", "--steps", "1", "--batch", "2", "--stages",
      "tps:4:0.1,homography:9", "--layers", "14", "--out", dir .. "/other")
    succeeds("train_strong", "--images", dir .. "/a", "--steps", "1", "--batch", "2", "--stages", "similarity",
      "--loss", "theta", "--out", dir .. "/theta")
    la.scope(function()
      local after <const> = la.models.load(dir .. "/other/model.safetensors")
      assert.same({ { model = "tps", grid = 4, reg = 0.1 }, { model = "homography", outputs = 9 } },
        after.config.stages)
      assert.same({ 14 }, after.config.trunks[1].layers)
    end)
    local r <const> = run { "train_strong", "--images", dir .. "/a", "--stages", "tps:x", "--out", dir .. "/x" }
    assert.equal(1, r.status)
    assert.truthy(r.err:find("'tps:x' must be a name, tps:GRID or tps:GRID:REG", 1, true), r.err)
  end)

  it("takes every option of the count, both ways, and batch norms as told", function()
    local model <const> = dir .. "/all.safetensors"
    save_resnet(model, { "affine", "tps" })
    local function train(name, ...)
      succeeds("train_weak", "--model", model, "--pairs", dir .. ":pairs.csv", "--batch", "2", "--steps", "1",
        "--train", "everything", "--lr", "1e-3", "--out", dir .. "/" .. name, ...)
      return la.scope(function() return moved(model, dir .. "/" .. name .. "/model.safetensors") end)
    end
    local frozen <const> = train("both", "--symmetric", "--cycle", "0.1", "--smooth", "--unnormalized", "--reg", "0.1",
      "--offset", "1", "--freeze-bn")
    assert.equal(0, frozen.statistics)
    assert.is_true(frozen.weights > 0)
    local batch <const> = train("batch", "--negatives", "difference", "--dilation", "8", "--batch-statistics")
    assert.is_true(batch.statistics > 0)
    local r <const> = run {
      "train_weak", "--model", model, "--pairs", dir .. ":pairs.csv", "--negatives", "0.1", "--symmetric", "--out",
      dir .. "/x",
    }
    assert.equal(1, r.status)
    assert.truthy(r.err:find("exclude each other", 1, true), r.err)
    assert.truthy(run({
      "train_weak", "--model", model, "--pairs", dir .. ":pairs.csv", "--negatives", "none", "--out", dir .. "/x",
    }).err:find("--negatives must be a number or difference, got 'none'", 1, true))
  end)

  it("of every variant is short and runs", function()
    local here <const> = debug.getinfo(1, "S").source:match "^@(.*)/tests/cli/[^/]*$"
    local data <const> = {
      ["ncnet.lua"] = { "--pairs", dir .. ":pairs.csv", "--steps", "1", "--batch", "2", "--out", dir .. "/nc" },
      ["soft_argmax.lua"] = { "--images", dir .. "/a", "--steps", "1", "--batch", "2", "--out", dir .. "/sa" },
      ["mutual.lua"] = { "--help" },
    }
    for name in lfs.dir(here .. "/scripts/variants") do
      if name:find "%.lua$" then
        local path <const> = here .. "/scripts/variants/" .. name
        local _, lines <const> = tmp.read(path):gsub("\n", "")
        assert.is_true(lines < 150, name)
        assert.truthy(data[name], name .. " is not tried")
        succeeds(path, table.unpack(data[name]))
      end
    end
    assert.truthy(tmp.exists(dir .. "/nc/last.safetensors") and tmp.exists(dir .. "/sa/last.safetensors"))
  end)
end)
