-- SPDX-License-Identifier: MIT
--
-- The prompt: through a pipe, at a pseudo-terminal, and its parts.

local la <const> = require "lualign"
local locals <const> = require "lualign.util.locals"
local show <const> = require "lualign.util.show"
local run <const> = require "lib.run"
local shared <const> = require "lib.shared"
local tmp <const> = require "lib.tmp"

local function has(text, part)
  assert.truthy(text:find(part, 1, true), string.format("%q expected in:\n%s", part, text))
end

-- What the prompt prints for some lines that come through a pipe.
local function typed(lines)
  return run({ "-i" }, { stdin = lines })
end

describe("the prompt", function()
  it("prints values, and nothing for statements or after a semicolon", function()
    local r <const> = typed "1 + 1\nx = 5\nx, nil\n'text'\nx;\nprint 'p'\n"
    assert.equal("2\n5\nnil\ntext\np\n", r.out)
    assert.equal("", r.err)
    assert.equal(0, r.status)
  end)

  it("asks for more lines until the chunk is complete", function()
    assert.equal("1\n2\n6\n", typed("for i = 1, 2 do\nprint(i)\nend\n1 + 2 +\n3\n").out)
    assert.equal("a\nb\n", typed("[[a\nb]]\n").out)
  end)

  it("keeps outermost locals and the last value", function()
    local r <const> = typed "local a = 3\na\n_ * 2\nlocal function f()\nlocal inner = 7\nreturn inner\nend\nf()\n"
    assert.equal("3\n6\n7\n", r.out)
    assert.equal("nil\n", typed("do local b = 1 end\nb\n").out)
  end)

  it("reports errors and goes on", function()
    local r <const> = typed "error 'no'\nx = = 1\nlocal c <close> = nil\nnil + 1\n'on'\n"
    assert.equal("on\n", r.out)
    has(r.err, "stdin:1: no\n")
    has(r.err, "unexpected symbol near '='")
    has(r.err, "a <close> variable would be closed at the end of the line")
    has(r.err, "arithmetic on a nil value")
    assert.falsy(r.err:find "%[C%]")
    assert.falsy(r.err:find "traceback")
    assert.equal(0, r.status)
  end)

  it("reports a chunk that the end of the input cuts off", function()
    local r <const> = typed "for i = 1, 2 do\n"
    has(r.err, "'end' expected")
    assert.equal("", r.out)
  end)

  it("explains", function()
    local r <const> = typed "?l2_normalize\n? la.device.list\n?t:backward\n?l2_normalise\n?\n"
    has(r.out, "la.l2_normalize(x, dim = -1, eps = 1e-6)\nScales to unit length")
    has(r.out, "la.device.list()\n")
    has(r.out, "t:backward([gradient])\n")
    has(r.out, "there is no help on 'l2_normalise', did you mean 'l2_normalize'?")
    has(r.out, "Ops: ")
  end)

  it("does not open a device before one is needed", function()
    local stdin <const> = "?relu\nla.device.is_open()\n"
    local r <const> = run({ "-i" }, { stdin = stdin, env = { OCL_ICD_VENDORS = "/nonexistent" } })
    has(r.out, "\nfalse\n")
    assert.equal("", r.err)
  end)

  it("prints tensors", function()
    local r <const> = typed "la.tensor { { 1, 2 }, { 3, 4 } }\n"
    has(r.out, "tensor float32 (2, 2)\n")
    has(r.out, "3.0000, 4.0000")
  end)

  it("comes after -i", function()
    local r <const> = run({ "-i", "-e", "y = 4" }, { stdin = "y + 1\n" })
    assert.equal("5\n", r.out)
  end)

  it("works under stock Lua", function()
    assert.truthy(type(la.repl.run) == "function")
    local chunk <const>, visible <const> = la.repl.compile "1 + 1"
    assert.equal(2, chunk())
    assert.is_true(visible)
    assert.same({ nil, "more" }, { la.repl.compile "f(" })
  end)
end)

describe("at a terminal", function()
  local dir

  before_each(function() dir = tmp.dir() end)
  after_each(function() tmp.remove(dir) end)

  local function terminal(steps)
    return run.terminal({}, steps, { env = { XDG_STATE_HOME = dir, INPUTRC = "/dev/null" } })
  end

  it("there is a banner and a prompt, and Ctrl-D ends it", function()
    local r <const> = terminal { { "> ", "20 + 22\n" }, { "42", "\4" } }
    has(r.screen, "lualign " .. la.version .. " · ?topic for help\n> ")
    has(r.screen, "\n42\n> ")
    assert.equal(0, r.status)
  end)

  local function needs_editor()
    if run({ "--version" }).out:find("line editing: none", 1, true) then
      shared.pending "this build has no line editing"
    end
  end

  it("the history has one entry for a chunk and is kept", function()
    needs_editor()
    local r <const> = terminal { { "> ", "for i = 8, 8 do\nprint('n' .. i)\nend\n" }, { "n8", "last = 5\n\4" } }
    assert.equal(0, r.status)
    local again <const> = terminal { { "> ", "\16\n" }, { "last = 5", "\16\16\n" }, { "n8", "\4" } } -- Ctrl-P: up
    has(again.screen, "last = 5")
    has(again.screen, "\nn8\n")
    assert.truthy(tmp.exists(dir .. "/lualign/history"))
  end)

  it("names are completed", function()
    needs_editor()
    local r <const> = terminal { { "> ", "la.soft_inlier_c\t ~= nil\n" }, { "true", "\4" } }
    has(r.screen, "la.soft_inlier_count")
  end)

  it("Ctrl-C gives up a line, and stops what runs", function()
    local r <const> = terminal {
      { "> ", "for unfinished = 1, 2 do\n" }, { ">> ", "\3" },
      { "^C", "print('run' .. 'ning') while true do end\n" }, { "running", "\3" },
      { "interrupted!", "'still ' .. 'here'\n" }, { "still here", "\4" },
    }
    has(r.screen, "interrupted!")
    has(r.screen, "\nstill here")
    assert.equal(0, r.status)
  end)
end)

describe("outermost locals", function()
  local function becomes(expected, text)
    assert.equal(expected, (locals.to_globals(text)))
    assert.truthy(load(expected))
  end

  it("become global", function()
    becomes("x = 1", "local x = 1")
    becomes("x = nil ", "local x")
    becomes("a, b = f()", "local a, b = f()")
    becomes("a, b = 1, 2", "local a <const>, b = 1, 2")
    becomes(" function f() end", "local function f() end")
    becomes("x = 1; y = 2", "local x = 1; local y = 2")
    becomes("x \n= \n 1", "local\nx = \n 1")
  end)

  it("inside blocks, strings and comments stay", function()
    for _, text in ipairs {
      "do local x = 1 end", "if a then local x = 1 elseif b then local y else local z end",
      "f(function() local x end)", "while a do local x end", "for i = 1, 2 do local x end", "repeat local x until x",
      "s = 'local x'", 's = "\\"local x"',
      "s = [[local x]]", "s = [==[ ]] local x]==]", "-- local x", "--[[ local x ]]",
      "x = { f = function() local y end }", "a.locality = 1", "x = 0x1p4 .. ''",
    } do
      becomes(text, text)
    end
  end)

  it("after blocks are found again", function()
    becomes("do local x end y = 1", "do local x end local y = 1")
    becomes("for i = 1, 2 do local x end y = nil ", "for i = 1, 2 do local x end local y")
    becomes("repeat local x until x y = 1", "repeat local x until x local y = 1")
  end)

  it("that close are refused", function()
    local text <const>, message <const> = locals.to_globals "local f <close> = g()"
    assert.is_nil(text)
    has(message, "do local f <close> = ... end")
  end)
end)

describe("tables", function()
  it("are shown one level deep, in order", function()
    assert.equal("{ 1, \"a\", true }", show { 1, "a", true })
    assert.equal("{}", show {})
    assert.equal("{\n  [1] = 1,\n  a = { 2 elements },\n  b = { ... },\n  c = {},\n}",
      show { 1, c = {}, b = { x = 1 }, a = { 1, 2 } })
    assert.equal("text", show "text")
    assert.equal("mine", show(setmetatable({}, { __tostring = function() return "mine" end })))
  end)

  it("name tensors by shape", function()
    has(show { t = la.zeros(2, 3) }, "t = tensor float32 (2, 3),")
  end)

  it("that are long are cut", function()
    local long <const> = {}
    for i = 1, 1000 do
      long["key" .. i] = i
    end
    local text <const> = show(long)
    local _, lines <const> = text:gsub("\n", "")
    assert.truthy(lines <= 26)
    has(text, "... and 977 more")
  end)
end)

describe("completion", function()
  local function includes(word, name)
    for _, found in ipairs(la.repl.complete(word)) do
      if found == name then
        return true
      end
    end
    return false
  end

  it("knows globals, keywords, ops, modules and methods", function()
    assert.is_true(includes("pri", "print"))
    assert.is_true(includes("whi", "while"))
    assert.is_true(includes("string.for", "string.format"))
    _G.la, _G.tensor_here = la, la.zeros(1)
    assert.is_true(includes("la.l2", "la.l2_normalize"))
    assert.is_true(includes("la.geom", "la.geometry"))
    assert.is_true(includes("tensor_here:back", "tensor_here:backward"))
    assert.is_true(includes("tensor_here.gra", "tensor_here.grad"))
    assert.same({}, la.repl.complete "no_such_thing.a")
    _G.la, _G.tensor_here = nil, nil
  end)
end)

describe("help", function()
  it("has a text for everything that it lists", function()
    for _, topic in ipairs(la.help.topics()) do
      if getmetatable(la).submodules[topic] and not package.searchpath("lualign." .. topic, package.path) then
        error("there is no module " .. topic)
      end
      local text <const> = la.help.text(topic)
      assert.truthy(text and #text > 10, topic)
    end
  end)

  it("has a text for every function of the core", function()
    local ops <const> = {}
    for _, op in ipairs(la.ops()) do
      ops[op.name] = true
    end
    local function covers(names, prefix)
      for name, value in pairs(names) do
        if type(value) == "function" and not ops[name] and name ~= "on_open" then
          assert.truthy(la.help.text(prefix .. name), "no help on " .. prefix .. name)
        end
      end
    end
    covers(la, "")
    covers(la.device, "device.")
    covers(la.io, "io.")
    covers(la.image, "image.")
    covers(require("lualign.core").methods, "t:")
  end)

  it("shows the comment above a function and the head of a module", function()
    has(la.help.text "seed", "la.seed(n)\nSeeds the device's generator")
    has(la.help.text "repl", "la.repl: the prompt.")
  end)
end)
