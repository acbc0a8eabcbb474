# SPDX-License-Identifier: MIT
#
# How weakalign.json was made: the networks, transformations, losses and training steps of WeakAlign (CVPR 2018) and
# CNNGeometric (CVPR 2017), written anew in PyTorch from a description of the authors' code, with corner alignment, in
# double precision. Run with PyTorch 2.15 and torchvision 0.29 (neither is needed to build, test or use lualign):
#
#   python tests/golden/weakalign.py [folder of PF-WILLOW] > tests/golden/weakalign.json
#
# Weights, pictures and transformations are formulas, the same here and in tests/lib/weakalign_golden.lua. The pattern
#   p(k) = ((17 k k + 7 k) mod 2003) / 2003 - 0.5, k mod 2003
# stands for uniform random numbers of +-0.5. Weights are as random ones, but for what makes gradients depend on rounding:
# the weights of an output have opposite halves (else all channels show the same), trunks have biases that leave all but
# a hundredth of their ReLUs open (one that rounding opens or shuts changes gradients at once; one of 230,000 in the last
# layer is 2e-3), and the last batch norm of a ResNet block adds a tenth. Pictures, too, are those of some tried where
# float32 in PyTorch agrees with double precision.
#
# What is kept of a tensor, in PyTorch's layout: its norm, its largest magnitude, two sums of its elements times p(i) and
# p(i + 1000), and a few elements, those at 7919 k mod the number of them. Everything is computed in float32 once more;
# "float32" holds how far that is from the double precision: the most over what is compared, as the tests compare it.
#
# In the weak recipe parameters are rounded to float32 after each step, as they are there in float32: of steps of 5e-8
# those are lost that are below half a unit in the last place, so batch norm's weights above 1 stay where they are.
import json
import math
import re
import sys

import numpy as np
import torch
import torch.nn.functional as F
import torchvision

CELLS = 15
OFFSET = 227 / 210
PERIOD = 2003


def pattern(n, first=0):
    k = (torch.arange(n, dtype=torch.int64) + first) % PERIOD
    return ((17 * k * k + 7 * k) % PERIOD).double() / PERIOD - 0.5


# ---- what is kept ----


def about(t, samples=4):
    flat = t.detach().double().flatten()
    n = flat.numel()
    some = [flat[(7919 * k) % n].item() for k in range(samples)]
    sums = [(flat * pattern(n, first)).sum().item() for first in (0, 1000)]
    return [flat.norm().item(), flat.abs().max().item()] + sums + some


# ---- pictures ----


def photograph(which, height, width):
    """(height, width, 3): waves and rings that fade to the mean colour; odd ones are those before, seen through a map."""
    y, x = np.meshgrid(np.arange(height) * 240.0 / height, np.arange(width) * 240.0 / width, indexing="ij")
    fade = 1
    for d in (x, y, 239 - x, 239 - y):
        fade = fade * np.sin(np.pi / 2 * np.clip(d / 40, 0, 1)) ** 2
    if which % 2 == 1:
        x, y = 0.93 * x + 0.09 * y + 5, -0.06 * x + 1.06 * y - 3
    s = 1 + 0.17 * (which // 2)
    planes = []
    for c, mean in enumerate((124, 116, 104)):
        v = 45 * np.sin(s * (0.11 * x + 0.05 * y) + 1.3 * c) + 40 * np.cos(s * (0.04 * x - 0.13 * y) + 0.7 * c + 2)
        v = v + 50 * np.sin(((x - 110 - 9 * c) ** 2 + (y - 125) ** 2) / (1200 * s) + c)
        v = v + 12 * np.sin(0.4 * x + 0.2 * c) * np.cos(0.45 * y)
        planes.append(np.clip(np.floor(mean + fade * v + 0.5), 0, 255))
    return torch.from_numpy(np.stack(planes, -1))


def nchw(pictures):
    return torch.stack(list(pictures)).permute(0, 3, 1, 2).double().contiguous()


def nhwc(t):
    return t.permute(0, 2, 3, 1)


MEAN = torch.tensor([0.485, 0.456, 0.406]).double().reshape(1, 3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).double().reshape(1, 3, 1, 1)


def normalised(pictures):
    return (pictures / 255 - MEAN.to(pictures)) / STD.to(pictures)


# ---- transformations: from points of the target to points of the source, (..., 2) of (x, y) in [-1, 1] ----


def points_of(height, width, like):
    y, x = torch.meshgrid(torch.linspace(-1, 1, height, dtype=torch.float64),
                          torch.linspace(-1, 1, width, dtype=torch.float64), indexing="ij")
    return torch.stack((x, y), -1)[None].to(like)


def affine(theta, points):
    m = theta.reshape(-1, 1, 1, 2, 3)
    return (m[..., :2] @ points[..., None])[..., 0] + m[..., 2]


AXIS = torch.tensor([-1.0, 0, 1]).double()
CONTROL = torch.stack((AXIS.repeat_interleave(3), AXIS.repeat(3)), 1)
IDENTITY = {"affine": torch.tensor([1.0, 0, 0, 0, 1, 0]).double(), "tps": torch.cat((CONTROL[:, 0], CONTROL[:, 1])),
            "homography": torch.tensor([-1.0, -1, 1, 1, -1, 1, -1, 1]).double()}


def radial(squares):
    safe = torch.where(squares == 0, torch.ones_like(squares), squares)
    return safe * safe.log()


def tps(theta, points, reg=0.0):
    size = 9
    k = radial(((CONTROL[:, None] - CONTROL[None]) ** 2).sum(-1)) + reg * torch.eye(size).double()
    p = torch.cat((torch.ones(size, 1).double(), CONTROL), 1)
    inverse = torch.linalg.inv(torch.cat((torch.cat((k, p), 1), torch.cat((p.T, torch.zeros(3, 3).double()), 1)), 0))
    weights = theta.reshape(-1, 2, size) @ inverse[:, :size].T.to(theta)  # (N, 2, 12)
    u = radial(((points[..., None, :] - CONTROL.to(theta)) ** 2).sum(-1))
    basis = torch.cat((u, torch.ones_like(points[..., :1]), points), -1)
    return torch.einsum("nhwk,nck->nhwc", basis.expand(theta.shape[0], -1, -1, -1), weights)


def matrix_of(theta):
    """Eight numbers, where the corners go, or nine, the matrix itself: (N, 3, 3)."""
    n = theta.shape[0]
    if theta.shape[1] == 9:
        return theta.reshape(n, 3, 3)
    zero, one = theta.new_zeros(n), theta.new_ones(n)
    rows, right = [], []
    for i, (x, y) in enumerate(((-1, -1), (-1, 1), (1, -1), (1, 1))):
        u, v = theta[:, i], theta[:, 4 + i]
        rows.append(torch.stack((x * one, y * one, one, zero, zero, zero, -x * u, -y * u), 1))
        rows.append(torch.stack((zero, zero, zero, x * one, y * one, one, -x * v, -y * v), 1))
        right += [u, v]
    h = torch.linalg.solve(torch.stack(rows, 1), torch.stack(right, 1)[..., None])[..., 0]
    return torch.cat((h, one[:, None]), 1).reshape(n, 3, 3)


def homography(theta, points):
    m = matrix_of(theta)[:, None, None]
    q = (m[..., :2] @ points[..., None])[..., 0] + m[..., 2]
    return q[..., :2] / q[..., 2:]


MAPS = {"affine": affine, "tps": tps, "homography": homography}


def sample(images, grid):
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=True)


def resized(images, height, width):
    return sample(images, points_of(height, width, images).expand(images.shape[0], -1, -1, -1))


# ---- the network ----


def l2(t):
    return t / ((t * t).sum(1, keepdim=True) + 1e-6).sqrt()


def correlation(a, b):
    """Channel r + 15 c is the source's cell (r, c); places are the target's."""
    n, c = a.shape[:2]
    columns = a.transpose(2, 3).reshape(n, c, CELLS * CELLS)
    s = columns.transpose(1, 2) @ b.reshape(n, c, CELLS * CELLS)
    return l2(s.reshape(n, CELLS * CELLS, CELLS, CELLS).relu())


class Features(torch.nn.Module):
    def __init__(self, kind):
        super().__init__()
        if kind == "vgg16":
            self.model = torchvision.models.vgg16(weights=None).features[:24]
        else:
            net = torchvision.models.resnet101(weights=None)
            self.model = torch.nn.Sequential(net.conv1, net.bn1, net.relu, net.maxpool, net.layer1, net.layer2, net.layer3)
        for m in self.model.modules():
            if isinstance(m, torch.nn.ReLU):
                m.inplace = False

    def forward(self, x):
        return l2(self.model(x))


class Regression(torch.nn.Module):
    def __init__(self, outputs):
        super().__init__()
        self.conv = torch.nn.Sequential(torch.nn.Conv2d(225, 128, 7), torch.nn.BatchNorm2d(128), torch.nn.ReLU(),
                                        torch.nn.Conv2d(128, 64, 5), torch.nn.BatchNorm2d(64), torch.nn.ReLU())
        self.linear = torch.nn.Linear(1600, outputs)

    def forward(self, s):
        return self.linear(self.conv(s).flatten(1))


class Net(torch.nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.FeatureExtraction = Features(kind)
        self.FeatureRegression = Regression(6)
        self.FeatureRegression2 = Regression(18)

    def forward(self, source, target):
        """Of normalised images (N, 3, 240, 240)."""
        fa, fb = self.FeatureExtraction(source), self.FeatureExtraction(target)
        s = correlation(fa, fb)
        first = self.FeatureRegression(s)
        warped = sample(source, affine(first, points_of(240, 240, source)))
        second = self.FeatureRegression2(correlation(self.FeatureExtraction(warped), fb))
        return {"source_features": fa, "target_features": fb, "correlation": s, "affine": first, "tps": second}


def gain_of(name, sharp):
    """What the pattern is multiplied by, beside 1 / sqrt(inputs), in convolutions and linear layers."""
    if name.startswith("FeatureExtraction"):
        return 6 if name == "FeatureExtraction.model.0.weight" else 3.5
    if name.endswith("conv.0.weight"):
        return 150 if sharp else 800 if name.startswith("FeatureRegression.") else 260
    return 5 if name.endswith("conv.3.weight") else 0.6


def shift_of(name, sharp):
    """What is added to biases of layers within the trunks: few of their ReLUs are shut then. Where the trunk does not
    learn, its last layer may be sharp, half of it 0, and regressors, which learn in large steps, are as trunks."""
    if not name.startswith("FeatureExtraction"):
        return 3 if sharp and re.search(r"conv\.[14]\.bias$", name) else 0
    if re.search(r"model\.6\.22\.bn3\.bias$", name):
        return -5 if sharp else 1
    if re.search(r"model\.21\.bias$", name):
        return 0 if sharp else 4
    return 5 if re.search(r"(bn[12]|downsample\.1|model\.1|model\.([0257]|1[0249]|17))\.bias$", name) else 0


def fill(net, sharp=False):
    """Each step is one of float32, so that others can do the same to the last bit."""
    state = {k: v for k, v in net.state_dict().items() if not k.endswith("num_batches_tracked")}
    for j, name in enumerate(sorted(state)):
        t = state[name]
        v = pattern(t.numel(), 31 * j).float().reshape(t.shape)
        if t.dim() > 1:
            v = v.reshape(t.shape[0], -1)
            half = v.shape[1] // 2
            v = torch.cat((v[:, :half], -v[:, :half], v[:, 2 * half:]), 1).reshape(t.shape)
            v = v * torch.tensor(gain_of(name, sharp) / math.sqrt(t[0].numel())).float()
        elif name.endswith("linear.bias"):
            v = IDENTITY["affine" if t.numel() == 6 else "tps"].float() + 0.25 * v
        elif name.endswith("bias") or name.endswith("running_mean"):
            v = v * torch.tensor(0.1).float() + shift_of(name, sharp)
        else:
            v = 0.5 * v + 1
            if name.endswith("bn3.weight"):
                v = v * torch.tensor(0.1).float()
        with torch.no_grad():
            t.copy_(v)


def made(kind, dtype, sharp=False):
    net = Net(kind)
    fill(net, sharp)
    return net.to(dtype)


# ---- losses ----


def grid_loss(model, theta, truth):
    points = points_of(20, 20, theta)
    return ((MAPS[model](theta, points) - MAPS[model](truth, points)) ** 2).sum(-1).mean()


NEIGHBOURS = {0: ((0, 0),), 4: ((0, 0), (0, 1), (0, -1), (1, 0), (-1, 0)),
              8: tuple((i, j) for i in (-1, 0, 1) for j in (-1, 0, 1))}


def mask_of(dilation, like):
    mask = torch.zeros(CELLS * CELLS, CELLS, CELLS)
    for r in range(CELLS):
        for c in range(CELLS):
            for i, j in NEIGHBOURS[dilation]:
                if 0 <= r + i < CELLS and 0 <= c + j < CELLS:
                    mask[r + CELLS * c, r + i, c + j] = 1
    return mask[None].to(like)


def count(s, grid, dilation, normalize):
    m = sample(mask_of(dilation, s).expand(s.shape[0], -1, -1, -1), grid)
    if normalize:
        m = m / (m + 1e-5).sum((1, 2, 3), keepdim=True)
    return (m * s).sum((1, 2, 3))


def inside(grid):
    return ((grid > -1) & (grid < 1)).all(-1, keepdim=True)


def outside_far(grid, test):
    return torch.where(inside(test), grid, torch.full_like(grid, -1e10))


def counts(s, first, second, dilation=0, normalize=True, offset=OFFSET, reg=0.2):
    """Of the affine map, of the spline alone, and of both composed."""
    points = points_of(CELLS, CELLS, s)
    aff = offset * affine(first, points / offset)
    spline = offset * tps(second, points / offset, reg)
    both = sample(outside_far(aff, aff).permute(0, 3, 1, 2), spline.expand(aff.shape)).permute(0, 2, 3, 1)
    return [count(s, g, dilation, normalize) for g in (aff, spline, outside_far(both, spline))]


def weak_loss(s, first, second):
    aff, _, both = counts(s, first, second)
    return -(aff + both).mean()


# ---- cases ----


def thetas(model, first, amount, n=2):
    return torch.stack([IDENTITY[model] + 2 * amount * pattern(len(IDENTITY[model]), first + 50 * k) for k in range(n)])


def with_gradients(of, *leaves):
    leaves = [t.clone().requires_grad_(True) for t in leaves]
    value = of(*leaves)
    return value, torch.autograd.grad(value.sum(), leaves)


def correlations(n=2):
    raw = (pattern(n * CELLS ** 4, 7).reshape(n, CELLS, CELLS, CELLS * CELLS) + 0.1).relu().permute(0, 3, 1, 2)
    return l2(raw)


def rounded(t):
    return t.float().double()


def losses(dtype):
    out = {"grid": {}, "theta": {}, "counts": []}
    for model in ("affine", "tps", "homography", "homography9"):
        name = model.removesuffix("9")
        theta, truth = rounded(thetas(name, 11, 0.2)).to(dtype), rounded(thetas(name, 700, 0.2)).to(dtype)
        if model == "homography9":
            theta, truth = (rounded(matrix_of(t.double()).flatten(1)).to(dtype) for t in (theta, truth))
        value, (g, h) = with_gradients(lambda a, b, name=name: grid_loss(name, a, b), theta, truth)
        out["grid"][model] = {"loss": value.item(), "theta": g.flatten().tolist(), "truth": h.flatten().tolist()}
        value, (g,) = with_gradients(lambda a, b=truth: ((a - b) ** 2).mean(), theta)
        out["theta"][model] = {"loss": value.item(), "theta": g.flatten().tolist()}
    s = rounded(correlations()).to(dtype)
    first, second = (rounded(thetas(m, 300, a)).to(dtype) for m, a in (("affine", 0.15), ("tps", 0.15)))
    for normalize in (True, False):
        for dilation in (0, 4, 8):
            for offset, reg in ((OFFSET, 0.2), (1, 0.2), (OFFSET, 0), (1.2, 0.05)):
                options = {"normalize": normalize, "dilation": dilation, "offset": offset, "reg": reg}
                case = {"options": options}
                for i, name in enumerate(("affine", "spline", "both")):
                    value, (ds, da, dt) = with_gradients(
                        lambda s, a, t, i=i: counts(s, a, t, **options)[i] + 0 * (s.sum() + a.sum() + t.sum()),
                        s, first, second)
                    case[name] = {"count": value.tolist(), "correlation": about(nhwc(ds)), "affine": about(da),
                                  "tps": about(dt)}
                out["counts"].append(case)
    return out


def pair_features(n=2, channels=40):
    a = pattern(n * CELLS * CELLS * channels, 5).reshape(n, CELLS, CELLS, channels)
    b = pattern(n * CELLS * CELLS * channels, 5 + 3 * channels).reshape(n, CELLS, CELLS, channels)
    return [rounded(t + 0.2).permute(0, 3, 1, 2) for t in (a, b)]


def regressors(dtype):
    """Without a trunk: features -> correlation -> both regressors -> weak loss; and in training mode -> grid losses."""
    out = {}
    for mode in ("weak", "strong"):
        net = made("vgg16", dtype)
        net.train(mode == "strong")
        leaves = [t.to(dtype).requires_grad_(True) for t in pair_features()]
        s = correlation(l2(leaves[0]), l2(leaves[1]))
        s.retain_grad()
        answers = [net.FeatureRegression(s), net.FeatureRegression2(s)]
        for t in answers:
            t.retain_grad()
        if mode == "weak":
            loss = weak_loss(s, *answers)
        else:
            loss = sum(grid_loss(m, t, rounded(thetas(m, 900, 0.2)).to(dtype)) for m, t in zip(("affine", "tps"), answers))
        loss.backward()
        case = {"loss": loss.item(), "affine": answers[0].flatten().tolist(), "tps": answers[1].flatten().tolist(),
                "correlation": about(nhwc(s)), "gradients": {}}
        given = {"source": nhwc(leaves[0].grad), "target": nhwc(leaves[1].grad), "correlation": nhwc(s.grad),
                 "affine": answers[0].grad, "tps": answers[1].grad}
        for name, p in net.named_parameters():
            if name.startswith("FeatureR"):
                given[name] = p.grad
        case["gradients"] = {name: about(g) for name, g in given.items()}
        out[mode] = case
    return out


def answer_of(net, source, target, keep):
    o = net(normalised(source), normalised(target))
    counted = counts(o["correlation"], o["affine"], o["tps"])
    loss = weak_loss(o["correlation"], o["affine"], o["tps"])
    keep.update({name: about(nhwc(o[name]), 12) for name in ("source_features", "target_features", "correlation")})
    keep.update({name: o[name].flatten().tolist() for name in ("affine", "tps")})
    keep.update({"counts": [counted[0].tolist(), counted[2].tolist()], "loss": loss.item()})
    return loss


PICTURE = {"vgg16": 16, "resnet101": 0}  # where rounding decides little, see "float32"


def weak(kind, dtype):
    """Gradients and ten steps, the whole network in evaluation mode and trainable."""
    first = PICTURE[kind]
    source, target = (nchw([photograph(k, 240, 240)]).to(dtype) for k in (first, first + 1))
    net = made(kind, dtype).eval()
    out = {"picture": first, "forward": {}}
    answer_of(net, source, target, out["forward"]).backward()
    out["gradients"] = {name: about(p.grad) for name, p in net.named_parameters()}
    for rate in (5e-8, 1e-6):
        net = made(kind, dtype).eval()
        adam = torch.optim.Adam(net.parameters(), lr=rate)
        start = {name: p.detach().clone() for name, p in net.named_parameters()}
        values = []
        for _ in range(10):
            adam.zero_grad()
            o = net(normalised(source), normalised(target))
            loss = weak_loss(o["correlation"], o["affine"], o["tps"])
            loss.backward()
            adam.step()
            with torch.no_grad():
                for p in net.parameters():
                    p.copy_(p.float())
            values.append(loss.item())
        out["%g" % rate] = {"losses": values,
                            "change": {name: about(p.detach() - start[name]) for name, p in net.named_parameters()}}
    return out


def random_theta(model, n):
    """As the authors draw them, with the pattern for random numbers."""
    if model == "tps":
        return thetas("tps", 60, 0.4, n)
    rows = []
    for k in range(n):
        u = 2 * pattern(7, 400 + 100 * k)
        a, s, t = u[0] * math.pi / 6, 1 + 0.5 * u[1:5], 0.5 * u[5:]
        rows.append(torch.stack((s[0] * a.cos(), -s[1] * a.sin(), t[0], s[2] * a.sin(), s[3] * a.cos(), t[1])))
    return torch.stack(rows)


def synthetic(images, model, theta):
    """The middle 9/16 of images of 480 x 640, mirrored at their borders, and the same through a transformation."""
    rows = torch.cat((images[:, :, :240].flip(2), images, images[:, :, -240:].flip(2)), 2)
    padded = torch.cat((rows[..., :320].flip(3), rows, rows[..., -320:].flip(3)), 3)
    scale = 0.5 * 9 / 16
    points = points_of(240, 240, images).expand(images.shape[0], -1, -1, -1)
    return sample(padded, scale * points), sample(padded, scale * MAPS[model](theta, points))


STRONG = {"vgg16": 8, "resnet101": 2}  # the first of four pictures, chosen in the same way


def strong(kind, dtype, n=4):
    """Ten steps at the rates of both phases, the regressor alone, in training mode."""
    first = STRONG[kind]
    out = {"picture": first}
    images = resized(nchw([photograph(first + k, 120, 160) for k in range(n)]), 480, 640).to(dtype)
    trunk = made(kind, dtype, True).eval().FeatureExtraction
    features = None
    for model, which in (("affine", "FeatureRegression"), ("tps", "FeatureRegression2")):
        theta = rounded(random_theta(model, n)).to(dtype)
        source, target = synthetic(images, model, theta)
        with torch.no_grad():
            features = trunk(normalised(source)) if features is None else features
            s = correlation(features, trunk(normalised(target)))
        case = {"source": about(nhwc(source)), "target": about(nhwc(target)), "correlation": about(nhwc(s))}
        for rate in (1e-3, 2e-4):
            regressor = getattr(made(kind, dtype, True), which).train()
            start = {name: p.detach().clone() for name, p in regressor.named_parameters()}
            steps = {"losses": []}
            adam = torch.optim.Adam(regressor.parameters(), lr=rate)
            for step in range(10):
                adam.zero_grad()
                loss = grid_loss(model, regressor(s), theta)
                loss.backward()
                if step == 0:
                    case["gradients"] = {name: about(p.grad) for name, p in regressor.named_parameters()}
                adam.step()
                steps["losses"].append(loss.item())
            steps["change"] = {name: about(p.detach() - start[name]) for name, p in regressor.named_parameters()}
            steps["running"] = {name: about(b) for name, b in regressor.named_buffers() if "running" in name}
            steps["after"] = grid_loss(model, regressor.eval()(s), theta).item()
            case["%g" % rate] = steps
        out[model] = case
    return out


PAIR = ("car(G)/Cars_006a.png", "car(G)/Cars_009b.png")


def willow(folder, kind, dtype):
    from PIL import Image

    pictures = [torch.from_numpy(np.array(Image.open(folder + "/" + name).convert("RGB"))) for name in PAIR]
    source, target = (rounded(resized(nchw([p]), 240, 240)).to(dtype) for p in pictures)
    out = {"names": list(PAIR), "resized": [about(nhwc(source), 8), about(nhwc(target), 8)]}
    with torch.no_grad():
        answer_of(made(kind, dtype).eval(), source, target, out)
    return out


# ---- how far float32 is ----


def furthest(a, b, path, found):
    """The largest distance of b from a, by the kind of thing, as the tests have it: see tests/lib/weakalign_golden.lua."""
    if isinstance(a, dict):
        for key in a:
            if key not in ("options", "names", "picture"):
                furthest(a[key], b[key], path + (key,), found)
    elif isinstance(a, list) and a and isinstance(a[0], (dict, list)):
        for x, y in zip(a, b):
            furthest(x, y, path, found)
    else:
        a, b = (v if isinstance(v, list) else [v] for v in (a, b))
        scale = max(map(abs, a)) or 1
        if len(a) >= 8 and path[-1] not in ("theta", "truth", "affine", "tps", "losses") or len(path) > 1 and \
                path[-2] in ("gradients", "change"):
            off = max([abs(a[0] - b[0])] + [abs(x - y) / 0.2887 for x, y in zip(a[2:4], b[2:4])]) / (a[0] or 1)
            off = max([off] + [abs(x - y) / (a[1] or 1) for x, y in zip(a[4:] + a[1:2], b[4:] + b[1:2])])
        else:
            off = max(abs(x - y) for x, y in zip(a, b)) / scale
        if a[0] < 1e-9 and len(a) == 8:
            return found  # a bias before a normalisation by batches: all of its gradient is rounding
        kind = "/".join(path[:-1] if len(path) > 1 and path[-2] in ("gradients", "change", "running") else path)
        found.setdefault(kind, []).append((off, path[-1]))
    return found


def short(v):
    if isinstance(v, dict):
        return {k: short(x) for k, x in v.items()}
    if isinstance(v, list):
        return [short(x) for x in v]
    return float("%.9g" % v) if isinstance(v, float) else v


def both(of):
    exact = of(torch.float64)
    found = furthest(exact, of(torch.float32), (), {})
    exact["float32"] = {kind: float("%.2g" % max(off for off, _ in offs)) for kind, offs in found.items()}
    for kind, offs in found.items():
        offs.sort(reverse=True)
        print(kind, ["%.1e %s" % o for o in offs[:3]], "median %.1e" % offs[len(offs) // 2][0], len(offs), file=sys.stderr)
    return exact


def case_of(kind, folder):
    def run(dtype):
        out = {"weak": weak(kind, dtype), "strong": strong(kind, dtype)}
        if folder:
            out["willow"] = willow(folder, kind, dtype)
        return out

    return run


if __name__ == "__main__":
    FOLDER = sys.argv[1] if len(sys.argv) > 1 else None
    OUT = {"losses": both(losses), "regressors": both(regressors)}
    for KIND in PICTURE:
        OUT[KIND] = both(case_of(KIND, FOLDER))
    print(json.dumps(short(OUT), separators=(",", ":")).replace('"],', '"],\n').replace("]},", "]},\n").replace("],\"", "],\n\""))
