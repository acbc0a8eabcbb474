-- SPDX-License-Identifier: MIT
--
-- lualign inspect FILE: lists what a checkpoint holds.

local cli <const> = require "lualign.cli"
local weights <const> = require "lualign.models.weights"

local parser <const> = cli.parser("inspect", "Lists the tensors and texts of a checkpoint. Nothing in it is executed.")
parser:argument("file", "safetensors, .pth or .pth.tar"):args(1)
local args <const> = cli.parse(parser, arg)

local dict <const>, names <const>, metadata <const> = weights.load(args.file)
local keys <const>, width, total = {}, 0, 0
for key in pairs(metadata) do
  keys[#keys + 1] = key
end
table.sort(keys)
for _, key in ipairs(keys) do
  print(string.format("%s: %s", key, (metadata[key]:gsub("%c", " "))))
end
for _, name in ipairs(names) do
  width = math.max(width, #name)
end
for _, name in ipairs(names) do
  local t <const> = dict[name]
  total = total + t:numel()
  print(string.format("%-" .. math.min(width, 80) .. "s  %-8s (%s)", name, t.dtype, table.concat(t:shape(), ", ")))
end
print(string.format("%d tensors, %d elements", #names, total))
