-- SPDX-License-Identifier: MIT
--
-- PF-WILLOW's 450 pairs with visible keypoints: the figures that two methods without any training must give.

local la <const> = require "lualign"
local shared <const> = require "lib.shared"

local function score(method)
  local list <const> = la.data.keypoints.pf_willow(shared.skip_without "data/pf-willow")
  assert.equal(450, #list)
  local all <const>, categories <const> = la.metrics.summary(la.evaluate.run(list, method()), 3)
  local pairs_ = 0
  for _, c in ipairs(categories) do
    pairs_ = pairs_ + c.pairs
  end
  assert.equal(450, pairs_)
  assert.equal(5, #categories)
  return all
end

describe("PF-WILLOW", function()
  it("copied keypoints", function()
    local all <const> = score(la.evaluate.identity)
    assert.equal("0.084 0.220 0.376", string.format("%.3f %.3f %.3f", all[1], all[2], all[3]))
  end)

  it("nearest neighbours of MobileNetV2's blocks 8, 14, 15", function()
    local all <const> = score(function()
      return la.evaluate.nearest(la.align.default_features(), 240, "antialias")
    end)
    for k, expected in ipairs { 0.331, 0.650, 0.796 } do
      assert.is_true(math.abs(all[k] - expected) <= 0.005,
        string.format("PCK@%.2f is %.4f, expected %.3f", la.evaluate.ALPHAS[k], all[k], expected))
    end
  end)
end)
