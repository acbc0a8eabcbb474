-- SPDX-License-Identifier: MIT
--
-- optest.lua -- the tests of one op, made from one declaration. tests/README.md explains every field.
--
--   local optest <const> = require "lib.optest"
--   local P <const> = optest.P
--
--   optest("scale", {
--     args = function(rng) return rng.randn(2, 5, 3), 0.5 end,      -- plain arrays become tensors, the rest stays
--     ref = function(x, factor)                                     -- gets the same in double precision
--       return P.build(x.shape, function(i, j, k) return factor * x:at(i, j, k) end)
--     end,
--     grad = true,
--     sizes = { { "one element", function(rng) return rng.randn(1, 1, 1), 2 end } },
--     rejects = { { "an integer tensor", function(rng) return rng.ints(0, 9, 2), 2 end, "must be float32" } },
--   })

local busted <const> = require "busted"
local la <const> = require "lualign"
local P <const> = require "lib.plain"
local compare <const> = require "lib.compare"
local inputs <const> = require "lib.inputs"
local make_rng <const> = require "lib.rng"

local FIELDS <const> = {
  args = true, ref = true, fn = true, tol = true, tiny = true, grad = true, grad_tol = true, grad_tiny = true,
  grad_sizes = true, step = true, elements = true, sizes = true, noncontiguous = true, accumulate = true,
  deterministic = true, in_place = true, identities = true, rejects = true,
}

-- ---- one case: arguments, outputs, gradients ----

-- Everything that a case needs: { spec, fn, args = packed plain arguments, label }.
local function make_case(name, spec, label, args)
  local rng <const> = make_rng(name .. "/" .. label)
  return { spec = spec, fn = spec.fn or la[name], args = table.pack(args(rng)), label = label }
end

-- Runs the op on tensors; returns the list of its outputs.
local function run(case, tensors)
  local out <const> = { case.fn(table.unpack(tensors, 1, tensors.n)) }
  if #out == 0 or not la.is_tensor(out[1]) then
    error("the op returned no tensor", 0)
  end
  return out
end

-- Runs the reference; returns the list of its outputs as plain arrays.
local function reference(case, args)
  local out <const> = { case.spec.ref(table.unpack(args, 1, args.n)) }
  for k, value in ipairs(out) do
    out[k] = P(value)
  end
  return out
end

-- Fixed weights in (-1, 1) for every output: the scalar that is differentiated is sum(weight * output).
local function weights_like(case, outputs)
  local rng <const> = make_rng(case.label .. "/weights")
  local weights <const> = {}
  for k, out in ipairs(outputs) do
    weights[k] = rng.uniform(-1, 1, table.unpack(out.shape))
  end
  return weights
end

local function backward(outputs, weights)
  local loss
  if #outputs == 1 then
    outputs[1]:backward(inputs.tensor(weights[1]))
    return
  end
  for k, out in ipairs(outputs) do
    if out.dtype == "float32" and out.requires_grad then
      local part <const> = (out * inputs.tensor(weights[k])):sum()
      loss = loss and loss + part or part
    end
  end
  loss:backward()
end

-- Which float32 inputs are differentiated: a list of leaves of inputs.each.
local function wanted(case)
  local list <const> = {}
  for _, input in ipairs(inputs.each(case.args)) do
    local grad <const> = case.spec.grad
    local yes = grad == true
    if type(grad) == "table" then
      for _, i in ipairs(grad) do
        yes = yes or i == input.argument
      end
    end
    if yes and input.plain.dtype == "float32" then
      list[#list + 1] = input
    end
  end
  if #list == 0 then
    error("grad: no float32 input to differentiate", 0)
  end
  return list
end

-- The analytic gradients, as plain arrays in the order of `list`; `times` backward passes. With `layout`, the op gets
-- views made by it and the gradients of what is viewed are seen through the same view.
local function analytic(case, list, weights, times, layout)
  local leaf <const> = {}
  local tensors <const> = inputs.tensors(case.args, layout, function(input, base)
    for _, w in ipairs(list) do
      if w.name == input.name then
        leaf[input.name] = base:requires_grad_(true)
      end
    end
  end)
  for _ = 1, times or 1 do
    -- a view is part of the graph that backward frees: make it again
    local again <const> = inputs.review(tensors)
    backward(run(case, again), weights)
  end
  local gradients <const> = {}
  for i, input in ipairs(list) do
    local base <const> = leaf[input.name]
    if not base.grad then
      error(string.format("no gradient reached %s", input.name), 0)
    end
    gradients[i] = P(inputs.view_of(tensors, input, base.grad))
  end
  return gradients
end

-- ---- the numeric gradient of the reference ----

local function projection(case, args, weights)
  local sum = 0
  for k, out in ipairs(reference(case, args)) do
    local w <const> = weights[k].data
    for i, v in ipairs(out.data) do
      if w[i] ~= 0 then
        sum = sum + w[i] * v
      end
    end
  end
  return sum
end

-- d(projection)/dt at t = 0 when input moves by t * direction: central differences with one Richardson step.
local function derivative(case, input, direction, weights)
  local args <const>, moved = inputs.copy(case.args, input)
  local still <const> = input.plain.data
  local function at(t)
    for i, d in pairs(direction) do
      moved.data[i] = still[i] + t * d
    end
    return projection(case, args, weights)
  end
  local function central(h)
    return (at(h) - at(-h)) / (2 * h)
  end
  local h <const> = case.spec.step or 1e-4
  return (4 * central(h / 2) - central(h)) / 3
end

-- At most `most` positions of n, spread at random but always with the first and the last.
local function some_elements(n, most, rng)
  if n <= most then
    return rng.perm(n).data
  end
  local list <const> = rng.perm(n).data
  list[1], list[2] = 1, n
  return table.move(list, 1, most, 1, {})
end

-- The gradient is a sum of terms of size 1 that may cancel: below this, its float32 rounding is all there is.
local GRAD_TINY <const> = 1e-3

-- Compares single elements: |a - n| <= tol * max(|n|max, tiny), |n|max over the elements looked at.
local function check_elements(case, input, gradient, weights, most, rng)
  local numeric <const>, got <const> = {}, {}
  for i, k in ipairs(some_elements(#gradient.data, most, rng)) do
    numeric[i] = derivative(case, input, { [k] = 1 }, weights)
    got[i] = gradient.data[k]
  end
  compare.close(P.new({ #got }, got), P.new({ #got }, numeric), case.spec.grad_tol or 1e-4,
    "gradient of " .. input.name .. " (a sample of its elements)", case.spec.grad_tiny or GRAD_TINY)
end

-- Compares the derivative along a random direction d through all elements: |a.d - n| <= tol * max(|(a_i d_i)|_2, tiny).
local function check_direction(case, input, gradient, weights, rng)
  local direction <const> = rng.uniform(-1, 1, #gradient.data).data
  local dot, square = 0, 0
  for i, g in ipairs(gradient.data) do
    dot = dot + g * direction[i]
    square = square + (g * direction[i]) ^ 2
  end
  local numeric <const> = derivative(case, input, direction, weights)
  local scale <const> = math.max(math.sqrt(square), case.spec.grad_tiny or GRAD_TINY)
  local off <const> = math.abs(dot - numeric) / scale
  if not (off <= (case.spec.grad_tol or 1e-4)) then
    error(string.format("gradient of %s along a random direction is %.9g, expected %.9g (relative error %.3g)",
      input.name, dot, numeric, off), 0)
  end
end

local function check_gradient(case, most)
  local weights <const> = weights_like(case, reference(case, case.args))
  local list <const> = wanted(case)
  for i, gradient in ipairs(analytic(case, list, weights)) do
    local input <const> = list[i]
    local rng <const> = make_rng(case.label .. "/" .. input.name)
    if table.concat(gradient.shape, ",") ~= table.concat(input.plain.shape, ",") then
      error(string.format("gradient of %s has shape (%s), expected (%s)", input.name,
        table.concat(gradient.shape, ", "), table.concat(input.plain.shape, ", ")), 0)
    end
    if #gradient.data > 0 then
      check_elements(case, input, gradient, weights, most, rng)
      check_direction(case, input, gradient, weights, rng)
    end
  end
end

-- ---- the tests ----

local function close_all(got, want, tol, label, tiny)
  if #got ~= #want then
    error(string.format("%s: %d outputs, expected %d", label, #got, #want), 0)
  end
  for k in ipairs(want) do
    compare.close(got[k], want[k], tol, #want > 1 and string.format("%s, output %d", label, k) or label, tiny)
  end
end

local function check_forward(case)
  local tensors <const> = inputs.tensors(case.args)
  local before <const> = inputs.bytes(tensors)
  close_all(run(case, tensors), reference(case, case.args), case.spec.tol or 1e-5, "forward", case.spec.tiny)
  if not case.spec.in_place and inputs.bytes(tensors) ~= before then
    error("the op changed its input", 0)
  end
end

local function check_layout(case, layout)
  local plain <const> = run(case, inputs.tensors(case.args))
  local viewed <const> = run(case, inputs.review(inputs.tensors(case.args, layout)))
  local tol <const> = case.spec.tol or 1e-5
  close_all(viewed, plain, tol, layout .. " inputs", case.spec.tiny)
  if case.spec.grad then
    local list <const> = wanted(case)
    local shapes <const> = {}
    for k, out in ipairs(plain) do
      shapes[k] = P(out)
    end
    local weights <const> = weights_like(case, shapes)
    local through <const> = analytic(case, list, weights, 1, layout)
    close_all(through, analytic(case, list, weights), tol, "gradient with " .. layout .. " inputs",
      case.spec.grad_tiny or GRAD_TINY)
  end
end

local function check_accumulate(case)
  local shapes <const> = {}
  for k, out in ipairs(run(case, inputs.tensors(case.args))) do
    shapes[k] = P(out)
  end
  local weights <const>, list <const> = weights_like(case, shapes), wanted(case)
  local twice <const> = analytic(case, list, weights, 2)
  for i, once in ipairs(analytic(case, list, weights, 1)) do
    for k, v in ipairs(once.data) do
      once.data[k] = 2 * v
    end
    compare.close(twice[i], once, 1e-6, "gradient of " .. list[i].name .. " after a second backward")
  end
end

local function check_deterministic(case)
  local first, second = {}, {}
  for k, out in ipairs(run(case, inputs.tensors(case.args))) do
    first[k] = out:bytes()
  end
  for k, out in ipairs(run(case, inputs.tensors(case.args))) do
    second[k] = out:bytes()
  end
  for k in ipairs(first) do
    if first[k] ~= second[k] then
      error(string.format("output %d differs between two runs on the same input", k), 0)
    end
  end
end

local function check_identity(case, identity)
  local left <const>, right <const> = identity(case.fn, table.unpack(inputs.tensors(case.args), 1, case.args.n))
  compare.close(left, P(right), case.spec.tol or 1e-5, "identity", case.spec.tiny)
end

local function check_rejects(case, op, pattern)
  local tensors <const> = inputs.tensors(case.args)
  local ok <const>, message = pcall(case.fn, table.unpack(tensors, 1, tensors.n))
  if ok then
    error("accepted, expected an error: " .. pattern, 0)
  end
  message = tostring(message)
  if not (message:find(pattern, 1, true) or message:find(pattern)) then
    error(string.format("the message is %q, expected %q in it", message, pattern), 0)
  end
  if not message:find(op .. ":", 1, true) then
    error(string.format("the message %q does not name the op", message), 0)
  end
end

-- Registers one test; the body gets a fresh case and its tensors are released afterwards.
local function test(name, spec, title, label, args, body)
  busted.it(title, function()
    la.scope(function()
      body(make_case(name, spec, label, args))
    end)
  end)
end

local function gradient_test(name, spec, title, label, args, most)
  test(name, spec, title, label, args, function(case)
    if spec.ref then
      return check_gradient(case, most)
    end
    local tensors <const> = inputs.tensors(case.args)
    local list, place = {}, {}
    for i, input in ipairs(wanted(case)) do
      list[i], place[i] = tensors[input.argument], input.argument
    end
    la.gradcheck(function(...)
      local all <const> = table.move(tensors, 1, tensors.n, 1, {})
      for i = 1, select("#", ...) do
        all[place[i]] = (select(i, ...))
      end
      return case.fn(table.unpack(all, 1, tensors.n))
    end, list, {})
  end)
end

local function register_sizes(name, spec)
  for i, entry in ipairs(spec.sizes or {}) do
    local label <const> = type(entry) == "table" and entry[1] or "size " .. i
    local args <const> = type(entry) == "table" and entry[2] or entry
    if spec.ref then
      test(name, spec, "forward: " .. label, label, args, check_forward)
    else
      test(name, spec, "runs: " .. label, label, args, function(case)
        run(case, inputs.tensors(case.args))
      end)
    end
    local grad = spec.grad_sizes ~= false
    if type(entry) == "table" and entry.grad ~= nil then
      grad = entry.grad
    end
    if spec.grad and grad then
      gradient_test(name, spec, "gradient: " .. label, label, args, 8)
    end
  end
end

local function register(name, spec)
  if spec.ref then
    test(name, spec, "forward", "args", spec.args, check_forward)
  end
  if spec.grad then
    gradient_test(name, spec, "gradient", "args", spec.args, spec.elements or 40)
    if spec.accumulate ~= false then
      test(name, spec, "adds to a gradient that is there", "args", spec.args, check_accumulate)
    end
  end
  if spec.noncontiguous ~= false then
    for _, layout in ipairs(inputs.layouts) do
      test(name, spec, "takes " .. layout .. " inputs", "args", spec.args, function(case)
        check_layout(case, layout)
      end)
    end
  end
  if spec.deterministic ~= false then
    test(name, spec, "gives the same bits twice", "args", spec.args, check_deterministic)
  end
  register_sizes(name, spec)
  for i, identity in ipairs(spec.identities or {}) do
    test(name, spec, "identity " .. i, "args", spec.args, function(case) check_identity(case, identity) end)
  end
  for _, reject in ipairs(spec.rejects or {}) do
    test(name, spec, "rejects " .. reject[1], reject[1], reject[2], function(case)
      check_rejects(case, reject[4] or name, reject[3])
    end)
  end
end

local optest <const> = { P = P, rng = make_rng, close = compare.close, error = compare.error, tensor = inputs.tensor }

--- The single checks, for the test of this harness: check(case) raises an error where the op fails it.
optest.case = make_case
optest.checks = {
  forward = check_forward, gradient = check_gradient, layout = check_layout, accumulate = check_accumulate,
  deterministic = check_deterministic, identity = check_identity, rejects = check_rejects,
}

return setmetatable(optest, {
  __call = function(_, name, spec)
    for key in pairs(spec) do
      if not FIELDS[key] then
        error(string.format("optest: unknown field '%s' of %s", tostring(key), name), 2)
      end
    end
    if type(spec.args) ~= "function" then
      error("optest: args of " .. name .. " must be a function(rng)", 2)
    end
    if not (spec.fn or la[name]) then
      error("optest: there is no op la." .. name, 2)
    end
    busted.describe(name, function() register(name, spec) end)
  end,
})
