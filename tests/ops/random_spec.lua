-- SPDX-License-Identifier: MIT

local la <const> = require "lualign"
local optest <const> = require "lib.optest"
local P <const> = optest.P

-- Philox4x32-10 (Salmon et al., 2011), written from the paper.
local function philox(counter, key)
  local c <const>, k <const> = { table.unpack(counter) }, { table.unpack(key) }
  for _ = 1, 10 do
    local a <const>, b <const> = 0xD2511F53 * c[1], 0xCD9E8D57 * c[3]
    c[1], c[2], c[3], c[4] = (b >> 32) ~ c[2] ~ k[1], b & 0xffffffff, (a >> 32) ~ c[4] ~ k[2], a & 0xffffffff
    k[1], k[2] = (k[1] + 0x9E3779B9) & 0xffffffff, (k[2] + 0xBB67AE85) & 0xffffffff
  end
  return c
end

-- n words of the stream from a counter on.
local function words(n, seed, counter)
  local list <const> = {}
  for block = 0, (n + 3) // 4 - 1 do
    local at <const> = counter + block
    local w <const> = philox({ at & 0xffffffff, at >> 32, 0, 0 }, { seed & 0xffffffff, seed >> 32 })
    table.move(w, 1, 4, #list + 1, list)
  end
  return list
end

local function seeded(seed, counter, fn)
  return la.scope(function()
    la.device.seed(seed, counter)
    return fn()
  end)
end

local function statistics(list)
  local mean, square = 0, 0
  for _, v in ipairs(list) do
    mean = mean + v / #list
  end
  for _, v in ipairs(list) do
    square = square + (v - mean) ^ 2 / #list
  end
  return mean, math.sqrt(square)
end

describe("Philox", function()
  it("gives the numbers of its authors' tests", function()
    local function hex(c)
      return string.format("%08x %08x %08x %08x", table.unpack(c))
    end
    local F <const> = 0xffffffff
    assert.are.equal("6627e8d5 e169c58d bc57ac4c 9b00dbd8", hex(philox({ 0, 0, 0, 0 }, { 0, 0 })))
    assert.are.equal("408f276d 41c83b0e a20bc7c6 6d5451fd", hex(philox({ F, F, F, F }, { F, F })))
    assert.are.equal("d16cfe09 94fdcceb 5001e420 24126ea1",
      hex(philox({ 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344 }, { 0xa4093822, 0x299f31d0 })))
  end)

  it("is what the device computes, to the bit", function()
    for _, s in ipairs { { 0, 0 }, { 1, 0 }, { 0x123456789abcdef, 77 }, { -1, 0xfffffffe } } do
      local want <const> = words(23, s[1], s[2])
      local got <const> = seeded(s[1], s[2], function() return la.rand(23):flat() end)
      for i = 1, 23 do
        assert.are.equal((want[i] >> 8) / 0x1000000, got[i])
      end
    end
  end)
end)

describe("random tensors", function()
  it("move the stream on by what they took", function()
    seeded(5, 0, function()
      local a <const> = la.rand(8):flat()
      local b <const> = la.rand(3, 3):flat()
      local seed <const>, counter <const> = la.device.seed_state()
      assert.are.equal(5, seed)
      assert.are.equal(5, counter) -- 2 blocks and 3 blocks of four words
      la.device.seed(5, 0)
      local both <const> = la.rand(17):flat()
      assert.are.same(a, { table.unpack(both, 1, 8) })
      assert.are.same(b, { table.unpack(both, 9, 17) })
      la.device.seed(5, 2)
      assert.are.same(b, la.rand(9):flat())
    end)
  end)

  it("are the same after the same seed, and others after another", function()
    local function all()
      return { la.rand(5):flat(), la.randn(5):flat(), la.randperm(9):flat() }
    end
    local a <const> = la.scope(function() la.seed(7); return all() end)
    local b <const> = la.scope(function() la.seed(7); return all() end)
    local c <const> = la.scope(function() la.seed(8); return all() end)
    assert.are.same(a, b)
    assert.are_not.same(a[1], c[1])
    assert.are_not.same(a[2], c[2])
  end)

  it("have every length, also none", function()
    seeded(1, 0, function()
      local long <const> = la.randn(70):flat()
      for n = 0, 9 do
        la.device.seed(1, 0)
        assert.are.same({ table.unpack(long, 1, n) }, la.randn(n):flat())
      end
      assert.are.same({ 0, 3 }, la.rand(0, 3):shape())
      assert.are.same({}, la.rand({}):shape())
    end)
  end)
end)

describe("rand", function()
  it("is uniform between its bounds", function()
    seeded(3, 0, function()
      local list <const> = la.rand({ 20000 }, { low = -2, high = 5 }):flat()
      local mean <const>, deviation <const> = statistics(list)
      assert.is_true(math.abs(mean - 1.5) < 0.06)
      assert.is_true(math.abs(deviation - 7 / math.sqrt(12)) < 0.03)
      local bin <const> = { 0, 0, 0, 0, 0, 0, 0 }
      for _, v in ipairs(list) do
        assert.is_true(v >= -2 and v < 5)
        local k <const> = math.floor(v + 3)
        bin[k] = bin[k] + 1
      end
      for _, n in ipairs(bin) do
        assert.is_true(math.abs(n / 20000 - 1 / 7) < 0.01)
      end
    end)
  end)

  it("refuses crossed bounds", function()
    assert.has_error(function() la.rand({ 2 }, { low = 1, high = 0 }) end)
  end)
end)

describe("randn", function()
  it("is what Box and Muller make of the stream", function()
    local w <const> = words(40, 11, 4)
    local want <const> = {}
    for i = 1, 40, 2 do
      local r <const> = math.sqrt(-2 * math.log(((w[i] >> 8) + 1) / 0x1000000))
      local turn <const> = 2 * math.pi * (w[i + 1] >> 8) / 0x1000000
      want[i], want[i + 1] = r * math.cos(turn), r * math.sin(turn)
    end
    seeded(11, 4, function()
      optest.close(la.randn(40), P.new({ 40 }, want), 1e-5)
      la.device.seed(11, 4)
      local moved <const> = {}
      for i, v in ipairs(want) do
        moved[i] = 3 + 0.5 * v
      end
      optest.close(la.randn({ 5, 8 }, { mean = 3, std = 0.5 }), P.new({ 5, 8 }, moved), 1e-5)
    end)
  end)

  it("is normal", function()
    seeded(2, 0, function()
      local list <const> = la.randn(20000):flat()
      local mean <const>, deviation <const> = statistics(list)
      assert.is_true(math.abs(mean) < 0.03)
      assert.is_true(math.abs(deviation - 1) < 0.02)
      local third, fourth, inside = 0, 0, 0
      for _, v in ipairs(list) do
        third, fourth = third + v ^ 3 / 20000, fourth + v ^ 4 / 20000
        inside = inside + (math.abs(v) < 1 and 1 or 0) / 20000
      end
      assert.is_true(math.abs(third) < 0.1 and math.abs(fourth - 3) < 0.25)
      assert.is_true(math.abs(inside - 0.6827) < 0.012)
    end)
  end)

  it("refuses a negative deviation", function()
    assert.has_error(function() la.randn({ 2 }, { std = -1 }) end)
  end)
end)

describe("randperm", function()
  it("has every number once", function()
    seeded(9, 0, function()
      for _, n in ipairs { 0, 1, 2, 3, 10, 1031 } do
        local order <const> = la.randperm(n)
        assert.are.equal("int32", order.dtype)
        local list <const> = order:flat()
        table.sort(list)
        assert.are.equal(n, #list)
        for i = 1, n do
          assert.are.equal(i, list[i])
        end
      end
    end)
  end)

  it("gives every order of three equally often", function()
    seeded(4, 0, function()
      local seen <const> = {}
      for _ = 1, 3000 do
        local key <const> = la.scope(function() return table.concat(la.randperm(3):flat()) end)
        seen[key] = (seen[key] or 0) + 1
      end
      local orders = 0
      for _, n in pairs(seen) do
        orders = orders + 1
        assert.is_true(math.abs(n - 500) < 90)
      end
      assert.are.equal(6, orders)
    end)
  end)

  it("refuses a negative number", function()
    assert.has_error(function() la.randperm(-1) end)
  end)
end)
