-- SPDX-License-Identifier: MIT

local la <const> = require "lualign"
local cases <const> = require "lib.cases"

local metrics <const> = la.metrics
local fails <const> = cases.fails

local function near(expected, got)
  assert.is_true(math.abs(expected - got) < 1e-12, got .. ", expected " .. expected)
end

describe("metrics.box_side", function()
  it("is the longer side of the box", function()
    assert.equal(30, metrics.box_side { { 10, 5 }, { 40, 7 }, { 20, 25 } })
    assert.equal(31, metrics.box_side { { 10, -5 }, { 40, 7 }, { 20, 26 } })
    assert.equal(0, metrics.box_side { { 3, 4 } })
  end)
end)

describe("metrics.pck", function()
  local truth <const> = { { 10, 10 }, { 20, 10 }, { 20, 30 }, { 10, 30 } }

  it("counts points at the threshold, and not those beyond it", function()
    -- threshold 0.25 * 20 = 5, exact in binary; distances 5 (a 3-4-5 triangle), 5, above 5, 0
    local found <const> = { { 13, 14 }, { 25, 10 }, { 20, 30 + 5 + 2 ^ -40 }, { 10, 30 } }
    assert.equal(0.75, metrics.pck(found, truth, 0.25, 20))
    assert.equal(0.25, metrics.pck(found, truth, 0, 20))
    assert.equal(1, metrics.pck(found, truth, 0.5, 20))
  end)

  it("measures the distance in the plane, not along the axes", function()
    assert.equal(0, metrics.pck({ { 4, 4 } }, { { 0, 0 } }, 1, 5))
    assert.equal(1, metrics.pck({ { -3, 4 } }, { { 0, 0 } }, 1, 5))
  end)

  it("takes the box of the true points as reference", function()
    -- side 20, so thresholds 1, 2, 3, all exact enough to be away from the distances
    local found <const> = { { 10.5, 10 }, { 20, 11.5 }, { 22.5, 30 }, { 10, 26.5 } }
    assert.same({ 0.25, 0.5, 0.75 }, metrics.pck_at(found, truth, { 0.05, 0.1, 0.15 }))
    assert.same({ 1, 1, 1 }, metrics.pck_at(truth, truth, { 0.05, 0.1, 0.15 }))
  end)

  it("never counts NaN as right", function()
    assert.equal(0.75, metrics.pck({ { 0 / 0, 10 }, truth[2], truth[3], truth[4] }, truth, 1e9, 20))
  end)

  it("needs as many points as there are, and some", function()
    fails("got 3 and 4", metrics.pck, { { 1, 1 }, { 1, 1 }, { 1, 1 } }, truth, 0.1, 20)
    fails("got 0 and 0", metrics.pck, {}, {}, 0.1, 20)
  end)
end)

describe("metrics.summary", function()
  it("averages over pairs, not over categories", function()
    local all <const>, categories <const> = metrics.summary({
      { category = "duck", pck = { 0.5, 1 } }, { category = "car", pck = { 0, 0.25 } },
      { category = "duck", pck = { 1, 1 } }, { category = "duck", pck = { 0, 0.25 } },
    }, 2)
    near(1.5 / 4, all[1])
    near(2.5 / 4, all[2])
    assert.equal(2, #categories)
    assert.same({ category = "car", pairs = 1, pck = { 0, 0.25 } }, categories[1])
    assert.equal("duck", categories[2].category)
    assert.equal(3, categories[2].pairs)
    near(0.5, categories[2].pck[1])
    near(0.75, categories[2].pck[2])
  end)

  it("of nothing is nothing", function()
    local all <const>, categories <const> = metrics.summary({}, 3)
    assert.same({ 0, 0, 0 }, all)
    assert.same({}, categories)
  end)
end)
