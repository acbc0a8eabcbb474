-- SPDX-License-Identifier: MIT
--
-- What most specs begin with.

local la <const> = require "lualign"
local assert <const> = require "luassert"
local busted <const> = require "busted"

local cases <const> = {}

--- A test whose tensors are let go of when it ends.
function cases.scoped(name, body)
  busted.it(name, function() la.scope(body) end)
end

--- The same with recording off.
function cases.scoped_without_grad(name, body)
  busted.it(name, function() la.scope(la.no_grad, body) end)
end

--- Calls fn(...), which must raise an error that contains message to the letter.
function cases.fails(message, fn, ...)
  local ok <const>, got <const> = pcall(fn, ...)
  assert.is_false(ok)
  assert.truthy(tostring(got):find(message, 1, true), string.format("'%s' is not in '%s'", message, tostring(got)))
end

return cases
