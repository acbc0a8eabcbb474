-- SPDX-License-Identifier: MIT
local optest <const> = require "lib.optest"
local la <const> = require "lualign"
local P <const> = optest.P

-- Mean and (biased) variance of channel c of x seen as (rows, C).
local function moments(x, c)
  local C <const> = x:size(#x.shape)
  local rows <const> = x:numel() // C
  local mean, var = 0, 0
  for r = 0, rows - 1 do
    mean = mean + x.data[r * C + c] / rows
  end
  for r = 0, rows - 1 do
    var = var + (x.data[r * C + c] - mean) ^ 2 / rows
  end
  return mean, var
end

local function reference(x, weight, bias, running_mean, running_var, given)
  local C <const>, y <const> = x:size(#x.shape), {}
  given = given or {}
  for c = 1, C do
    local mean, var
    if given.training then
      mean, var = moments(x, c)
    else
      mean, var = running_mean.data[c], running_var.data[c]
    end
    for k = c, x:numel(), C do
      y[k] = (x.data[k] - mean) / math.sqrt(var + (given.eps or 1e-5)) * (weight and weight.data[c] or 1)
        + (bias and bias.data[c] or 0)
    end
  end
  return P.new(x.shape, y)
end

-- x (shape), weight, bias, mean, var and the options.
local function arguments(shape, given)
  return function(rng)
    local C <const> = shape[#shape]
    local weight <const>, bias <const> = rng.uniform(0.5, 2, C), rng.randn(C)
    return rng.randn(table.unpack(shape)), weight, bias, rng.randn(C), rng.uniform(0.3, 2, C), given
  end
end

local rejects <const> = {
  { "integers", function(rng) return rng.ints(0, 9, 3, 2) end, "x must be float32, got int32" },
  { "one dimension", function(rng) return rng.randn(3) end, "at least 2 dimensions, channels last, got (3)" },
  { "a weight of another size", function(rng)
    return rng.randn(3, 2), rng.randn(3), rng.randn(2), rng.randn(2), rng.randn(2)
  end, "weight must be (2), one for each channel of x (3, 2), got (3)" },
  { "a weight alone", function(rng) return rng.randn(3, 2), rng.randn(2), nil, rng.randn(2), rng.randn(2) end,
    "weight and bias come together, bias is missing" },
  { "no statistics", function(rng) return rng.randn(3, 2), rng.randn(2), rng.randn(2) end, "running_mean is missing" },
  { "one row in training", function(rng)
    return rng.randn(1, 1, 1, 2), rng.randn(2), rng.randn(2), nil, nil, { training = true }
  end, "training needs at least 2 values for each channel, got x (1, 1, 1, 2)" },
}

describe("with fixed statistics:", function()
  optest("batch_norm", {
    args = arguments { 2, 5, 7, 11 },
    ref = reference,
    grad = { 1, 2, 3 },
    sizes = {
      { "more than one work-group", arguments { 3, 17, 31, 19 } },
      { "two dimensions", arguments { 33, 65 } },
      { "eps", arguments({ 4, 3 }, { eps = 0.5 }) },
      { "no weight and bias", function(rng)
        return rng.randn(5, 9), nil, nil, rng.randn(9), rng.uniform(0.3, 2, 9)
      end },
      { "one element", arguments { 1, 1 } },
      { "no rows", arguments { 0, 3, 3, 8 } },
    },
    rejects = rejects,
  })
end)

describe("with the batch's statistics:", function()
  optest("batch_norm", {
    args = function(rng)
      return rng.randn(2, 5, 7, 11), rng.uniform(0.5, 2, 11), rng.randn(11), nil, nil, { training = true }
    end,
    ref = reference,
    grad = { 1, 2, 3 },
    sizes = {
      { "a long reduction", function(rng)
        return rng.randn(4, 31, 33, 9), rng.uniform(0.5, 2, 9), rng.randn(9), nil, nil, { training = true }
      end, grad = false },
      { "no weight and bias", function(rng) return rng.randn(17, 8), nil, nil, nil, nil, { training = true } end },
      { "two rows", function(rng) return rng.randn(2, 3), nil, nil, nil, nil, { training = true, eps = 0.1 } end },
      { "a mean far from 0", function(rng)
        local x <const> = rng.randn(3, 40, 8)
        for k, v in ipairs(x.data) do
          x.data[k] = string.unpack("<f", string.pack("<f", v + 100)) -- as float32 has it
        end
        return x, nil, nil, nil, nil, { training = true }
      end, grad = false },
    },
  })
end)

describe("batch_norm's running statistics", function()
  local function run(given)
    local rng <const> = optest.rng "running"
    local x <const>, mean <const>, var <const> = rng.randn(3, 7, 5), rng.randn(5), rng.uniform(0.5, 2, 5)
    local m <const>, v <const> = optest.tensor(mean), optest.tensor(var)
    la.batch_norm(optest.tensor(x), nil, nil, m, v, given)
    return x, mean, var, m, v
  end

  it("move towards the batch's, the variance unbiased", function()
    local x <const>, mean <const>, var <const>, m <const>, v <const> = run { training = true, momentum = 0.3 }
    for c = 1, 5 do
      local batch_mean <const>, batch_var <const> = moments(x, c)
      mean.data[c] = 0.7 * mean.data[c] + 0.3 * batch_mean
      var.data[c] = 0.7 * var.data[c] + 0.3 * batch_var * 21 / 20
    end
    optest.close(m, mean, 1e-6, "running_mean")
    optest.close(v, var, 1e-6, "running_var")
  end)

  it("stay when they are fixed", function()
    local _, mean <const>, var <const>, m <const>, v <const> = run { training = false }
    optest.close(m, mean, 0, "running_mean")
    optest.close(v, var, 0, "running_var")
  end)

  it("may be updated twice before backward", function()
    local m <const>, v <const> = la.zeros(4), la.ones(4)
    local x <const> = la.randn(6, 4):requires_grad_(true)
    local y = la.batch_norm(x, nil, nil, m, v, { training = true })
    y = y + la.batch_norm(x * 2, nil, nil, m, v, { training = true })
    y:sum():backward()
    assert.equal(4, x.grad:size(2))
  end)

  it("must not change between a call with fixed ones and its backward", function()
    local m <const>, v <const> = la.zeros(4), la.ones(4)
    local x <const> = la.randn(6, 4):requires_grad_(true)
    local y <const> = la.batch_norm(x, nil, nil, m, v)
    la.batch_norm(x:detach(), nil, nil, m, v, { training = true })
    assert.has_error(function() y:sum():backward() end)
  end)

  it("ask for no gradient", function()
    local m <const> = la.zeros(4):requires_grad_(true)
    local ok <const>, message <const> = pcall(la.batch_norm, la.randn(6, 4), nil, nil, m, la.ones(4))
    assert.is_false(ok)
    assert.truthy(message:find("running_mean must not ask for a gradient", 1, true), message)
  end)
end)
