-- SPDX-License-Identifier: MIT
--
-- op_arguments.lua -- calls ops with arguments that nobody would pass.
--
--   local fuzz = require "fuzz.op_arguments"
--   fuzz(op, 300, seed)     -- op: one entry of la.ops(); raises a report of the first call that misbehaves
--
-- Half of the calls start from arguments that the op takes and spoil at most one of them, the others draw everything.
-- A call may return tensors or raise a message that names the op; so may backward. Crashes are for sanitizers to see.
-- Sizes are either small or larger than any tensor, so that no call is slow.

local la <const> = require "lualign"
local rng_of <const> = require "lib.rng"

local NAN <const> = 0 / 0
local NUMBERS <const> = { 0, 1, 2, 3, -1, 0.5, -1.5, 1e-30, 1e30, -1e308, 2 ^ 53, NAN, math.huge,
  -math.huge, 2 ^ 31, math.maxinteger, math.mininteger }
local INTEGERS <const> = { 0, 1, 2, 3, 5, -1, -2, 1 << 31, -(1 << 31), 1 << 40, 1 << 62,
  math.maxinteger, math.mininteger, 2.0, 1.5, NAN, math.huge }
local SHAPES <const> = { {}, { 0 }, { 1 }, { 3 }, { 2, 3 }, { 0, 3 }, { 3, 0 }, { 1, 1, 1 }, { 2, 3, 2 },
  { 2, 5, 4, 3 }, { 2, 5, 4, 3 }, { 2, 5, 4, 1 }, { 0, 5, 4, 3 }, { 2, 0, 4, 3 }, { 2, 5, 0, 3 }, { 2, 5, 4, 0 },
  { 1, 1, 1, 1 }, { 2, 4, 5, 2 }, { 2, 6 }, { 2, 18 }, { 2, 9 }, { 1, 2, 1, 3, 2 },
  { 1, 2, 1, 3, 1, 2 }, { 2, 1, 0, 3, 1, 2 } }
local NONSENSE <const> = { "", "float32", "none such", true, false, {}, { 1 }, { "x" }, { x = 1 }, { nope = 1 },
  { [2] = 1 }, print, io.stdout, 7, NAN }

-- Arguments that an op takes, by the names of its parameters where the generic choice would never fit.
local FIT <const> = {
  affine_grid = { { 2, 6 }, 3, 4 },
  affine_points = { { 2, 6 }, { 2, 5, 2 } },
  tps_grid = { { 2, 18 }, 3, 4 },
  tps_points = { { 2, 18 }, { 2, 5, 2 } },
  homography_grid = { { 2, 9 }, 3, 4 },
  homography_points = { { 2, 9 }, { 2, 5, 2 } },
  grid_sample = { { 2, 5, 4, 3 }, { 2, 3, 2, 2 } },
  compose_sampled = { { 2, 5, 4, 2 }, { 2, 3, 2, 2 } },
  soft_inlier_count = { { 2, 3, 2, 6 }, { 2, 3, 2, 2 } },
  correlation = { { 2, 3, 2, 5 }, { 2, 3, 2, 5 } },
  max_pool2d = { { 2, 5, 4, 3 }, 2 },
  avg_pool2d = { { 2, 5, 4, 3 }, 2 },
  batch_norm = { { 2, 5, 4, 3 }, { 3 }, { 3 }, { 3 }, { 3 } },
  resize = { { 2, 5, 4, 3 }, 3, 4 },
  pad = { { 2, 5, 4, 3 }, 1 },
  reshape = { { 2, 3 }, { n = { 3, 2 } } },
  permute = { { 2, 3 }, { n = { 2, 1 } } },
  expand = { { 1, 3 }, { n = { 4, 3 } } },
  unsqueeze = { { 2, 3 }, 2 },
  flip = { { 2, 3 }, 2 },
  narrow = { { 2, 3 }, 2, 1, 2 },
  select = { { 2, 3 }, 2, -1 },
  index_select = { { 4, 3 }, 2, { index = { 2 } } },
  gather = { { 4, 3 }, 2, { index = { 4, 2 } } },
  sgd_step_ = { { 3 }, { 3 }, { 3 }, 0.1 },
  adam_step_ = { { 3 }, { 3 }, { 3 }, { 3 }, 0.1, 1 },
  scale_ = { { 2, 3 }, { 1 } },
  matmul = { { 2, 3 }, { 3, 4 } },
  linear = { { 5, 3 }, { 4, 3 }, { 4 } },
  conv2d = { { 2, 5, 4, 3 }, { 2, 3, 2, 3 }, { 2 } },
  conv2d_fused = { { 2, 5, 4, 3 }, { 2, 3, 2, 3 }, { 2 }, { 2 }, { 2 }, { 2 }, { 2 }, { 2, 3, 3, 2 } },
  inverted_residual = { { 1, 5, 6, 3 }, { 4, 3, 3, 1 }, { 4 }, { 5, 1, 1, 4 }, { 5 }, { 4, 1, 1, 3 }, { 4 } },
  cat = { { list = { { 2, 3 }, { 2, 3 } } } },
  stack = { { list = { { 2, 3 }, { 2, 3 } } } },
  sum_squares = { { list = { { 2, 3 }, { 3 } } } },
  astype = { { 2, 3 }, "int32" },
  where = { { 2, 3 }, { 2, 3 }, { 2, 3 } },
  zeros = { { n = { 2, 3 } } },
  ones = { { n = { 2, 3 } } },
  full = { { n = { 2, 3 } }, 1.5 },
  rand = { { n = { 2, 3 } } },
  randn = { { n = { 2, 3 } } },
  arange = { 5 },
  linspace = { 0, 1, 5 },
  eye = { 3 },
  randperm = { 5 },
  fill_ = { { 2, 3 }, 1.5 },
}

local function show(v)
  if la.is_tensor(v) then
    if not la.is_alive(v) then return "released" end
    return ("%s(%s)%s"):format(v.dtype, table.concat(v:shape(), ","), v.requires_grad and "*" or "")
  elseif type(v) == "table" then
    local parts <const> = {}
    for k, e in pairs(v) do
      parts[#parts + 1] = (type(k) == "string" and k .. "=" or "") .. show(e)
    end
    return "{" .. table.concat(parts, ", ") .. "}"
  end
  return type(v) == "string" and ("%q"):format(v) or tostring(v)
end

-- Draws for one op: a table of functions around one stream.
local function drawer(seed)
  local rng <const> = rng_of(seed)
  local draw <const> = {}

  local function one_in(n) return rng.integer(1, n) == 1 end
  local function pick(list) return list[rng.integer(1, #list)] end

  -- A tensor of that shape: dense, or a view, or expanded, of any type; with `plain` dense float32, and with `leaf`
  -- without a gradient.
  function draw.tensor(shape, plain, leaf)
    local dtype <const> = plain and "float32" or pick { "float32", "float32", "float32", "float32", "int32", "uint8" }
    local t = la.full(shape, rng.number(-1, 1)):add(la.rand(shape)):astype(dtype)
    local n <const> = #shape
    local form <const> = plain and 0 or rng.integer(1, 12)
    if form == 1 and n > 0 then
      t = t:flip(rng.integer(1, n))
    elseif form == 2 and n > 1 then
      t = t:transpose(1, n):contiguous():transpose(1, n)
    elseif form == 3 and n > 0 and n < 6 then
      t = la.stack({ t, t }, n + 1):select(n + 1, 2)
    elseif form == 4 and n > 0 then
      local d <const> = rng.integer(1, n)
      t = la.cat({ t, t }, d):narrow(d, shape[d] + 1, shape[d])
    elseif form == 5 and n > 0 and shape[1] > 0 then
      t = t:narrow(1, 1, 1):expand(shape)
    end
    if dtype == "float32" and not leaf and rng.integer(1, 3) > 1 then
      t:requires_grad_(true)
    end
    return t
  end

  local function released()
    local t <const> = la.zeros(2, 3)
    t:release()
    return t
  end

  function draw.value(p)
    local kind <const> = p.kind
    if one_in(12) then return pick(NONSENSE) end
    if one_in(25) then return nil end
    if one_in(60) then return released() end
    if kind == "tensor" or (kind == "tensor or number" and not one_in(4)) then
      return draw.tensor(pick(SHAPES))
    elseif kind == "list of tensors" then
      local list <const>, shape <const> = {}, pick(SHAPES)
      for i = 1, pick { 0, 1, 2, 3, 33 } do
        list[i] = draw.tensor(one_in(8) and pick(SHAPES) or shape)
      end
      return list
    elseif kind == "boolean" then
      return one_in(2)
    elseif kind == "choice" then
      local names <const> = { "none such" }
      for name in p.choices:gmatch "[^|]+" do names[#names + 1] = name end
      return pick(names)
    elseif kind:find "list" then
      if one_in(2) then return pick(INTEGERS) end
      local list <const> = {}
      for i = 1, rng.integer(0, 7) do
        list[i] = one_in(4) and pick(INTEGERS) or rng.integer(kind:find "dim" and 1 or 0, 4)
      end
      return list
    elseif kind == "number" or kind == "tensor or number" then
      return pick(NUMBERS)
    end
    return one_in(2) and rng.integer(1, 3) or pick(INTEGERS)
  end

  -- What the op takes, from its row above or by kind.
  function draw.fitting(op)
    local args <const>, fit <const> = {}, FIT[op.name]
    for i, p in ipairs(op.params) do
      local f <const> = fit and fit[i]
      if type(f) == "table" then
        if f.n then
          args[i] = f.n
        elseif f.index then
          args[i] = la.ones(f.index, "int32")
        elseif f.list then
          args[i] = {}
          for k, shape in ipairs(f.list) do args[i][k] = draw.tensor(shape, true) end
        else
          args[i] = draw.tensor(f, true, op.in_place or p.name:find "^running" or p.name:find "^norm_[mv]")
        end
      elseif f ~= nil then
        args[i] = f
      elseif not fit and p.kind:find "^tensor" then
        args[i] = draw.tensor({ 2, 5, 4, 3 }, true, op.in_place)
      else
        break
      end
    end
    return args, #args
  end

  -- One call's arguments, and how many.
  function draw.arguments(op)
    local options = nil
    local args, n = draw.fitting(op)
    if one_in(2) then
      local at <const> = rng.integer(1, #op.params + 1)
      local p <const> = op.params[at]
      if p and at <= n then
        args[at] = draw.value(p)
      elseif p then
        options = { [p.name] = draw.value(p) }
      end
    else
      args, n = {}, rng.integer(0, #op.params)
      for i = 1, n do args[i] = draw.value(op.params[i]) end
      if n < #op.params and one_in(2) then
        options = {}
        for i = n + 1, #op.params do
          if one_in(2) then options[op.params[i].name] = draw.value(op.params[i]) end
        end
      end
    end
    if one_in(20) then
      options = options or {}
      options[pick { "nope", "", "dims ", "x" }] = 1
    end
    if options then
      n = n + 1
      args[n] = options
    end
    if one_in(30) then
      n = n + 1
      args[n] = pick(NONSENSE)
    end
    return args, n
  end

  function draw.seed_of(y)
    if one_in(10) then return draw.tensor(pick(SHAPES)) end
    return draw.tensor(y:shape(), not one_in(3)):detach()
  end

  return draw
end

local function check_message(message, names, what)
  if type(message) ~= "string" or message == "" then
    error(("%s: the message is %s"):format(what, show(message)), 0)
  end
  for _, name in ipairs(names) do
    if message:find(name, 1, true) then return end
  end
  error(("%s: the message does not name the op: %s"):format(what, message), 0)
end

local function check_call(op, draw, args, n, what)
  local results = table.pack(pcall(la[op.name], table.unpack(args, 1, n)))
  if tostring(results[2]):find("is for inference, but", 1, true) then -- as it should be; then without a graph
    results = table.pack(pcall(la.no_grad, la[op.name], table.unpack(args, 1, n)))
  end
  if not results[1] then
    check_message(results[2], { op.name }, what)
    return false
  end
  if results.n < 2 then error(what .. ": no result", 0) end
  for i = 2, results.n do
    local y <const> = results[i]
    if not la.is_tensor(y) then error(("%s: result %d is %s"):format(what, i - 1, show(y)), 0) end
    if y:numel() < 100000 then y:bytes() end
    if y.requires_grad and not y.is_leaf and y:numel() < 100000 then
      local seed <const> = draw.seed_of(y)
      local ok <const>, message <const> = pcall(y.backward, y, seed)
      if not ok then
        check_message(message, { op.name, "backward" }, what .. " backward(" .. show(seed) .. ")")
      end
      break
    end
  end
  for i = 1, n do
    local x <const> = args[i]
    local g <const> = la.is_tensor(x) and la.is_alive(x) and x.grad
    if g and not (g.dtype == "float32" and la.is_tensor(g:add(x))) then
      error(what .. ": a gradient of " .. show(g), 0)
    end
  end
  return true
end

-- Returns how many of the calls went through.
return function(op, calls, seed)
  local draw <const> = drawer(("%s %s"):format(op.name, seed))
  local passed = 0
  for i = 1, calls do
    la.scope(function()
      local args <const>, n <const> = draw.arguments(op)
      local shown <const> = {}
      for k = 1, n do shown[k] = show(args[k]) end
      local what <const> = ("call %d, la.%s(%s)"):format(i, op.name, table.concat(shown, ", "))
      if os.getenv "LUALIGN_FUZZ_TRACE" then io.stderr:write(what, "\n") end
      if check_call(op, draw, args, n, what) then passed = passed + 1 end
    end)
  end
  return passed
end
