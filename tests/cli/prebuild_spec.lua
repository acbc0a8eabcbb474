-- SPDX-License-Identifier: MIT
--
-- First runs: prebuild, crashing and failing compilers, caches that two processes fill at once or that grow too large.

local run <const> = require "lib.run"
local shared <const> = require "lib.shared"
local tmp <const> = require "lib.tmp"

local function has(text, part)
  assert.truthy(text:find(part, 1, true), string.format("%q expected in:\n%s", part, text))
end

-- A few kernels, and a number that says that they ran.
local CODE <const> = [[print(("%.3f"):format(la.l2_normalize(la.relu(la.ones(2, 1, 1, 4) * 2)):sum():item()))]]
local RESULT <const> = "4.000\n"

describe("a first run", function()
  local dir, env

  before_each(function()
    dir = tmp.dir()
    env = { LUALIGN_CACHE = dir .. "/cache", POCL_CACHE_DIR = dir }
  end)
  after_each(function() tmp.remove(dir) end)

  -- A folder of kernels of which one is changed.
  local function kernels_with(name, change)
    local from <const> = shared.repository .. "/cl"
    for _, file in ipairs(tmp.list(from)) do
      local text <const> = tmp.read(from .. "/" .. file)
      tmp.write(dir .. "/" .. file, file == name and change(text) or text)
    end
    env.LUALIGN_CL_DIR = dir
  end

  it("with a kernel that does not build ends with status 1 and names it", function()
    kernels_with("l2_normalize.cl", function(text) return text .. "\nkernel void x() { undeclared_thing(); y }\n" end)
    local r <const> = run({ "-e", CODE }, { env = env })
    assert.equal(1, r.status)
    has(r.err, "program 'l2_normalize', wanted for kernel 'l2_normalize_fwd', does not build on")
    has(r.err, "(command line):1:")
    assert.equal("", r.out)
  end)

  it("with a compiler that crashes ends with status 1 and says so, and the prompt's process lives", function()
    tmp.write(dir .. "/crash", "#!/bin/sh\nprintf '\\001' >&3; head -c 327 /dev/zero >&3\n"
      .. "head -c 9 <&3 >/dev/null\necho 'LLVM ERROR: no luck' >&2\nkill -ABRT $$\n")
    os.execute("chmod +x " .. run.quote(dir .. "/crash"))
    env.LUALIGN_BUILDER = dir .. "/crash"
    local r <const> = run({ "-e", CODE }, { env = env })
    assert.equal(1, r.status)
    has(r.err, "crashed the compiler (signal 6): LLVM ERROR: no luck")
    local code <const> = "print(pcall(function() return la.ones(2):sum():item() end)) print 'alive'"
    local caught <const> = run({ "-e", code }, { env = env })
    assert.equal(0, caught.status, caught.err)
    -- copy and reduce are compiled side by side; the first of them to crash is named
    local program <const> = caught.out:match "^false\t.-device: building program '(%w+)'.-\nalive\n$"
    assert.truthy(program == "copy" or program == "reduce", caught.out)
  end)

  it("in this process alone gives the same", function()
    env.LUALIGN_BUILDER = ""
    local r <const> = run({ "-e", CODE }, { env = env })
    assert.equal(0, r.status, r.err)
    assert.equal(RESULT, r.out)
  end)

  it("of two processes at once works for both, and leaves whole entries", function()
    local quoted <const> = run.quote(CODE)
    local command <const> = "code=" .. quoted
      .. '; lualign -e "$code" >a 2>&1 & lualign -e "$code" >b 2>&1; wait; cat a b'
    local r <const> = run.shell(command, { env = env, dir = dir })
    local _, count <const> = r.out:gsub(RESULT, "")
    assert.equal(2, count, r.out)
    local names <const> = tmp.list(dir .. "/cache")
    assert.truthy(#names >= 4)
    for _, name in ipairs(names) do
      assert.truthy(name:match "^[%w_]+%-%x+%.bin$", name) -- nothing half written is left
    end
    local again <const> = run({ "-e", CODE .. " print(#la.device.builds())" }, { env = env })
    assert.equal(RESULT .. "0\n", again.out)
  end)

  it("keeps the cache below its limit, and what it did not write", function()
    assert.equal(0, run({ "-e", CODE }, { env = env }).status)
    local before <const> = tmp.list(dir .. "/cache")
    tmp.write(dir .. "/cache/notes.bin", ("x"):rep(1 << 20))
    tmp.write(dir .. "/cache/old-0123456789abcdef.bin", ("x"):rep(1 << 20)) -- of another version, say
    os.execute("touch -a -m -d '2001-01-01' " .. run.quote(dir .. "/cache/old-0123456789abcdef.bin"))
    env.LUALIGN_CACHE_LIMIT = "1"
    local r <const> = run({ "-e", "print(la.sqrt(la.ones(2)):sum():item())" }, { env = env })
    assert.equal("2.0\n", r.out, r.err)
    assert.falsy(tmp.exists(dir .. "/cache/old-0123456789abcdef.bin"))
    assert.truthy(tmp.exists(dir .. "/cache/notes.bin"))
    for _, name in ipairs(before) do
      assert.truthy(tmp.exists(dir .. "/cache/" .. name), name)
    end
    env.LUALIGN_CACHE_LIMIT = "0"
    r.again = run({ "-e", "print(la.exp(la.zeros(2)):sum():item())" }, { env = env })
    assert.equal("2.0\n", r.again.out, r.again.err)
    assert.same({ "notes.bin" }, tmp.list(dir .. "/cache"))
  end)
end)

describe("prebuild", function()
  it("compiles what work needs, once, and records it", function()
    local dir <const> = tmp.dir()
    local options <const> = { env = { LUALIGN_CACHE = dir .. "/cache" } }
    local args <const> = { "prebuild", "--work", "align", "--record", dir .. "/lists" }
    local first <const> = run(args, options)
    assert.equal(0, first.status, first.err)
    assert.truthy(first.out:match "mobilenetv2, align: %d%d+ programs compiled, 0 failed", first.out)
    local second <const> = run(args, options)
    has(second.out, "mobilenetv2, align: 0 programs compiled, 0 failed")
    local kinds <const> = tmp.list(dir .. "/lists")
    assert.equal(1, #kinds)
    assert.truthy(tmp.read(dir .. "/lists/" .. kinds[1] .. "/mobilenetv2-align.tsv"):find "\ncorrelation\t\t\n")
    tmp.remove(dir)
  end)

  it("ships lists that are read", function()
    local code <const> = [[local k = require "lualign.kernels"
      local list = k.read "cpu16.mobilenetv2-train"
      local p = list[#list]
      print(#list > 20, #p, p[1]:match "^[%w_]+$" ~= nil, k.read "cpu16.nothing-train")]]
    assert.equal("true\t3\ttrue\tnil\n", run({ "-e", code }).out)
  end)

  it("says what failed and why", function()
    local dir <const> = tmp.dir()
    local from <const> = shared.repository .. "/cl"
    for _, file in ipairs(tmp.list(from)) do
      tmp.write(dir .. "/" .. file, tmp.read(from .. "/" .. file) .. (file == "correlation.cl" and "\noops\n" or ""))
    end
    local r <const> = run({ "prebuild", "--work", "align" },
      { env = { LUALIGN_CACHE = dir .. "/cache", LUALIGN_CL_DIR = dir } })
    assert.equal(1, r.status)
    assert.truthy(r.out:match "correlation +[%d.]+ s +FAILED: program 'correlation', wanted for kernel", r.out)
    assert.truthy(r.out:match "mobilenetv2, align: %d+ programs compiled, 1 failed", r.out)
    tmp.remove(dir)
  end)

  it("refuses a model that is none", function()
    local r <const> = run { "prebuild", "--model", "resnet" }
    assert.equal(1, r.status)
    has(r.err, "--model must be mobilenetv2, efficientnet_lite0, resnet101, vgg16 or a file, got 'resnet'")
  end)
end)
