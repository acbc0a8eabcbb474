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
