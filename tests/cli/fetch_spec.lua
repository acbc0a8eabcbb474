-- SPDX-License-Identifier: MIT
--
-- lualign fetch, against a server on this machine: downloads, and the table of what is known.

local la <const> = require "lualign"
local fetching <const> = require "lib.fetching"
local run <const> = require "lib.run"
local tmp <const> = require "lib.tmp"

local contains <const>, random_bytes <const> = fetching.contains, fetching.random_bytes
local sha256 <const> = fetching.sha256

local dir, served, host, fetch, contents, stop

before_each(function()
  local f <const> = fetching.new()
  dir, served, host, fetch, contents, stop = f.dir, f.served, f.host, f.fetch, f.contents, f.stop
end)

after_each(function()
  stop()
end)

describe("a download", function()
  local data

  before_each(function()
    data = random_bytes(30000)
    tmp.write(served .. "/a.bin", data)
  end)

  -- That it is there, whole, with nothing beside it, after these requests.
  local function check_whole(r, requests)
    assert.equal(0, r.status, r.err)
    assert.equal("a.bin", contents "out")
    assert.truthy(tmp.read(dir .. "/out/a.bin") == data, "other bytes")
    if requests then
      assert.same(requests, host:requests())
    end
  end

  -- That it failed with this message, and these files are left.
  local function check_failed(r, message, left)
    assert.equal(1, r.status, r.out)
    contains(r.err, message)
    assert.equal(left or "", contents "out")
  end

  it("is whole, checked, and not repeated", function()
    local file <const> = { url = host.url .. "plain/a.bin", as = "a.bin", bytes = #data, sha256 = sha256(data) }
    local r <const> = fetch(file)
    check_whole(r, { "GET /plain/a.bin -" })
    contains(r.out, "checksum right")
    local again <const> = fetch(file)
    check_whole(again, { "GET /plain/a.bin -" })
    contains(again.out, "is in out already")
  end)

  it("works without size and checksum, with the beginning of one, and with MD5", function()
    check_whole(fetch { url = host.url .. "plain/a.bin", as = "a.bin" })
    os.remove(dir .. "/out/a.bin")
    check_whole(fetch { url = host.url .. "plain/a.bin", as = "a.bin", sha256 = sha256(data):sub(1, 8):upper() })
    os.remove(dir .. "/out/a.bin")
    local md5 <const> = run.shell("md5sum <" .. served .. "/a.bin").out:match "^%x+"
    check_whole(fetch { url = host.url .. "plain/a.bin", as = "a.bin", md5 = md5 })
  end)

  it("follows redirections", function()
    check_whole(fetch { url = host.url .. "status=302/a.bin", as = "a.bin" },
      { "GET /status=302/a.bin -", "GET /plain/a.bin -" })
  end)

  it("goes on where a broken connection ended", function()
    check_whole(fetch { url = host.url .. "once=12345/a.bin", as = "a.bin" },
      { "GET /once=12345/a.bin -", "GET /once=12345/a.bin 12345" })
  end)

  it("comes in as many pieces as it takes", function()
    local r <const> = fetch { url = host.url .. "cut=7000/a.bin", as = "a.bin", sha256 = sha256(data) }
    check_whole(r, { "GET /cut=7000/a.bin -", "GET /cut=7000/a.bin 7000", "GET /cut=7000/a.bin 14000",
      "GET /cut=7000/a.bin 21000", "GET /cut=7000/a.bin 28000" })
    contains(r.err, "trying again in 0.01 s")
  end)

  it("continues what an earlier run left, if the server's file is the same", function()
    local file <const> = { url = host.url .. "claim=40000/a.bin", as = "a.bin" }
    check_failed(fetch(file), "10000 bytes remaining", "a.bin.part a.bin.part.json")
    local function resume(change)
      local state <const> = la.io.json_decode(tmp.read(dir .. "/out/a.bin.part.json"))
      assert.equal(40000, state.total)
      tmp.write(dir .. "/out/a.bin.part", data:sub(1, 20000))
      state.url, state.total = host.url .. "plain/a.bin", 30000
      if change then
        state.etag = change
      end
      tmp.write(dir .. "/out/a.bin.part.json", la.io.json_encode(state))
    end
    resume()
    local before <const> = #host:requests()
    check_whole(fetch { url = host.url .. "plain/a.bin", as = "a.bin" })
    assert.equal("GET /plain/a.bin 20000", host:requests()[before + 1])
  end)

  it("begins again when the server's file has changed", function()
    la.io.mkdirs(dir .. "/out")
    tmp.write(dir .. "/out/a.bin.part", random_bytes(20000))
    tmp.write(dir .. "/out/a.bin.part.json", la.io.json_encode { url = host.url .. "plain/a.bin", etag = '"other"',
      total = 30000 })
    local r <const> = fetch { url = host.url .. "plain/a.bin", as = "a.bin" }
    check_whole(r, { "GET /plain/a.bin 20000", "GET /plain/a.bin -" })
    contains(r.err, "does not go on") -- it was asked to send the rest of that file only
  end)

  it("begins again when the rest is of another file", function()
    la.io.mkdirs(dir .. "/out")
    tmp.write(dir .. "/out/a.bin.part", random_bytes(20000))
    tmp.write(dir .. "/out/a.bin.part.json", la.io.json_encode { url = host.url .. "changed/a.bin", etag = '"other"' })
    check_whole(fetch { url = host.url .. "changed/a.bin", as = "a.bin" },
      { "GET /changed/a.bin 20000", "GET /changed/a.bin -" })
  end)

  it("begins again when a server ignores ranges", function()
    la.io.mkdirs(dir .. "/out")
    tmp.write(dir .. "/out/a.bin.part", data:sub(1, 20000))
    tmp.write(dir .. "/out/a.bin.part.json", la.io.json_encode { url = host.url .. "norange/a.bin" })
    check_whole(fetch { url = host.url .. "norange/a.bin", as = "a.bin" },
      { "GET /norange/a.bin 20000", "GET /norange/a.bin -" })
  end)

  it("begins again when its pieces do not fit, or nothing is known of them", function()
    la.io.mkdirs(dir .. "/out")
    tmp.write(dir .. "/out/a.bin.part", random_bytes(20000))
    local r <const> = fetch { url = host.url .. "plain/a.bin", as = "a.bin", sha256 = sha256(data) }
    check_whole(r, { "GET /plain/a.bin 20000", "GET /plain/a.bin -" })
    contains(r.err, "what came in pieces has the SHA-256")
    os.remove(dir .. "/out/a.bin")
    tmp.write(dir .. "/out/a.bin.part", random_bytes(20000))
    check_whole(fetch { url = host.url .. "plain/a.bin", as = "a.bin" })
  end)

  it("whose .part is whole needs no server", function()
    la.io.mkdirs(dir .. "/out")
    tmp.write(dir .. "/out/a.bin.part", data)
    tmp.write(dir .. "/out/a.bin.part.json", la.io.json_encode { url = host.url .. "plain/a.bin", total = 30000 })
    check_whole(fetch { url = host.url .. "plain/a.bin", as = "a.bin" }, {})
  end)

  it("with another checksum or size leaves nothing", function()
    local r <const> = fetch { url = host.url .. "plain/a.bin", as = "a.bin", sha256 = sha256 "other" }
    check_failed(r, "has the SHA-256 " .. sha256(data) .. ", expected " .. sha256 "other")
    check_failed(fetch { url = host.url .. "plain/a.bin", as = "a.bin", bytes = 29999 },
      "the server has 30000 bytes, expected 29999")
    check_failed(fetch { url = host.url .. "claim=500/a.bin", as = "a.bin", sha256 = sha256(data) }, "has the SHA-256")
  end)

  it("tells what is known when it fails", function()
    local r <const> = fetch { url = host.url .. "status=404/a.bin", as = "a.bin" }
    check_failed(r, host.url .. "status=404/a.bin: the server answered 404")
    for _, text in ipairs { "set: 1 of 1 files could not be had", "known: what is known", "--url", "the layout" } do
      contains(r.err, text)
    end
    assert.same({ "GET /status=404/a.bin -" }, host:requests())
    check_failed(fetch { url = host.url .. "page/a.bin", as = "a.bin" }, "web page")
  end)

  it("is tried again while the server is busy, and not for ever", function()
    check_whole(fetch { url = host.url .. "busy=2/a.bin", as = "a.bin" },
      { "GET /busy=2/a.bin -", "GET /busy=2/a.bin -", "GET /busy=2/a.bin -" })
    os.remove(dir .. "/out/a.bin")
    check_failed(fetch { url = host.url .. "status=503/a.bin", as = "a.bin" }, "answered 503")
    assert.equal(6, #host:requests())
  end)

  it("from nobody says so", function()
    check_failed(fetch { url = "http://127.0.0.1:1/a.bin", as = "a.bin" }, "Failed to connect")
    check_failed(fetch { url = "http://no-such-host.invalid/a.bin", as = "a.bin" }, "no-such-host.invalid")
    check_failed(fetch { url = "nonsense", as = "a.bin" }, "'nonsense' is no address")
  end)

  it("takes the next address, and the one that is given", function()
    check_whole(fetch { url = { host.url .. "status=410/a.bin", host.url .. "plain/a.bin" }, as = "a.bin" })
    os.remove(dir .. "/out/a.bin")
    check_whole(fetch({ url = host.url .. "status=410/a.bin", as = "a.bin" }, "--url", host.url .. "plain/"))
    os.remove(dir .. "/out/a.bin")
    check_whole(fetch({ url = host.url .. "status=410/x", as = "a.bin" }, "--url", host.url .. "plain/a.bin"))
    os.remove(dir .. "/out/a.bin")
    check_whole(fetch({ url = host.url .. "status=410/x", as = "a.bin" }, "--url", "file://" .. served .. "/a.bin"))
  end)

  it("brings the other files of a set when one fails", function()
    tmp.write(served .. "/b.bin", "b")
    local r <const> = fetch { { url = host.url .. "status=404/a.bin", as = "a.bin" },
      { url = host.url .. "plain/b.bin", as = "b.bin" } }
    check_failed(r, "set: 1 of 2 files could not be had", "b.bin")
  end)

  it("that is only planned does nothing", function()
    local r <const> = fetch({ url = host.url .. "plain/a.bin", as = "a.bin", bytes = 30000 }, "--dry-run")
    assert.equal(0, r.status)
    assert.equal("would download " .. host.url .. "plain/a.bin (0.0 MB) to out/a.bin\n", r.out)
    assert.falsy(tmp.exists(dir .. "/out"))
    assert.same({}, host:requests())
  end)

  it("goes into any folder", function()
    local file <const> = { url = host.url .. "plain/a.bin", as = "a.bin" }
    for _, into in ipairs { "deep/er", "-x", "it's a $(name); \"of\" [odd] *", "c:d" } do
      local r <const> = fetch(file, "--into=" .. into)
      assert.equal(0, r.status, r.err)
      assert.equal(data, tmp.read(dir .. "/" .. into .. "/a.bin"))
    end
  end)

  it("leaves its beginning after Ctrl-C, and goes on from there", function()
    tmp.write(dir .. "/table.json", la.io.json_encode { { name = "set", into = "out", files = {
      { url = host.url .. "slow/a.bin", as = "a.bin", sha256 = sha256(data) } } } })
    local r <const> = run.shell(string.format([[
%s fetch --table table.json set & pid=$!
n=0; until [ -s out/a.bin.part ] || [ $n -gt 100 ]; do sleep 0.1; n=$((n+1)); done
%s fetch --table table.json set 2>second
kill -INT $pid
wait $pid
]], run.quote(run.program), run.quote(run.program)), { dir = dir })
    assert.equal(130, r.status, r.err)
    contains(r.err, "interrupted!")
    contains(tmp.read(dir .. "/second"), "out/a.bin is being downloaded by another process")
    assert.equal("a.bin.part a.bin.part.json", contents "out")
    local size <const> = #tmp.read(dir .. "/out/a.bin.part")
    assert.truthy(size > 0 and size < 30000, size)
    local before <const> = #host:requests()
    check_whole(fetch { url = host.url .. "plain/a.bin", as = "a.bin", sha256 = sha256(data) })
    assert.equal("GET /plain/a.bin " .. size, host:requests()[before + 1])
  end)

  it("shows how far it is: ten lines at most", function()
    tmp.write(served .. "/a.bin", data:sub(1, 2000))
    local r <const> = fetch { url = host.url .. "slow/a.bin", as = "a.bin" }
    local lines <const> = {}
    for text in r.err:gmatch "a%.bin (%d+ kB of 2 kB)" do
      lines[#lines + 1] = text
    end
    assert.truthy(#lines >= 2 and #lines <= 10, r.err)
    assert.equal("2 kB of 2 kB", lines[#lines])
  end)

  it("needs curl, and says so", function()
    tmp.write(dir .. "/table.json", la.io.json_encode { { name = "set", into = "out", files = {
      { url = host.url .. "plain/a.bin", as = "a.bin" } } } })
    local r <const> = run({ "fetch", "--table", "table.json", "set" }, { dir = dir, env = { PATH = "/nowhere" } })
    assert.equal(1, r.status)
    contains(r.err, "install the package curl")
  end)
end)

describe("the table", function()
  it("is listed, with what is there", function()
    local r <const> = run({ "fetch" }, { dir = dir })
    assert.equal(0, r.status, r.err)
    for _, name in ipairs { "pf-willow", "pf-pascal", "caltech-101", "tss", "pascal-voc-2011", "pascal-parts",
      "spair-71k", "weakalign", "resnet18", "resnet152", "vgg16", "vgg19" } do
      assert.truthy(("\n" .. r.out):find("\n" .. name .. " ", 1, true), name)
    end
    la.io.mkdirs(dir .. "/datasets/tss/TSS_CVPR2016")
    contains(run({ "fetch" }, { dir = dir }).out, "datasets/tss: 1 of 2 files are there")
    tmp.write(dir .. "/datasets/tss/test_pairs_tss.csv", "")
    contains(run({ "fetch" }, { dir = dir }).out, "datasets/tss: is there")
  end)

  it("plans every row", function()
    local names <const> = {}
    for _, row in ipairs(require "lualign.data.known") do
      names[#names + 1] = row.name
    end
    local r <const> = run({ "fetch", "--dry-run", table.unpack(names) }, { dir = dir })
    assert.equal(0, r.status, r.err)
    local _, count <const> = r.out:gsub("would download", "")
    assert.truthy(count >= #names)
  end)

  it("says what is wrong with a row or a name", function()
    local function message(...)
      local r <const> = fetch(...)
      assert.equal(1, r.status)
      return r.err
    end
    contains(message { url = "http://h/x", as = "../x" }, "row 1: '../x' must be a path below the folder")
    contains(message { url = "http://h/x", as = "a/x" }, "as must be the name of a file")
    contains(message { url = "http://h/x", as = "x", sha256 = "xyz" }, "sha256 must be 8 to 64 hexadecimal digits")
    contains(message { url = {}, as = "x" }, "url must be")
    contains(message { url = "http://h/x", as = "x", gives = { "/etc" } }, "'/etc' must be")
    contains(message { url = "http://h/x", as = "x", size = 3 }, "unknown option 'size'")
    contains(message {}, "files hold at least one")
    for text, part in pairs {
      ["{"] = "table.json", ['{"name": "x"}'] = "must be a list of rows", ["3"] = "must be a list",
      ['["x"]'] = "must be a table", ['[{"name": "x"}]'] = "is missing",
    } do
      tmp.write(dir .. "/table.json", text)
      contains(run({ "fetch", "--table", "table.json", "x" }, { dir = dir }).err, part)
    end
    contains(run({ "fetch", "pf-pascl" }, { dir = dir }).err, "did you mean 'pf-pascal'?")
    contains(run({ "fetch", "tss", "pf-pascal", "--into", "x" }, { dir = dir }).err, "take one name")
  end)

  -- every row of the program's own keeps to what rows of users are checked for
  it("is well formed", function()
    tmp.write(dir .. "/own.json", la.io.json_encode(require "lualign.data.known"))
    local seen <const> = {}
    for _, row in ipairs(la.data.fetch.rows(dir .. "/own.json")) do
      assert.falsy(seen[row.name], row.name)
      seen[row.name] = true
    end
  end)
end)
