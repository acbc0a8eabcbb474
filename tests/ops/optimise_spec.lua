-- SPDX-License-Identifier: MIT

local la <const> = require "lualign"
local optest <const> = require "lib.optest"
local P <const> = optest.P

-- n steps on the gradients g[1..n]; the state starts as zeros.
local function sgd(p, g, o)
  local w <const>, buffer <const> = p:copy(), P.zeros(table.unpack(p.shape))
  for step, grad in ipairs(g) do
    for i, value in ipairs(grad.data) do
      local d = value + (o.weight_decay or 0) * w.data[i]
      if (o.momentum or 0) ~= 0 then
        local b <const> = step == 1 and d or o.momentum * buffer.data[i] + (1 - (o.dampening or 0)) * d
        buffer.data[i] = b
        d = o.nesterov and d + o.momentum * b or b
      end
      w.data[i] = w.data[i] - o.lr * d
    end
  end
  return w, buffer
end

local function adam(p, g, o)
  local w <const> = p:copy()
  local m <const>, v <const> = P.zeros(table.unpack(p.shape)), P.zeros(table.unpack(p.shape))
  local b1 <const>, b2 <const>, eps <const> = o.beta1 or 0.9, o.beta2 or 0.999, o.eps or 1e-8
  local lr <const>, decay <const> = o.lr or 1e-3, o.weight_decay or 0
  for step, grad in ipairs(g) do
    for i, value in ipairs(grad.data) do
      local d = value
      if o.decoupled then
        w.data[i] = w.data[i] * (1 - lr * decay)
      else
        d = d + decay * w.data[i]
      end
      m.data[i] = b1 * m.data[i] + (1 - b1) * d
      v.data[i] = b2 * v.data[i] + (1 - b2) * d * d
      local mean <const>, square <const> = m.data[i] / (1 - b1 ^ step), v.data[i] / (1 - b2 ^ step)
      w.data[i] = w.data[i] - lr * mean / (math.sqrt(square) + eps)
    end
  end
  return w, m, v
end

local STEPS <const> = 7

local function gradients(rng, ...)
  local list <const> = {}
  for i = 1, STEPS do
    list[i] = rng.randn(...)
  end
  return list
end

-- Runs `step(param, grad, number)` for every gradient, given dense and as views.
local function train(p, g, step)
  local w <const> = optest.tensor(p)
  for i, grad in ipairs(g) do
    local t = optest.tensor(grad)
    if i % 2 == 0 and #p.shape == 2 then
      t = t:transpose(1, 2):contiguous():transpose(1, 2)
    end
    step(w, t, i)
  end
  return w
end

describe("sgd_step_", function()
  local cases <const> = {
    { "plain", { lr = 0.1 } },
    { "weight decay", { lr = 0.1, weight_decay = 0.3 } },
    { "momentum", { lr = 0.05, momentum = 0.9 } },
    { "Nesterov", { lr = 0.05, momentum = 0.9, nesterov = true } },
    { "everything", { lr = 0.05, momentum = 0.8, dampening = 0.25, weight_decay = 0.1 } },
  }
  for _, case in ipairs(cases) do
    it("follows PyTorch: " .. case[1], function()
      local rng <const> = optest.rng("sgd/" .. case[1])
      for _, shape in ipairs { { 3, 5 }, { 1 }, { 33, 65 } } do
        la.scope(function()
          local p <const>, g <const> = rng.randn(table.unpack(shape)), gradients(rng, table.unpack(shape))
          local buffer <const> = case[2].momentum and la.full(shape, 0 / 0) -- the first step must not read it
          local got <const> = train(p, g, function(w, t, i)
            local o <const> = { first = i == 1 }
            for key, value in pairs(case[2]) do
              o[key] = value
            end
            la.sgd_step_(w, t, buffer, o)
          end)
          local want <const>, state <const> = sgd(p, g, case[2])
          optest.close(got, want, 1e-6)
          if buffer then
            optest.close(buffer, state, 1e-6)
          end
        end)
      end
    end)
  end

  it("matches numbers from PyTorch's definition worked by hand", function()
    la.scope(function()
      local w <const>, b <const> = la.tensor { 1 }, la.zeros(1)
      la.sgd_step_(w, la.tensor { 0.5 }, b, { lr = 0.1, momentum = 0.9, weight_decay = 0.1, first = true })
      optest.close(w, { 0.94 }, 1e-6)  -- d = 0.6, b = 0.6
      la.sgd_step_(w, la.tensor { 0.5 }, b, { lr = 0.1, momentum = 0.9, weight_decay = 0.1 })
      optest.close(b, { 1.134 }, 1e-6) -- d = 0.594, b = 0.54 + 0.594
      optest.close(w, { 0.8266 }, 1e-6)
    end)
  end)
end)

describe("adam_step_", function()
  local cases <const> = {
    { "defaults", {} },
    { "other rates", { lr = 0.03, beta1 = 0.7, beta2 = 0.95, eps = 1e-3 } },
    { "weight decay", { lr = 0.01, weight_decay = 0.3 } },
    { "decoupled weight decay", { lr = 0.01, weight_decay = 0.3, decoupled = true } },
  }
  for _, case in ipairs(cases) do
    it("follows PyTorch: " .. case[1], function()
      local rng <const> = optest.rng("adam/" .. case[1])
      for _, shape in ipairs { { 3, 5 }, { 1 }, { 33, 65 } } do
        la.scope(function()
          local p <const>, g <const> = rng.randn(table.unpack(shape)), gradients(rng, table.unpack(shape))
          local m <const>, v <const> = la.zeros(shape), la.zeros(shape)
          local got <const> = train(p, g, function(w, t, i)
            local o <const> = { step = i }
            for key, value in pairs(case[2]) do
              o[key] = value
            end
            la.adam_step_(w, t, m, v, o)
          end)
          local want <const>, mean <const>, square <const> = adam(p, g, case[2])
          optest.close(got, want, 1e-6)
          optest.close(m, mean, 1e-6)
          optest.close(v, square, 1e-6)
        end)
      end
    end)
  end

  it("moves by the learning rate at first", function()
    la.scope(function()
      local w <const> = la.tensor { 1, 1, 1 }
      la.adam_step_(w, la.tensor { 1e-3, -5, 1e4 }, la.zeros(3), la.zeros(3), { lr = 0.1, step = 1 })
      optest.close(w, { 0.9, 1.1, 0.9 }, 1e-4)
    end)
  end)
end)

describe("optimisers", function()
  local function refused(text, fn, ...)
    local ok <const>, message <const> = pcall(fn, ...)
    assert.is_false(ok)
    assert(message:find(text, 1, true), message)
  end

  it("refuse what does not fit", function()
    la.scope(function()
      local w <const>, g <const>, z <const> = la.zeros(2, 3), la.zeros(2, 3), la.zeros(2, 3)
      refused("grad must be float32 of the parameter's shape (2, 3), got float32 (3)", la.sgd_step_, w, la.zeros(3),
        nil, { lr = 1 })
      refused("lr is missing", la.sgd_step_, w, g)
      refused("lr must not be negative, got -1", la.sgd_step_, w, g, nil, { lr = -1 })
      refused("buffer is missing, and momentum is 0.9", la.sgd_step_, w, g, nil, { lr = 1, momentum = 0.9 })
      refused("param must be contiguous", la.sgd_step_, la.zeros(3, 2):transpose(1, 2), g, nil, { lr = 1 })
      local ints <const> = la.zeros(2, 3, "int32")
      refused("v must be float32 of the parameter's shape", la.adam_step_, w, g, z, ints, { step = 1 })
      refused("step counts from 1, got 0", la.adam_step_, w, g, z, z, { step = 0 })
      refused("step is missing", la.adam_step_, w, g, z, z)
      refused("beta2 must be below 1, got 1", la.adam_step_, w, g, z, z, { step = 1, beta2 = 1 })
      refused("unknown option 'bata1', did you mean 'beta1'?", la.adam_step_, w, g, z, z, { step = 1, bata1 = 0.9 })
    end)
  end)

  it("step parameters that ask for gradients only without recording", function()
    la.scope(function()
      local w <const> = la.ones(2):requires_grad_(true)
      refused("writes in place", la.sgd_step_, w, la.ones(2), nil, { lr = 1 })
      la.no_grad(function() la.sgd_step_(w, la.ones(2), nil, { lr = 1 }) end)
      assert.are.same({ 0, 0 }, w:flat())
    end)
  end)
end)

optest("sum_squares", {
  args = function(rng) return { rng.randn(3, 5), rng.randn(7), rng.randn(2, 3, 2) } end,
  ref = function(list)
    local sum = 0
    for _, x in ipairs(list) do
      for _, v in ipairs(x.data) do
        sum = sum + v * v
      end
    end
    return sum
  end,
  sizes = {
    { "one tensor", function(rng) return { rng.randn(5003) } end },
    { "numbers", function(rng) return { rng.randn(), rng.randn() } end },
    { "chunks and less", function(rng)
      return { rng.randn(1024), rng.randn(1025), rng.randn(1), rng.randn(2047) }
    end },
    { "an empty one among them", function(rng) return { rng.randn(3), rng.randn(0), rng.randn(5) } end },
    { "nothing at all", function(rng) return { rng.randn(0), rng.randn(2, 0) } end },
  },
  rejects = {
    { "integers", function(rng) return { rng.randn(3), rng.ints(0, 9, 3) } end, "tensor 2 must be float32, got int32" },
    { "an empty list", function() return {} end, "1 to 32 tensors" },
  },
})
