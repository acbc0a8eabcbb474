-- SPDX-License-Identifier: MIT
--
-- la.gradcheck: analytic gradients against finite differences.
--
--   la.gradcheck(fn, { x, w }, { step = 1e-2, tolerance = 1e-2 })
--
-- fn(x, w) returns one float32 tensor, or several. A fixed random weighting of all its elements, summed on the host in
-- double precision, is the scalar that is differentiated: element by element, by central differences at step and step/2
-- with Richardson's extrapolation, D = (4 D(step/2) - D(step)) / 3. The difference of the two is compared with the
-- largest gradient of that input: |analytic - numeric| <= tolerance * max(|numeric|max, floor). fn must be smooth at
-- the inputs: keep them away from the kinks of relu and of bilinear sampling.
--
-- Returns the worst relative error; raises an error that names the input and element when it is past the tolerance.

local la <const> = require "lualign"

local function weights_of(outputs)
  local state = 1
  local all <const> = {}
  for k, out in ipairs(outputs) do
    local w <const> = {}
    for i = 1, out:numel() do
      state = (state * 1103515245 + 12345) & 0x7fffffff
      w[i] = state / 0x7fffffff * 2 - 1
    end
    all[k] = w
  end
  return all
end

local function scalar(outputs, weights)
  local sum = 0
  for k, out in ipairs(outputs) do
    local w <const> = weights[k]
    for i, v in ipairs(out:flat()) do
      sum = sum + w[i] * v
    end
  end
  return sum
end

local function evaluate(fn, inputs, weights)
  return la.scope(function()
    return la.no_grad(function()
      local outputs <const> = { fn(table.unpack(inputs)) }
      return scalar(outputs, weights)
    end)
  end)
end

local function analytic(fn, inputs)
  local leaves <const> = {}
  for i, x in ipairs(inputs) do
    leaves[i] = x:clone():requires_grad_(true)
  end
  local outputs <const> = { fn(table.unpack(leaves)) }
  local weights <const> = weights_of(outputs)
  for k, out in ipairs(outputs) do
    local g <const> = la.tensor(weights[k]):reshape(out:shape())
    out:backward(g)
  end
  local gradients <const> = {}
  for i, x in ipairs(leaves) do
    gradients[i] = x.grad and x.grad:flat() or nil
  end
  return gradients, weights
end

local function with_element(values, i, v, shape)
  local old <const> = values[i]
  values[i] = v
  local t <const> = la.tensor(values):reshape(shape)
  values[i] = old
  return t
end

-- The derivative of the scalar with respect to element i of input k.
local function numeric(fn, inputs, weights, k, values, i, step)
  local shape <const> = inputs[k]:shape()
  local function central(h)
    local moved <const> = table.move(inputs, 1, #inputs, 1, {})
    moved[k] = with_element(values, i, values[i] + h, shape)
    local plus <const> = evaluate(fn, moved, weights)
    moved[k] = with_element(values, i, values[i] - h, shape)
    return (plus - evaluate(fn, moved, weights)) / (2 * h)
  end
  return (4 * central(step / 2) - central(step)) / 3
end

return function(fn, inputs, options)
  options = options or {}
  local step <const> = options.step or 1e-2
  local tolerance <const> = options.tolerance or 1e-2
  local most <const> = options.elements or 64 -- elements checked of each input, spread evenly
  local gradients <const>, weights <const> = analytic(fn, inputs)
  local worst = 0
  for k, x in ipairs(inputs) do
    if options.inputs == nil or options.inputs[k] then
      local values <const> = x:flat()
      local stride <const> = math.max(1, #values // most)
      local found <const>, largest = {}, options.floor or 1e-3
      for i = 1, #values, stride do
        found[i] = numeric(fn, inputs, weights, k, values, i, step)
        largest = math.max(largest, math.abs(found[i]))
      end
      for i = 1, #values, stride do
        local got <const> = gradients[k] and gradients[k][i] or 0
        local err <const> = math.abs(got - found[i]) / largest
        if not (err <= tolerance) then
          error(string.format("gradcheck: input %d, element %d: backward gives %.6g, finite differences %.6g (scale "
            .. "%.3g)", k, i, got, found[i], largest), 2)
        end
        worst = math.max(worst, err)
      end
    end
  end
  return worst
end
