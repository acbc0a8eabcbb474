# SPDX-License-Identifier: MIT
#
# Numbers that stand for random weights and pictures, the same in PyTorch and in tests/lib/pattern.lua.
import torch


def pattern(n, first):
    k = (torch.arange(n, dtype=torch.int64) + first) % 2003
    return ((17 * k * k + 7 * k) % 2003).double() / 2003 - 0.5


def fill(net):
    """Fills all tensors but num_batches_tracked; returns their names and shapes, sorted."""
    state = {k: v for k, v in net.state_dict().items() if not k.endswith("num_batches_tracked")}
    for j, name in enumerate(sorted(state)):
        t = state[name]
        v = pattern(t.numel(), 31 * j).reshape(t.shape)
        if t.dim() == 4:
            v = v * (24 / t[0].numel()) ** 0.5
        elif name.endswith("bias") or name.endswith("running_mean"):
            v = 0.1 * v
        else:
            v = 1 + 0.5 * v
        t.copy_(v)
    return [[name, list(state[name].shape)] for name in sorted(state)]
