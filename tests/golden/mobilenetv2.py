# SPDX-License-Identifier: MIT
#
# How mobilenetv2.json was made: torchvision's mobilenet_v2 and timm's mobilenetv2_100 in double precision, on weights
# that are a pattern. Run with PyTorch 2.15, torchvision 0.29 and timm 1.0 (none is needed to build, test or use
# lualign):
#
#   python tests/golden/mobilenetv2.py > tests/golden/mobilenetv2.json
#
# Pattern and scales are those of trunks.py: tensor j of the state, names sorted, counted from 0, without
# num_batches_tracked. The image (1, 3, 64, 97) holds 2 p(i) in channels-last order. "state" lists names and shapes.
import json

import timm
import torch
import torchvision

from pattern import fill, pattern


def numbers(y):
    flat = y.permute(0, 2, 3, 1).contiguous().flatten()
    n = flat.numel()
    at = [(k * 7919) % n for k in range(24)]
    return {"shape": [y.shape[0], y.shape[2], y.shape[3], y.shape[1]], "rms": flat.pow(2).mean().sqrt().item(),
            "at": at, "values": [flat[i].item() for i in at]}


def run(net, modules):
    """Outputs of the modules, block -> module."""
    net = net.double().eval()
    state = fill(net)
    layers = {}
    for block, module in modules(net).items():
        module.register_forward_hook(lambda _, __, y, block=block: layers.__setitem__(str(block), numbers(y)))
    with torch.no_grad():
        net(2 * pattern(64 * 97 * 3, 0).reshape(1, 64, 97, 3).permute(0, 3, 1, 2))
    return {"state": state, "layers": layers}


BLOCKS = (0, 1, 3, 8, 12, 13, 16)


def timm_blocks(net):
    flat = [block for stage in net.blocks for block in stage]
    return {k: flat[k] for k in BLOCKS}


OUT = {
    "torchvision": run(torchvision.models.mobilenet_v2(weights=None), lambda n: {k: n.features[k + 1] for k in BLOCKS}),
    "timm": run(timm.create_model("mobilenetv2_100", pretrained=False), timm_blocks),
}
print("{")
for k, name in enumerate(OUT):
    print(f' "{name}": {{"layers": {{')
    rows = [f'  "{layer}": {json.dumps(v)}' for layer, v in OUT[name]["layers"].items()]
    print(",\n".join(rows) + '\n }, "state": [')
    print(",\n".join("  " + json.dumps(row) for row in OUT[name]["state"]) + "\n ]}" + ("," if k == 0 else ""))
print("}")
