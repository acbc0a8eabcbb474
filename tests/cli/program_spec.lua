-- SPDX-License-Identifier: MIT
--
-- The program: options, what is run, exit status, messages.

local run <const> = require "lib.run"
local tmp <const> = require "lib.tmp"

local function has(text, part)
  assert.truthy(text:find(part, 1, true), string.format("%q expected in:\n%s", part, text))
end

local function fails(message, ...)
  local r <const> = run(...)
  assert.equal(1, r.status, r.err)
  has(r.err, message)
  assert.equal("", r.out)
  return r
end

-- OpenCL without a single driver.
local no_driver <const> = { OCL_ICD_VENDORS = "/nonexistent/vendors", OCL_ICD_FILENAMES = "" }

describe("options", function()
  it("--version and --help", function()
    local version <const> = run { "--version" }
    assert.equal(0, version.status)
    assert.truthy(version.out:match "^lualign %d+%.%d+%.%d+ %(Lua 5%.4, line editing: [%w%. ]+%)\n$")
    local help <const> = run { "--help" }
    assert.equal(0, help.status)
    has(help.out, "--device")
    has(help.out, "\n  devices ")
  end)

  it("-e runs pieces in order, with la at hand and no device opened", function()
    local r <const> = run({ "-e", "x = 1", "-e", "print(x, la.version, la.device.is_open())" }, { env = no_driver })
    assert.equal(0, r.status, r.err)
    assert.truthy(r.out:match "^1\t[%d.]+\tfalse\n$", r.out)
    assert.equal("", r.err)
  end)

  it("-e with an error ends with status 1", function()
    fails("(command line):1: no", { "-e", "error 'no'" })
    fails("near <eof>", { "-e", "x =" })
    fails("needs a piece of Lua", { "-e" })
  end)

  it("unknown ones name the nearest", function()
    fails("lualign: unknown option '--devcie', did you mean '--device'?", { "--devcie", "cpu" })
    fails("lualign: unknown option '--zzzzzzzzzzzzz'", { "--zzzzzzzzzzzzz" })
    fails("'--device' needs a value", { "--device" })
    fails("--seed must be a whole number, got 'x'", { "--seed", "x" })
  end)

  it("--seed repeats random numbers of Lua and of the device", function()
    local code <const> = "print(math.random(1 << 30), table.concat(la.rand(3):flat(), ' '))"
    local one <const>, two <const> = run { "--seed", "7", "-e", code }, run { "--seed=7", "-e", code }
    assert.equal(0, one.status, one.err)
    assert.equal(one.out, two.out)
    assert.not_equal(one.out, run({ "--seed", "8", "-e", code }).out)
  end)

  it("--device chooses, and the choice is printed once", function()
    local r <const> = run { "--device", "1", "-e", "la.zeros(1) la.zeros(1) print(la.device.info().number)" }
    assert.equal(0, r.status, r.err)
    assert.equal("1\n", r.out)
    local _, lines <const> = r.err:gsub("device: [^\n]+%(%a+, [^\n]+, %d+ units%)\n", "")
    assert.equal(1, lines)
    fails("device: 'no such thing' fits none of the devices", { "--device", "no such thing", "-e", "la.zeros(1)" })
    fails("device: '99' fits none of the devices", { "-e", "la.zeros(1)" }, { env = { LUALIGN_DEVICE = "99" } })
  end)

  it("--profile prints a table of kernels", function()
    local r <const> = run { "--profile", "-e", "local x = la.ones(50); (x * x):sum():item()" }
    assert.equal(0, r.status, r.err)
    for _, part in ipairs { "kernel", "calls", "ms", "GB/s", "GFLOP/s", "share", "mul", "sum", "total" } do
      has(r.err, part)
    end
    has(run({ "--profile", "-e", "print(1)" }).err, "nothing to profile")
  end)
end)

describe("scripts", function()
  local dir

  before_each(function() dir = tmp.dir() end)
  after_each(function() tmp.remove(dir) end)

  it("get their arguments", function()
    tmp.write(dir .. "/a.lua", "print(arg[0], #arg, ...)")
    local r <const> = run { dir .. "/a.lua", "--device", "x y", "" }
    assert.equal(dir .. "/a.lua\t3\t--device\tx y\t\n", r.out)
    assert.equal(0, r.status)
  end)

  it("may be named without a folder, and lie in any", function()
    tmp.write(dir .. "/a.lua", "print 'here'")
    tmp.write(dir .. "/plain", "#!/usr/bin/env lualign\nprint 'there'")
    assert.equal("here\n", run({ "a.lua" }, { dir = dir }).out)
    assert.equal("there\n", run({ "plain" }, { dir = dir }).out)
  end)

  it("that are missing, and commands that do not exist, are named", function()
    fails("there is no file 'gone.lua'", { "gone.lua" })
    fails("'devcies', did you mean 'devices'?", { "devcies" })
    fails("'qqqqqqqqqqqqqq'; lualign --help lists the commands", { "qqqqqqqqqqqqqq" })
  end)

  it("on standard input run as a whole, without prompt or banner", function()
    local r <const> = run({}, { stdin = "local x = 1\nprint(x + 1)\nprint(la.version)\n" })
    assert.truthy(r.out:match "^2\n[%d.]+\n$", r.out)
    assert.equal(0, r.status)
    local bad <const> = run({ "-", "b" }, { stdin = "print(...)\nerror 'no'" })
    assert.equal("b\n", bad.out)
    assert.equal("lualign: stdin:2: no\n", bad.err)
    assert.equal(1, bad.status)
  end)

  it("show only the user's frames when they fail", function()
    tmp.write(dir .. "/a.lua", [[
local la = require "lualign"
local function inner() local t = la.seed({}) return t end
local function outer() inner() end
outer()
]])
    local r <const> = run({ "a.lua" }, { dir = dir })
    assert.equal(1, r.status)
    assert.truthy(r.err:match "^lualign: a%.lua:2: bad argument", r.err)
    has(r.err, "a.lua:2: in upvalue 'inner'\n\ta.lua:3: in local 'outer'\n\ta.lua:4: in main chunk\n")
    assert.falsy(r.err:find "%[C%]")
    assert.falsy(r.err:find "init%.lua")
    has(run({ "a.lua" }, { dir = dir, env = { LUALIGN_TRACE = "1" } }).err, "init.lua")
  end)

  it("may raise any value", function()
    assert.equal("lualign: (error object is a table value)\n", run({ "-e", "error {}" }).err)
    assert.equal("lualign: (error object is a nil value)\n", run({ "-e", "error()" }).err)
    local code <const> = "error(setmetatable({}, { __tostring = function() return 'mine' end }))"
    assert.equal("lualign: mine\n", run({ "-e", code }).err)
    assert.equal(3, run({ "-e", "os.exit(3)" }).status)
  end)

  it("see warnings", function()
    has(run({ "-e", "warn 'careful'" }).err, "careful")
  end)
end)

describe("commands", function()
  it("print help and refuse bad options by name", function()
    local help <const> = run { "devices", "--help" }
    assert.equal(0, help.status)
    has(help.out, "lualign devices")
    has(help.out, "--device")
    fails("lualign devices: unknown option '--devise', did you mean '--device'?", { "devices", "--devise" })
    fails("lualign devices: unknown option '--zzz'; lualign devices --help lists them", { "devices", "--zzz" })
    fails("lualign devices: too many arguments", { "devices", "more" })
    fails("'x' is not a whole number", { "devices", "--seed", "x" })
  end)

  it("devices lists all and marks the choice", function()
    local r <const> = run { "devices" }
    assert.equal(0, r.status, r.err)
    local _, chosen <const> = r.out:gsub("\n%*%d+  ", "")
    assert.equal(1, chosen)
    for _, column in ipairs { "type", "name", "platform", "units", "memory", "version", "GiB", "OpenCL" } do
      has(r.out, column)
    end
    assert.equal("", r.err)
    has(run({ "devices", "--device", "1" }).out, "\n*1  ")
    fails("device: '77' fits none of the devices", { "devices", "--device", "77" })
  end)

  it("take --seed and --profile after their name", function()
    has(run({ "devices", "--profile" }).err, "nothing to profile")
    assert.equal(0, run({ "devices", "--seed", "4" }).status)
  end)
end)

describe("without a device", function()
  it("there is a message and status 1", function()
    fails("lualign devices: device: no OpenCL device was found; install a driver", { "devices" }, { env = no_driver })
    fails("device: no OpenCL device was found", { "-e", "la.zeros(1)" }, { env = no_driver })
  end)

  it("with too little memory, too", function()
    local r <const> = run({ "-e", "local t = {} for i = 1, 100 do t[i] = la.ones(1 << 16) end" },
      { env = { LUALIGN_MEMORY = "1" } })
    assert.equal(1, r.status)
    has(r.err, "device memory")
    has(r.err, "(command line):1:")
  end)
end)
