-- SPDX-License-Identifier: MIT
--
-- la.models.join(first, second): a two-stage network of two single-stage ones, with the first one's features.

local la <const> = require "lualign"

local function check_single(model, which)
  local stages <const> = model.config and model.config.stages
  if not stages or #stages ~= 1 then
    error(string.format("join: the %s model must have one stage, got %s", which,
      stages and table.concat(stages, " and ") or "no alignment network"), 3)
  end
  return stages[1]
end

--- The first model's features and regressor, and the second model's regressor as the second stage: copies.
return function(first, second)
  local stages <const> = { check_single(first, "first"), check_single(second, "second") }
  local trunks <const> = {}
  for k, trunk in ipairs(first.config.trunks) do
    trunks[k] = {
      kind = trunk.kind, layers = trunk.layers, dilated = trunk.dilated, form = trunk.form, weights = false,
    }
  end
  local model <const> = la.models.weakalign {
    backbone = trunks, stages = stages, size = first.config.size, offset = first.config.offset, identity = false,
  }
  local dict <const> = {}
  for _, entry in ipairs(first:state_dict()) do
    dict[entry[1]] = entry[2]
  end
  for _, entry in ipairs(second:state_dict()) do
    local name <const> = entry[1]:match "^FeatureRegression%.(.*)$"
    if name then
      dict["FeatureRegression2." .. name] = entry[2]
    end
  end
  model:load_state_dict(dict)
  return model:eval()
end
