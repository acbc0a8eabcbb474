-- SPDX-License-Identifier: MIT
--
-- Means and tables of scores.

local la <const> = require "lualign"
local tmp <const> = require "lib.tmp"

local report <const> = la.metrics.report

local function row(category, points, ...)
  return { source = "a", target = "b", category = category, points = points, pck = { ... } }
end

local ROWS <const> = {
  row("duck", 4, 0.5, 1), row("car", 1, 0, 1), row("duck", 0, 0 / 0, 0 / 0), row("duck", 12, 1, 0.75),
}
local ALPHAS <const> = { 0.1, 0.125 }

local function near(expected, got)
  assert.is_true(math.abs(expected - got) < 1e-12, got .. ", expected " .. expected)
end

describe("a summary", function()
  it("is the mean of pairs, or of points; pairs without points do not count", function()
    local columns <const> = report.columns(ROWS[1], ALPHAS)
    local s <const> = report.summary({ name = "m", rows = ROWS }, columns)
    near(1.5 / 3, s.all["PCK@0.10"])
    near(2.75 / 3, s.all["PCK@0.125"])
    near((0 + 0.75) / 2, s.classes["PCK@0.10"])
    assert.equal(4, s.pairs)
    assert.equal("car", s.categories[1].category)
    assert.equal(3, s.categories[2].pairs)
    near(0.75, s.categories[2]["PCK@0.10"])
    local p <const> = report.summary({ name = "m", rows = ROWS }, columns, "point")
    near((2 + 0 + 12) / 17, p.all["PCK@0.10"])
    near((4 + 1 + 9) / 17, p.all["PCK@0.125"])
    near(14 / 16, p.categories[2]["PCK@0.10"])
    near((0 + 14 / 16) / 2, p.classes["PCK@0.10"])
  end)

  it("of a method with two stages is two", function()
    local rows <const> = { row("duck", 2, 1), row("car", 2, 0.5) }
    for k, r in ipairs(rows) do
      r.models, r.first = { "affine", "tps" }, { pck = { 0.25 * k }, points = 2 }
    end
    local entries <const> = report.entries("weak", rows)
    assert.same({ "weak, affine", "weak, affine+tps" }, { entries[1].name, entries[2].name })
    local columns <const> = report.columns(rows[1], { 0.1 })
    near(0.375, report.summary(entries[1], columns).all["PCK@0.10"])
    near(0.5, report.summary(entries[1], columns, "point").categories[1]["PCK@0.10"])
    near(0.75, report.summary(entries[2], columns).all["PCK@0.10"])
    assert.equal("identity", report.entries("identity", ROWS)[1].name)
  end)
end)

describe("a table", function()
  local columns <const> = report.columns(ROWS[1], ALPHAS)
  local summaries <const> = { report.summary({ name = "plain", rows = ROWS }, columns) }
  summaries[2] = report.summary({
    name = 'b, "2"', rows = { row("car", 0, 0 / 0, 0 / 0), row("duck", 1, 1, 1) },
  }, columns)

  it("has a line for each method, a column for each class, and the means", function()
    assert.equal([[
PCK@0.10    car   duck  classes    all
plain     0.000  0.750    0.375  0.500
b, "2"        -  1.000    1.000  1.000

PCK@0.125    car   duck  classes    all
plain      1.000  0.875    0.938  0.917
b, "2"         -  1.000    1.000  1.000

method  PCK@0.10  PCK@0.125
plain      0.500      0.917
b, "2"     1.000      1.000]], report.text(summaries, columns))
  end)

  it("is broken where lines are too long", function()
    assert.equal([[
PCK@0.10    car
plain     0.000
b, "2"        -

PCK@0.10   duck
plain     0.750
b, "2"    1.000

PCK@0.10  classes
plain       0.375
b, "2"      1.000

PCK@0.10    all
plain     0.500
b, "2"    1.000]], report.by_class(summaries, "PCK@0.10", 8))
    for line in report.by_class(summaries, "PCK@0.10", 30):gmatch "[^\n]+" do
      assert.is_true(#line <= 30, line)
    end
  end)

  it("has one block where there is one class or one score", function()
    local one <const> = { report.summary({ name = "m", rows = { row("duck", 1, 1, 0.5) } }, columns) }
    assert.equal("method  PCK@0.10  PCK@0.125\nm          1.000      0.500", report.text(one, columns))
    assert.equal("PCK@0.10    car   duck  classes    all\nplain     0.000  0.750    0.375  0.500",
      report.text({ summaries[1] }, { columns[1] }))
  end)

  it("is CSV, too, quoted where it must be and empty where there is no number", function()
    local path <const> = os.tmpname()
    la.io.write_file(path, report.csv(summaries, columns))
    local rows <const> = la.io.read_csv(path)
    os.remove(path)
    assert.equal(8, #rows)
    assert.same({ "plain", "car", "1", "0", "1" },
      { rows[1].method, rows[1].category, rows[1].pairs, rows[1]["PCK@0.10"], rows[1]["PCK@0.125"] })
    assert.equal("mean of classes", rows[3].category)
    assert.equal("0.916666667", rows[4]["PCK@0.125"])
    assert.equal('b, "2"', rows[5].method)
    assert.equal("", rows[5]["PCK@0.10"])
    assert.equal("2", rows[8].pairs)
  end)
end)

describe("a made-up TSS", function()
  it("has flows that bring each image to the other", function()
    local dir <const> = tmp.dir()
    local ok <const>, why <const> = pcall(la.scope, function()
      la.data.figures.write_tss(dir, { pairs = 2, size = 48, seed = 7 })
      local list <const> = la.data.benchmarks.tss(dir)
      assert.equal(12, #list)
      for _, pair in ipairs(list) do
        local source <const> = la.image.load(pair.source, { flip = pair.flip }):astype "float32"
        local target <const> = la.image.load(pair.target):astype "float32"
        local flow <const> = la.io.load_flo(pair.truth)
        local h <const>, w <const> = target:size(1), target:size(2)
        assert.same({ w, h }, pair.target_size)
        local x <const> = la.arange(0, w):reshape(1, w, 1):expand(h, w, 1)
        local y <const> = la.arange(0, h):reshape(h, 1, 1):expand(h, w, 1)
        local last <const> = la.tensor { pair.source_size[1] - 1, pair.source_size[2] - 1 }
        local grid <const> = (flow + la.cat({ x, y }, 3)) / last * 2 - 1
        local off <const> = la.abs(la.grid_sample(source:unsqueeze(1), grid:unsqueeze(1)):squeeze(1) - target)
        local inside <const> = la.lt(la.max(la.abs(flow), -1), 1e9):astype "float32" * la.gt(
          la.image.load(pair.mask):select(3, 1):astype "float32", 127):astype "float32"
        local count <const> = inside:sum():item()
        assert.is_true(count > 100, pair.mask)
        local mean <const> = (off * inside:unsqueeze(3)):sum():item() / count / 3
        local plain <const> = (la.abs(la.resize(source:unsqueeze(1), { height = h, width = w, mode = "aligned" })
          :squeeze(1) - target) * inside:unsqueeze(3)):sum():item() / count / 3
        -- image 2 is image 1 sampled once; the way back samples twice
        assert.is_true(mean < (pair.direction == "2" and 1 or 12) and mean < plain / 2,
          string.format("%s: off by %.2f, without flow by %.2f", pair.truth, mean, plain))
      end
    end)
    tmp.remove(dir)
    assert(ok, why)
  end)

  it("needs a size and pairs", function()
    assert.has_error(function() la.data.figures.write_tss("nowhere", { size = 4 }) end)
    assert.has_error(function() la.data.figures.write_tss("nowhere", { pair = 1 }) end)
  end)
end)
