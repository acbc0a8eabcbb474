-- SPDX-License-Identifier: MIT
--
-- plain.lua -- arrays on the host, in double precision, for reference implementations.
--
-- A plain array is { shape = {2, 3}, data = {row-major}, dtype = "float32" }; indices count from 1.
--
--   P(t)                      from a tensor, a nested table or a number
--   P.new(shape, data)        around a flat row-major list
--   P.zeros(2, 3)             P.build({2, 3}, function(i, j) return value end)
--   p:at(i, j)                p:put(value, i, j)      p:add(value, i, j)
--   p:size(d)  p:numel()  p:copy()  p:nested()

local Plain <const> = {}
Plain.__index = Plain

local P <const> = {}

local function count(shape)
  local n = 1
  for _, size in ipairs(shape) do
    n = n * size
  end
  return n
end

function P.new(shape, data, dtype)
  if #data ~= count(shape) then
    local text <const> = table.concat(shape, ", ")
    error(string.format("P.new: shape {%s} needs %d elements, got %d", text, count(shape), #data), 2)
  end
  return setmetatable({ shape = shape, data = data, dtype = dtype or "float32" }, Plain)
end

function P.is(value)
  return getmetatable(value) == Plain
end

function P.full(value, ...)
  local shape <const>, data <const> = { ... }, {}
  for i = 1, count(shape) do
    data[i] = value
  end
  return P.new(shape, data)
end

function P.zeros(...)
  return P.full(0.0, ...)
end

--- Every element from a function of its indices.
function P.build(shape, fn, dtype)
  local data <const>, index <const> = {}, {}
  for d = 1, #shape do
    index[d] = 1
  end
  for k = 1, count(shape) do
    data[k] = fn(table.unpack(index))
    local d = #shape
    while d >= 1 do
      index[d] = index[d] + 1
      if index[d] <= shape[d] then
        break
      end
      index[d] = 1
      d = d - 1
    end
  end
  return P.new(shape, data, dtype)
end

local function flatten(value, shape, depth, data)
  if type(value) ~= "table" then
    data[#data + 1] = value
    return
  end
  if shape[depth] ~= #value then
    error(string.format("P: ragged table: %s elements expected at level %d, got %d", shape[depth], depth, #value), 0)
  end
  for _, inner in ipairs(value) do
    flatten(inner, shape, depth + 1, data)
  end
end

local function from_nested(value)
  local shape <const>, data <const> = {}, {}
  local inner = value
  while type(inner) == "table" do
    shape[#shape + 1] = #inner
    inner = inner[1]
  end
  flatten(value, shape, 1, data)
  return P.new(shape, data)
end

-- 0-based position of an element in the flat list.
local function offset(self, ...)
  local n <const> = select("#", ...)
  if n ~= #self.shape then
    error(string.format("plain array with %d dimensions indexed with %d", #self.shape, n), 3)
  end
  local at = 0
  for d = 1, n do
    local i <const> = select(d, ...)
    if i < 1 or i > self.shape[d] then
      error(string.format("index %s out of range 1..%d in dimension %d", i, self.shape[d], d), 3)
    end
    at = at * self.shape[d] + i - 1
  end
  return at
end

function Plain:at(...)
  return self.data[offset(self, ...) + 1]
end

function Plain:put(value, ...)
  self.data[offset(self, ...) + 1] = value
end

function Plain:add(value, ...)
  local k <const> = offset(self, ...) + 1
  self.data[k] = self.data[k] + value
end

function Plain:size(d)
  return self.shape[d < 0 and #self.shape + 1 + d or d]
end

function Plain:numel()
  return #self.data
end

function Plain:copy()
  return P.new({ table.unpack(self.shape) }, table.move(self.data, 1, #self.data, 1, {}), self.dtype)
end

--- Nested tables, or a number for an array without dimensions.
function Plain:nested()
  local at = 0
  local function level(d)
    if d > #self.shape then
      at = at + 1
      return self.data[at]
    end
    local list <const> = {}
    for i = 1, self.shape[d] do
      list[i] = level(d + 1)
    end
    return list
  end
  return level(1)
end

return setmetatable(P, {
  __call = function(_, value)
    if P.is(value) then
      return value
    end
    if type(value) == "userdata" then
      return P.new(value:shape(), value:flat(), value.dtype)
    end
    return from_nested(value)
  end,
})
