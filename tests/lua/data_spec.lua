-- SPDX-License-Identifier: MIT
--
-- The data sets: figures, synthetic warps, pairs, lists of keypoints. Pictures are drawn here.

local la <const> = require "lualign"
local compare <const> = require "lib.compare"
local rng_of <const> = require "lualign.util.rng"
local tmp <const> = require "lib.tmp"

local data <const> = la.data

local function scoped(name, fn)
  it(name, function() la.scope(fn) end)
end

local function has(text, part)
  assert.truthy(tostring(text):find(part, 1, true), string.format("%q expected in:\n%s", part, tostring(text)))
end

-- fn(...) fails with a message that holds each of the parts.
local function fails(parts, fn, ...)
  local ok <const>, message <const> = pcall(fn, ...)
  assert.is_false(ok)
  for _, part in ipairs(parts) do
    has(message, part)
  end
end

-- The generators of an epoch.
local function epoch(n)
  return function(i) return rng_of(11, n, i) end
end

local function same(a, b)
  assert.is_true(a:bytes() == b:bytes(), "the tensors differ")
end

-- ---- pictures ----

-- A picture whose channels grow linearly with x, with y, and fall with x: exact under bilinear resizing.
local function ramp(path, width, height)
  local rows <const> = {}
  for y = 1, height do
    rows[y] = {}
    for x = 1, width do
      rows[y][x] = { 2 * x, 3 * y, 240 - x - y }
    end
  end
  la.image.save(path, la.tensor(rows, "uint8"))
end

-- A picture with a shape at a place that depends on n.
local function drawing(path, n, width, height)
  local canvas <const> = la.io.canvas(width or 40, height or 30, { 20 * n, 90, 200 - 20 * n })
  canvas:ellipse(5 + 3 * n, 10 + n, 4, 6, 0.3, { 250, 10 * n, 30 }, 1)
  canvas:line(0, n, 30, 20, 2, { 0, 255, 0 }, 1)
  la.image.save(path, canvas:tensor())
end

local folder

-- photos/cat/{a,b,c}.png, photos/dog/{d,e}.png, and what is no picture
setup(function()
  folder = tmp.dir()
  local photos <const> = folder .. "/photos"
  la.io.mkdirs(photos .. "/cat")
  la.io.mkdirs(photos .. "/dog")
  la.io.mkdirs(photos .. "/.hidden")
  local n = 0
  for _, name in ipairs { "cat/a", "cat/b", "cat/c", "dog/d", "dog/e" } do
    n = n + 1
    drawing(photos .. "/" .. name .. ".png", n, 40 + n, 30 + 2 * n)
  end
  drawing(photos .. "/.hidden/x.png", 1)
  tmp.write(photos .. "/cat/notes.txt", "not a picture")
  tmp.write(photos .. "/list.csv", "source_image,target_image,flip\ncat/a.png,cat/b.png,0\ncat/a.png,cat/b.png,1\n")
  ramp(folder .. "/ramp.png", 100, 70)
end)

teardown(function()
  tmp.remove(folder)
end)

local function photo(name, size)
  return la.image.load(folder .. "/photos/" .. name .. ".png", { size = size })
end

-- ---- figures ----

describe("data.figures", function()
  local figures <const> = data.figures

  scoped("draws the same for the same generator, and another for the next", function()
    for _, category in ipairs(figures.CATEGORIES) do
      local a <const>, ka <const>, ma <const>, name <const> = figures.draw(rng_of(3, 0, 5), { category = category })
      local b <const>, kb <const>, mb <const> = figures.draw(rng_of(3, 0, 5), { category = category })
      local c <const>, kc <const> = figures.draw(rng_of(3, 0, 6), { category = category })
      assert.equal(category, name)
      assert.equal(a:bytes(), b:bytes())
      assert.equal(ma:bytes(), mb:bytes())
      assert.same(ka, kb)
      assert.not_equal(a:bytes(), c:bytes())
      assert.not_same(ka, kc)
    end
  end)

  scoped("draws what is asked for", function()
    local canvas <const>, _, mask <const> = figures.draw(rng_of(1, 2), { size = 97 })
    assert.same({ 97, 97, 3 }, { canvas:size() })
    assert.same({ 97, 97, 1 }, { mask:size() })
    fails({ "vehicle, animal, bottle, bird, face", "got 'tree'" }, figures.draw, rng_of(1), { category = "tree" })
    fails({ "category", "got 'CATEGORIES'" }, figures.draw, rng_of(1), { category = "CATEGORIES" })
    fails({ "catgory", "did you mean 'category'" }, figures.draw, rng_of(1), { catgory = "face" })
  end)

  scoped("draws every category when none is asked for", function()
    local seen <const>, kinds = {}, 0
    for i = 1, 60 do
      local _, _, _, category <const> = figures.draw(rng_of(9, 0, i), { size = 16 })
      kinds = kinds + (seen[category] and 0 or 1)
      seen[category] = true
    end
    assert.equal(#figures.CATEGORIES, kinds)
  end)

  scoped("has its keypoints on the figure, in the picture", function()
    local size <const> = 120
    -- whether the mask is set within a pixel of a 1-based point
    local function on_figure(mask, p)
      for dy = -1, 1 do
        for dx = -1, 1 do
          local x <const>, y <const> = math.floor(p[1] - 1 + 0.5) + dx, math.floor(p[2] - 1 + 0.5) + dy
          if x >= 0 and y >= 0 and x < size and y < size and mask:get(x, y) > 0 then
            return true
          end
        end
      end
      return false
    end
    for _, category in ipairs(figures.CATEGORIES) do
      local on, inside, all = 0, 0, 0
      for i = 1, 12 do
        local _, points <const>, mask <const> = figures.draw(rng_of(4, 0, i), { category = category, size = size })
        assert.equal(10, #points)
        for _, p in ipairs(points) do
          all = all + 1
          on = on + (on_figure(mask, p) and 1 or 0)
          inside = inside + (p[1] >= 1 and p[2] >= 1 and p[1] <= size and p[2] <= size and 1 or 0)
        end
      end
      assert.is_true(on >= 0.9 * all, string.format("%s: %d of %d keypoints on the mask", category, on, all))
      assert.is_true(inside >= 0.95 * all, string.format("%s: %d of %d keypoints inside", category, inside, all))
    end
  end)

  scoped("has its keypoints in one order", function()
    -- pairs of keypoints: the first is left of the second; the first is above the second
    local left <const> = {
      vehicle = { { 1, 2 }, { 3, 6 }, { 4, 5 }, { 7, 8 }, { 9, 10 } },
      animal = { { 1, 2 }, { 2, 3 }, { 4, 5 }, { 7, 8 } },
      bottle = { { 1, 2 }, { 3, 4 }, { 5, 6 }, { 8, 9 } }, bird = { { 1, 2 }, { 2, 3 }, { 4, 5 }, { 7, 8 } },
      face = { { 1, 2 }, { 3, 4 }, { 6, 7 }, { 9, 10 } },
    }
    local above <const> = {
      vehicle = { { 4, 3 }, { 5, 6 }, { 3, 1 } }, animal = { { 3, 1 }, { 4, 9 }, { 9, 7 } },
      bottle = { { 7, 5 }, { 5, 3 }, { 3, 1 }, { 7, 10 } }, bird = { { 3, 9 }, { 10, 7 }, { 9, 10 } },
      face = { { 3, 1 }, { 1, 5 }, { 5, 8 } },
    }
    for _, category in ipairs(figures.CATEGORIES) do
      for i = 1, 8 do
        local _, points <const> = figures.draw(rng_of(6, 0, i), { category = category, size = 60, spread = 0 })
        for _, k in ipairs(left[category]) do
          assert.is_true(points[k[1]][1] < points[k[2]][1], category .. ": " .. k[1] .. " left of " .. k[2])
        end
        for _, k in ipairs(above[category]) do
          assert.is_true(points[k[1]][2] < points[k[2]][2], category .. ": " .. k[1] .. " above " .. k[2])
        end
      end
    end
  end)

  scoped("pairs: batches of figures of one category", function()
    local set <const> = figures.pairs { count = 7, seed = 5, size = 64 }
    assert.equal(7, set:length())
    local batch <const> = set:batch({ 2, 5, 3 }, epoch(1))
    for _, name in ipairs { "source", "target" } do
      assert.same({ 3, 64, 64, 3 }, batch[name]:shape())
      assert.equal("float32", batch[name].dtype)
      local least <const>, most <const> = batch[name]:min():item(), batch[name]:max():item()
      assert.is_true(least >= 0 and most <= 255 and most > least + 50, least .. ".." .. most)
    end
    -- an item depends on its generator, not on the batch that it is in
    local alone <const> = set:batch({ 5 }, epoch(1))
    same(batch.source:select(1, 2), alone.source:select(1, 1))
    same(batch.target:select(1, 2), alone.target:select(1, 1))
    assert.not_equal(alone.source:bytes(), set:batch({ 5 }, epoch(2)).source:bytes())
    assert.not_equal(alone.source:bytes(), alone.target:bytes())
  end)

  scoped("pairs: pair i depends on the seed and i", function()
    local one <const>, again <const> = figures.pairs { seed = 8, size = 48 }, figures.pairs { seed = 8, size = 48 }
    local other <const> = figures.pairs { seed = 9, size = 48 }
    local categories <const> = {}
    again:pair(1)
    for i = 1, 5 do
      local a <const>, b <const>, c <const> = one:pair(i), again:pair(i), other:pair(i)
      assert.equal(a.source:bytes(), b.source:bytes())
      assert.same(a.target_points, b.target_points)
      assert.not_equal(a.source:bytes(), c.source:bytes())
      assert.equal(#a.source_points, #a.target_points)
      categories[a.category] = true
    end
    for _, name in ipairs(figures.CATEGORIES) do
      assert.is_true(categories[name], name)
    end
    same(one:batch({ 3 }).target:astype("uint8"), one:pair(3).target:tensor())
  end)

  scoped("singles: batches with their transformations", function()
    for model, count in pairs { affine = 6, tps = 18 } do
      local set <const> = figures.singles { count = 4, model = model, size = 33, canvas = 50 }
      assert.equal(4, set:length())
      local batch <const> = set:batch({ 4, 1 }, epoch(1))
      assert.same({ 2, 33, 33, 3 }, batch.source:shape())
      assert.same({ 2, 33, 33, 3 }, batch.target:shape())
      assert.same({ 2, count }, batch.theta:shape())
      same(batch.theta:select(1, 2), set:batch({ 1 }, epoch(1)).theta:select(1, 1))
      same(batch.target:select(1, 2), set:batch({ 1 }, epoch(1)).target:select(1, 1))
      assert.not_equal(batch.theta:select(1, 1):bytes(), batch.theta:select(1, 2):bytes())
      assert.is_true(batch.source:min():item() >= 0 and batch.source:max():item() <= 255.001)
    end
  end)
end)

-- ---- synthetic ----

describe("data.synthetic", function()
  scoped("makes the target of the source by theta", function()
    for model, count in pairs { affine = 6, tps = 18 } do
      local set <const> = data.synthetic {
        images = { folder .. "/ramp.png", folder .. "/ramp.png" }, model = model, size = 41, canvas = { 60, 80 },
      }
      assert.equal(2, set:length())
      local batch <const> = set:batch({ 1, 2 }, epoch(1))
      assert.same({ 2, 41, 41, 3 }, batch.source:shape())
      assert.same({ 2, count }, batch.theta:shape())
      -- target(g) = source(T(g)), wherever T(g) lies in the source; the picture is linear, so sampling it is exact
      local grid <const> = la.geometry.warp_grid({ [model] = batch.theta }, 41, 41)
      local mapped <const>, target <const> = la.grid_sample(batch.source, grid):flat(), batch.target:flat()
      local at <const> = grid:flat()
      local seen, worst = 0, 0
      for k = 1, #at // 2 do
        if math.abs(at[2 * k - 1]) <= 1 and math.abs(at[2 * k]) <= 1 then
          seen = seen + 1
          for c = 3 * k - 2, 3 * k do
            worst = math.max(worst, math.abs(mapped[c] - target[c]))
          end
        end
      end
      assert.is_true(seen > 300, seen .. " cells inside")
      assert.is_true(worst < 1, model .. ": " .. worst)
    end
  end)

  scoped("mirrors some pictures, and gives an item the same in any batch", function()
    local set <const> = data.synthetic { images = { folder .. "/ramp.png" }, size = 21, canvas = { 30, 40 } }
    local mirrored, plain = 0, 0
    for e = 1, 16 do
      local source <const> = set:batch({ 1 }, epoch(e)).source:totable()[1]
      if source[11][1][1] > source[11][21][1] then
        mirrored = mirrored + 1
      else
        plain = plain + 1
      end
    end
    assert.is_true(mirrored >= 3 and plain >= 3, mirrored .. " mirrored, " .. plain .. " not")
    local two <const> = data.synthetic {
      images = { folder .. "/ramp.png", folder .. "/photos/cat/a.png" }, size = 21, canvas = { 30, 40 },
    }
    local both <const>, one <const> = two:batch({ 1, 2 }, epoch(3)), two:batch({ 2 }, epoch(3))
    same(both.target:select(1, 2), one.target:select(1, 1))
    same(both.theta:select(1, 2), one.theta:select(1, 1))
    two:prefetch({ 2 }, epoch(4))
    same(one.target, two:batch({ 2 }, epoch(3)).target) -- what was decoded ahead was of another epoch
  end)

  it("finds pictures in folders and lists", function()
    local find <const> = data.synthetic.find_images
    local photos <const> = folder .. "/photos"
    assert.same({
      photos .. "/cat/a.png", photos .. "/cat/b.png", photos .. "/cat/c.png",
      photos .. "/dog/d.png", photos .. "/dog/e.png",
    }, find { photos })
    tmp.write(photos .. "/images.csv", "image,category\ndog/e.png,dog\ncat/a.png,cat\n")
    assert.same({ photos .. "/dog/e.png", photos .. "/cat/a.png" }, find { photos .. "/images.csv" })
    fails({ "list.csv", "image" }, find, { photos .. "/list.csv" })
    fails({ "no picture in " .. photos .. "/nothing" }, function()
      la.io.mkdirs(photos .. "/nothing")
      find { photos .. "/nothing" }
    end)
  end)
end)

-- ---- pairs ----

describe("data.pairs", function()
  scoped("of a folder: all ordered pairs within one category", function()
    local set <const> = data.pairs { root = folder .. "/photos", size = 24 }
    assert.equal(3 * 2 + 2 * 1, set:length())
    for _, item in ipairs(set.items) do
      assert.not_equal(item.source, item.target)
      assert.equal(item.source:match "photos/(%a+)/", item.target:match "photos/(%a+)/")
      assert.equal(item.source:match "photos/(%a+)/", item.category)
    end
    local batch <const> = set:batch({ 1, 8 }, epoch(1))
    assert.same({ 2, 24, 24, 3 }, batch.source:shape())
    assert.equal("float32", batch.source.dtype)
    same(batch.source:select(1, 1), photo("cat/a", 24))
    same(batch.target:select(1, 1), photo("cat/b", 24))
    same(batch.source:select(1, 2), photo("dog/e", 24))
    same(batch.target:select(1, 2), photo("dog/d", 24))
  end)

  scoped("of a list, with its flips: both pictures are mirrored", function()
    local set <const> = data.pairs {
      lists = { { root = folder .. "/photos", list = folder .. "/photos/list.csv" } }, size = 20,
    }
    assert.equal(2, set:length())
    local batch <const> = set:batch({ 1, 2 }, epoch(1))
    same(batch.source:select(1, 1), photo("cat/a", 20))
    for name, file in pairs { source = "cat/a", target = "cat/b" } do
      local mirrored <const> = la.flip(photo(file, 20), 2)
      compare.close(batch[name]:select(1, 2), mirrored, 1e-6, name)
    end
  end)

  scoped("flips by a coin, both or neither", function()
    local set <const> = data.pairs { root = folder .. "/photos", size = 20, augment = "flip" }
    local flipped = 0
    for e = 1, 40 do
      local jobs <const> = set:jobs(3, rng_of(1, e, 3))
      assert.equal(2, #jobs)
      assert.equal(jobs[1].options.flip, jobs[2].options.flip)
      assert.is_nil(jobs[1].options.crop)
      flipped = flipped + (jobs[1].options.flip and 1 or 0)
    end
    assert.is_true(flipped >= 8 and flipped <= 32, flipped .. " of 40")
  end)

  scoped("crops within bounds, each picture on its own", function()
    local set <const> = data.pairs { root = folder .. "/photos", size = 20, augment = "crop" }
    local different = 0
    for e = 1, 200 do
      local jobs <const> = set:jobs(e % 8 + 1, rng_of(2, e))
      for _, job in ipairs(jobs) do
        local w <const>, h <const> = la.image.info(job.path)
        local c <const> = job.options.crop
        for _, edge in ipairs { { c.top, c.bottom, h }, { c.left, c.right, w } } do
          local low <const>, high <const>, n <const> = table.unpack(edge)
          assert.equal("integer", math.type(low))
          assert.equal("integer", math.type(high))
          assert.is_true(low >= 0 and low < n / 4 and high >= math.floor(3 * n / 4) and high <= n, low .. ".." .. high)
        end
        assert.is_false(job.options.flip)
      end
      different = different + (jobs[1].options.crop.top ~= jobs[2].options.crop.top and 1 or 0)
    end
    assert.is_true(different > 50)
    -- and what comes out is that window
    local job <const> = set:jobs(1, rng_of(11, 1, 1))[1]
    local batch <const> = set:batch({ 1 }, epoch(1))
    same(batch.source:select(1, 1), la.image.load(job.path, { size = 20, crop = job.options.crop }))
  end)

  scoped("gives the same whatever was decoded ahead", function()
    local options <const> = { root = folder .. "/photos", size = 20, augment = "crop_flip" }
    local plain <const> = data.pairs(options)
    local first <const>, second <const> = plain:batch({ 1, 2, 3 }, epoch(1)), plain:batch({ 7, 5 }, epoch(1))
    local ahead <const> = data.pairs(options)
    ahead:prefetch({ 1, 2, 3 }, epoch(1))
    ahead:prefetch({ 7, 5 }, epoch(1))
    local b2 <const> = ahead:batch({ 7, 5 }, epoch(1))
    local b1 <const> = ahead:batch({ 1, 2, 3 }, epoch(1))
    ahead:prefetch({ 1, 2, 3 }, epoch(1))
    local c1 <const> = ahead:batch({ 1, 2, 3 }, epoch(1))
    for _, name in ipairs { "source", "target" } do
      same(b1[name], first[name])
      same(b2[name], second[name])
      same(c1[name], first[name])
    end
    -- the same items of another epoch are other pictures
    ahead:prefetch({ 1, 2, 3 }, epoch(1))
    local other <const> = ahead:batch({ 1, 2, 3 }, epoch(2))
    assert.not_equal(first.source:bytes(), other.source:bytes())
    same(other.source, plain:batch({ 1, 2, 3 }, epoch(2)).source)
  end)

  it("says what is wrong", function()
    fails({ "folder of images for each category" }, data.pairs, { root = folder .. "/photos/cat" })
    fails({ "root", folder .. "/none", "not a folder" }, data.pairs, { root = folder .. "/none" })
    fails({ "augment", "got 'flop'" }, data.pairs, { root = folder .. "/photos", augment = "flop" })
    fails({ "agument", "did you mean 'augment'" }, data.pairs, { root = folder .. "/photos", agument = "flip" })
    tmp.write(folder .. "/bad.csv", "source_image,other\na.png,b.png\n")
    fails({ "bad.csv", "target_image" }, data.pairs, { lists = { { root = folder, list = folder .. "/bad.csv" } } })
    tmp.write(folder .. "/gone.csv", "source_image,target_image\nphotos/cat/a.png,photos/cat/zz.png\n")
    local set <const> = data.pairs { lists = { { root = folder, list = folder .. "/gone.csv" } }, size = 20 }
    fails({ folder .. "/photos/cat/zz.png" }, set.batch, set, { 1 }, epoch(1))
  end)
end)

-- ---- keypoints ----

describe("data.keypoints", function()
  local keypoints <const> = data.keypoints

  -- A folder of PF-WILLOW's form, with what its two tables hold.
  local function willow(annotations, list)
    local root <const> = tmp.dir()
    tmp.write(root .. "/keypoints.csv", annotations)
    tmp.write(root .. "/test_pairs.csv", list)
    return root
  end

  local HEAD <const> = "image,category,width,height,x0,x1,x2,y0,y1,y2\n"
  local A <const>, B <const> = "d/a.png,duck,40,30,1,2.5,40,5,6,30\n", "d/b.png,duck,50,60,3,4,5,7,8,9.25\n"
  local LIST <const> = "source_image,target_image,category\nd/a.png,d/b.png,duck\nd/b.png,d/a.png,duck\n"

  it("pf_willow reads the two tables", function()
    local root <const> = willow(HEAD .. A .. B, LIST)
    local list <const> = keypoints.pf_willow(root)
    tmp.remove(root)
    assert.equal(2, #list)
    assert.same({
      source = root .. "/d/a.png", target = root .. "/d/b.png", category = "duck",
      source_points = { { 1, 5 }, { 2.5, 6 }, { 40, 30 } }, target_points = { { 3, 7 }, { 4, 8 }, { 5, 9.25 } },
      source_size = { 40, 30 }, target_size = { 50, 60 },
    }, list[1])
    assert.same(list[1].source_points, list[2].target_points)
  end)

  it("pf_willow says which line is wrong", function()
    local cases <const> = {
      { HEAD .. A, LIST, { "test_pairs.csv:2", "d/b.png", "keypoints.csv" } },
      { HEAD .. A .. B:gsub("9.25", "nan"), LIST, { "keypoints.csv:3", "y2", "finite", "'nan'" } },
      { HEAD .. A:gsub("2.5", ""), LIST, { "keypoints.csv:2", "x1", "finite" } },
      { HEAD:gsub("height,", "") .. A, LIST, { "keypoints.csv", "height" } },
      { HEAD .. A .. B, "source_image,category\nd/a.png,duck\n", { "test_pairs.csv", "target_image" } },
    }
    for _, case in ipairs(cases) do
      local root <const> = willow(case[1], case[2])
      fails(case[3], keypoints.pf_willow, root)
      tmp.remove(root)
    end
    fails({ "/none/keypoints.csv" }, keypoints.pf_willow, "/none")
  end)

  it("list reads numbers joined by semicolons, and sizes from the pictures", function()
    local path <const> = folder .. "/photos/keypoints.csv"
    tmp.write(path, "source_image,target_image,class,XA,YA,XB,YB\ncat/a.png,cat/b.png,7,1;2.5,3;4,5;6,7;8e0\n")
    local list <const> = keypoints.list(path, folder .. "/photos")
    assert.same({ {
      source = folder .. "/photos/cat/a.png", target = folder .. "/photos/cat/b.png", category = "7",
      source_points = { { 1, 3 }, { 2.5, 4 } }, target_points = { { 5, 7 }, { 6, 8 } },
      source_size = { 41, 32 }, target_size = { 42, 34 },
    } }, list)
  end)

  it("list says which line and column is wrong", function()
    local path <const> = folder .. "/photos/keypoints.csv"
    local function wrong(row, parts)
      tmp.write(path, "source_image,target_image,XA,YA,XB,YB\ncat/a.png,cat/b.png,1,2,3,4\n" .. row .. "\n")
      fails(parts, keypoints.list, path, folder .. "/photos")
    end
    wrong("cat/a.png,cat/b.png,1;nan,1;2,1;2,1;2", { "keypoints.csv:3", "XA", "finite", "'nan'" })
    wrong("cat/a.png,cat/b.png,1;2,1;2,1;2,1;inf", { "keypoints.csv:3", "YB", "finite", "'inf'" })
    wrong("cat/a.png,cat/b.png,1;2,1;2,,1;2", { "keypoints.csv:3", "equally long", "2, 2, 0, 2" })
    wrong("cat/a.png,cat/b.png,1;2,1;2,1,1;2", { "keypoints.csv:3", "equally long", "2, 2, 1, 2" })
    wrong("cat/a.png,cat/zz.png,1,2,3,4", { "cat/zz.png" })
  end)
end)
