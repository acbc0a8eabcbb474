-- SPDX-License-Identifier: MIT
--
-- lualign: tensors, ops and everything built on them. Submodules load when first named, and OpenCL starts when the
-- first tensor is made.

local core <const> = require "lualign.core"

local la <const> = {}
for name, value in pairs(core) do
  la[name] = value
end
la.methods = nil

-- Submodules, each a file lualign/<name>.lua or lualign/<name>/init.lua.
local submodules <const> = {
  nn = true, models = true, geometry = true, losses = true, optim = true, data = true, metrics = true, vis = true,
  consensus = true, ransac = true, train = true, image = true, align = true, refine = true, evaluate = true,
  help = true, repl = true, cli = true,
}

setmetatable(la, {
  submodules = submodules, -- for help and completion
  __index = function(self, name)
    if submodules[name] then
      local module = require("lualign." .. name)
      rawset(self, name, module)
      return module
    end
    return nil
  end,
})

-- la itself is needed by the submodules while it is still loading.
package.loaded["lualign"] = la

--- Seeds the device's generator and Lua's own, so that a run can be repeated.
function la.seed(n)
  math.randomseed(n)
  core.device.seed(n)
end

--- Checks the gradients of fn at inputs by finite differences: see lualign/gradcheck.lua.
function la.gradcheck(...)
  return require("lualign.gradcheck")(...)
end

--- Whether Ctrl-C was pressed while lualign.interrupt defers it; false where no program listens for it.
function la.interrupted()
  return require("lualign.interrupt").pending()
end

--- Descriptors of all ops, in the order of the library: { name, brief, example, params, ... }.
function la.ops()
  return core.op_list()
end

require "lualign.io"
require "lualign.print"

return la
