-- SPDX-License-Identifier: MIT
--
-- la.optim.AdamW(parameters, { lr = 1e-3, betas = { 0.9, 0.999 }, eps = 1e-8, weight_decay = 0.01 }), as in PyTorch.

local la <const> = require "lualign"
local Optimizer <const> = require "lualign.optim.optimizer"

local SETTINGS <const> = { lr = 1e-3, betas = { 0.9, 0.999 }, eps = 1e-8, weight_decay = 0.01 }

local function slots()
  return { "m", "v" }
end

return Optimizer.class("AdamW", SETTINGS, slots, function(group, p, g, state, step)
  la.adam_step_(p, g, state.m, state.v, {
    lr = group.lr, step = step, beta1 = group.betas[1], beta2 = group.betas[2], eps = group.eps,
    weight_decay = group.weight_decay, decoupled = true,
  })
end)
