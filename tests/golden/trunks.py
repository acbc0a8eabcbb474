# SPDX-License-Identifier: MIT
#
# How trunks.json was made: torchvision's networks in double precision, on weights that are a pattern. Run with PyTorch
# 2.15 and torchvision 0.29 (neither is needed to build, test or use lualign):
#
#   python tests/golden/trunks.py > tests/golden/trunks.json
#
# Tensor j of a network, names sorted, counted from 0, holds at its flat index i in PyTorch's layout
#   p(i + 31 j)            p(k) = ((17 k k + 7 k) mod 2003) / 2003 - 0.5, k mod 2003
# times gain / sqrt(inputs of an output) for convolutions, gain = sqrt(24); 0.1 p for biases and means; 1 + 0.5 p for
# batch norm's weights and variances. The image (1, 3, 64, 96) holds 2 p(i) in channels-last order.
import json

import torch
import torchvision

from pattern import fill, pattern


def run(make, cut):
    net = make(weights=None).double().eval()
    parts = cut(net)
    fill(parts)
    x = 2 * pattern(64 * 96 * 3, 0).reshape(1, 64, 96, 3).permute(0, 3, 1, 2)
    with torch.no_grad():
        y = parts(x).permute(0, 2, 3, 1).contiguous()
    flat = y.flatten()
    n = flat.numel()
    at = [(k * 7919) % n for k in range(24)]
    return {"shape": list(y.shape), "mean": flat.mean().item(), "rms": flat.pow(2).mean().sqrt().item(), "at": at,
            "values": [flat[i].item() for i in at]}


class Cut(torch.nn.Module):
    """The children of a network up to the one called `last`, under their own names."""

    def __init__(self, net, last):
        super().__init__()
        self.names = []
        for name, child in net.named_children():
            self.add_module(name, child)
            self.names.append(name)
            if name == last:
                break

    def forward(self, x):
        for name in self.names:
            x = getattr(self, name)(x)
        return x


V = torchvision.models
OUT = {}
for depth, last in ((18, "layer4"), (34, "layer3"), (50, "layer3"), (101, "layer3"), (152, "layer2")):
    OUT[f"resnet{depth} {last}"] = run(getattr(V, f"resnet{depth}"), lambda net, last=last: Cut(net, last))
for depth, count, last in ((16, 24, "pool4"), (16, 31, "pool5"), (19, 37, "pool5")):
    OUT[f"vgg{depth} {last}"] = run(getattr(V, f"vgg{depth}"), lambda net, count=count: net.features[:count])
OUT["densenet201 transition2"] = run(V.densenet201, lambda net: Cut(net.features, "transition2"))
print(json.dumps(OUT, indent=1))
