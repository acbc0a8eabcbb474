-- SPDX-License-Identifier: MIT
--
-- Random numbers on the host, for data: generators with their whole state in one integer (SplitMix64), made from any
-- number of integer keys. rng(seed, epoch, item) gives item its own stream, so that what it draws depends neither on
-- the order of items nor on how far ahead they are prepared.
--
--   local r <const> = rng(seed, epoch, item)
--   r:uniform()  r:uniform(-1, 1)  r:normal()  r:integer(1, 6)  r:permutation(10)
--
-- The same keys give the same numbers on every machine.

local Rng <const> = {}
Rng.__index = Rng

local GOLDEN <const> = 0x9e3779b97f4a7c15

-- Finaliser of SplitMix64: every bit of the result depends on every bit of x.
local function mix(x)
  x = (x ~ (x >> 30)) * 0xbf58476d1ce4e5b9
  x = (x ~ (x >> 27)) * 0x94d049bb133111eb
  return x ~ (x >> 31)
end

--- 64 random bits as an integer.
function Rng:bits()
  self.state = self.state + GOLDEN
  return mix(self.state)
end

--- A number of [low, high), [0, 1) if left out; 53 random bits.
function Rng:uniform(low, high)
  local u <const> = (self:bits() >> 11) * 0x1p-53
  if not low then
    return u
  end
  return low + (high - low) * u
end

--- A whole number from low to high, both included, each equally likely.
function Rng:integer(low, high)
  local n <const> = high - low + 1
  if n < 1 then
    error(string.format("rng: integer needs low <= high, got %d and %d", low, high), 2)
  end
  local most <const> = (1 << 53) - (1 << 53) % n -- the largest multiple of n: what is above would favour small numbers
  local x
  repeat
    x = self:bits() >> 11
  until x < most
  return low + x % n
end

--- A normal number of mean 0 and variance 1 (Box and Muller; two draws each).
function Rng:normal()
  local u <const> = ((self:bits() >> 11) + 1) * 0x1p-53 -- (0, 1]
  return math.sqrt(-2 * math.log(u)) * math.cos(2 * math.pi * self:uniform())
end

--- The numbers 1 to n in random order, as a list.
function Rng:permutation(n)
  local list <const> = {}
  for i = 1, n do
    list[i] = i
  end
  for i = n, 2, -1 do
    local k <const> = self:integer(1, i)
    list[i], list[k] = list[k], list[i]
  end
  return list
end

local function key_of(value)
  local key <const> = math.tointeger(value)
  if not key then
    error(string.format("rng: keys must be whole numbers, got %s", tostring(value)), 4)
  end
  return key
end

--- A generator for the keys; the number of keys counts too.
local function new(...)
  local n <const> = select("#", ...)
  local state = mix(n + GOLDEN)
  for i = 1, n do
    state = mix((state ~ key_of((select(i, ...)))) + GOLDEN)
  end
  return setmetatable({ state = state }, Rng)
end

return new
