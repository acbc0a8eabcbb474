-- SPDX-License-Identifier: MIT
--
-- inputs.lua -- from the arguments of a test case, as plain arrays, to tensors in several memory layouts.
--
-- An argument is a plain array (lib.plain), which becomes a tensor; a list of them, which becomes a list of tensors; or
-- anything else, which stays. Tensors in place of plain arrays are taken too.

local la <const> = require "lualign"
local P <const> = require "lib.plain"

local inputs <const> = {}

--- Views with the values of a dense tensor: see `make` below for how each lies in memory.
inputs.layouts = { "permuted", "narrowed", "strided" }

local function is_array(value)
  return P.is(value) or la.is_tensor(value)
end

local function is_list(value)
  return type(value) == "table" and not P.is(value) and is_array(value[1])
end

--- The arrays among packed arguments: a list of { plain, argument, element (in a list) or nil, name }.
function inputs.each(args)
  local list <const> = {}
  for i = 1, args.n do
    if is_array(args[i]) then
      args[i] = P(args[i])
      list[#list + 1] = { plain = args[i], argument = i, name = "argument " .. i }
    elseif is_list(args[i]) then
      for k, value in ipairs(args[i]) do
        args[i][k] = P(value)
        local name <const> = string.format("argument %d[%d]", i, k)
        list[#list + 1] = { plain = args[i][k], argument = i, element = k, name = name }
      end
    end
  end
  return list
end

local PACK <const> = { float32 = "<f", int32 = "<i4", uint8 = "<B" }

--- A dense tensor with the values of a plain array.
function inputs.tensor(plain)
  local format <const>, parts <const> = PACK[plain.dtype], {}
  for i, v in ipairs(plain.data) do
    parts[i] = string.pack(format, v)
  end
  return la.from_bytes(table.concat(parts), plain.dtype, plain.shape)
end

-- What must never be read: NaN, or an integer far out of any range.
local function garbage(dtype)
  return dtype == "float32" and 0 / 0 or dtype == "int32" and 0x7fffffff or 255
end

-- { base = plain array to put on the device, view = function(tensor) -> tensor with plain's values }
local layout <const> = {}

-- Dimensions in reverse order in memory.
function layout.permuted(plain)
  local n <const> = #plain.shape
  local order <const>, shape <const> = {}, {}
  for d = 1, n do
    order[d] = n + 1 - d
    shape[d] = plain.shape[n + 1 - d]
  end
  local base <const> = P.build(shape, function(...)
    local index <const> = {}
    for d = 1, n do
      index[d] = (select(n + 1 - d, ...))
    end
    return plain:at(table.unpack(index))
  end, plain.dtype)
  return { base = base, view = function(t) return n < 2 and t or t:permute(order) end }
end

-- The middle of a block with one more element at each end of every dimension.
function layout.narrowed(plain)
  local n <const>, shape <const> = #plain.shape, {}
  for d = 1, n do
    shape[d] = plain.shape[d] + 2
  end
  local base <const> = P.build(shape, function(...)
    local index <const> = {}
    for d = 1, n do
      index[d] = select(d, ...) - 1
      if index[d] < 1 or index[d] > plain.shape[d] then
        return garbage(plain.dtype)
      end
    end
    return plain:at(table.unpack(index))
  end, plain.dtype)
  return {
    base = base,
    view = function(t)
      for d = 1, n do
        t = t:narrow(d, 2, plain.shape[d])
      end
      return t
    end,
  }
end

-- Every third element in memory, from the second on.
function layout.strided(plain)
  local shape <const>, data <const> = { table.unpack(plain.shape) }, {}
  shape[#shape + 1] = 3
  for i, v in ipairs(plain.data) do
    data[3 * i - 2], data[3 * i - 1], data[3 * i] = garbage(plain.dtype), v, garbage(plain.dtype)
  end
  local n <const> = #shape
  return { base = P.new(shape, data, plain.dtype), view = function(t) return t:select(n, 2) end }
end

local function dense(plain)
  return { base = plain, view = function(t) return t end }
end

-- Puts tensor t where input came from.
local function put(tensors, input, t)
  if input.element then
    tensors[input.argument][input.element] = t
  else
    tensors[input.argument] = t
  end
end

--- Packed arguments with tensors for arrays, each seen through a layout (nil: dense). on_base(input, base) may ask for
-- gradients before the views are made. Layouts that need more dimensions than a tensor can have stay dense.
function inputs.tensors(args, name, on_base)
  local list <const> = inputs.each(args)
  local tensors <const> = table.move(args, 1, args.n, 1, { n = args.n })
  local made <const> = {}
  for i = 1, args.n do
    if is_list(tensors[i]) then
      tensors[i] = {}
    end
  end
  for _, input in ipairs(list) do
    local how <const> = (name and #input.plain.shape < 6 and layout[name] or dense)(input.plain)
    local base <const> = inputs.tensor(how.base)
    if on_base then
      on_base(input, base)
    end
    made[#made + 1] = { input = input, base = base, view = how.view }
    put(tensors, input, how.view(base))
  end
  tensors.made = made
  return tensors
end

--- The same arguments with fresh views of the same bases.
function inputs.review(tensors)
  local again <const> = table.move(tensors, 1, tensors.n, 1, { n = tensors.n })
  for i = 1, tensors.n do
    if is_list(again[i]) then
      again[i] = {}
    end
  end
  for _, m in ipairs(tensors.made) do
    put(again, m.input, m.view(m.base))
  end
  return again
end

--- Something of the shape of an input's base (its gradient), seen through that input's view.
function inputs.view_of(tensors, input, t)
  for _, m in ipairs(tensors.made) do
    if m.input.name == input.name then
      return m.view(t)
    end
  end
end

--- The bytes of all input tensors, to see whether they were changed.
function inputs.bytes(tensors)
  local all <const> = {}
  for i, m in ipairs(tensors.made) do
    all[i] = m.base:bytes()
  end
  return table.concat(all, "|")
end

--- Packed arguments in which one input is a copy; returns them and that copy.
function inputs.copy(args, input)
  local copy <const> = table.move(args, 1, args.n, 1, { n = args.n })
  local plain <const> = input.plain:copy()
  if input.element then
    copy[input.argument] = table.move(args[input.argument], 1, #args[input.argument], 1, {})
  end
  put(copy, input, plain)
  return copy, plain
end

return inputs
