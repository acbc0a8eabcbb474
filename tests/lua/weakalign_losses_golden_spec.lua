-- SPDX-License-Identifier: MIT
--
-- Losses, their gradients, and the regressors, against the authors' in double precision: tests/golden/weakalign.json;
-- weakalign.py beside it says how. The networks with trunks have specs of their own.

local la <const> = require "lualign"
local golden <const> = require "lib.weakalign_golden"
local scoped <const> = require("lib.cases").scoped

local LOSS <const>, GRADIENT <const> = 1e-5, 1e-4

local function leaf(t)
  return t:clone():requires_grad_(true)
end

describe("loss of WeakAlign and CNNGeometric:", function()
  local want <const> = golden.data.losses

  -- The nine numbers of a homography that is given by eight.
  local function matrix(theta)
    local rows <const>, list <const> = {}, theta:totable()
    for k, row in ipairs(list) do
      rows[k] = require("lualign.geometry.host").homography_matrix(row)
    end
    return la.tensor(rows)
  end

  for _, name in ipairs { "affine", "tps", "homography", "homography9" } do
    local model <const> = name:match "^%a+"
    local function pair()
      local theta <const>, truth <const> = golden.thetas(model, 11, 0.2, 2), golden.thetas(model, 700, 0.2, 2)
      if name ~= model then
        return leaf(matrix(theta)), leaf(matrix(truth))
      end
      return leaf(theta), leaf(truth)
    end

    scoped("transformed grid, " .. name, function()
      local theta <const>, truth <const> = pair()
      local loss <const> = la.losses.transformed_grid(theta, truth, model)
      loss:backward()
      golden.near(loss, want.grid[name].loss, LOSS, "loss")
      golden.near(theta.grad, want.grid[name].theta, GRADIENT, "gradient of theta")
      golden.near(truth.grad, want.grid[name].truth, GRADIENT, "gradient of the truth")
    end)

    scoped("squared difference of parameters, " .. name, function()
      local theta <const>, truth <const> = pair()
      local loss <const> = la.losses.theta_mse(theta, truth)
      loss:backward()
      golden.near(loss, want.theta[name].loss, LOSS, "loss")
      golden.near(theta.grad, want.theta[name].theta, GRADIENT, "gradient")
    end)
  end

  -- Normalised correlations (2, 15, 15, 225), each place's a few of the source's cells.
  local function correlations()
    local raw <const> = golden.pattern(2 * 225 * 225, 7):reshape(2, 15, 15, 225) + 0.1
    return la.l2_normalize(la.relu(raw))
  end

  local function check(count, numbers, leaves, label)
    golden.near(count, numbers.count, LOSS, label)
    count:sum():backward()
    for name, t in pairs(leaves) do
      if t.grad then
        golden.like(t.grad, numbers[name], GRADIENT, label .. ", gradient of " .. name)
        t.grad = nil
      elseif numbers[name][2] ~= 0 then
        error(label .. ": no gradient of " .. name)
      end
    end
  end

  for _, case in ipairs(want.counts) do
    local o <const> = case.options
    for _, mode in ipairs { "fused", "plain" } do
      scoped(string.format("soft inlier count, %s, %s, dilation %d, offset %.4g, regulariser %g", mode,
        o.normalize and "normalised" or "plain sum", o.dilation, o.offset, o.reg), function()
        local opts <const> = {
          normalize = o.normalize, dilation = o.dilation, offset = o.offset, reg = o.reg, mode = mode,
        }
        local leaves <const> = {
          correlation = leaf(correlations()), affine = leaf(golden.thetas("affine", 300, 0.15, 2)),
          tps = leaf(golden.thetas("tps", 300, 0.15, 2)),
        }
        local stages <const> = { affine = leaves.affine, tps = leaves.tps }
        local s <const>, count <const> = leaves.correlation, la.losses.soft_inlier_count
        check((count(s, stages, opts)), case.affine, leaves, "affine")
        check(select(2, count(s, { tps = leaves.tps }, opts)), case.spline, leaves, "spline")
        check(select(2, count(s, stages, opts)), case.both, leaves, "both")
      end)
    end
  end
end)

describe("regressors of WeakAlign and CNNGeometric:", function()
  local CHANNELS <const> = 40

  local function features(first)
    return leaf(golden.pattern(2 * 225 * CHANNELS, first):reshape(2, 15, 15, CHANNELS) + 0.2)
  end

  -- Gradients of intermediate results come by cutting the graph there.
  local function run(net, mode)
    local source <const>, target <const> = features(5), features(5 + 3 * CHANNELS)
    local s <const> = la.correlation(la.l2_normalize(source), la.l2_normalize(target))
    local cut <const> = leaf(s:detach())
    local answers <const>, cuts <const> = {}, {}
    for _, model in ipairs { "affine", "tps" } do
      answers[model] = net:regressor(model)(cut)
      cuts[model] = leaf(answers[model]:detach())
    end
    local loss
    if mode == "weak" then
      loss = la.losses.weak(cut, cuts)
    else
      loss = la.losses.transformed_grid(cuts.affine, golden.thetas("affine", 900, 0.2, 2), "affine")
        + la.losses.transformed_grid(cuts.tps, golden.thetas("tps", 900, 0.2, 2), "tps")
    end
    loss:backward()
    for model, answer in pairs(answers) do
      (answer * cuts[model].grad):sum():backward()
    end;
    (s * cut.grad):sum():backward()
    return loss, answers, cut, {
      source = source.grad, target = target.grad, correlation = cut.grad, affine = cuts.affine.grad,
      tps = cuts.tps.grad,
    }
  end

  for _, mode in ipairs { "weak", "strong" } do
    scoped("answers and all gradients of the " .. mode .. " loss", function()
      local net <const>, want <const> = golden.network "vgg16", golden.data.regressors[mode]
      net:train(mode == "strong")
      local loss <const>, answers <const>, s <const>, gradients <const> = run(net, mode)
      golden.near(answers.affine, want.affine, 1e-4, "affine")
      golden.near(answers.tps, want.tps, 1e-4, "tps")
      golden.like(s, want.correlation, 1e-5, "correlation")
      golden.near(loss, want.loss, LOSS, "loss")
      for _, entry in ipairs(net:named_parameters()) do
        if entry[1]:find "^FeatureRegression" then
          gradients[entry[1]] = la.models.to_authors({ [entry[1]] = entry[2].grad })[entry[1]]
        end
      end
      for name, numbers in pairs(want.gradients) do
        if numbers[1] > 1e-9 then
          golden.like(gradients[name], numbers, 1e-3, "gradient of " .. name)
        else -- a bias before a normalisation by the batch has no effect
          assert.is_true(mode == "strong" and name:find "conv%.[03]%.bias$" ~= nil)
          assert.is_true(golden.about(gradients[name], 0)[2] < 1e-6)
        end
      end
    end)
  end
end)
