-- SPDX-License-Identifier: MIT
--
-- la.optim.SGD(parameters, { lr, momentum = 0, dampening = 0, weight_decay = 0, nesterov = false }), as in PyTorch.

local la <const> = require "lualign"
local Optimizer <const> = require "lualign.optim.optimizer"
local options <const> = require "lualign.util.options"

local SETTINGS <const> = {
  lr = options.required "number", momentum = 0, dampening = 0, weight_decay = 0, nesterov = false,
}

local function slots(group)
  return group.momentum ~= 0 and { "buffer" } or {}
end

return Optimizer.class("SGD", SETTINGS, slots, function(group, p, g, state, step)
  la.sgd_step_(p, g, state.buffer, {
    lr = group.lr, momentum = group.momentum, dampening = group.dampening, weight_decay = group.weight_decay,
    nesterov = group.nesterov, first = step == 1,
  })
end)
