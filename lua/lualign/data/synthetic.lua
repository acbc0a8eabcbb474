-- SPDX-License-Identifier: MIT
--
-- la.data.synthetic: pairs made by warping single images with random transformations, for strong supervision (CNNGeometric,
-- CVPR 2017). The image, resized to canvas and mirrored at its borders, is sampled twice: its central 9/16 is the source; the
-- same window under a random transformation theta is the target, so target(g) = source(T_theta(g)).
--
--   la.data.synthetic { images = { "a.jpg", ... }, model = "affine" }
--
-- Batches are { source =, target = (N, size, size, 3) float32 0..255, theta = (N, 6 or 18) }.

local la <const> = require "lualign"
local decoder <const> = require "lualign.data.decoder"
local options <const> = require "lualign.util.options"

local Synthetic <const> = {}
Synthetic.__index = Synthetic

function Synthetic:length()
  return #self.images
end

function Synthetic:prefetch(indices, rng)
  self.decoder:submit(indices, rng)
end

function Synthetic:batch(indices, rng)
  local images <const> = self.decoder:fetch(indices, rng)
  local rows <const> = {}
  for k, i in ipairs(indices) do
    local own <const> = rng(i)
    own:uniform() -- the first number decided the flip
    rows[k] = la.geometry.random_theta(self.model, own, { style = self.style })
  end
  local theta <const> = la.tensor(rows)
  local source <const>, target <const> = la.geometry.synthetic_pair(images, theta, self.model, { size = self.size })
  return { source = source, target = target, theta = theta }
end

return function(given)
  local o <const> = options.check("data.synthetic", given, {
    images = options.required, model = "affine", style = "weakalign", size = 240, canvas = { 480, 640 }, threads = 2,
  })
  local self <const> = setmetatable({ images = o.images, model = o.model, style = o.style, size = o.size }, Synthetic)
  self.decoder = decoder(function(i, rng)
    return { { path = o.images[i], options = { size = o.canvas, flip = rng:uniform() < 0.5 } } }
  end, o.threads)
  return self
end
