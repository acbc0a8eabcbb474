-- SPDX-License-Identifier: MIT

local optest <const> = require "lib.optest"
local la <const> = require "lualign"
local P <const> = optest.P

local function reference(x, w, bias)
  if not P.is(bias) then
    bias = nil
  end
  local n_in <const>, n_out <const> = w:size(2), w:size(1)
  local shape <const>, out <const> = table.move(x.shape, 1, #x.shape, 1, {}), {}
  shape[#shape] = n_out
  for row = 0, x:numel() // n_in - 1 do
    for o = 0, n_out - 1 do
      local sum = bias and bias.data[o + 1] or 0
      for i = 1, n_in do
        sum = sum + x.data[row * n_in + i] * w.data[o * n_in + i]
      end
      out[#out + 1] = sum
    end
  end
  return P.new(shape, out)
end

local function case(x, w, opts)
  return function(rng) return rng.randn(table.unpack(x)), rng.randn(table.unpack(w)), rng.randn(w[1]), opts end
end

for _, method in ipairs { "auto", "plain", "cpu", "gpu" } do
  local opts <const> = { method = method }
  optest("linear", {
    args = case({ 5, 7 }, { 3, 7 }, opts),
    ref = reference,
    grad = true,
    elements = 12,
    sizes = {
      { method .. ": without bias", function(rng) return rng.randn(3, 5), rng.randn(4, 5), opts end },
      { method .. ": a vector", case({ 17 }, { 5, 17 }, opts) },
      { method .. ": one to one", case({ 1, 1 }, { 1, 1 }, opts) },
      { method .. ": three leading dimensions", case({ 2, 3, 2, 9 }, { 7, 9 }, opts) },
      { method .. ": no rows", case({ 0, 9 }, { 7, 9 }, opts) },
      { method .. ": many rows", case({ 301, 3 }, { 5, 3 }, opts) },
      { method .. ": more rows", case({ 701, 2 }, { 19, 2 }, opts) },
      { method .. ": wide", case({ 19, 65 }, { 71, 65 }, opts) },
    },
  })
end

optest("linear", {
  args = case({ 5, 7 }, { 3, 7 }),
  rejects = {
    { "integers", function(rng) return rng.ints(0, 9, 2, 3), rng.randn(4, 3) end, "x must be float32" },
    { "other features", case({ 2, 5 }, { 4, 3 }), "x must end in 3 features, as weight (4, 3) does, got (2, 5)" },
    { "a weight of three dimensions", function(rng) return rng.randn(2, 3), rng.randn(4, 3, 1) end,
      "weight must be 2-D, got (4, 3, 1)" },
    { "a method that convolutions have",
      function(rng) return rng.randn(2, 3), rng.randn(4, 3), { method = "winograd2" } end,
      "method must be one for products of matrices, got winograd2" },
    { "a long bias", function(rng) return rng.randn(2, 3), rng.randn(4, 3), rng.randn(5) end,
      "bias must be (4), got (5)" },
  },
})

-- What is made of a weight is kept with it, so every way of changing the weight must be noticed.
describe("linear with a weight that changes", function()
  local function close(got, expected)
    local off <const> = (got - expected):abs():max():item() / expected:abs():max():item()
    assert(off < 1e-5, string.format("relative error %.3g", off))
  end

  for _, method in ipairs { "auto", "cpu", "gpu" } do
    it("by " .. method, function()
      la.seed(3)
      local x <const>, weight <const>, bias <const> = la.randn(9, 40), la.randn(33, 40), la.randn(33)
      local function check()
        for _ = 1, 2 do
          close(la.linear(x, weight, bias, { method = method }), la.linear(x, weight, bias, { method = "plain" }))
        end
      end
      check()
      weight:mul_(2)
      check()
      weight:narrow(1, 5, 3):fill_(1)
      check()
      bias:add_(1)
      check()
      weight:copy_(la.randn(33, 40))
      check()
    end)
  end
end)
