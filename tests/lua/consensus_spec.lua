-- SPDX-License-Identifier: MIT
--
-- Dense matching: 4-D convolution, mutual matching, soft arg-max, against sums written out.

local la <const> = require "lualign"
local cases <const> = require "lib.cases"
local compare <const> = require "lib.compare"
local P <const> = require "lib.plain"
local make_rng <const> = require "lib.rng"

local consensus <const> = la.consensus
local scoped <const> = cases.scoped

-- y[n,a,b,c,d,o] = bias[o] + sum over the kernel and inputs, zeros around.
local function conv4d(x, w, bias)
  local n <const>, h1 <const>, w1 <const>, h2 <const>, w2 <const>, inputs <const> = table.unpack(x.shape)
  local k <const>, outputs <const> = w.shape[1], w.shape[3]
  local half <const> = k // 2
  local function at(i, a, b, c, d, q)
    if a < 1 or a > h1 or b < 1 or b > w1 or c < 1 or c > h2 or d < 1 or d > w2 then
      return 0
    end
    return x:at(i, a, b, c, d, q)
  end
  return P.build({ n, h1, w1, h2, w2, outputs }, function(i, a, b, c, d, o)
    local sum = bias.data[o]
    for ka = 1, k do
      for kb = 1, k do
        for kc = 1, k do
          for kd = 1, k do
            for q = 1, inputs do
              sum = sum + w:at(ka, kb, o, kc, kd, q)
                * at(i, a + ka - 1 - half, b + kb - 1 - half, c + kc - 1 - half, d + kd - 1 - half, q)
            end
          end
        end
      end
    end
    return sum
  end)
end

describe("nn.Conv4d", function()
  scoped("is the sum over all four dimensions, forward and back", function()
    local rng <const> = make_rng "conv4d"
    for _, case in ipairs {
      { 3, 2, 3, { 1, 2, 3, 4, 3 } }, { 5, 1, 2, { 2, 3, 2, 3, 2 } }, { 1, 2, 2, { 1, 2, 2, 3, 1 } },
    } do
      local k <const>, inputs <const>, outputs <const>, s <const> = table.unpack(case)
      local net <const> = la.nn.Conv4d { inputs, outputs, kernel = k }
      local x <const> = rng.randn(s[1], s[2], s[3], s[4], s[5], inputs)
      local y <const> = net(la.tensor(x:nested()))
      compare.close(y, conv4d(x, P(net.weight), P(net.bias)), 1e-5)
    end
    local net <const> = la.nn.Conv4d { 2, 2, kernel = 3 }
    la.gradcheck(function(x, w, b)
      net.weight, net.bias = w, b
      return (net(x) * net(x)):sum()
    end, { la.randn(1, 2, 2, 3, 2, 2), net.weight:detach():clone(), net.bias:detach():clone() })
    assert.has_error(function() net(la.zeros(1, 2, 2, 3, 2, 3)) end)
    assert.has_error(function() la.nn.Conv4d { 1, 1, kernel = 4 } end)
  end)
end)

describe("consensus", function()
  scoped("correlates targets with sources, row by row", function()
    local a <const>, b <const> = la.randn(2, 2, 3, 4), la.randn(2, 3, 2, 4)
    local c <const>, pa <const>, pb <const> = P(consensus.correlate(a, b)), P(a), P(b)
    local expected <const> = P.build({ 2, 3, 2, 2, 3 }, function(n, i, j, k, l)
      local sum = 0
      for q = 1, 4 do
        sum = sum + pb:at(n, i, j, q) * pa:at(n, k, l, q)
      end
      return math.max(sum, 0)
    end)
    compare.close(c, expected, 1e-5)
  end)

  scoped("weighs matches by how mutual they are", function()
    local c <const> = la.rand(1, 2, 2, 2, 3)
    local m <const> = P(c)
    local function most(f)
      local best = 0
      f(function(v) best = math.max(best, v) end)
      return best + 1e-5
    end
    local expected <const> = P.build({ 1, 2, 2, 2, 3 }, function(_, i, j, k, l)
      local of_target <const> = most(function(see)
        for x = 1, 2 do
          for y = 1, 3 do
            see(m:at(1, i, j, x, y))
          end
        end
      end)
      local of_source <const> = most(function(see)
        for x = 1, 2 do
          for y = 1, 2 do
            see(m:at(1, x, y, k, l))
          end
        end
      end)
      return m:at(1, i, j, k, l) ^ 3 / of_target / of_source
    end)
    compare.close(consensus.mutual(c), expected, 1e-5)
  end)

  scoped("treats source and target alike", function()
    local net <const> = consensus.Neighbourhood { channels = { 3, 1 }, kernel = 3 }
    local c <const> = la.rand(1, 3, 2, 2, 4)
    local there <const> = net(c)
    local back <const> = net(c:permute { 1, 4, 5, 2, 3 }:contiguous())
    compare.close(back:permute { 1, 4, 5, 2, 3 }:contiguous(), P(there), 1e-5)
    assert.has_error(function() consensus.Neighbourhood { channels = { 3, 2 } } end)
  end)

  scoped("finds where the best match is, softly or not", function()
    -- the match of every target cell is source cell (2, 3) of 2 x 4, whose centre is (0.25, 0.5)
    local c <const> = la.zeros(1, 2, 2, 2, 4)
    c:select(5, 3):select(4, 2):fill_(1)
    for _, grid in ipairs { consensus.argmax(c), consensus.soft_argmax(c, 0.01) } do
      compare.close(grid, { { { { 0.25, 0.5 }, { 0.25, 0.5 } }, { { 0.25, 0.5 }, { 0.25, 0.5 } } } }, 1e-5)
    end
    compare.close(consensus.soft_argmax(la.zeros(1, 1, 1, 3, 3), 1), { { { { 0, 0 } } } }, 1e-6, nil, 1)
    la.gradcheck(function(x) return (consensus.soft_argmax(x, 0.3) ^ 2):sum() end, { la.rand(1, 2, 1, 2, 3) })
  end)

  scoped("is surer of one clear match than of none", function()
    local clear <const> = la.eye(4):reshape(1, 2, 2, 2, 2) * 20
    local none <const> = la.zeros(1, 2, 2, 2, 2)
    compare.close(consensus.certainty(clear), { 1 }, 1e-6)
    compare.close(consensus.certainty(none), { 0.25 }, 1e-6)
    compare.close({ consensus.weak_loss(clear, none):item() }, { -0.75 }, 1e-6)
  end)

  scoped("carries points over by the grid, between cell centres", function()
    -- 2 x 2 cells, centres at -0.5 and 0.5: the source is the target moved by (0.1, -0.2)
    local grid <const> = la.tensor { { { { -0.4, -0.7 }, { 0.6, -0.7 } }, { { -0.4, 0.3 }, { 0.6, 0.3 } } } }
    local found <const> = consensus.transfer(grid, { { 0, 0 }, { -0.5, 0.5 }, { 0.25, -0.1 }, { 0.9, 0.9 } })
    for k, want in ipairs { { 0.1, -0.2 }, { -0.4, 0.3 }, { 0.35, -0.3 }, { 0.6, 0.3 } } do -- the last at the border
      compare.close(found[k], want, 1e-5)
    end
  end)
end)
