-- SPDX-License-Identifier: MIT
--
-- weakalign_golden.lua -- what tests/golden/weakalign.py makes, made here: weights, pictures and transformations that
-- are formulas, the numbers kept of a tensor, and how ours are compared with them. See there for what they are.

local la <const> = require "lualign"
local compare <const> = require "lib.compare"
local shared <const> = require "lib.shared"

local golden <const> = {}

golden.data = la.io.json_decode(la.io.read_file(shared.repository .. "/tests/golden/weakalign.json"))

local PERIOD <const> = 2003

--- Number k of the pattern, from 0: within +-0.5.
local function p(k)
  k = k % PERIOD
  return ((17 * k * k + 7 * k) % PERIOD) / PERIOD - 0.5
end

--- n numbers of the pattern from number `first` on, as a tensor.
function golden.pattern(n, first)
  local list <const> = {}
  for i = 1, PERIOD do
    list[i] = p(first + i - 1)
  end
  local times <const> = (n + PERIOD - 1) // PERIOD
  return la.tensor(list):unsqueeze(1):expand(times, PERIOD):reshape(times * PERIOD):narrow(1, 1, n)
end

-- ---- pictures ----

-- 0 at the border of a picture of 240 x 240, 1 from 40 pixels inwards.
local function fade_at(x, y)
  local fade = 1
  for _, d in ipairs { x, y, 239 - x, 239 - y } do
    fade = fade * math.sin(math.pi / 2 * math.min(math.max(d / 40, 0), 1)) ^ 2
  end
  return fade
end

local MEAN <const> = { [0] = 124, 116, 104 }

--- Picture number `which` from 0: (1, height, width, 3), whole numbers of 0..255.
function golden.photograph(which, height, width)
  local rows <const>, s <const> = {}, 1 + 0.17 * (which // 2)
  local sin <const>, cos <const> = math.sin, math.cos
  for i = 0, height - 1 do
    local row <const> = {}
    for j = 0, width - 1 do
      local x, y = j * 240.0 / width, i * 240.0 / height
      local fade <const> = fade_at(x, y)
      if which % 2 == 1 then
        x, y = 0.93 * x + 0.09 * y + 5, -0.06 * x + 1.06 * y - 3
      end
      for c = 0, 2 do
        local v <const> = 45 * sin(s * (0.11 * x + 0.05 * y) + 1.3 * c)
          + 40 * cos(s * (0.04 * x - 0.13 * y) + 0.7 * c + 2)
          + 50 * sin(((x - 110 - 9 * c) ^ 2 + (y - 125) ^ 2) / (1200 * s) + c)
          + 12 * sin(0.4 * x + 0.2 * c) * cos(0.45 * y)
        row[#row + 1] = math.min(math.max(math.floor(MEAN[c] + fade * v + 0.5), 0), 255)
      end
    end
    rows[#rows + 1] = string.char(table.unpack(row))
  end
  return la.from_bytes(table.concat(rows), "uint8", { 1, height, width, 3 }):astype("float32")
end

-- ---- transformations ----

--- n rows of parameters: the identity and up to +-amount on each.
function golden.thetas(model, first, amount, n)
  local rows <const>, identity <const> = {}, la.geometry.identity_theta(model)
  for k = 0, n - 1 do
    local row <const> = {}
    for i, v in ipairs(identity) do
      row[i] = v + 2 * amount * p(first + 50 * k + i - 1)
    end
    rows[k + 1] = row
  end
  return la.tensor(rows)
end

--- n rows as the authors draw them to make pairs, with the pattern for random numbers.
function golden.random_thetas(model, n)
  if model == "tps" then
    return golden.thetas("tps", 60, 0.4, n)
  end
  local rows <const> = {}
  for k = 0, n - 1 do
    local function u(i)
      return 2 * p(400 + 100 * k + i)
    end
    local function scale(i)
      return 1 + 0.5 * u(i)
    end
    local cos <const>, sin <const> = math.cos(u(0) * math.pi / 6), math.sin(u(0) * math.pi / 6)
    rows[k + 1] = { scale(1) * cos, -scale(2) * sin, 0.5 * u(5), scale(3) * sin, scale(4) * cos, 0.5 * u(6) }
  end
  return la.tensor(rows)
end

-- ---- weights ----

local function gain_of(name, sharp)
  if name:find "^FeatureExtraction" then
    return name == "FeatureExtraction.model.0.weight" and 6 or 3.5
  elseif name:find "conv%.0%.weight$" then
    return sharp and 150 or name:find "^FeatureRegression%." and 800 or 260
  end
  return name:find "conv%.3%.weight$" and 5 or 0.6
end

-- The layers of trunks whose biases are raised by 5.
local RAISED <const> = {
  "bn[12]%.bias$", "downsample%.1%.bias$", "model%.1%.bias$", "model%.[0257]%.bias$", "model%.1[0249]%.bias$",
  "model%.17%.bias$",
}

local function shift_of(name, sharp)
  if not name:find "^FeatureExtraction" then
    return sharp and name:find "conv%.[14]%.bias$" and 3 or 0
  elseif name:find "model%.6%.22%.bn3%.bias$" then
    return sharp and -5 or 1
  elseif name:find "model%.21%.bias$" then
    return sharp and 0 or 4
  end
  for _, form in ipairs(RAISED) do
    if name:find(form) then
      return 5
    end
  end
  return 0
end

-- The second half of an output's weights is minus the first.
local function opposed(v, shape, gain)
  local outputs <const> = shape[1]
  local inputs <const> = v:numel() // outputs
  local half <const> = inputs // 2
  local rows <const> = v:reshape(outputs, inputs)
  local parts <const> = { rows:narrow(2, 1, half), -rows:narrow(2, 1, half) }
  if inputs % 2 == 1 then
    parts[3] = rows:narrow(2, inputs, 1)
  end
  return (la.cat(parts, 2) * (gain / math.sqrt(inputs))):reshape(table.unpack(shape))
end

local function weights_of(name, shape, v, sharp)
  if #shape > 1 then
    return opposed(v, shape, gain_of(name, sharp))
  elseif name:find "linear%.bias$" then
    return la.tensor(la.geometry.identity_theta(v:numel() == 6 and "affine" or "tps")) + v * 0.25
  elseif name:find "bias$" or name:find "running_mean$" then
    return v * 0.1 + shift_of(name, sharp)
  end
  local scale <const> = v * 0.5 + 1
  return name:find "bn3%.weight$" and scale * 0.1 or scale
end

local function as_dict(entries)
  local dict <const> = {}
  for _, entry in ipairs(entries) do
    dict[entry[1]] = entry[2]
  end
  return dict
end

--- { { name, tensor }, ... } of a whole network's names, as name -> tensor in the authors' names and layouts.
function golden.authors(entries)
  return la.models.to_authors(as_dict(entries))
end

--- Gives a network its weights and statistics, by way of the authors' names and layouts. sharp: those of the strong
-- recipe.
function golden.fill(net, sharp)
  la.scope(function()
    local names <const>, shapes <const>, state <const> = {}, {}, {}
    for name, t in pairs(golden.authors(net:state_dict())) do
      names[#names + 1] = name
      shapes[name] = t:shape()
    end
    table.sort(names)
    for j, name in ipairs(names) do
      local n = 1
      for _, length in ipairs(shapes[name]) do
        n = n * length
      end
      state[name] = weights_of(name, shapes[name], golden.pattern(n, 31 * (j - 1)), sharp)
    end
    net:load_state_dict(la.models.from_authors(state))
  end)
end

--- Such a network: all of it trainable, in evaluation mode.
function golden.network(kind, sharp)
  local net <const> = la.models.weakalign { backbone = kind, weights = false, identity = false }
  golden.fill(net, sharp)
  return net:requires_grad_(true):eval()
end

-- ---- comparing ----

local SPREAD <const> = 1 / math.sqrt(12) -- root mean square of the pattern

--- What is kept of a tensor: norm, largest magnitude, two weighted sums, elements.
function golden.about(t, samples)
  return la.scope(la.no_grad, function()
    local n <const> = t:numel()
    local flat <const> = t:detach():reshape(n)
    local out <const> = { math.sqrt((flat * flat):sum():item()), la.max(la.abs(flat)):item() }
    for k, first in ipairs { 0, 1000 } do
      out[2 + k] = (flat * golden.pattern(n, first)):sum():item()
    end
    for k = 0, samples - 1 do
      out[5 + k] = flat:narrow(1, 7919 * k % n + 1, 1):item()
    end
    return out
  end)
end

--- Expects a tensor to be like the numbers kept of another one. Elements may be off by `tol` times the largest; the
-- norm, and the weighted sums over the root mean square of their weights, by `tol` times the norm. parts: in place of
-- tol, for all but the norm. Returns how far it is.
function golden.like(t, want, tol, label, parts)
  local got <const> = golden.about(t, #want - 4)
  local worst = 0
  local function check(name, off, most)
    if not (off <= most) then
      error(string.format("%s: the %s is off by %.3g, allowed %.3g", label, name, off, most), 3)
    end
    worst = math.max(worst, off)
  end
  check("norm", math.abs(got[1] - want[1]) / want[1], tol)
  for k = 2, #want do
    local sum <const> = k == 3 or k == 4
    check(k == 2 and "largest magnitude" or sum and "sum " .. k - 2 or "element " .. k - 4,
      math.abs(got[k] - want[k]) / (sum and SPREAD * want[1] or want[2]), parts or tol)
  end
  return worst
end

--- The same of many: got, want: name -> tensor, name -> numbers. Every name wanted must be there. What was 0 must be 0.
function golden.all_like(got, want, tol, label, parts)
  local worst = 0
  for name, numbers in pairs(want) do
    if not got[name] then
      error(string.format("%s: there is no %s", label, name), 2)
    elseif numbers[2] == 0 then
      assert(golden.about(got[name], 0)[2] == 0, label .. ", " .. name .. ": is not 0")
    else
      worst = math.max(worst, golden.like(got[name], numbers, tol, label .. ", " .. name, parts))
    end
  end
  return worst
end

--- Numbers, or a tensor's, against numbers: off by at most tol times the largest.
function golden.near(got, want, tol, label)
  got = la.is_tensor(got) and got:flat() or type(got) == "number" and { got } or got
  want = type(want) == "number" and { want } or want
  return compare.close(got, want, tol, label, 1e-12)
end

return golden
