-- SPDX-License-Identifier: MIT
--
-- la.optim.Adam(parameters, { lr = 1e-3, betas = { 0.9, 0.999 }, eps = 1e-8, weight_decay = 0 }), as in PyTorch: the
-- decay is part of the gradient. la.optim.AdamW, the same with weight_decay = 0.01, takes it off the parameter instead.

local la <const> = require "lualign"
local Optimizer <const> = require "lualign.optim.optimizer"

local function class(name, weight_decay, decoupled)
  local settings <const> = { lr = 1e-3, betas = { 0.9, 0.999 }, eps = 1e-8, weight_decay = weight_decay }
  local function slots()
    return { "m", "v" }
  end
  return Optimizer.class(name, settings, slots, function(group, p, g, state, step)
    la.adam_step_(p, g, state.m, state.v, {
      lr = group.lr, step = step, beta1 = group.betas[1], beta2 = group.betas[2], eps = group.eps,
      weight_decay = group.weight_decay, decoupled = decoupled,
    })
  end)
end

return { Adam = class("Adam", 0, false), AdamW = class("AdamW", 0.01, true) }
