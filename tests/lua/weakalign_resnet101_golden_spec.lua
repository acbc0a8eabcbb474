-- SPDX-License-Identifier: MIT
--
-- WeakAlign with the trunk resnet101 against the authors' network in double precision: see lib/weakalign_network.lua.

local la <const> = require "lualign"
local network <const> = require "lib.weakalign_network"

local KIND <const> = "resnet101"

local function scoped(name, fn)
  it(name, function() la.scope(fn) end)
end

describe("the network with " .. KIND, function()
  scoped("answers, and has gradients, as the authors'", function()
    network.check_gradients(KIND)
  end)

  scoped("takes ten steps of the weak recipe", function()
    network.check_weak_steps(KIND, "5e-08")
  end)

  scoped("takes ten larger steps on the weak loss", function()
    network.check_weak_steps(KIND, "1e-06")
  end)

  for _, model in ipairs { "affine", "tps" } do
    scoped("takes ten steps of the strong recipe, " .. model, function()
      network.check_strong_steps(KIND, model)
    end)
  end

  scoped("answers on photographs as the authors'", function()
    network.check_photographs(KIND)
  end)
end)
