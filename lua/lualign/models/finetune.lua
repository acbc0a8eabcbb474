-- SPDX-License-Identifier: MIT
--
-- la.models.finetune(model, { names = { "layer3" }, batch_norm = false }): which parameters of the trunks train.

local authors <const> = require "lualign.models.weakalign_names"
local options <const> = require "lualign.util.options"

-- The names of all scales and shifts of batch norms below a module.
local function batch_norms(module)
  local set <const> = {}
  for _, entry in ipairs(module:named_modules()) do
    if entry[2].uses_running then
      local prefix <const> = entry[1] == "" and "" or entry[1] .. "."
      set[prefix .. "weight"], set[prefix .. "bias"] = true, true
    end
  end
  return set
end

local function holds_any(name, parts)
  for _, part in ipairs(parts) do
    if name:find(part, 1, true) then
      return true
    end
  end
  return false
end

--- Of the trunks (model.FeatureExtraction, or model itself), those parameters train whose names hold one of `names`
-- ("", the default, is in every name); batch_norm = false: except scales and shifts of batch norms. authors = true does
-- it as the authors' code does: names are those of its checkpoints (6.22.conv1.weight), and batch norms are what has
-- "bn" in its name, which the first one and those of shortcuts do not. Regressors are left as they are. Returns how
-- many parameters train and how many there are.
return function(model, given)
  local o <const> = options.check("finetune", given, { names = { "" }, batch_norm = true, authors = false })
  local trunk <const> = model.FeatureExtraction or model
  local norms <const>, count, all = batch_norms(trunk), 0, 0
  for _, entry in ipairs(trunk:named_parameters()) do
    local name = entry[1]
    local is_norm = norms[name]
    if o.authors then
      name = authors.authors_name("FeatureExtraction." .. name):gsub("^FeatureExtraction%.model%.", "")
      is_norm = name:find("bn", 1, true) ~= nil
    end
    local trains <const> = holds_any(name, o.names) and (o.batch_norm or not is_norm)
    entry[2]:requires_grad_(trains)
    count, all = count + (trains and 1 or 0), all + 1
  end
  if count == 0 and #o.names > 0 then
    local first <const> = trunk:named_parameters()[1][1]
    error(string.format("finetune: no parameter of the trunk has %s in its name; there is '%s' and so on",
      table.concat(o.names, " or "), o.authors and authors.authors_name("FeatureExtraction." .. first) or first), 2)
  end
  return count, all
end
