-- SPDX-License-Identifier: MIT
--
-- locals: makes the outermost `local` variables of a chunk global, so that they outlive the line at the prompt.
--
--   locals.to_globals "local a, b = 1; local function f() local c end"
--     --> "a, b = 1; function f() local c end"
--
-- The text must be a valid chunk. Line numbers stay. <const> is dropped; <close> is refused.

local locals <const> = {}

-- +1 opens a block, -1 closes one; `for` and `while` open theirs by `do`, `if` has one `end` for all its parts.
local DEPTH <const> = { ["function"] = 1, ["do"] = 1, ["if"] = 1, ["repeat"] = 1, ["end"] = -1, ["until"] = -1 }

-- The position after a quoted string that starts at `at`.
local function after_quoted(text, at)
  local quote <const> = text:sub(at, at)
  at = at + 1
  while text:sub(at, at) ~= quote do
    at = at + (text:sub(at, at) == "\\" and 2 or 1)
  end
  return at + 1
end

-- The position after [[...]], [==[...]==] at `at`; nil if there is none.
local function after_long(text, at)
  local level <const> = text:match("^%[(=*)%[", at)
  if not level then
    return nil
  end
  local _, last <const> = text:find("]" .. level .. "]", at, true)
  return last + 1
end

-- The position after white space and comments.
local function after_space(text, at)
  while true do
    local start <const> = at
    at = text:match("^%s*()", at)
    if text:sub(at, at + 1) == "--" then
      at = after_long(text, at + 2) or text:match("^[^\n]*()", at)
    end
    if at == start then
      return at
    end
  end
end

-- The position after one token that starts at `at`, and the token if it is a name or keyword.
local function after_token(text, at)
  local name <const>, after <const> = text:match("^([%a_][%w_]*)()", at)
  if name then
    return after, name
  end
  local char <const> = text:sub(at, at)
  if char == '"' or char == "'" then
    return after_quoted(text, at)
  end
  return after_long(text, at) or text:match("^%d[%w.]*()", at) or at + 1
end

-- The names after `local` at `at`: a list, and the position after them; nil and a message for <close>.
local function names_at(text, at)
  local names <const> = {}
  repeat
    at = after_space(text, at)
    names[#names + 1], at = text:match("^([%a_][%w_]*)()", at)
    at = after_space(text, at)
    if text:sub(at, at) == "<" then
      local attribute <const>, name_end <const> = text:match("^([%a_]+)()", after_space(text, at + 1))
      if attribute == "close" then
        return nil, "a <close> variable would be closed at the end of the line; write do local " .. names[#names]
          .. " <close> = ... end"
      end
      at = after_space(text, after_space(text, name_end) + 1)
    end
    local more <const> = text:sub(at, at) == ","
    at = more and at + 1 or at
  until not more
  return names, at
end

--- The chunk with its outermost locals made global; nil and a message if one of them is <close>.
function locals.to_globals(text)
  local out <const>, depth, at, copied = {}, 0, 1, 1
  while true do
    at = after_space(text, at)
    if at > #text then
      break
    end
    local after, name = after_token(text, at)
    depth = depth + (DEPTH[name] or 0)
    if name == "local" and depth == 0 then
      out[#out + 1] = text:sub(copied, at - 1)
      copied = after
      if not text:match("^function[^%w_]", after_space(text, after)) then
        local names <const>, rest <const> = names_at(text, after)
        if not names then
          return nil, rest
        end
        local _, lines <const> = text:sub(at, rest - 1):gsub("\n", "")
        local assigned <const> = text:match("^=[^=]", rest)
        out[#out + 1] = table.concat(names, ", ") .. (assigned and " " or " = nil ") .. ("\n"):rep(lines)
        after, copied = rest, rest
      end
    end
    at = after
  end
  out[#out + 1] = text:sub(copied)
  return table.concat(out)
end

return locals
