-- SPDX-License-Identifier: MIT

local la <const> = require "lualign"
local optest <const> = require "lib.optest"
local P <const> = optest.P

-- fn(x, largest, sum of exp(x - largest)) along dimension d.
local function along(fn)
  return function(x, d)
    d = d or -1
    d = d < 0 and d + #x.shape + 1 or d
    local function each(index, use)
      local at <const> = { table.unpack(index) }
      for k = 1, x.shape[d] do
        at[d] = k
        use(x:at(table.unpack(at)))
      end
    end
    return P.build(x.shape, function(...)
      local index <const> = { ... }
      local top, sum = -math.huge, 0
      each(index, function(v) top = math.max(top, v) end)
      each(index, function(v) sum = sum + math.exp(v - top) end)
      return fn(x:at(...), top, sum)
    end)
  end
end

local formula <const> = {
  softmax = along(function(x, top, sum) return math.exp(x - top) / sum end),
  log_softmax = along(function(x, top, sum) return x - top - math.log(sum) end),
}

for name, fn in pairs(formula) do
  optest(name, {
    args = function(rng) return rng.randn(3, 5, 7) end,
    ref = fn,
    grad = true,
    sizes = {
      { "the first dimension", function(rng) return rng.randn(7, 5), 1 end },
      { "a middle dimension", function(rng) return rng.randn(2, 9, 3), 2 end },
      { "more than 16 rows side by side", function(rng) return rng.randn(2, 5, 37), 2 end },
      { "rows longer than 16", function(rng) return rng.randn(3, 37), 2 end },
      { "correlation maps", function(rng) return rng.randn(1, 3, 5, 225), -1 end, grad = false },
      { "one element", function(rng) return rng.randn(1), 1 end },
      { "rows of one element", function(rng) return rng.randn(5, 1), 2 end },
      { "large values", function(rng) return rng.uniform(-300, 300, 3, 17), -1 end, grad = false },
      { "large values in columns", function(rng) return rng.uniform(-300, 300, 17, 19), 1 end, grad = false },
      { "no rows", function(rng) return rng.randn(0, 3), 2 end },
      { "no elements in a row", function(rng) return rng.randn(3, 0), 2 end },
      { "more than one work-group", function(rng) return rng.randn(517, 3), 2 end, grad = false },
    },
    rejects = {
      { "integers", function(rng) return rng.ints(0, 9, 3) end, "x must be float32, got int32" },
      { "a dimension that is not there", function(rng) return rng.randn(2, 3), 3 end, "from 1 to 2" },
    },
  })
end

describe("softmax", function()
  it("sums to 1, passes NaN on and gives 0 to minus infinity", function()
    la.scope(function()
      local inf <const> = math.huge
      local x <const> = la.tensor { { 1, -inf, 3 }, { 0 / 0, 1, 2 }, { 1000, 1000, -1000 } }
      for _, y in ipairs { x:softmax(2), x:transpose(1, 2):softmax(1):transpose(1, 2) } do
        local rows <const> = y:totable()
        assert.are.equal(0, rows[1][2])
        assert.is_true(math.abs(rows[1][1] + rows[1][3] - 1) < 1e-6)
        for k = 1, 3 do
          assert.is_true(rows[2][k] ~= rows[2][k])
        end
        assert.are.same({ 0.5, 0.5, 0 }, rows[3])
      end
    end)
  end)
end)
