-- SPDX-License-Identifier: MIT
--
-- lualign import IN OUT: turns checkpoints of the authors' code into lualign's own, or back.

local la <const> = require "lualign"
local cli <const> = require "lualign.cli"

local parser <const> = cli.parser("import", "Turns a checkpoint of the authors' code into one of lualign's, or back.")
parser:argument("input", "a checkpoint of weakalign or cnngeometric_pytorch, or one of lualign's"):args(1)
parser:argument("output", "the file to write, .safetensors"):args(1)
parser:option("--second", "a single-stage checkpoint that becomes the second stage, its features left out")
  :argname("FILE")
parser:flag("--pytorch", "write under the authors' names and in PyTorch's layouts, for safetensors.torch.load_file")
local args <const> = cli.parse(parser, arg)

local model = la.models.load(args.input)
if args.second then
  model = la.models.join(model, la.models.load(args.second))
end
local count = 0
if args.pytorch then
  local dict <const> = {}
  for _, entry in ipairs(model:state_dict()) do
    dict[entry[1]] = entry[2]
    count = count + 1
  end
  la.io.save_safetensors(args.output, la.models.to_authors(dict), { format = "pt" })
else
  la.models.save(args.output, model)
  count = #model:state_dict()
end
print(string.format("wrote %s: %d tensors, %d parameters", args.output, count, model:parameter_count()))
