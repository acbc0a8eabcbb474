-- SPDX-License-Identifier: MIT
--
-- Sizes of pictures, { width, height }, each read once: sizes() is a function(path).

local la <const> = require "lualign"

return function()
  local known <const> = {}
  return function(path)
    if not known[path] then
      known[path] = { la.image.info(path) }
    end
    return known[path]
  end
end
