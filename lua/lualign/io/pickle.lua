-- SPDX-License-Identifier: MIT
--
-- A reader of Python's pickles that executes nothing: it builds dictionaries, lists, tuples, numbers, texts and what
-- `globals` knows how to build, and refuses every other opcode and every other global by its name.
--
--   local value <const>, after <const> = pickle.read(bytes, at, { globals = G, persistent = fn, where = "x.pth" })
--
-- Dictionaries become { [key] = value } with `pickle.order(t)` their keys in order; lists and tuples become lists; None
-- becomes pickle.none; whole numbers past 64 bits, floats. A pickle is a program for a machine with a stack, a memo and
-- marks; see Lib/pickletools.py of Python for its opcodes.

local pickle <const> = {}

--- What None becomes.
pickle.none = setmetatable({}, { __name = "None", __tostring = function() return "None" end })

local ORDER <const> = setmetatable({}, { __mode = "k" }) -- dictionary -> its keys in order
local MARK <const> = {}

--- The keys of a dictionary that was read, in the order of the file; nil if t is none.
function pickle.order(t)
  return ORDER[t]
end

--- An empty dictionary, as EMPTY_DICT makes it; for what `globals` builds.
function pickle.new_dict()
  local t <const> = {}
  ORDER[t] = {}
  return t
end

local Reader <const> = {}
Reader.__index = Reader

--- Ends reading with a message that says where.
function Reader:fail(format, ...)
  error(string.format("%s: %s at byte %d of the pickle", self.where, string.format(format, ...),
    self.opcode_at - self.start), 0)
end

-- ---- bytes ----

--- The next n bytes.
function Reader:take(n)
  if n < 0 or n > #self.bytes - self.at + 1 then
    self:fail("it ends too early: %d bytes wanted, %d left", n, math.max(#self.bytes - self.at + 1, 0))
  end
  self.at = self.at + n
  return self.bytes:sub(self.at - n, self.at - 1)
end

--- The number of the next `size` bytes.
function Reader:number(format, size)
  return (string.unpack(format, self:take(size)))
end

--- The next line, without its end.
function Reader:line()
  local stop <const> = self.bytes:find("\n", self.at, true)
  if not stop then
    self:fail "a line does not end"
  end
  return self:take(stop - self.at + 1):sub(1, -2)
end

-- ---- stack ----

--- Puts a value on the stack.
function Reader:push(value)
  self.top = self.top + 1
  self.stack[self.top] = value
end

--- Takes the top value off the stack; marks are none.
function Reader:pop()
  local value <const> = self.stack[self.top]
  if self.top == 0 or value == MARK then
    self:fail "the stack is empty"
  end
  self.stack[self.top] = nil
  self.top = self.top - 1
  return value
end

--- What was pushed since the last mark, as a list, and how many. The mark goes too.
function Reader:pop_to_mark()
  local from = self.top
  while from > 0 and self.stack[from] ~= MARK do
    from = from - 1
  end
  if from == 0 then
    self:fail "a mark is missing"
  end
  local list <const> = table.move(self.stack, from + 1, self.top, 1, {})
  for k = from, self.top do
    self.stack[k] = nil
  end
  local n <const> = self.top - from
  self.top = from - 1
  return list, n
end

--- The table on top of the stack, under what was popped before.
function Reader:target(kind)
  local t <const> = self.stack[self.top]
  local is_dict <const> = type(t) == "table" and ORDER[t] ~= nil
  if type(t) ~= "table" or t == MARK or t == pickle.none or getmetatable(t) or is_dict ~= (kind == "dictionary") then
    self:fail("there is no %s to add to", kind)
  end
  return t
end

--- dict[key] = value, in the order of the file.
function Reader:set(dict, key, value)
  if key == pickle.none or key ~= key or key == nil or value == nil then
    self:fail "a key that cannot be one"
  end
  if dict[key] == nil then
    table.insert(ORDER[dict], key)
  end
  dict[key] = value
end

--- The same for a list of keys and values by turns, in the dictionary on top of the stack.
function Reader:set_pairs(list, n)
  if n % 2 ~= 0 then
    self:fail "a key without a value"
  end
  local dict <const> = self:target "dictionary"
  for k = 1, n, 2 do
    self:set(dict, list[k], list[k + 1])
  end
end

-- ---- globals ----

-- A value that stands for a global: { name =, build = function(reader, arguments) or nil }.
local Global <const> = { __name = "global" }

--- What stands for a global that is known.
function Reader:global(module, name)
  local full <const> = module .. "." .. name
  local build <const> = self.globals[full]
  if build == nil then
    self:fail("it wants '%s', which reading does not allow", full:gsub("[%c\x7f-\xff]", "?"))
  end
  return setmetatable({ name = full, build = build }, Global)
end

--- What a known function builds of its arguments.
function Reader:call(callee, arguments)
  if getmetatable(callee) ~= Global then
    self:fail "it calls what is no known class or function"
  elseif type(callee.build) ~= "function" then
    self:fail("it calls '%s', which is no function", callee.name)
  elseif type(arguments) ~= "table" or ORDER[arguments] or getmetatable(arguments) then
    self:fail("the arguments of '%s' are no tuple", callee.name)
  end
  local value <const> = callee.build(self, arguments)
  if value == nil then
    self:fail("'%s' gave nothing", callee.name)
  end
  return value
end

-- ---- opcodes ----

local OPCODES <const> = {}

local function op(byte, name, run)
  OPCODES[byte:byte()] = { name = name, run = run }
end

-- A little-endian two's complement number of any size; past 64 bits as a float.
local function long(bytes)
  if #bytes == 0 then
    return 0
  elseif #bytes <= 8 then
    return (string.unpack("<i" .. #bytes, bytes))
  end
  local value = 0.0
  for k = #bytes, 1, -1 do
    value = value * 256 + bytes:byte(k)
  end
  return bytes:byte(-1) >= 128 and value - 256.0 ^ #bytes or value
end

-- Opcodes that push `read(reader)`.
local PUSHES <const> = {
  { "N", "NONE", function() return pickle.none end },
  { "\x88", "NEWTRUE", function() return true end },
  { "\x89", "NEWFALSE", function() return false end },
  { "J", "BININT", function(r) return r:number("<i4", 4) end },
  { "K", "BININT1", function(r) return r:number("<I1", 1) end },
  { "M", "BININT2", function(r) return r:number("<I2", 2) end },
  { "\x8a", "LONG1", function(r) return long(r:take(r:number("<I1", 1))) end },
  { "\x8b", "LONG4", function(r) return long(r:take(r:number("<i4", 4))) end },
  { "G", "BINFLOAT", function(r) return r:number(">d", 8) end },
  { "X", "BINUNICODE", function(r) return r:take(r:number("<I4", 4)) end },
  { "\x8c", "SHORT_BINUNICODE", function(r) return r:take(r:number("<I1", 1)) end },
  { "\x8d", "BINUNICODE8", function(r) return r:take(r:number("<i8", 8)) end },
  { "T", "BINSTRING", function(r) return r:take(r:number("<i4", 4)) end },
  { "U", "SHORT_BINSTRING", function(r) return r:take(r:number("<I1", 1)) end },
  { "B", "BINBYTES", function(r) return r:take(r:number("<I4", 4)) end },
  { "C", "SHORT_BINBYTES", function(r) return r:take(r:number("<I1", 1)) end },
  { "\x8e", "BINBYTES8", function(r) return r:take(r:number("<i8", 8)) end },
  { "]", "EMPTY_LIST", function() return {} end },
  { ")", "EMPTY_TUPLE", function() return {} end },
  { "}", "EMPTY_DICT", pickle.new_dict },
  { "l", "LIST", function(r) return (r:pop_to_mark()) end },
  { "t", "TUPLE", function(r) return (r:pop_to_mark()) end },
  { "\x85", "TUPLE1", function(r) return { r:pop() } end },
  { "\x86", "TUPLE2", function(r) local b <const>, a <const> = r:pop(), r:pop() return { a, b } end },
  { "\x87", "TUPLE3", function(r)
    local c <const>, b <const>, a <const> = r:pop(), r:pop(), r:pop()
    return { a, b, c }
  end },
  { "(", "MARK", function() return MARK end },
  { "c", "GLOBAL", function(r) local module <const> = r:line() return r:global(module, r:line()) end },
}
for _, entry in ipairs(PUSHES) do
  local read <const> = entry[3]
  op(entry[1], entry[2], function(r) r:push(read(r)) end)
end

op("\x80", "PROTO", function(r)
  local version <const> = r:number("<I1", 1)
  if version > 4 then
    r:fail("protocol %d is not known", version)
  end
end)
op("\x95", "FRAME", function(r)
  local size <const> = r:number("<i8", 8)
  if size < 0 or size > #r.bytes - r.at + 1 then
    r:fail("a frame of %d bytes does not fit", size)
  end
end)
op("0", "POP", function(r) r:pop() end)
op("1", "POP_MARK", function(r) r:pop_to_mark() end)
op("2", "DUP", function(r) local value <const> = r:pop() r:push(value) r:push(value) end)
op("a", "APPEND", function(r)
  local value <const> = r:pop()
  table.insert(r:target "list", value)
end)
op("e", "APPENDS", function(r)
  local list <const>, n <const> = r:pop_to_mark()
  local target <const> = r:target "list"
  table.move(list, 1, n, #target + 1, target)
end)
op("s", "SETITEM", function(r)
  local value <const>, key <const> = r:pop(), r:pop()
  r:set_pairs({ key, value }, 2)
end)
op("u", "SETITEMS", function(r) r:set_pairs(r:pop_to_mark()) end)
op("d", "DICT", function(r)
  local list <const>, n <const> = r:pop_to_mark()
  r:push(pickle.new_dict())
  r:set_pairs(list, n)
end)
op("\x93", "STACK_GLOBAL", function(r)
  local name <const>, module <const> = r:pop(), r:pop()
  if type(name) ~= "string" or type(module) ~= "string" then
    r:fail "the name of a global is no text"
  end
  r:push(r:global(module, name))
end)
local function reduce(r)
  local arguments <const>, callee <const> = r:pop(), r:pop()
  r:push(r:call(callee, arguments))
end
op("R", "REDUCE", reduce)
op("\x81", "NEWOBJ", reduce)
-- The state of an object: those that we build have none that we need.
op("b", "BUILD", function(r)
  r:pop()
  local object <const> = r:pop()
  if type(object) ~= "table" and type(object) ~= "userdata" then
    r:fail "it sets the state of what has none"
  end
  r:push(object)
end)
op("Q", "BINPERSID", function(r)
  local id <const> = r:pop()
  if not r.persistent then
    r:fail "it refers to something outside of it"
  end
  r:push(r.persistent(r, id))
end)
local function put(r, key)
  if r.top == 0 or r.stack[r.top] == MARK then
    r:fail "nothing to remember"
  end
  r.memo[key] = r.stack[r.top]
  r.remembered = r.remembered + 1
end
local function get(r, key)
  if r.memo[key] == nil then
    r:fail("nothing was remembered as %d", key)
  end
  r:push(r.memo[key])
end
op("q", "BINPUT", function(r) put(r, r:number("<I1", 1)) end)
op("r", "LONG_BINPUT", function(r) put(r, r:number("<I4", 4)) end)
op("\x94", "MEMOIZE", function(r) put(r, r.remembered) end)
op("h", "BINGET", function(r) get(r, r:number("<I1", 1)) end)
op("j", "LONG_BINGET", function(r) get(r, r:number("<I4", 4)) end)

-- ---- reading ----

--- The value of the pickle that starts at byte `at` of a string, and the byte after it. opts.globals: full name -> a
-- function(reader, arguments) that builds a value, or false for a global that may be named but not called; all others
-- are refused. opts.persistent(reader, id): what a persistent id stands for. opts.where: how messages begin.
function pickle.read(bytes, at, opts)
  local r <const> = setmetatable({
    bytes = bytes, at = at, start = at, opcode_at = at, where = opts.where, globals = opts.globals or {},
    persistent = opts.persistent, stack = {}, top = 0, memo = {}, remembered = 0,
  }, Reader)
  while true do
    r.opcode_at = r.at
    local code <const> = r:take(1):byte()
    if code == 46 then -- STOP
      break
    end
    local known <const> = OPCODES[code]
    if not known then
      r:fail("the opcode 0x%02x, which reading does not allow,", code)
    end
    known.run(r)
  end
  local value <const> = r:pop()
  if r.top ~= 0 then
    r:fail "values are left over"
  end
  return value, r.at
end

return pickle
