-- SPDX-License-Identifier: MIT
--
-- What the packaged scripts share: lualign.cli.

local cli <const> = require "lualign.cli"
local run <const> = require "lib.run"
local tmp <const> = require "lib.tmp"

local function has(text, part)
  assert.truthy(text:find(part, 1, true), string.format("%q expected in:\n%s", part, text))
end

describe("a script", function()
  local dir

  before_each(function() dir = tmp.dir() end)
  after_each(function() tmp.remove(dir) end)

  local head <const> = [[
local la = require "lualign"
local cli = require "lualign.cli"
local parser = cli.parser("try", "Tries things.")
parser:argument("file", "what to try")
parser:option("--steps", "how often", 5):convert(cli.count)
parser:option("--rate", "how fast", 0.5):convert(cli.positive)
local args = cli.parse(parser, arg)
]]

  local function try(body, ...)
    tmp.write(dir .. "/try.lua", head .. body)
    return run { dir .. "/try.lua", ... }
  end

  it("gets values, converted, or the defaults", function()
    local body <const> = "print(args.file, args.steps, args.rate, args.seed)"
    local r <const> = try(body, "a", "--steps", "7")
    assert.equal("a\t7\t0.5\t1\n", r.out)
    assert.equal(0, r.status)
    assert.equal("a\t5\t2\t9\n", try(body, "--rate=2", "--seed", "9", "a").out)
    tmp.write(dir .. "/seed.lua", head .. "print(args.seed)")
    assert.equal("11\n", run({ "--seed", "11", dir .. "/seed.lua", "a" }).out)
  end)

  it("seeds by --seed, without opening a device", function()
    local body <const> = "print(math.random(1 << 40), la.device.is_open(), table.concat(la.rand(2):flat(), ' '))"
    local one <const> = try(body, "a", "--seed", "3")
    assert.equal(0, one.status, one.err)
    has(one.out, "\tfalse\t")
    assert.equal(one.out, try(body, "a", "--seed", "3").out)
    assert.not_equal(one.out, try(body, "a", "--seed", "4").out)
  end)

  it("obeys --device and --profile", function()
    local r <const> = try("la.ones(3)", "a", "--device", "nowhere")
    assert.equal(1, r.status)
    has(r.err, "'nowhere' fits none of the devices")
    has(try("local x = la.ones(3); (x * x):sum():item()", "a", "--profile").err, "share")
  end)

  it("refuses bad usage in one line, with status 1", function()
    local function refuses(message, ...)
      local r <const> = try("print 'ran'", ...)
      assert.equal(1, r.status)
      assert.equal("", r.out)
      assert.equal("lualign: " .. message .. "\n", r.err)
    end
    refuses("missing argument 'file'")
    refuses("unknown option '--step', did you mean '--steps'?", "a", "--step", "1")
    refuses("unknown option '--zzz'; lualign try --help lists them", "a", "--zzz")
    refuses("option '--steps' requires an argument", "a", "--steps")
    for _, bad in ipairs { "-1", "1.5", "x", "", "nan" } do
      refuses("'" .. bad .. "' is not a whole number, 0 or more", "a", "--steps=" .. bad)
    end
    refuses("'0' is not a number above 0", "a", "--rate", "0")
  end)

  it("ends by cli.fail with a message, by cli.exit with a status", function()
    local r <const> = try("cli.fail('there is no %s', args.file)", "100%")
    assert.equal(1, r.status)
    assert.equal("lualign: there is no 100%\n", r.err)
    assert.equal("lualign: 100%\n", try("cli.fail('100%')", "a").err)
    local quiet <const> = try("cli.exit(4)", "a")
    assert.equal(4, quiet.status)
    assert.equal("", quiet.err)
  end)

  it("shows progress as lines where there is no terminal", function()
    local r <const> = try([[
local meter = cli.progress("try", 20)
for i = 1, 20 do meter:update(i, "of it") end
meter:finish()]], "a")
    local _, lines <const> = r.err:gsub("try %d+/20 of it[^\n]*\n", "")
    assert.equal(10, lines)
    has(r.err, "try 20/20 of it\n")
    assert.equal("", r.out)
  end)
end)

describe("the kernel table", function()
  it("has rates and shares, and a dash for what is not known", function()
    local text <const> = cli.profile_table {
      { kernel = "long_kernel_name", calls = 2, seconds = 0.003, bytes = 6e6, flops = 0 },
      { kernel = "b", calls = 10, seconds = 0.001, bytes = 0, flops = 5e6 },
    }
    assert.truthy(text:match "long_kernel_name +2 +3%.000 +2%.0 +%- +75%.0%%\n", text)
    assert.truthy(text:match "\nb +10 +1%.000 +%- +5%.0 +25%.0%%\n", text)
    assert.truthy(text:match "\ntotal +4%.000 *$", text)
  end)
end)
