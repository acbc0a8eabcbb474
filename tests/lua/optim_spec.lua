-- SPDX-License-Identifier: MIT

local la <const> = require "lualign"
local cases <const> = require "lib.cases"
local optest <const> = require "lib.optest"
local optim <const> = la.optim
local fails <const>, scoped <const> = cases.fails, cases.scoped

local START <const>, GRADIENTS <const> = { 0.5, -2, 3 }, { { 0.1, -0.4, 2 }, { -0.3, 0.2, 1 }, { 0.7, 0.05, -3 } }

-- A parameter after one step for each of GRADIENTS.
local function stepped(make, given)
  local p <const> = la.tensor(START):requires_grad_(true)
  local opt <const> = make({ p }, given)
  for _, g in ipairs(GRADIENTS) do
    p.grad = la.tensor(g)
    opt:step()
  end
  return p:detach()
end

-- The same in double precision; update(state, p, g, step) -> new p.
local function reference(update)
  local out <const> = {}
  for i, p in ipairs(START) do
    local state <const> = {}
    for step, g in ipairs(GRADIENTS) do
      p = update(state, p, g[i], step)
    end
    out[i] = p
  end
  return la.tensor(out)
end

local function adam(given, decoupled)
  local lr <const>, decay <const> = given.lr, given.weight_decay or 0
  local b1 <const>, b2 <const> = table.unpack(given.betas or { 0.9, 0.999 })
  return function(s, p, g, step)
    g = decoupled and g or g + decay * p
    p = decoupled and p * (1 - lr * decay) or p
    s.m = b1 * (s.m or 0) + (1 - b1) * g
    s.v = b2 * (s.v or 0) + (1 - b2) * g * g
    return p - lr * (s.m / (1 - b1 ^ step)) / (math.sqrt(s.v / (1 - b2 ^ step)) + (given.eps or 1e-8))
  end
end

local function sgd(given)
  local momentum <const>, damp <const> = given.momentum or 0, given.dampening or 0
  return function(s, p, g, step)
    g = g + (given.weight_decay or 0) * p
    if momentum ~= 0 then
      s.b = step == 1 and g or momentum * s.b + (1 - damp) * g
      g = given.nesterov and g + momentum * s.b or s.b
    end
    return p - given.lr * g
  end
end

describe("an optimiser", function()
  scoped("steps as PyTorch's does", function()
    for _, given in ipairs {
      { lr = 0.1 }, { lr = 0.1, momentum = 0.9 }, { lr = 0.1, momentum = 0.9, dampening = 0.3, weight_decay = 0.01 },
      { lr = 0.1, momentum = 0.8, nesterov = true },
    } do
      optest.close(stepped(optim.SGD, given), reference(sgd(given)), 1e-6)
    end
    for _, given in ipairs { { lr = 0.1 }, { lr = 0.01, betas = { 0.5, 0.9 }, eps = 1e-3, weight_decay = 0.1 } } do
      optest.close(stepped(optim.Adam, given), reference(adam(given, false)), 1e-6)
      given.weight_decay = given.weight_decay or 0.01
      optest.close(stepped(optim.AdamW, given), reference(adam(given, true)), 1e-6)
    end
  end)

  scoped("leaves alone what has no gradient, and counts its steps apart", function()
    local a <const>, b <const> = la.ones(2):requires_grad_(true), la.ones(2):requires_grad_(true)
    local opt <const> = optim.Adam({ a, b }, { lr = 0.1 })
    a.grad = la.ones(2)
    opt:step()
    assert.same({ 1, 1 }, b:flat())
    b.grad = la.ones(2)
    a.grad = nil
    opt:step()
    optest.close(b:detach(), a:detach(), 1e-7) -- b's first step is like a's
    opt:zero_grad()
    assert.is_nil(b.grad)
  end)

  scoped("has groups with settings of their own", function()
    local a <const>, b <const> = la.zeros(1):requires_grad_(true), la.zeros(1):requires_grad_(true)
    local opt <const> = optim.SGD({ { parameters = { a }, lr = 2 }, { parameters = { b } } }, { lr = 3 })
    local function step()
      a.grad, b.grad = la.ones(1), la.ones(1)
      opt:step()
      return { a:item(), b:item() }
    end
    assert.same({ -2, -3 }, step())
    opt:scale_lr(0.5)
    assert.same({ -3, -4.5 }, step())
    opt.groups[2].lr = 1
    assert.same({ -4, -5.5 }, step())
  end)

  scoped("goes on from its saved state with the same bits", function()
    local function run(opt, p, from, to)
      for i = from, to do
        p.grad = la.tensor(GRADIENTS[i])
        opt:step()
      end
    end
    for _, make in ipairs {
      function(p) return optim.Adam({ p }, { lr = 0.1 }) end,
      function(p) return optim.SGD({ p }, { lr = 0.1, momentum = 0.9, dampening = 0.2 }) end,
    } do
      local through <const> = la.tensor(START):requires_grad_(true)
      local opt <const> = make(through)
      run(opt, through, 1, 1)
      local half <const> = through:clone():requires_grad_(true)
      local dict <const> = {}
      for _, entry in ipairs(opt:state_dict()) do
        dict[entry[1]] = entry[2]:clone()
      end
      run(opt, through, 2, 3)
      local other <const> = make(half)
      other:load_state_dict(dict)
      run(other, half, 2, 3)
      assert.equal(through:bytes(), half:bytes())
      dict["1.m"], dict["1.buffer"] = nil, nil
      fails("load_state_dict: 1.", other.load_state_dict, other, dict)
    end
  end)

  scoped("refuses what is no parameter", function()
    local p <const> = la.ones(2):requires_grad_(true)
    fails("Adam: needs a list of parameters", optim.Adam, {}, { lr = 1 })
    fails("Adam: unknown option 'Lr', did you mean 'lr'?", optim.Adam, { p }, { Lr = 1 })
    fails("SGD: option 'lr' is missing", optim.SGD, { p })
    fails("Adam: parameter 2 must be a float32 tensor that is no result, got a result", optim.Adam, { p, p * 2 })
    fails("Adam: a parameter is there twice", optim.Adam, { p, p })
    fails("SGD: group: unknown option 'rl'", optim.SGD, { { parameters = { p }, rl = 1 } }, { lr = 1 })
  end)

  scoped("prints its settings", function()
    local p <const> = la.ones(2):requires_grad_(true)
    assert.equal("SGD(dampening 0, lr 0.5, momentum 0, nesterov false, weight_decay 0)",
      tostring(optim.SGD({ p }, { lr = 0.5 })))
    assert.equal("Adam(betas 0.9, 0.999, eps 1e-08, lr 0.001, weight_decay 0)", tostring(optim.Adam { p }))
  end)
end)

describe("clip_grad_norm", function()
  scoped("shortens gradients that are too long, all by one factor", function()
    local list <const> = {}
    for i = 1, 40 do -- more than one sum takes
      list[i] = la.zeros(3):requires_grad_(true)
      list[i].grad = la.full({ 3 }, i % 2 == 0 and 2 or -1)
    end
    list[41] = la.zeros(2):requires_grad_(true) -- without a gradient
    local norm <const> = math.sqrt(20 * 3 * (4 + 1))
    optest.close(optim.clip_grad_norm(list, 1e3), la.tensor(norm), 1e-6)
    assert.same({ -1, -1, -1 }, list[1].grad:flat())
    optim.clip_grad_norm(list, 5)
    optest.close(list[2].grad, la.full({ 3 }, 10 / norm), 1e-5)
    optest.close(list[39].grad, la.full({ 3 }, -5 / norm), 1e-5)
    assert.is_nil(list[41].grad)
    fails("must be a number above 0", optim.clip_grad_norm, list, 0)
    fails("none of the parameters has a gradient", optim.clip_grad_norm, { list[41] }, 1)
  end)
end)

describe("a schedule", function()
  local function at(schedule, ...)
    local out <const> = {}
    for i = 1, select("#", ...) do
      out[i] = math.floor(schedule((select(i, ...))) * 1e6 + 0.5) / 1e6
    end
    return out
  end

  it("falls by a cosine", function()
    assert.same({ 1, 0.5, 0, 0 }, at(optim.schedule.cosine { steps = 10 }, 1, 6, 11, 20))
    assert.same({ 1, 0.6, 0.2 }, at(optim.schedule.cosine { steps = 10, floor = 0.2 }, 1, 6, 11))
  end)

  it("falls by steps", function()
    assert.same({ 1, 1, 0.5, 0.5, 0.25 }, at(optim.schedule.step { every = 2, factor = 0.5 }, 1, 2, 3, 4, 5))
  end)

  it("warms up first", function()
    assert.same({ 0.25, 1, 1 }, at(optim.schedule.constant { warmup = 4 }, 1, 4, 9))
    assert.same({ 0.5, 1, 1, 0.5 }, at(optim.schedule.cosine { steps = 12, warmup = 2 }, 1, 2, 3, 8))
  end)
end)
