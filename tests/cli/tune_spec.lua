-- SPDX-License-Identifier: MIT
--
-- lualign tune: what it finds goes on record and is obeyed; what is wrong never is.

local la <const> = require "lualign"
local optest <const> = require "lib.optest"
local run <const> = require "lib.run"
local tmp <const> = require "lib.tmp"
local tune <const> = require "lualign.bench.tune"

local function find(list, pass, shape)
  for _, c in ipairs(list) do
    if c.pass == pass and (not shape or c.shape == shape) then
      return c
    end
  end
  return nil
end

describe("what ops ask the record", function()
  after_each(function() la.device.forget_choices() end)

  it("says pass and shape, of both gradients too", function()
    local x <const>, w <const> = la.randn(2, 9, 7, 6), la.randn(4, 3, 3, 6)
    local asked <const> = tune.shapes(function()
      x:requires_grad_(true)
      w:requires_grad_(true)
      local y <const> = la.conv2d(x, w, nil, { stride = 2, padding = { 1, 0, 2, 1 } })
      y:backward(la.ones(y:shape()))
      la.matmul(la.randn(3, 4, 5), la.randn(3, 6, 5), { tb = true })
    end)
    local shape <const> = "2x9x7x6 4x3x3 4x4 s2,2 p1,2 d1,1 g1"
    for _, pass in ipairs { "forward", "data", "weight" } do
      assert.truthy(find(asked, "conv2d." .. pass, shape), pass)
    end
    assert.truthy(find(asked, "gemm", "3 4x6x5 nt"))
    assert.equal(0, #la.device.choices())
  end)

  it("passes errors on", function()
    assert.has_error(function() la.device.asked_choices(function() error("stop", 0) end) end, "stop")
  end)
end)

describe("a choice on record", function()
  after_each(function() la.device.forget_choices() end)

  it("is obeyed, and changes no result by more than rounding", function()
    local x <const>, w <const> = la.randn(2, 15, 13, 20), la.randn(24, 3, 3, 20)
    local function call()
      return la.conv2d(x, w, nil, { padding = 1 })
    end
    local expected <const> = la.conv2d(x, w, nil, { padding = 1, method = "plain" })
    local asked <const> = tune.shapes(call)[1]
    for _, method in ipairs { "plain", "cpu", "cpu8x48", "winograd4", "clblast", "no such method" } do
      la.device.set_choice(asked.pass, asked.shape, method, 1)
      optest.close(call(), expected, 1e-4, method)
    end
    la.device.set_choice(asked.pass, asked.shape, "plain", 1)
    assert.equal(expected:bytes(), call():bytes()) -- the plain kernels, whatever would be taken without a record
  end)
end)

describe("tune", function()
  after_each(function() la.device.forget_choices() end)

  local SHAPES <const> = {
    { "conv2d.forward", "2x9x7x6 4x3x3 4x4 s2,2 p1,2 d1,1 g1" },
    { "conv2d.data", "1x8x9x16 8x3x3 8x9 s1,1 p1,1 d1,1 g1" },
    { "conv2d.weight", "2x7x7x8 8x5x5 3x3 s1,1 p0,0 d1,1 g2" },
    { "conv2d.forward", "1x9x9x8 8x3x3 9x9 s1,1 p2,2 d2,2 g8" },
    { "gemm", "1 17x33x65 tn" }, { "gemm", "3 7x9x11 nt one a" }, { "gemm", "2 5x6x7 tt one b" },
  }

  it("makes of a shape the very call that asked for it", function()
    for _, s in ipairs(SHAPES) do
      local problem <const> = tune.problem { pass = s[1], shape = s[2] }
      local asked <const> = tune.shapes(function() problem.result "auto" end)
      assert.truthy(find(asked, s[1], s[2]), s[2])
      assert.truthy(problem.flops > 0)
    end
    assert.is_nil(tune.problem { pass = "conv2d.forward", shape = "nonsense" })
    assert.is_nil(tune.problem { pass = "of another version", shape = "1" })
  end)

  it("measures each and finds all methods right", function()
    local shapes <const> = {}
    for i, s in ipairs(SHAPES) do
      shapes[i] = { pass = s[1], shape = s[2] }
    end
    local ticks, saves = 0, 0
    local r <const> = tune.run {
      shapes = shapes, seconds = 60, tick = function() ticks = ticks + 1 end, save = function() saves = saves + 1 end,
    }
    assert.same({ #SHAPES, #SHAPES, #SHAPES }, { #r.rows, ticks, saves })
    for _, row in ipairs(r.rows) do
      assert.is_nil(row.wrong)
      assert.truthy(row.ms > 0 and row.default_ms > 0 and row.gain >= 1)
      local c <const> = find(la.device.choices(), row.pass, row.shape)
      assert.equal(row.method ~= "auto" and row.method or nil, c and c.method)
    end
  end)

  -- A problem whose methods return what they are told to.
  local function problem_of(results, times)
    local function sample(method)
      return { sample = function() return times[method] end }
    end
    local names <const> = {}
    for name in pairs(results) do
      names[#names + 1] = name
    end
    table.sort(names)
    return {
      pass = "some.pass", shape = "1x1", flops = 1, methods = names, contender = sample,
      result = function(method) return results[method] or error(method .. " does not apply") end,
    }
  end

  it("refuses a method that is wrong, however fast", function()
    local right <const> = la.tensor { 1, 2, 3 }
    local row <const> = tune.measure(problem_of({
      auto = right, plain = right, cpu = la.tensor { 1, 2, 3.01 }, gpu = la.tensor { 1, 0 / 0, 3 },
      winograd4 = la.tensor { 1, 2.00001, 3 }, clblast = false,
    }, { auto = 1, plain = 1.2, cpu = 0.1, gpu = 0.1, winograd4 = 0.5 }))
    assert.equal("winograd4", row.method)
    assert.equal(2, row.gain)
    assert(row.wrong:find "cpu %(off by" and row.wrong:find "gpu" and not row.wrong:find "winograd4", row.wrong)
    assert.same({ { pass = "some.pass", shape = "1x1", method = "winograd4", milliseconds = 500 } },
      la.device.choices())
  end)

  it("records nothing for a gain that is none, and takes an old record off", function()
    local right <const> = la.tensor { 1 }
    la.device.set_choice("some.pass", "1x1", "cpu", 1)
    local row <const> = tune.measure(problem_of({ auto = right, plain = right, cpu = right },
      { auto = 1, plain = 3, cpu = 0.99 }))
    assert.equal("auto", row.method)
    assert.same({}, la.device.choices())
  end)

  it("never records anything where what would be taken is wrong too", function()
    local row <const> = tune.measure(problem_of({ auto = la.tensor { 5 }, plain = la.tensor { 1 } },
      { auto = 1, plain = 0.1 }))
    assert.is_nil(row.method)
    assert(row.wrong:find "auto")
    assert.same({}, la.device.choices())
  end)

  it("stops when its time is up, and says what is left", function()
    local shapes <const> = {}
    for i = 1, 2 do
      shapes[i] = { pass = SHAPES[i][1], shape = SHAPES[i][2] }
    end
    local r <const> = tune.run { shapes = shapes, seconds = -1, tick = function() end }
    assert.same({ 0, 2 }, { #r.rows, r.left })
  end)

  it("lets auto count with no record of its own", function()
    local s <const> = SHAPES[1]
    la.device.set_choice(s[1], s[2], "plain", 1)
    local seen
    local problem <const> = tune.problem { pass = s[1], shape = s[2] }
    local inner <const> = problem.result
    problem.result = function(method)
      seen = seen or #la.device.choices()
      return inner(method)
    end
    tune.measure(problem)
    assert.equal(0, seen)
  end)
end)

describe("lualign tune", function()
  local dir

  before_each(function() dir = tmp.dir() end)
  after_each(function() tmp.remove(dir) end)

  local function tune_run(...)
    local r <const> = run({ "tune", ... }, { env = { LUALIGN_CACHE = dir } })
    assert.equal(0, r.status, r.err)
    return r.out
  end

  it("keeps a record, lists and forgets it", function()
    local out <const> = tune_run("--model=mobilenetv2", "--images=1", "--size=32", "--minutes=0.05", "--op=conv2d",
      "--json", dir .. "/r.json")
    assert(out:find "default ms")
    local json <const> = la.io.json_decode(tmp.read(dir .. "/r.json"))
    assert(#json.rows > 0)
    local on_record = 0
    for _, row in ipairs(json.rows) do
      assert(row.pass:find "^conv2d%.")
      on_record = on_record + (row.method ~= "auto" and 1 or 0)
    end
    local _, lines <const> = tune_run("--list"):gsub("\n", "")
    assert.equal(on_record, lines)
    assert.equal("the record is empty\n", tune_run("--forget"))
    assert.equal("", tune_run("--list"))
  end)
end)
