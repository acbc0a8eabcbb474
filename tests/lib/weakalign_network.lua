-- SPDX-License-Identifier: MIT
--
-- weakalign_network.lua -- the whole network with one trunk against the authors' in double precision, for the specs
-- weakalign_*_golden_spec.lua: answers, gradients, ten steps of both recipes, a pair of photographs.
--
-- Tolerances: parameters of transformations 1e-4, losses 1e-5, gradients 1e-3. What ten steps of Adam change is an
-- answer to the signs of gradients, also of those that are nearly 0, so its norm may be off by 1e-2, single elements by
-- more; what PyTorch's own float32 is off by is in the golden file.

local busted <const> = require "busted"
local la <const> = require "lualign"
local cases <const> = require "lib.cases"
local golden <const> = require "lib.weakalign_golden"
local shared <const> = require "lib.shared"

local network <const> = {}

local STEPS <const> = 10
local PARTS <const> = 0.15 -- of the largest step: where one element's gradient changes sign

-- { name = tensor } of all parameters' gradients, in the authors' names and layouts.
local function gradients_of(net)
  local list <const> = {}
  for k, entry in ipairs(net:named_parameters()) do
    list[k] = { entry[1], entry[2].grad }
  end
  return golden.authors(list)
end

local function copies(module)
  local list <const> = {}
  for k, entry in ipairs(module:named_parameters()) do
    list[k] = entry[2]:detach():clone()
  end
  return list
end

local function changes(module, start)
  local list <const> = {}
  for k, entry in ipairs(module:named_parameters()) do
    list[k] = { entry[1], entry[2]:detach() - start[k] }
  end
  return list
end

local function check_answer(answer, want, label)
  golden.like(answer.source_features, want.source_features, 1e-4, label .. "features of the source")
  golden.like(answer.target_features, want.target_features, 1e-4, label .. "features of the target")
  golden.like(answer.correlation, want.correlation, 1e-4, label .. "correlation")
  golden.near(answer.affine, want.affine, 1e-4, label .. "affine")
  golden.near(answer.tps, want.tps, 1e-4, label .. "tps")
  local first <const>, both <const> = la.losses.soft_inlier_count(answer.correlation, answer:compose())
  golden.near(first, want.counts[1], 1e-5, label .. "affine count")
  golden.near(both, want.counts[2], 1e-5, label .. "composed count")
  golden.near(la.losses.weak(answer.correlation, answer:compose()), want.loss, 1e-5, label .. "loss")
end

local function pictures(want)
  return golden.photograph(want.picture, 240, 240), golden.photograph(want.picture + 1, 240, 240)
end

local function weak_loss(net, source, target)
  local answer <const> = net(source, target)
  return la.losses.weak(answer.correlation, answer:compose()), answer
end

-- n steps of Adam; the losses before each.
local function train(parameters, rate, loss_of)
  local adam <const> = la.optim.Adam(parameters, { lr = rate })
  local losses <const> = {}
  for step = 1, STEPS do
    adam:zero_grad()
    la.scope(function()
      local loss <const> = loss_of()
      loss:backward()
      losses[step] = loss:item()
    end)
    adam:step()
  end
  return losses
end

-- ---- the weak recipe ----

local function check_gradients(kind)
  local want <const>, net <const> = golden.data[kind].weak, golden.network(kind)
  local loss <const>, answer <const> = weak_loss(net, pictures(want))
  check_answer(answer, want.forward, "")
  loss:backward()
  return golden.all_like(gradients_of(net), want.gradients, 1e-3, "gradient")
end

--- rate: of Adam, as the golden file names it.
local function check_weak_steps(kind, rate)
  local want <const>, net <const> = golden.data[kind].weak, golden.network(kind)
  local source <const>, target <const> = pictures(want)
  local start <const> = copies(net)
  local losses <const> = train(net:parameters(), tonumber(rate), function()
    return (weak_loss(net, source, target))
  end)
  golden.near(losses, want[rate].losses, 1e-5, "losses")
  return golden.all_like(golden.authors(changes(net, start)), want[rate].change, 1e-2, "change", PARTS)
end

-- ---- the strong recipe ----

-- Biases before a normalisation by the batch have a gradient of rounding alone, which Adam makes as large a step as any
-- other: leaves out those, after a look that it is so.
local function without_idle_biases(regressor)
  local list <const>, gradients <const> = {}, {}
  for _, entry in ipairs(regressor:named_parameters()) do
    if entry[1]:find "^conv%.[03]%.bias$" then
      local largest <const> = golden.about(entry[2].grad, 0)[2]
      assert(largest < 1e-6, entry[1] .. " has a gradient of " .. largest)
    else
      list[#list + 1] = entry[2]
      gradients[entry[1]] = entry[2].grad
    end
  end
  return list, la.models.to_pytorch(gradients)
end

local function wanted(numbers)
  local out <const> = {}
  for name, v in pairs(numbers) do
    out[name] = not name:find "^conv%.[03]%.bias$" and v or nil
  end
  return out
end

local function by_name(entries)
  local out <const> = {}
  for _, entry in ipairs(entries) do
    out[entry[1]] = entry[2]
  end
  return la.models.to_pytorch(out)
end

-- Source, target and the transformation from one to the other.
local function pairs_of(want, model)
  local parts <const> = {}
  for k = 1, 4 do
    parts[k] = golden.photograph(want.picture + k - 1, 120, 160)
  end
  local theta <const> = golden.random_thetas(model, #parts)
  local source <const>, target <const> = la.geometry.synthetic_pair(la.cat(parts, 1), theta, model,
    { canvas = { 480, 640 } })
  golden.like(source, want[model].source, 1e-5, "source")
  golden.like(target, want[model].target, 1e-5, "target")
  return source, target, theta
end

--- Steps at the rates of both phases. The regressor alone is trained, on batches' statistics, the trunk frozen.
local function check_strong_steps(kind, model)
  local want <const>, net <const> = golden.data[kind].strong[model], golden.network(kind, true)
  local source <const>, target <const>, theta <const> = pairs_of(golden.data[kind].strong, model)
  local s <const> = la.no_grad(function() return net:correlate(source, target) end)
  golden.like(s, want.correlation, 1e-4, "correlation")
  local regressor <const> = net:regressor(model)
  local function loss_of()
    return la.losses.transformed_grid(regressor(s), theta, model)
  end
  for _, rate in ipairs { "0.001", "0.0002" } do
    golden.fill(net, true) -- statistics too
    regressor:zero_grad()
    regressor:train()
    loss_of():backward()
    local parameters <const>, gradients <const> = without_idle_biases(regressor)
    golden.all_like(gradients, wanted(want.gradients), 1e-3, "gradient")
    golden.fill(net, true)
    local start <const> = copies(regressor)
    golden.near(train(parameters, tonumber(rate), loss_of), want[rate].losses, 1e-5, "losses")
    local change <const> = wanted(want[rate].change)
    change["conv.1.bias"] = nil -- of channels that are open everywhere the next normalisation removes it, too
    golden.all_like(by_name(changes(regressor, start)), change, 1e-2, "change", 1e-2)
    -- means move with that bias
    golden.all_like(by_name(regressor:named_buffers()), want[rate].running, 1e-2, "statistics")
    regressor:eval()
    golden.near(loss_of(), want[rate].after, 1e-3, "loss after")
  end
end

-- ---- photographs ----

local function check_photographs(kind)
  local root <const>, want <const> = shared.skip_without "data/pf-willow", golden.data[kind].willow
  local pair <const> = {}
  for k, name in ipairs(want.names) do
    pair[k] = la.image.load(root .. "/" .. name, { size = 240 }):unsqueeze(1)
    golden.like(pair[k], want.resized[k], 1e-5, name .. ", resized")
  end
  la.no_grad(function()
    check_answer(golden.network(kind)(pair[1], pair[2]), want, "")
  end)
end

--- The cases of one trunk, "vgg16" or "resnet101".
function network.specs(kind)
  busted.describe("the network with " .. kind, function()
    cases.scoped("answers, and has gradients, as the authors'", function()
      check_gradients(kind)
    end)

    cases.scoped("takes ten steps of the weak recipe", function()
      check_weak_steps(kind, "5e-08")
    end)

    cases.scoped("takes ten larger steps on the weak loss", function()
      check_weak_steps(kind, "1e-06")
    end)

    for _, model in ipairs { "affine", "tps" } do
      cases.scoped("takes ten steps of the strong recipe, " .. model, function()
        check_strong_steps(kind, model)
      end)
    end

    cases.scoped("answers on photographs as the authors'", function()
      check_photographs(kind)
    end)
  end)
end

return network
