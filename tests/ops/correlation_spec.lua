-- SPDX-License-Identifier: MIT

local optest <const> = require "lib.optest"
local P <const> = optest.P

-- Source cell k (from 1) as row, column.
local function source_cell(k, h, w, order)
  if order == "row" then
    return (k - 1) // w + 1, (k - 1) % w + 1
  end
  return (k - 1) % h + 1, (k - 1) // h + 1
end

local function reference(a, b, opts)
  opts = opts or {}
  local N <const>, hA <const>, wA <const>, C <const> = table.unpack(a.shape)
  local hB <const>, wB <const> = b:size(2), b:size(3)
  local out <const> = P.zeros(N, hB, wB, hA * wA)
  for n = 1, N do
    for i = 1, hB do
      for j = 1, wB do
        local squares = 0
        for k = 1, hA * wA do
          local r <const>, q <const> = source_cell(k, hA, wA, opts.order)
          local sum = 0
          for c = 1, C do
            sum = sum + a:at(n, r, q, c) * b:at(n, i, j, c)
          end
          sum = opts.relu == false and sum or math.max(sum, 0)
          squares = squares + sum * sum
          out:put(sum, n, i, j, k)
        end
        for k = 1, opts.normalize ~= false and hA * wA or 0 do
          out:put(out:at(n, i, j, k) / math.sqrt(squares + (opts.eps or 1e-6)), n, i, j, k)
        end
      end
    end
  end
  return out
end

local function sizes_with(opts)
  return function(rng) return rng.randn(2, 3, 5, 7), rng.randn(2, 5, 2, 7), opts end
end

for _, method in ipairs { "plain", "matmul" } do
  optest("correlation", {
    args = sizes_with { method = method },
    ref = reference,
    grad = true,
    sizes = {
      { "row by row", sizes_with { method = method, order = "row" } },
      { "without relu", sizes_with { method = method, relu = false } },
      { "without unit length", sizes_with { method = method, normalize = false } },
      { "raw", sizes_with { method = method, relu = false, normalize = false, order = "row" } },
      { "large eps", sizes_with { method = method, eps = 10 } },
      { "one cell", function(rng) return rng.randn(1, 1, 1, 3), rng.randn(1, 1, 1, 3), { method = method } end },
      { "no samples", function(rng) return rng.randn(0, 2, 2, 3), rng.randn(0, 2, 2, 3), { method = method } end },
      { "many cells", function(rng)
        return rng.randn(1, 9, 7, 5), rng.randn(1, 5, 7, 5), { method = method }
      end },
    },
    rejects = {
      { "other channels", function(rng) return rng.randn(1, 2, 2, 3), rng.randn(1, 2, 2, 4) end, "batch and channels" },
      { "other batches", function(rng) return rng.randn(1, 2, 2, 3), rng.randn(2, 2, 2, 3) end, "batch and channels" },
      { "three dimensions", function(rng) return rng.randn(2, 2, 3), rng.randn(1, 2, 2, 3) end, "must be 4-D" },
      { "integers", function(rng) return rng.randn(1, 2, 2, 3), rng.ints(0, 9, 1, 2, 2, 3) end, "b must be float32" },
    },
  })
end
