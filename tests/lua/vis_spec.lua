-- SPDX-License-Identifier: MIT
local la <const> = require "lualign"
local vis <const> = la.vis

-- One colour, as a tensor (height, width, 3).
local function plain(width, height, colour)
  return la.io.canvas(width, height, colour):tensor()
end

local function pixel(picture, x, y)
  return picture[y + 1][x + 1]:flat()
end

describe("a canvas", function()
  it("has the channels of its colour, and goes to a tensor and back", function()
    local c <const> = la.io.canvas(4, 3, { 1, 2, 3 })
    assert.same({ 4, 3, 3 }, { c:size() })
    assert.same({ 3, 4, 3 }, c:tensor():shape())
    assert.equal(c:bytes(), la.io.canvas(c:tensor()):bytes())
    assert.same({ 4, 3, 1 }, { la.io.canvas(4, 3, { 9 }):size() })
    assert.same({ 3, 4, 1 }, la.io.canvas(4, 3, 9):tensor():shape())
    assert.same({ 0, 0, 0 }, { la.io.canvas(1, 1):get(0, 0) })
    assert.same({ 2, 1, 1 }, { la.io.canvas(la.tensor { { 0, 260 } }):size() })
    assert.equal("canvas 4 x 3, 3 channels", tostring(c))
  end)

  it("is drawn on, and gives itself back", function()
    local c <const> = la.io.canvas(20, 20, { 0, 0, 0 })
    local same <const> = c:polygon({ 2, 2, 12, 2, 12, 12, 2, 12 }, { 255, 0, 0 })
      :ellipse(15, 15, 3, 2, 0.5, { 0, 255, 0 }):circle(4, 16, 2, { 0, 0, 255 }):line(0, 19, 19, 19, 1, 255, 0.5)
    assert.equal(c, same)
    assert.same({ 255, 0, 0 }, { c:get(5, 5) })
    assert.same({ 64, 0, 0 }, { c:get(2, 2) }) -- a corner covers a quarter of its pixel
    assert.same({ 0, 255, 0 }, { c:get(15, 15) })
    assert.same({ 0, 0, 255 }, { c:get(4, 16) })
    assert.same({ 128, 128, 128 }, { c:get(10, 19) })
  end)

  it("repeats its noise and its gradients", function()
    local function textured(seed)
      return la.io.canvas(30, 20, { 0, 0, 0 }):gradient({ 0, 0, 0 }, { 200, 100, 50 }, 0.3):noise(seed, 20, 4):bytes()
    end
    assert.equal(textured(3), textured(3))
    assert.not_equal(textured(3), textured(4))
  end)

  it("measures text", function()
    local w1 <const>, h1 <const> = la.io.text_size "one"
    local w2 <const>, h2 <const> = la.io.text_size("one\ntwo one", 2)
    assert.is_true(w2 > 4 * w1 - 2)
    assert.equal(4 * h1, h2)
  end)

  it("says what is wrong", function()
    local c <const>, grey <const> = la.io.canvas(4, 4), la.io.canvas(4, 4, { 0 })
    local cases <const> = {
      { function() la.io.canvas(0, 4) end, "width and height must be between 1 and 32768, got 0 and 4" },
      { function() la.io.canvas(4, 4, { 1, 2 }) end, "a colour has 1 or 3 numbers" },
      { function() la.io.canvas(la.zeros(2)) end, "the picture must be %(H, W, 3%)" },
      { function() c:polygon({ 1, 2, 3 }, { 0 }) end, "even count of numbers" },
      { function() c:polygon({ 1, 2, 3, "x" }, { 0 }) end, "numbers only" },
      { function() c:polygon({ 1, 2, 3, 0 / 0 }, { 0 }) end, "must be finite" },
      { function() c:circle(1, 1, math.huge, 0) end, "must be finite" },
      { function() c:line(0, 0, 1, 1, 1, 0, 2) end, "alpha must be between 0 and 1" },
      { function() grey:circle(1, 1, 1, { 1, 2, 3 }) end, "one channel takes one number" },
      { function() c:get(4, 0) end, "x is outside the canvas" },
      { function() c:paste(3) end, "tensor expected" },
    }
    for _, case in ipairs(cases) do
      assert.error_matches(case[1], case[2])
    end
  end)
end)

describe("vis.overlay", function()
  it("mixes two pictures of one size", function()
    local a <const>, b <const> = plain(3, 2, { 200, 100, 0 }), plain(3, 2, { 0, 100, 200 })
    assert.same({ 100, 100, 100 }, pixel(vis.overlay(a, b), 1, 1))
    assert.same({ 50, 100, 150 }, pixel(vis.overlay(a, b, 0.25), 2, 0))
    assert.same({ 0, 100, 200 }, pixel(b, 0, 0)) -- as it was
    assert.error_matches(function() vis.overlay(a, plain(4, 2, { 0, 0, 0 })) end, "got 3 x 2 and 4 x 2")
    assert.error_matches(function() vis.overlay(a, "b.png") end, "overlay: b must be a picture, got a string")
  end)

  it("takes floats and canvases", function()
    assert.same({ 60, 60, 60 }, pixel(vis.overlay(la.full({ 2, 2, 3 }, 100.0), la.io.canvas(2, 2, { 20 })), 0, 0))
  end)
end)

describe("vis.checkerboard", function()
  it("takes squares in turn", function()
    local picture <const> = vis.checkerboard(plain(7, 5, { 255, 0, 0 }), plain(7, 5, { 0, 0, 255 }), { size = 2 })
    assert.same({ 5, 7, 3 }, picture:shape())
    for y = 0, 4 do
      for x = 0, 6 do
        local first <const> = (x // 2 + y // 2) % 2 == 1
        assert.same(first and { 255, 0, 0 } or { 0, 0, 255 }, pixel(picture, x, y))
      end
    end
    assert.error_matches(function() vis.checkerboard(picture, picture, { size = 0 }) end, "at least 1, got 0")
  end)
end)

describe("vis.side_by_side", function()
  local a <const>, b <const> = plain(20, 10, { 50, 50, 50 }), plain(30, 15, { 80, 80, 80 })

  it("puts pictures next to each other", function()
    local picture <const> = vis.side_by_side(a, b)
    assert.same({ 15, 58, 3 }, picture:shape())
    assert.same({ 50, 50, 50 }, pixel(picture, 19, 9))
    assert.same({ 255, 255, 255 }, pixel(picture, 20, 5))
    assert.same({ 255, 255, 255 }, pixel(picture, 5, 12))
    assert.same({ 80, 80, 80 }, pixel(picture, 28, 0))
  end)

  it("joins what corresponds in one colour, and other pairs in others", function()
    local points <const> = { source = { { 4, 3 }, { 4, 8 } }, target = { { 11, 4 }, { 11, 10 } } }
    local picture <const> = vis.side_by_side(a, b, points, { gap = 4, radius = 2 })
    local first <const>, second <const> = pixel(picture, 3, 2), pixel(picture, 3, 7)
    assert.not_same(first, second)
    assert.same(first, pixel(picture, 10 + 24, 3))
    assert.same(second, pixel(picture, 10 + 24, 9))
    assert.not_same({ 50, 50, 50 }, pixel(picture, 12, 2)) -- the line
    local dots <const> = vis.side_by_side(a, b, points, { gap = 4, radius = 2, lines = false })
    assert.same({ 50, 50, 50 }, pixel(dots, 12, 2))
  end)

  it("leaves out points that are nowhere", function()
    local nowhere <const> = { source = { { 0 / 0, 3 } }, target = { { math.huge, 4 } } }
    assert.equal(vis.side_by_side(a, b):bytes(), vis.side_by_side(a, b, nowhere):bytes())
  end)

  it("says what is wrong with its points", function()
    local p <const> = { { 1, 1 } }
    local cases <const> = {
      { { source = p, target = {} }, "must be equally long, got 1 and 0" },
      { { source = p, targt = p }, "did you mean 'target'" },
      { { source = { 3 }, target = p }, "points.source%[1%] must be { x, y }" },
    }
    for _, case in ipairs(cases) do
      assert.error_matches(function() vis.side_by_side(a, b, case[1]) end, case[2])
    end
  end)
end)

describe("vis.grid", function()
  it("lays pictures out in rows, centred in their cells", function()
    local images <const> = {}
    for i = 1, 5 do
      images[i] = plain(10, i == 2 and 4 or 8, { 40 * i, 0, 0 })
    end
    local sheet <const> = vis.grid { images = images, columns = 3, gap = 2 }
    assert.same({ 2 * 10 + 2, 3 * 12 + 2, 3 }, sheet:shape())
    assert.same({ 40, 0, 0 }, pixel(sheet, 2, 2))
    assert.same({ 255, 255, 255 }, pixel(sheet, 14, 3)) -- above the low one
    assert.same({ 80, 0, 0 }, pixel(sheet, 14, 4))
    assert.same({ 160, 0, 0 }, pixel(sheet, 2, 12))
    assert.same({ 200, 0, 0 }, pixel(sheet, 23, 19))
    assert.same({ 255, 255, 255 }, pixel(sheet, 30, 15)) -- no sixth
  end)

  it("writes labels under them", function()
    local images <const> = { plain(40, 10, { 0, 0, 0 }), plain(40, 10, { 0, 0, 0 }) }
    local without <const> = vis.grid { images = images, columns = 2 }
    local with <const> = vis.grid { images = images, columns = 2, labels = { "one" } }
    assert.is_true(with:size(1) > without:size(1))
    local function ink(x, width)
      return (255 - with:narrow(1, 15, with:size(1) - 14):narrow(2, x + 1, width):astype "float32"):sum():item()
    end
    assert.is_true(ink(4, 40) > 1000)
    assert.equal(0, ink(48, 40))
  end)

  it("says what is wrong", function()
    assert.error_matches(function() vis.grid {} end, "'images' is missing")
    assert.error_matches(function() vis.grid { images = {} } end, "at least one picture")
    assert.error_matches(function() vis.grid { images = { 3 } } end, "images%[1%] must be a picture, got a number")
    assert.error_matches(function() vis.grid { images = { plain(1, 1, { 0 }) }, columns = 0 } end, "at least 1, got 0")
  end)
end)

describe("vis.points", function()
  it("puts dots at 1-based pixels", function()
    local yellow <const> = { 255, 255, 0 }
    local picture <const> = vis.points(plain(20, 20, { 0, 0, 0 }), { { 5, 9 } }, { colour = yellow, radius = 2 })
    assert.same(yellow, pixel(picture, 4, 8))
    assert.same({ 0, 0, 0 }, pixel(picture, 12, 8))
  end)
end)
