-- SPDX-License-Identifier: MIT
local la <const> = require "lualign"
local optest <const> = require "lib.optest"
local shared <const> = require "lib.shared"
local tmp <const> = require "lib.tmp"

local dir, path, bytes

-- A picture (13, 18, 3) of random bytes in dir/p.png.
setup(function()
  dir = tmp.dir()
  path = dir .. "/p.png"
  local text <const> = {}
  for i = 1, 13 * 18 * 3 do
    text[i] = string.char(math.random(0, 255))
  end
  bytes = table.concat(text)
  la.image.save(path, la.from_bytes(bytes, "uint8", { 13, 18, 3 }))
end)

teardown(function()
  tmp.remove(dir)
end)

-- Pixels of an upright picture, given by its stored ones (rows of columns), as EXIF 2.3 names the orientations.
local function transposed(rows)
  local out <const> = {}
  for x = 1, #rows[1] do
    out[x] = {}
    for y = 1, #rows do
      out[x][y] = rows[y][x]
    end
  end
  return out
end

local function upside_down(rows)
  local out <const> = {}
  for y = 1, #rows do
    out[y] = rows[#rows + 1 - y]
  end
  return out
end

local function mirror_rows(rows)
  return transposed(upside_down(transposed(rows)))
end

local UPRIGHT <const> = {
  function(rows) return rows end, mirror_rows, -- 1: as stored, 2: mirrored
  function(rows) return mirror_rows(upside_down(rows)) end, upside_down, -- 3: by 180 degrees
  transposed, function(rows) return mirror_rows(transposed(rows)) end, -- 6: by 90 degrees clockwise
  function(rows) return mirror_rows(upside_down(transposed(rows))) end, -- 7: over the other diagonal
  function(rows) return upside_down(transposed(rows)) end, -- 8: by 90 degrees counter-clockwise
}

-- A JPEG's bytes with EXIF data after its first marker: a directory with another tag before the orientation.
local function with_exif(jpeg, order, orientation)
  local tiff <const> = (order == "<" and "II" or "MM") .. string.pack(order .. "I2I4I2 I2I2I4I4 I2I2I4I2I2 I4",
    42, 8, 2, 0x0110, 2, 1, 0, 0x0112, 3, 1, orientation, 0, 0)
  local block <const> = "Exif\0\0" .. tiff
  return jpeg:sub(1, 2) .. "\xff\xe1" .. string.pack(">I2", #block + 2) .. block .. jpeg:sub(3)
end

describe("upright", function()
  local jpeg, stored

  setup(function()
    la.image.save(dir .. "/p.jpg", la.image.load(path), { quality = 95 })
    jpeg = tmp.read(dir .. "/p.jpg")
    stored = la.image.load(dir .. "/p.jpg"):totable()
  end)

  it("turns a photograph as its EXIF data say, in either byte order", function()
    for orientation, turn in ipairs(UPRIGHT) do
      for _, order in ipairs { "<", ">" } do
        tmp.write(dir .. "/turned.jpg", with_exif(jpeg, order, orientation))
        assert.same(stored, la.image.load(dir .. "/turned.jpg"):totable())
        assert.same(turn(stored), la.image.load(dir .. "/turned.jpg", { upright = true }):totable())
      end
    end
  end)

  it("is how la.align sees photographs", function()
    tmp.write(dir .. "/turned.jpg", with_exif(jpeg, ">", 8))
    local t <const> = la.align(dir .. "/turned.jpg", dir .. "/p.jpg", { refine = 1, starts = false })
    assert.same(UPRIGHT[8](stored), t.source:totable())
    assert.same(stored, t.target:totable())
  end)

  it("comes before the crop and the size", function()
    tmp.write(dir .. "/turned.jpg", with_exif(jpeg, "<", 6))
    local whole <const> = la.image.load(dir .. "/turned.jpg", { upright = true })
    assert.same({ 18, 13, 3 }, whole:shape())
    local crop <const> = { top = 14, bottom = 18, left = 2, right = 13 }
    assert.equal(whole:narrow(1, 15, 4):narrow(2, 3, 11):contiguous():bytes(),
      la.image.load(dir .. "/turned.jpg", { upright = true, crop = crop }):bytes())
  end)

  it("leaves a picture alone whose EXIF data are absent, cut or nonsense", function()
    local function same(data)
      tmp.write(dir .. "/odd.jpg", data)
      assert.same(stored, la.image.load(dir .. "/odd.jpg", { upright = true }):totable())
    end
    same(jpeg)
    same(with_exif(jpeg, "<", 0))
    same(with_exif(jpeg, ">", 9))
    for length = 0, 39 do -- ends before the tag does
      local block <const> = with_exif("", "<", 6):sub(5, 4 + length)
      same(jpeg:sub(1, 2) .. "\xff\xe1" .. string.pack(">I2", #block + 2) .. block .. jpeg:sub(3))
    end
    assert.same(la.image.load(path):totable(), la.image.load(path, { upright = true }):totable())
  end)
end)

describe("image.load", function()
  it("gives the bytes of the file", function()
    local t <const> = la.image.load(path)
    assert.same({ 13, 18, 3 }, t:shape())
    assert.equal("uint8", t.dtype)
    assert.equal(bytes, t:bytes())
    local width <const>, height <const> = la.image.info(path)
    assert.same({ 18, 13 }, { width, height })
  end)

  it("resizes as the op does", function()
    local x <const> = la.image.load(path):astype "float32":unsqueeze(1)
    for _, size in ipairs { { 7, 30 }, { 13, 18 }, { 1, 5 }, { 40, 40 } } do
      local op <const> = la.resize(x, { height = size[1], width = size[2], mode = "aligned" }):squeeze(1)
      local t <const> = la.image.load(path, { size = size })
      assert.equal("float32", t.dtype)
      optest.close(t, op, 1e-6)
      optest.close(la.image.load(path, { size = size, filter = "bilinear" }), op, 1e-6)
    end
    assert.same({ 9, 9, 3 }, la.image.load(path, { size = 9 }):shape())
  end)

  it("enlarges with antialiasing as half-pixel bilinear does, and shrinks to means", function()
    local x <const> = la.image.load(path):astype "float32"
    local large <const> = la.resize(x:unsqueeze(1), { height = 29, width = 40, mode = "half_pixel" }):squeeze(1)
    optest.close(la.image.load(path, { size = { 29, 40 }, filter = "antialias" }), large, 1e-5)
    local four <const> = { top = 0, bottom = 2, left = 3, right = 5 }
    local one <const> = la.image.load(path, { size = 1, filter = "antialias", crop = four })
    optest.close(one:reshape(3), x:narrow(1, 1, 2):narrow(2, 4, 2):mean({ 1, 2 }), 1e-6)
  end)

  it("crops, then flips, then resizes", function()
    local x <const> = la.image.load(path)
    local crop <const> = { top = 2, bottom = 9, left = 0, right = 17 }
    local part <const> = x:narrow(1, 3, 7):narrow(2, 1, 17)
    assert.equal(part:contiguous():bytes(), la.image.load(path, { crop = crop }):bytes())
    assert.equal(part:flip(2):contiguous():bytes(), la.image.load(path, { crop = crop, flip = true }):bytes())
    local mirrored <const> = part:flip(2):astype "float32":unsqueeze(1)
    local small <const> = la.resize(mirrored, { height = 5, width = 6, mode = "aligned" })
    optest.close(la.image.load(path, { crop = crop, flip = true, size = { 5, 6 } }), small:squeeze(1), 1e-6)
  end)

  it("says what is wrong with its options", function()
    local cases <const> = {
      { { siez = 3 }, "image.load: unknown option 'siez', did you mean 'size'" },
      { { size = 0 }, "size must be positive" }, { { size = { 3 } }, "size must be a side or { height, width }" },
      { { size = 2.5 }, "size must be a whole number, got 2.5" },
      { { size = "3" }, "size must be a whole number, got 3" },
      { { filter = "cubic" }, "'bilinear' or 'antialias', got cubic" },
      { { crop = { top = 0, bottom = 9, left = 0 } }, "right must be a whole number, got nil" },
      { { crop = { top = 0, bottom = 14, left = 0, right = 3 } }, "p.png: crop must lie within 18 x 13 pixels" },
      { { crop = 3 }, "crop must be { top =" }, { { 3 }, "options must have names" }, { 3, "options must be a table" },
    }
    for _, case in ipairs(cases) do
      assert.error_matches(function() la.image.load(path, case[1]) end, case[2])
    end
  end)

  it("names a file that is no picture, or no whole one", function()
    local file <const> = tmp.read(path)
    tmp.write(dir .. "/cut.png", file:sub(1, #file // 2))
    tmp.write(dir .. "/text.jpg", "no picture")
    assert.error_matches(function() la.image.load(dir .. "/cut.png") end, "cut.png: the PNG ends early")
    assert.error_matches(function() la.image.load(dir .. "/text.jpg") end, "text.jpg: is not a picture")
    assert.error_matches(function() la.image.load(dir .. "/none.jpg") end, "none.jpg: cannot be read")
    assert.error_matches(function() la.image.info(dir .. "/none.jpg") end, "none.jpg: cannot be read")
  end)

  it("reads photographs", function()
    local root <const> = shared.skip_without "data/pf-willow"
    local rows <const> = la.io.read_csv(root .. "/keypoints.csv")
    for i = 1, #rows, 7 do
      local t <const> = la.image.load(root .. "/" .. rows[i].image)
      assert.same({ tonumber(rows[i].height), tonumber(rows[i].width), 3 }, t:shape())
    end
  end)
end)

describe("image.save", function()
  it("rounds and clamps", function()
    local t <const> = la.tensor { { { -5, 0.4, 0.6 }, { 254.5, 300, 0 / 0 } } }
    la.image.save(dir .. "/c.png", t)
    assert.same({ { { 0, 0, 1 }, { 255, 255, 0 } } }, la.image.load(dir .. "/c.png"):totable())
  end)

  it("takes grey pictures, canvases and views", function()
    local function saved(picture)
      la.image.save(dir .. "/g.bmp", picture)
      return la.image.load(dir .. "/g.bmp")
    end
    assert.same({ { { 7, 7, 7 }, { 9, 9, 9 } } }, saved(la.tensor({ { 7, 9 } }, "uint8")):totable())
    assert.same({ { { 7, 7, 7 }, { 9, 9, 9 } } }, saved(la.tensor({ { { 7 }, { 9 } } }, "int32")):totable())
    assert.same({ { { 1, 2, 3 } } }, saved(la.io.canvas(1, 1, { 1, 2, 3 })):totable())
    assert.same({ { { 4, 4, 4 } } }, saved(la.io.canvas(1, 1, { 4 })):totable())
    local t <const> = la.image.load(path)
    assert.equal(t:flip(2):contiguous():bytes(), saved(t:flip(2)):bytes())
    assert.equal(t:bytes(), saved(t:unsqueeze(1)):bytes())
  end)

  it("makes smaller files of lower quality", function()
    local t <const> = la.image.load(path)
    la.image.save(dir .. "/low.jpg", t, { quality = 20 })
    la.image.save(dir .. "/high.jpg", t, { quality = 98 })
    assert.is_true(#tmp.read(dir .. "/low.jpg") < #tmp.read(dir .. "/high.jpg") / 2)
    local error_of <const> = function(name)
      return (la.image.load(dir .. name):astype "float32" - t:astype "float32"):abs():mean():item()
    end
    assert.is_true(error_of "/high.jpg" < error_of "/low.jpg" / 2)
  end)

  it("says what it cannot write", function()
    local t <const> = la.zeros(2, 2, 3)
    assert.error_matches(function() la.image.save(dir .. "/a.gif", t) end, "a.gif: the name must end in .png")
    assert.error_matches(function() la.image.save(dir .. "/a.png", la.zeros(2, 2, 4)) end,
      "picture must be %(H, W, 3%).* got %(2, 2, 4%)")
    assert.error_matches(function() la.image.save(dir .. "/a.jpg", t, { quality = 0 }) end, "between 1 and 100, got 0")
    assert.error_matches(function() la.image.save(dir .. "/a.jpg", t, { qualty = 5 }) end, "did you mean 'quality'")
    assert.error_matches(function() la.image.save(dir .. "/no/a.jpg", t) end, "a.jpg: cannot be written")
    assert.is_nil(la.io.exists(dir .. "/a.png"))
  end)
end)
