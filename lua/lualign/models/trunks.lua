-- SPDX-License-Identifier: MIT
--
-- The trunks that there are, by name: what an alignment network takes from each where nothing is said.
--
--   layers   the layers whose outputs are its features
--   paper    their cells lie as the papers' losses have it; else their centres are half a cell inside the border
--   file     of its weights

local trunks <const> = {
  mobilenetv2 = { layers = { 8, 14, 15 }, file = "mobilenetv2-oidv4.safetensors" },
  efficientnet_lite0 = { layers = { 10, 14 }, file = "efficientnet-lite0-imagenet.safetensors" },
}
trunks.densenet201 = { layers = { "transition2" }, paper = true, file = "densenet201-imagenet.safetensors" }
for _, depth in ipairs { 18, 34, 50, 101, 152 } do
  trunks["resnet" .. depth] = {
    layers = { "layer3" }, paper = true, file = string.format("resnet%d-imagenet.safetensors", depth),
  }
end
for _, depth in ipairs { 16, 19 } do
  trunks["vgg" .. depth] = {
    layers = { "pool4" }, paper = true, file = string.format("vgg%d-imagenet.safetensors", depth),
  }
end

--- The names, sorted.
local names <const> = {}
for name in pairs(trunks) do
  names[#names + 1] = name
end
table.sort(names)

return { known = trunks, names = names }
