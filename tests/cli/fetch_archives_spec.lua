-- SPDX-License-Identifier: MIT
--
-- lualign fetch: archives, good and bad.

local la <const> = require "lualign"
local archives <const> = require "lib.archives"
local fetching <const> = require "lib.fetching"
local run <const> = require "lib.run"
local tmp <const> = require "lib.tmp"

local contains <const>, random_bytes <const> = fetching.contains, fetching.random_bytes

local dir, served, host, fetch, contents, stop

before_each(function()
  local f <const> = fetching.new()
  dir, served, host, fetch, contents, stop = f.dir, f.served, f.host, f.fetch, f.contents, f.stop
end)

after_each(function()
  stop()
end)

describe("an archive", function()
  local FILES <const> = { { name = "top/", mode = 493 }, { name = "top/a.txt", data = "A" },
    { name = "top/sub/", mode = 493 }, { name = "top/sub/b.txt", data = ("B"):rep(2000) },
    { name = "read me", data = "read" } }

  local function serve(name, bytes)
    tmp.write(served .. "/" .. name, bytes)
    return { url = host.url .. "plain/" .. name, as = name, unpack = true, gives = { "top/sub", "read me" } }
  end

  local function check_unpacked(r, left)
    assert.equal(0, r.status, r.err)
    assert.equal(left or "read me top", contents "out")
    assert.equal("A", tmp.read(dir .. "/out/top/a.txt"))
    assert.equal(("B"):rep(2000), tmp.read(dir .. "/out/top/sub/b.txt"))
  end

  local function check_refused(file, message)
    local r <const> = fetch(file)
    assert.equal(1, r.status, r.out)
    contains(r.err, message)
    assert.equal("", contents "out")
    assert.equal("out table.json", contents ".")
  end

  it("is unpacked: zip, tar, tar.gz", function()
    check_unpacked(fetch(serve("a.zip", archives.zip(FILES))))
    local again <const> = fetch(serve("a.zip", archives.zip(FILES)))
    contains(again.out, "is in out already")
    assert.equal(1, #host:requests())
    tmp.remove(dir .. "/out")
  end)

  it("is unpacked: tar, and what gzip made of it", function()
    check_unpacked(fetch(serve("a.tar", archives.tar(FILES))))
    run.shell(string.format("rm -r %s/out; gzip %s/a.tar", dir, served))
    check_unpacked(fetch(serve("a.tgz", tmp.read(served .. "/a.tar.gz"))))
  end)

  it("stays when it is told to, or was placed there by hand", function()
    check_unpacked(fetch(serve("a.zip", archives.zip(FILES)), "--keep"), "a.zip read me top")
    run.shell("rm -r " .. dir .. "/out/top")
    local wrong <const> = serve("a.zip", archives.zip(FILES))
    wrong.md5 = ("0"):rep(32)
    contains(fetch(wrong).err, "out/a.zip is there, but has the MD5")
    run.shell(string.format("rm '%s/out/read me'", dir))
    check_unpacked(fetch(serve("a.zip", archives.zip(FILES))), "a.zip read me top")
    assert.equal(1, #host:requests())
  end)

  it("may hold archives, have its files in a folder, and names of its own", function()
    local inner <const> = { { name = "old/", mode = 493 }, { name = "old/a.txt", data = "A" } }
    local file <const> = serve("a.zip", archives.zip { { name = "pack/one.tar", data = archives.tar(inner) },
      { name = "pack/two.zip", data = archives.zip(FILES) }, { name = "other/x", data = "x" } })
    file.from, file.inner, file.rename = "pack", { "one.tar", "two.zip" }, { { "old", "new" } }
    file.gives = { "new/a.txt", "top" }
    check_unpacked(fetch(file), "new read me top")
  end)

  it("of unknown contents is known again", function()
    local file <const> = serve("a.tar", archives.tar(FILES))
    file.gives = nil
    check_unpacked(fetch(file), ".a.tar.unpacked read me top")
    contains(fetch(file).out, "is in out already")
  end)

  it("without what it should hold is refused", function()
    local file <const> = serve("a.zip", archives.zip { { name = "x/y", data = "z" } })
    check_refused(file, "has no 'top/sub' in it, but x")
    file.from = "nowhere"
    check_refused(file, "has no folder 'nowhere' in it")
    file.from, file.inner = nil, { "x/none.tar" }
    check_refused(file, "has no 'x/none.tar' in it")
  end)

  it("that is broken or none is refused", function()
    check_refused(serve("a.zip", "no archive"), "is neither a zip nor a tar archive")
    check_refused(serve("a.zip", ""), "is neither a zip nor a tar archive")
    check_refused(serve("a.zip", archives.zip(FILES):sub(1, 700)), "a.zip: ")
    check_refused(serve("a.tar", archives.tar(FILES):sub(1, 2500)), "a.tar: ")
    check_refused(serve("a.tgz", "\x1f\x8b" .. random_bytes(500)), "a.tgz: ")
  end)

  it("with a way out is refused", function()
    local out <const> = { name = "../escaped", data = "x" }
    for _, entry in ipairs { out, { name = dir .. "/escaped", data = "x" },
      { name = "a/../../escaped", data = "x" } } do
      check_refused(serve("a.zip", archives.zip { FILES[2], entry }), "leads out of the folder")
      check_refused(serve("a.tar", archives.tar { FILES[2], entry }), "leads out of the folder")
    end
  end)

  it("with a link out is refused", function()
    for _, target in ipairs { "/etc/passwd", "../x", "..", "in/../../x" } do
      check_refused(serve("a.tar", archives.tar { FILES[2], { name = "l", link = target } }), "a.tar: ")
      check_refused(serve("a.zip", archives.zip { FILES[2], { name = "l", link = target } }), "a link to")
    end
    check_refused(serve("a.tar", archives.tar { { name = "l", link = dir }, { name = "l/escaped", data = "x" } }),
      "a.tar: ")
    tmp.write(served .. "/secret", "secret")
    check_refused(serve("a.tar", archives.tar { FILES[2], { name = "l", hard = served .. "/secret" } }), "a.tar: ")
    check_refused(serve("a.tar", archives.tar { FILES[2], { name = "l", hard = "../../table.json" } }), "a.tar: ")
    check_refused(serve("a.tar", archives.tar { FILES[2], { name = "l", kind = "6" } }), "a.tar: ")
  end)

  it("may hold links that stay inside", function()
    local entries <const> = table.move(FILES, 1, #FILES, 1, {})
    entries[#entries + 1] = { name = "top/sub/l", link = "../a.txt" }
    entries[#entries + 1] = { name = "top/h", hard = "top/a.txt" }
    check_unpacked(fetch(serve("a.tar", archives.tar(entries))))
    assert.equal("A", tmp.read(dir .. "/out/top/sub/l"))
    assert.equal("A", tmp.read(dir .. "/out/top/h"))
  end)

  it("stays where it is after Ctrl-C while it is unpacked", function()
    local file <const> = serve("a.tar", archives.tar(FILES))
    la.io.mkdirs(dir .. "/bin")
    tmp.write(dir .. "/bin/tar", "#!/bin/sh\ncase \"$1\" in -x) echo >started; exec sleep 20;; esac\n"
      .. "exec $TAR \"$@\"\n")
    tmp.write(dir .. "/table.json", la.io.json_encode { { name = "set", into = "out", files = { file } } })
    local r <const> = run.shell(string.format([[
export TAR=$(command -v tar)
chmod +x bin/tar
PATH=$PWD/bin:$PATH %s fetch --table table.json set & pid=$!
n=0; until [ -e started ] || [ $n -gt 100 ]; do sleep 0.1; n=$((n+1)); done
kill -INT $pid
wait $pid
]], run.quote(run.program)), { dir = dir })
    assert.equal(130, r.status, r.err)
    assert.equal("a.tar", contents "out")
    check_unpacked(fetch(file), "a.tar read me top")
    assert.equal(1, #host:requests())
  end)

  it("can be read whatever its modes are", function()
    local file <const> = serve("a.tar", archives.tar { { name = "top/", mode = 0 }, { name = "top/x", data = "x",
      mode = 0 }, { name = "read me", data = "" } })
    file.gives = { "top" }
    assert.equal(0, fetch(file).status)
    assert.equal("rwx", run.shell("stat -c %A '" .. dir .. "/out/top'").out:sub(2, 4))
    assert.equal("rw-", run.shell("stat -c %A '" .. dir .. "/out/top/x'").out:sub(2, 4))
  end)

  it("does not go over what is there", function()
    la.io.mkdirs(dir .. "/out/top")
    tmp.write(dir .. "/out/top/mine", "mine")
    local r <const> = fetch(serve("a.zip", archives.zip(FILES)))
    assert.equal(1, r.status)
    contains(r.err, "out/top is there, but not all that belongs to it")
    assert.equal("top", contents "out")
    assert.equal("mine", tmp.read(dir .. "/out/top/mine"))
  end)
end)
