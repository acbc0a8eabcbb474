-- SPDX-License-Identifier: MIT
local optest <const> = require "lib.optest"
local P <const> = optest.P

-- Options as rows and columns: kernel, stride, padding at the start and the end of each axis.
local function settings(given)
  local function two(v)
    return type(v) == "table" and v or { v, v }
  end
  local kernel <const> = two(given.kernel)
  local padding <const> = two(given.padding or 0)
  local before, after = padding, padding
  if padding[4] then
    before, after = { padding[1], padding[3] }, { padding[2], padding[4] }
  end
  return { kernel = kernel, stride = two(given.stride or kernel), before = before, after = after }
end

-- Windows along axis d of n cells: a list of { first, last, end of the window, cut at the end of the padding }.
local function windows(o, d, n, ceil)
  local list <const> = {}
  local start = 1 - o.before[d]
  while true do
    local stop <const> = start + o.kernel[d] - 1
    local last <const> = list[#list] and list[#list].stop or 0
    if ceil and (start > n or last >= n + o.after[d]) or not ceil and stop > n + o.after[d] then
      return list
    end
    list[#list + 1] = {
      start = start, stop = stop, first = math.max(start, 1), last = math.min(stop, n),
      padded = math.min(stop, n + o.after[d]) - start + 1,
    }
    start = start + o.stride[d]
  end
end

-- value(cells, padded cells): what a window becomes.
local function pool(x, given, value)
  local o <const> = settings(given)
  local rows <const>, columns <const> = windows(o, 1, x:size(2), given.ceil), windows(o, 2, x:size(3), given.ceil)
  return P.build({ x:size(1), #rows, #columns, x:size(4) }, function(n, i, j, c)
    local cells <const> = {}
    for y = rows[i].first, rows[i].last do
      for z = columns[j].first, columns[j].last do
        cells[#cells + 1] = x:at(n, y, z, c)
      end
    end
    return value(cells, rows[i].padded * columns[j].padded)
  end)
end

local function largest(x, given)
  return pool(x, given, function(cells) return math.max(table.unpack(cells)) end)
end

local function mean(x, given)
  return pool(x, given, function(cells, padded)
    local sum = 0
    for _, v in ipairs(cells) do
      sum = sum + v
    end
    return sum / (given.count_include_pad == false and #cells or padded)
  end)
end

local function sizes(make)
  local function case(label, shape, given)
    return { label, function(rng) return make(rng, shape), given end }
  end
  return {
    case("ResNet's", { 1, 15, 13, 8 }, { kernel = 3, stride = 2, padding = 1 }),
    case("more than one work-group", { 3, 17, 31, 11 }, { kernel = 2 }),
    case("overlapping windows", { 1, 7, 9, 3 }, { kernel = { 3, 2 }, stride = 1, padding = { 1, 0 } }),
    case("gaps between windows", { 1, 8, 9, 16 }, { kernel = 2, stride = { 3, 4 } }),
    case("uneven padding", { 1, 6, 5, 9 }, { kernel = 4, stride = 2, padding = { 0, 1, 3, 2 } }),
    case("ceil", { 1, 6, 8, 5 }, { kernel = 3, stride = 2, ceil = true }),
    case("ceil, padded", { 2, 7, 6, 8 }, { kernel = 3, stride = 3, padding = 1, ceil = true }),
    case("ceil, a last window that would lie in the padding", { 1, 3, 5, 2 }, { kernel = 2, padding = 1, ceil = true }),
    case("ceil, a window larger than the image", { 1, 2, 3, 1 }, { kernel = 4, ceil = true }),
    case("bands of rows that share windows", { 2, 37, 6, 19 }, { kernel = 3, stride = 2, padding = 1 }),
    case("large windows", { 1, 45, 23, 18 }, { kernel = 7, stride = { 3, 5 }, padding = { 3, 2 } }),
    case("the whole image", { 2, 5, 3, 17 }, { kernel = { 5, 3 } }),
    case("one element", { 1, 1, 1, 1 }, { kernel = 1 }),
    case("no images", { 0, 4, 4, 3 }, { kernel = 2 }),
    case("no channels", { 1, 4, 4, 0 }, { kernel = 2 }),
  }
end

local rejects <const> = {
  { "integers", function(rng) return rng.ints(0, 9, 1, 4, 4, 1), { kernel = 2 } end, "x must be float32, got int32" },
  { "three dimensions", function(rng) return rng.randn(4, 4, 1), { kernel = 2 } end, "x must be 4-D, got (4, 4, 1)" },
  { "an image smaller than a window", function(rng) return rng.randn(1, 2, 5, 1), { kernel = 3 } end,
    "at least as large as a window of 3 x 3, got (1, 2, 5, 1)" },
  { "padding as wide as a window", function(rng) return rng.randn(1, 4, 4, 1), { kernel = 2, padding = 2 } end,
    "padding must be from 0 to less than the window's 2, got 2" },
  { "a step of 0", function(rng) return rng.randn(1, 4, 4, 1), { kernel = 2, stride = 0 } end,
    "stride must be at least 1, got 0" },
  { "three paddings", function(rng) return rng.randn(1, 4, 4, 1), { kernel = 2, padding = { 1, 1, 1 } } end,
    "padding must be one number" },
  { "no window", function(rng) return rng.randn(1, 4, 4, 1) end, "kernel is missing" },
}

optest("max_pool2d", {
  args = function(rng) return rng.distinct(2, 7, 5, 10), { kernel = 3, stride = 2, padding = 1 } end,
  ref = largest,
  tol = 0,
  grad = true,
  sizes = sizes(function(rng, shape) return rng.distinct(table.unpack(shape)) end),
  rejects = rejects,
})

optest("avg_pool2d", {
  args = function(rng) return rng.randn(2, 7, 5, 10), { kernel = 3, stride = 2, padding = 1 } end,
  ref = mean,
  grad = true,
  sizes = table.move({
    { "padding not counted", function(rng)
      return rng.randn(1, 7, 5, 3), { kernel = 3, stride = 2, padding = 1, count_include_pad = false }
    end },
    { "padding not counted, ceil", function(rng)
      return rng.randn(1, 6, 5, 8), { kernel = 3, stride = 2, padding = 1, ceil = true, count_include_pad = false }
    end },
  }, 1, 2, 16, sizes(function(rng, shape) return rng.randn(table.unpack(shape)) end)),
  rejects = rejects,
})

describe("max_pool2d", function()
  local la <const> = require "lualign"

  it("takes a NaN for the largest", function()
    local x <const> = la.tensor { { { { 1 }, { 0 / 0 }, { 3 }, { 4 } } } }
    local y <const> = la.max_pool2d(x, { kernel = { 1, 2 } }):flat()
    assert.is_true(y[1] ~= y[1])
    assert.equal(4, y[2])
  end)

  it("sends the gradient to the first of equal values, also of -infinity", function()
    local x <const> = la.tensor { { { { 2 }, { 2 }, { -math.huge }, { -math.huge } } } }:requires_grad_(true)
    la.max_pool2d(x, { kernel = { 1, 2 } }):backward(la.tensor { { { { 5 }, { 7 } } } })
    assert.same({ 5, 0, 7, 0 }, x.grad:flat())
  end)
end)
