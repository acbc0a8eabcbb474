-- SPDX-License-Identifier: MIT
--
-- nn.Residual { body, shortcut = Identity, activation = nil }: activation(body(x) + shortcut(x)).

local Module <const> = require "lualign.nn.module"
local options <const> = require "lualign.util.options"

local Residual <const> = Module.class "Residual"

function Residual:init(given)
  local o <const> = options.check("Residual", given, {
    [1] = options.required "table", shortcut = options.optional "table", activation = options.optional "table",
  }, 3)
  self:child("body", o[1])
  for _, name in ipairs { "shortcut", "activation" } do
    if o[name] then
      self:child(name, o[name])
    end
  end
end

function Residual:forward(x)
  local y <const> = self.body(x) + (self.shortcut and self.shortcut(x) or x)
  return self.activation and self.activation(y) or y
end

return Residual
