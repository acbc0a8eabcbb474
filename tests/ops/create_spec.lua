-- SPDX-License-Identifier: MIT

local la <const> = require "lualign"
local optest <const> = require "lib.optest"
local P <const> = optest.P

-- These ops take no tensors, so that nothing can be strided about their inputs.
local function create(name, spec)
  spec.noncontiguous = false
  optest(name, spec)
end

local function filled(value)
  return function(shape, dtype)
    local out <const> = P.full(value, table.unpack(shape))
    out.dtype = dtype or "float32"
    return out
  end
end

for name, value in pairs { zeros = 0, ones = 1 } do
  create(name, {
    args = function() return { 3, 5, 7 } end,
    ref = filled(value),
    sizes = {
      { "a list", function() return { 1031 } end },
      { "no dimensions", function() return {} end },
      { "no elements", function() return { 3, 0 } end },
      { "bytes", function() return { 5, 3 }, "uint8" end },
      { "integers", function() return { 17 }, "int32" end },
    },
    rejects = {
      { "nothing", function() end, "shape is missing" },
      { "a negative size", function() return { 2, -3 } end, "dimension 2 must not be negative, got -3", "tensor" },
      { "too many elements", function() return { 65536, 65536 } end, "more than 2^31 - 1 elements", "tensor" },
      { "an unknown type", function() return { 2 }, "half" end, "dtype must be one of" },
    },
  })
end

create("full", {
  args = function() return { 3, 5 }, 0.25 end,
  ref = function(shape, value, dtype) return filled(value)(shape, dtype) end,
  sizes = {
    { "bytes", function() return { 3 }, 200, "uint8" end },
    { "integers", function() return { 3 }, -2147483648, "int32" end },
  },
  rejects = { { "no value", function() return { 3 } end, "value is missing" } },
})

create("arange", {
  args = function() return 1, 34 end,
  ref = function(start, stop, step, dtype)
    if type(step) == "table" then
      step, dtype = step.step, step.dtype
    end
    if not stop then
      start, stop = 0, start
    end
    local list <const> = {}
    step = step or 1
    for k = 0, math.ceil((stop - start) / step) - 1 do
      list[#list + 1] = start + k * step
    end
    return P.new({ #list }, list, dtype or "float32")
  end,
  sizes = {
    { "from 0", function() return 1031 end },
    { "in fractions", function() return -1, 1, 0.1 end },
    { "downwards", function() return 5, -7, -2 end },
    { "nothing", function() return 3, 3 end },
    { "integers", function() return 16777210, 16777230, 3, "int32" end },
    { "bytes", function() return 250, 256, { dtype = "uint8" } end },
  },
  rejects = {
    { "the wrong way", function() return 1, 5, -1 end, "step must lead from start to stop, got 1 to 5 by -1" },
    { "no step", function() return 1, 5, 0 end, "step must lead from start to stop" },
    { "NaN", function() return 1, 0 / 0 end, "step must lead from start to stop" },
    { "fractions as integers", function() return 0, 1, 0.25, "int32" end, "must be whole for int32" },
  },
})

create("linspace", {
  args = function() return -1, 1, 15 end,
  ref = function(start, stop, n)
    local list <const> = {}
    for k = 1, n do
      list[k] = n == 1 and start or start + (stop - start) * (k - 1) / (n - 1)
    end
    return P.new({ n }, list)
  end,
  sizes = {
    { "one", function() return 3, 5, 1 end },
    { "two", function() return 3, 5, 2 end },
    { "none", function() return 3, 5, 0 end },
    { "downwards", function() return 7, -2, 1031 end },
  },
  rejects = {
    { "no count", function() return 1, 2 end, "count is missing" },
    { "a negative count", function() return 1, 2, -1 end, "must not be negative", "tensor" },
  },
})

create("eye", {
  args = function() return 5, 7 end,
  ref = function(n, m)
    return P.build({ n, m or n }, function(i, j) return i == j and 1 or 0 end)
  end,
  sizes = {
    { "a square", function() return 33 end },
    { "a column", function() return 3, 1 end },
    { "nothing", function() return 0 end },
  },
  rejects = { { "a fraction", function() return 2.5 end, "n must be whole" } },
})

describe("creation", function()
  it("takes sizes one after the other, a list of them, and options", function()
    la.scope(function()
      assert.are.same({ 2, 3 }, la.zeros(2, 3):shape())
      assert.are.same({ 2, 3 }, la.zeros({ 2, 3 }):shape())
      assert.are.same({ 2, 3 }, la.zeros({ shape = { 2, 3 } }):shape())
      assert.are.equal("uint8", la.ones(2, 3, { dtype = "uint8" }).dtype)
      assert.are.equal("int32", la.ones(2, 3, "int32").dtype)
    end)
  end)

  it("ends ranges exactly where they should", function()
    la.scope(function()
      for _, n in ipairs { 2, 3, 10, 15, 240, 1000 } do
        local list <const> = la.linspace(-1, 1, n):flat()
        assert.are.equal(-1, list[1])
        assert.are.equal(1, list[n])
        for k = 1, n do
          assert.are.equal(-list[k], list[n + 1 - k]) -- symmetric to the bit
        end
      end
    end)
  end)
end)
