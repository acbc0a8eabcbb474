-- SPDX-License-Identifier: MIT
--
-- la.optim: optimisers, learning rate schedules and gradient clipping. See optimizer.lua, schedule.lua.

local la <const> = require "lualign"

local optim <const> = {}

local files <const> = {
  Optimizer = "optimizer", SGD = "sgd", Adam = "adam", AdamW = "adam", schedule = "schedule",
}

local MOST <const> = 32 -- tensors that one sum of squares takes

--- Scales the gradients of a list of parameters so that their common norm is at most `most`. Returns the norm that it
-- was, a tensor: nothing is read back.
function optim.clip_grad_norm(parameters, most)
  if type(most) ~= "number" or not (most > 0) then
    error(string.format("clip_grad_norm: the norm must be a number above 0, got %s", tostring(most)), 2)
  end
  local gradients <const> = {}
  for _, p in ipairs(parameters) do
    gradients[#gradients + 1] = p.grad
  end
  if #gradients == 0 then
    error("clip_grad_norm: none of the parameters has a gradient", 2)
  end
  return la.no_grad(function()
    local total
    for first = 1, #gradients, MOST do
      local part <const> = la.sum_squares(table.move(gradients, first, math.min(first + MOST - 1, #gradients), 1, {}))
      total = total and total + part or part
    end
    local norm <const> = la.sqrt(total)
    local factor <const> = la.minimum(most / (norm + 1e-6), 1)
    for _, g in ipairs(gradients) do
      g:scale_(factor)
    end
    return norm
  end)
end

return setmetatable(optim, {
  __index = function(self, name)
    if files[name] then
      local file <const> = require("lualign.optim." .. files[name])
      local module <const> = type(file) == "table" and file[name] or file -- adam.lua has two
      rawset(self, name, module)
      return module
    end
    return nil
  end,
})
