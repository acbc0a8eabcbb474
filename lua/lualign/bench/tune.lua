-- SPDX-License-Identifier: MIT
--
-- tune: which kernels are best for the shapes that a network really calls, on this device. Every method that applies
-- is checked against the plain kernels on fresh random numbers; those that are right and not much slower than the best
-- take turns; the winner goes on record (la.device.choices) if it beats what would be taken without one.
--
--   local r <const> = tune.run { shapes = tune.shapes(fn), seconds = 120, save = la.device.save_choices, tick = ... }
--
-- A problem is { pass, shape, flops, methods = { names }, result(method) -> tensor, contender(method) -> as timing has
-- it }; a method that does not apply raises an error.

local interrupt <const> = require "lualign.interrupt"
local la <const> = require "lualign"
local report <const> = require "lualign.bench.report"
local timing <const> = require "lualign.bench.timing"
local work <const> = require "lualign.bench.work"

local tune <const> = {}

local TOLERANCE <const> = 1e-4 -- of the largest element: what a trial of a variant allows too
local ROUNDED <const> = 2e-2 -- of factors in bfloat16
local SLOW <const> = 1.4 -- times the fastest: not worth a closer look
local GAIN <const> = 1.03 -- what a choice must be worth to go on record
local ROUNDS <const> = 7

-- ---- problems ----

local CPU <const> = { "cpu6x64", "cpu8x48", "cpu12x32", "cpu14x16" }
local GPU <const> = { "gpu128x128", "gpu128x64", "gpu64x64" }

-- The methods that may be worth a try on this device.
local function methods_of(extra)
  local list <const> = { "auto", "plain" }
  local is_cpu <const> = la.device.info().type == "cpu"
  local own <const> = is_cpu and CPU or GPU
  table.move(own, 1, #own, #list + 1, list)
  if extra == "gemm" and not is_cpu then -- on a CPU it takes seconds to build, and ten times as long as ours
    list[#list + 1] = "clblast"
  end
  if type(extra) == "table" then
    table.move(extra, 1, #extra, #list + 1, list)
  end
  return list
end

-- n x h x w x c, o x kh x kw, oh x ow, strides, zeros at the top and the left, dilations, groups.
local CONV <const> = "^(%d+)x(%d+)x(%d+)x(%d+) (%d+)x(%d+)x(%d+) (%d+)x(%d+) "
  .. "s(%d+),(%d+) p(%d+),(%d+) d(%d+),(%d+) g(%d+)$"

-- The convolution that a shape on record describes, or nil. Zeros at the bottom and the right as far as it reaches.
local function convolution_of(shape)
  local n, h, w, c, o, kh, kw, oh, ow, sh, sw, top, left, dh, dw, groups = shape:match(CONV)
  if not n then
    return nil
  end
  local function int(text)
    return math.tointeger(tonumber(text))
  end
  n, h, w, c, o, kh, kw = int(n), int(h), int(w), int(c), int(o), int(kh), int(kw)
  oh, ow, sh, sw, top, left = int(oh), int(ow), int(sh), int(sw), int(top), int(left)
  dh, dw, groups = int(dh), int(dw), int(groups)
  local bottom <const> = math.max(0, (oh - 1) * sh + dh * (kh - 1) + 1 - h - top)
  local right <const> = math.max(0, (ow - 1) * sw + dw * (kw - 1) + 1 - w - left)
  return work.convolution({ n, h, w, c }, { o, kh, kw, c // groups }, {
    stride = { sh, sw }, padding = { top, bottom, left, right }, dilation = { dh, dw }, groups = groups,
  })
end

-- Gradient of `leaf` alone, for a call that gives y.
local function gradient_of(call, leaf, seed)
  leaf:requires_grad_(true)
  local ok <const>, result <const> = pcall(function()
    call():backward(seed)
    return leaf.grad
  end)
  leaf:requires_grad_(false)
  leaf.grad = nil
  if not ok then
    error(result, 0)
  end
  return result
end

-- Winograd's methods, where the layer and the precision allow them.
local function winograd_of(layer, kind, precision)
  local o <const>, ones = layer.options, layer.options.groups == 1
  for d = 1, 2 do
    ones = ones and layer.weight[d + 1] == 3 and o.stride[d] == 1 and o.dilation[d] == 1
  end
  -- bfloat16 there: gradients and depthwise ones
  if not ones or precision == "bfloat16" or kind == "weight" and precision == "strict" then
    return nil
  end
  return precision == "strict" and { "winograd2" } or { "winograd4", "winograd2" }
end

local function conv_problem(choice, kind, precision)
  local layer <const> = convolution_of(choice.shape)
  if not layer or precision and not la.conv2d_fused then
    return nil
  end
  local x <const>, weight <const>, seed <const> = la.randn(layer.x), la.randn(layer.weight), la.randn(layer.y)
  local function call(method)
    local o <const> = { method = method, precision = precision }
    for name, value in pairs(layer.options) do
      o[name] = value
    end
    if precision then
      return function() return la.conv2d_fused(x, weight, o) end
    end
    return function() return la.conv2d(x, weight, nil, o) end
  end
  local leaf <const> = kind == "data" and x or kind == "weight" and weight or nil
  return {
    pass = choice.pass, shape = choice.shape, flops = layer.flops,
    methods = methods_of(winograd_of(layer, kind, precision)),
    tolerance = precision == "bfloat16" and ROUNDED or TOLERANCE,
    result = function(method) return leaf and gradient_of(call(method), leaf, seed) or call(method)() end,
    contender = function(method)
      return leaf and timing.gradient(call(method), seed, { leaf }) or timing.call(call(method))
    end,
  }
end

local function gemm_problem(choice)
  local batch, m, n, k, ta, tb, rest = choice.shape:match "^(%d+) (%d+)x(%d+)x(%d+) ([nt])([nt])(.*)$"
  if not batch then
    return nil
  end
  batch, m, n, k = math.tointeger(batch), math.tointeger(m), math.tointeger(n), math.tointeger(k)
  local function matrix(rows, columns, turned, one)
    local r, c = rows, columns
    if turned then
      r, c = c, r
    end
    return (batch == 1 or one) and la.randn(r, c) or la.randn(batch, r, c)
  end
  local a <const> = matrix(m, k, ta == "t", rest:find "one a")
  local b <const> = matrix(k, n, tb == "t", rest:find "one b")
  local function call(method)
    return function() return la.matmul(a, b, { ta = ta == "t", tb = tb == "t", method = method }) end
  end
  return {
    pass = choice.pass, shape = choice.shape, flops = 2 * batch * m * n * k, methods = methods_of "gemm",
    tolerance = TOLERANCE, result = function(method) return call(method)() end,
    contender = function(method) return timing.call(call(method)) end,
  }
end

--- The problem that an entry of la.device.asked_choices stands for; nil for what is not known here, or has no work.
function tune.problem(choice)
  local kind <const>, precision <const> = choice.pass:match "^conv2d%.(%l+)%.?(%w*)$"
  local problem
  if kind then
    problem = conv_problem(choice, kind, precision ~= "" and precision or nil)
  elseif choice.pass == "gemm" then
    problem = gemm_problem(choice)
  end
  return problem and problem.flops > 0 and problem or nil
end

-- ---- measuring ----

-- The largest difference relative to the largest element; infinite where anything is no number.
local function difference(got, expected)
  local largest <const> = math.max(la.abs(expected):max():item(), 1e-30)
  local d <const> = la.abs(got - expected):max():item() / largest
  local sum <const> = (got - expected):sum():item() -- a maximum may pass over NaN
  return d == d and sum == sum and d or math.huge
end

-- Splits the methods into contenders that are right, and the names of those that are wrong.
local function check(problem)
  local right <const>, wrong <const> = {}, {}
  local expected <const> = problem.result "plain"
  for _, method in ipairs(problem.methods) do
    local ok <const>, off <const> = pcall(function() return difference(problem.result(method), expected) end)
    if ok and off <= (problem.tolerance or TOLERANCE) then
      right[#right + 1] = { method = method, contender = problem.contender(method) }
    elseif ok then
      wrong[#wrong + 1] = string.format("%s (off by %.1g)", method, off)
    end
  end
  return right, wrong
end

-- Those that are not far behind after one sample; auto always stays, first.
local function near_the_best(list)
  local best, kept <const> = math.huge, {}
  for _, entry in ipairs(list) do
    entry.once = math.min(entry.contender.sample(), entry.contender.sample())
    best = math.min(best, entry.once)
  end
  for _, entry in ipairs(list) do
    if entry.method == "auto" then
      table.insert(kept, 1, entry)
    elseif entry.once <= SLOW * best then
      kept[#kept + 1] = entry
    end
  end
  return kept
end

--- Measures a problem, puts its winner on record if that is worth it, and returns a row. Without "auto" among the right
-- methods nothing is recorded.
function tune.measure(problem)
  la.device.set_choice(problem.pass, problem.shape, nil) -- auto shall be what it is without a record
  return la.scope(function()
    local right <const>, wrong <const> = check(problem)
    local row <const> = {
      pass = problem.pass, shape = problem.shape, wrong = #wrong > 0 and table.concat(wrong, ", ") or nil,
    }
    local list <const> = near_the_best(right)
    if not list[1] or list[1].method ~= "auto" then
      return row
    end
    local contenders <const> = {}
    for i, entry in ipairs(list) do
      contenders[i] = entry.contender
    end
    local times <const> = timing.turns(contenders, ROUNDS)
    local best, gain = 1, 1.0
    for i = 2, #list do
      local ratio <const> = timing.ratio(times[1], times[i])
      if ratio > gain then
        best, gain = i, ratio
      end
    end
    row.default_ms, row.ms = timing.median(times[1]) * 1e3, timing.median(times[best]) * 1e3
    row.method, row.gain = list[best].method, gain
    row.gflops = problem.flops / row.ms * 1e-6
    if gain >= GAIN then
      la.device.set_choice(problem.pass, problem.shape, row.method, row.ms)
    else
      row.method, row.ms, row.gain = "auto", row.default_ms, 1.0
    end
    return row
  end)
end

--- What fn() asks the record for.
function tune.shapes(fn)
  return la.device.asked_choices(la.scope, fn)
end

local COLUMNS <const> = {
  { "pass" }, { "shape" }, { "default_ms", title = "default ms", digits = 3 }, { "method" },
  { "ms", digits = 3 }, { "gflops", title = "GFLOP/s", digits = 0 }, { "gain", digits = 2 },
  { "wrong", title = "refused" },
}

-- Problems of the shapes, those with most work first.
local function ordered(shapes)
  local list <const> = {}
  for _, choice in ipairs(shapes) do
    la.scope(function()
      local problem <const> = tune.problem(choice)
      if problem then
        list[#list + 1] = { choice = choice, flops = problem.flops }
      end
    end)
  end
  table.sort(list, function(a, b)
    return a.flops > b.flops or a.flops == b.flops and a.choice.pass .. a.choice.shape < b.choice.pass .. b.choice.shape
  end)
  return list
end

--- o: shapes (as tune.shapes gives them), seconds, save(), tick(i, n, text). Calls save after each shape, so that what
-- is done stays when it is interrupted or its time is up. Returns a report; `left` in it says how many shapes were not
-- reached.
function tune.run(o)
  local list <const> = ordered(o.shapes)
  local r <const> = report.new {
    title = "choices", columns = COLUMNS, bars = { "gain" }, unit = "times faster", mark = 1,
  }
  local start <const> = la.device.clock()
  interrupt.deferred(function()
    for i, entry in ipairs(list) do
      if interrupt.pending() or la.device.clock() - start > o.seconds then
        break
      end
      r:add(la.scope(function() return tune.measure(tune.problem(entry.choice)) end))
      o.save()
      o.tick(i, #list, entry.choice.pass .. " " .. entry.choice.shape)
      collectgarbage()
    end
  end)
  r.left = #list - #r.rows
  return r
end

return tune
