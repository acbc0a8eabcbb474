# SPDX-License-Identifier: MIT
#
# peer.py -- PyTorch and OpenVINO on the work of `lualign bench`, to compare with; nothing else uses it. Started by
# lualign bench --peer PYTHON. Reads one request a line on standard input, as JSON, and answers with one line:
#
#   {"do": "info"}                                            {"torch": "2.15.0", "openvino": "2026.4", "threads": 2}
#   {"do": "prepare", "id": 1, "way": "best", "work": {...}}  {"calls": 3}    made, warmed up, calls in a sample
#   {"do": "run", "id": 1}                                    {"seconds": 0.0021}    seconds a call
#   {"do": "free", "id": 1}                                   {}
#   {"do": "memory"}                                          {"bytes": ...}  the largest resident set so far
#   {"do": "quit"}
#
# or {"error": "..."}. Ways: installed (NCHW), best (channels last), compile (torch.compile of that), openvino,
# openvino_bf16.
import gc
import json
import os
import resource
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn

LEAST = 0.004  # seconds that a sample is to last
LONG = 0.5  # seconds of a call that needs none before it
MEAN = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1) * 255
STD = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1) * 255


# ---- networks ----


class Bottleneck(nn.Module):
    def __init__(self, inputs, planes, stride):
        super().__init__()
        outputs = planes * 4
        self.conv1 = nn.Conv2d(inputs, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    """ResNet-101 to layer3, for images of 0..255."""

    def __init__(self, blocks=(3, 4, 23)):
        super().__init__()
        self.register_buffer("mean", MEAN)
        self.register_buffer("std", STD)
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        inputs = 64
        for stage, count in enumerate(blocks):
            planes, layer = 64 << stage, []
            for b in range(count):
                layer.append(Bottleneck(inputs, planes, 2 if b == 0 and stage > 0 else 1))
                inputs = planes * 4
            setattr(self, f"layer{stage + 1}", nn.Sequential(*layer))

    def trunk(self, x):
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        return self.layer3(self.layer2(self.layer1(x)))

    def forward(self, images):
        return self.trunk((images - self.mean) / self.std)


class SameConv(nn.Module):
    """Convolution with TensorFlow's padding: the smaller half of the zeros at the top and the left."""

    def __init__(self, inputs, outputs, kernel, stride=1, groups=1):
        super().__init__()
        self.kernel, self.stride = kernel, stride
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, 0, groups=groups)

    def forward(self, x):
        pad = []
        for n in (x.shape[3], x.shape[2]):
            total = max((-(-n // self.stride) - 1) * self.stride + self.kernel - n, 0)
            pad += [total // 2, total - total // 2]
        if pad[0] == pad[1] == pad[2] == pad[3]:
            return F.conv2d(x, self.conv.weight, self.conv.bias, self.stride, pad[0], 1, self.conv.groups)
        return self.conv(F.pad(x, pad))


class Block(nn.Module):
    def __init__(self, inputs, outputs, expand, kernel, stride):
        super().__init__()
        wide = inputs * expand
        self.expand = nn.Conv2d(inputs, wide, 1) if expand != 1 else None
        self.depthwise = SameConv(wide, wide, kernel, stride, wide)
        self.project = nn.Conv2d(wide, outputs, 1)
        self.act = nn.ReLU6(inplace=True)
        self.residual = stride == 1 and inputs == outputs and expand != 1

    def forward(self, x):
        y = x if self.expand is None else self.act(self.expand(x))
        z = self.project(self.act(self.depthwise(y)))
        return x + z if self.residual else z


class Inverted(nn.Module):
    """A trunk of inverted residual blocks, batch norm folded; blocks: (outputs, stride, kernel)."""

    def __init__(self, blocks, scale, shift):
        super().__init__()
        self.scale, self.shift = scale, shift
        self.conv = SameConv(3, 32, 3, 2)
        self.act = nn.ReLU6(inplace=True)
        layers, inputs = [], 32
        for i, (outputs, stride, kernel) in enumerate(blocks):
            layers.append(Block(inputs, outputs, 1 if i == 0 else 6, kernel, stride))
            inputs = outputs
        self.blocks = nn.Sequential(*layers)

    def forward(self, images):
        return self.blocks(self.act(self.conv(images * self.scale + self.shift)))


def mobilenetv2():
    plan = [(16, 1), (24, 2), (24, 1), (32, 2), (32, 1), (32, 1), (64, 2), (64, 1), (64, 1), (64, 1), (96, 1), (96, 1),
            (96, 1), (160, 2), (160, 1), (160, 1)]
    return Inverted([(o, s, 3) for o, s in plan], 1 / 127.5, -1.0)


def efficientnet_lite0():
    plan = [(16, 1, 3), (24, 2, 3), (24, 1, 3), (40, 2, 5), (40, 1, 5), (80, 2, 3), (80, 1, 3), (80, 1, 3), (112, 1, 5),
            (112, 1, 5), (112, 1, 5), (192, 2, 5), (192, 1, 5), (192, 1, 5), (192, 1, 5)]
    return Inverted(plan, 1 / 128, -127 / 128)


# ---- alignment ----

OFFSET = 227 / 210


def normalize(x):
    return x / (x.pow(2).sum(1, keepdim=True) + 1e-6).sqrt()


def correlation(a, b):
    """(N, C, h, w) twice -> (N, hA wA, hB, wB), source cells column by column."""
    n, c, h, w = a.shape
    a = a.transpose(2, 3).reshape(n, c, h * w).transpose(1, 2)
    return normalize(torch.bmm(a, b.reshape(n, c, h * w)).view(n, h * w, h, w).relu())


def points(h, w):
    y, x = torch.meshgrid(torch.linspace(-1, 1, h), torch.linspace(-1, 1, w), indexing="ij")
    return torch.stack((x, y), -1).view(1, h * w, 2)


def affine_points(theta, p):
    t = theta.view(-1, 2, 3)
    return p @ t[:, :, :2].transpose(1, 2) + t[:, :, 2].unsqueeze(1)


class Spline:
    """Thin-plate spline with 3 x 3 control points."""

    def __init__(self, reg):
        axis = torch.tensor([-1.0, 0.0, 1.0], dtype=torch.float64)
        self.control = torch.stack((axis.repeat_interleave(3), axis.repeat(3)), 1)
        k = self.bend(self.control) + reg * torch.eye(9, dtype=torch.float64)
        p = torch.cat((torch.ones(9, 1, dtype=torch.float64), self.control), 1)
        top = torch.cat((k, p), 1)
        full = torch.cat((top, torch.cat((p.t(), torch.zeros(3, 3, dtype=torch.float64)), 1)))
        self.solve = torch.linalg.inv(full)[:, :9].float()

    def bend(self, p):
        r2 = ((p[:, None] - self.control.to(p.dtype)[None]) ** 2).sum(-1)
        r2 = torch.where(r2 == 0, torch.ones_like(r2), r2)
        return r2 * r2.log()

    def basis(self, p):
        """What the points p (P, 2) contribute: (P, 9); theta's (2, 9) rows times its transpose are the images."""
        rows = torch.cat((self.bend(p), torch.ones(len(p), 1), p), 1)
        return rows @ self.solve

    def points(self, theta, basis):
        return (theta.view(-1, 2, 9) @ basis.t()).transpose(1, 2)


class Regressor(nn.Module):
    def __init__(self, identity):
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(225, 128, 7), nn.BatchNorm2d(128), nn.ReLU(inplace=True),
                                  nn.Conv2d(128, 64, 5), nn.BatchNorm2d(64), nn.ReLU(inplace=True))
        self.linear = nn.Linear(1600, len(identity))
        with torch.no_grad():
            self.linear.weight.mul_(0.1)
            self.linear.bias.copy_(torch.tensor(identity))

    def forward(self, s):
        return self.linear(self.conv(s).flatten(1))


class TwoStage(nn.Module):
    def __init__(self, size=240):
        super().__init__()
        self.size = size
        self.trunk = ResNet()
        self.affine = Regressor([1.0, 0, 0, 0, 1.0, 0])
        self.tps = Regressor([-1.0, -1, -1, 0, 0, 0, 1, 1, 1, -1, 0, 1, -1, 0, 1, -1, 0, 1])
        self.pixels, self.cells = points(size, size), points(15, 15)
        self.spline = Spline(0.2)
        self.basis = self.spline.basis(self.cells[0] / OFFSET)
        mask = torch.zeros(225, 15, 15)
        for r in range(15):
            for c in range(15):
                mask[r + 15 * c, r, c] = 1
        self.mask = mask

    def features(self, x):
        return normalize(self.trunk.trunk(x))

    def forward(self, source, target):
        source, target = (source - self.trunk.mean) / self.trunk.std, (target - self.trunk.mean) / self.trunk.std
        b = self.features(target)
        s = correlation(self.features(source), b)
        affine = self.affine(s)
        grid = affine_points(affine, self.pixels).view(-1, self.size, self.size, 2)
        warped = F.grid_sample(source, grid, align_corners=True)
        return s, affine, self.tps(correlation(self.features(warped), b))

    def count(self, s, grid):
        m = F.grid_sample(self.mask.expand(len(s), -1, -1, -1), grid, align_corners=True)
        m = m / (m + 1e-5).sum((1, 2, 3), keepdim=True)
        return (m * s).sum((1, 2, 3))

    def loss(self, s, affine, tps):
        outer = OFFSET * affine_points(affine, self.cells / OFFSET).view(-1, 15, 15, 2)
        inner = OFFSET * self.spline.points(tps, self.basis).reshape(-1, 15, 15, 2)

        def inside(g):
            return ((g > -1) & (g < 1)).all(-1, keepdim=True)

        far = torch.full((), -1e10)
        g = F.grid_sample(torch.where(inside(outer), outer, far).permute(0, 3, 1, 2), inner, align_corners=True)
        g = torch.where(inside(inner), g.permute(0, 2, 3, 1), far)
        return -(self.count(s, outer) + self.count(s, g)).mean()


# ---- from a work to a function ----


def layout(way):
    return torch.contiguous_format if way == "installed" else torch.channels_last


def images_of(work, way):
    x = torch.rand(work["images"], 3, work["size"], work["size"]) * 255
    return x.contiguous(memory_format=layout(way))


def openvino_runner(model, inputs, way):
    import openvino as ov

    with torch.no_grad():
        converted = ov.convert_model(model, example_input=tuple(inputs), input=[list(x.shape) for x in inputs])
    compiled = ov.Core().compile_model(converted, "CPU", {
        "INFERENCE_PRECISION_HINT": "bf16" if way == "openvino_bf16" else "f32", "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": torch.get_num_threads()})
    request = compiled.create_infer_request()
    arrays = [x.contiguous().numpy() for x in inputs]
    return lambda: request.infer(arrays, share_inputs=True, share_outputs=True)


def inference(model, inputs, way):
    model = model.eval().requires_grad_(False)
    if way.startswith("openvino"):
        return openvino_runner(model, inputs, way)
    model = model.to(memory_format=layout(way))
    if way == "compile":
        model = torch.compile(model)

    def run():
        with torch.inference_mode():
            model(*inputs)

    return run


def weak_step(work, way):
    model = TwoStage(work["size"]).eval().to(memory_format=layout(way))
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-8, fused=way == "best" or None)
    source, target = images_of(work, way), images_of(work, way)

    def run():
        optimizer.zero_grad()
        model.loss(*model(source, target)).backward()
        optimizer.step()

    return run


def convolution(work, memory_format):
    layer, wanted = work["layer"], work["pass"]
    o = layer["options"]
    n, h, w, c = layer["x"]
    out, kh, kw, cg = layer["weight"]
    top, bottom, left, right = o["padding"]
    x = torch.randn(n, c, h, w).contiguous(memory_format=memory_format)
    weight = torch.randn(out, cg, kh, kw).contiguous(memory_format=memory_format)
    pad, extra = [top, left], None
    if top != bottom or left != right:
        pad, extra = [0, 0], (left, right, top, bottom)
    stride, dilation, groups = o["stride"], o["dilation"], o["groups"]
    wide = F.pad(x, extra) if extra else x
    g = torch.randn_like(F.conv2d(wide, weight, None, stride, pad, dilation, groups))
    g = g.contiguous(memory_format=memory_format)

    def forward():
        F.conv2d(F.pad(x, extra) if extra else x, weight, None, stride, pad, dilation, groups)

    def backward():
        torch.ops.aten.convolution_backward(g, wide, weight, None, stride, pad, dilation, False, [0, 0], groups,
                                            [wanted == "data", wanted == "weight", False])

    def run():
        with torch.inference_mode():
            forward() if wanted == "forward" else backward()

    return run


def matmul(work):
    p = work["product"]
    lead = [p["batch"]] if p["batch"] > 1 else []

    def matrix(rows, columns, turned):
        return torch.randn(*lead, columns, rows).transpose(-1, -2) if turned else torch.randn(*lead, rows, columns)

    a, b = matrix(p["m"], p["k"], p.get("ta")), matrix(p["k"], p["n"], p.get("tb"))

    def run():
        with torch.inference_mode():
            torch.matmul(a, b)

    return run


def sample(run, calls):
    start = time.perf_counter()
    for _ in range(calls):
        run()
    return (time.perf_counter() - start) / calls


def fastest(runs):
    """Of several ways to do the same, the one that takes least."""
    if len(runs) == 1:
        return runs[0]
    times = []
    for run in runs:
        sample(run, 2)
        times.append(min(sample(run, 1) for _ in range(5)))
    return runs[times.index(min(times))]


def make(work, way):
    kind = work["kind"]
    if kind == "conv":
        formats = [torch.contiguous_format] if way == "installed" else [torch.channels_last, torch.contiguous_format]
        return fastest([convolution(work, f) for f in formats])
    if kind == "matmul":
        return matmul(work)
    if kind == "weak_step":
        return weak_step(work, way)
    if kind == "forward":
        return inference(TwoStage(work["size"]), [images_of(work, way), images_of(work, way)], way)
    trunks = {"resnet101": ResNet, "mobilenetv2": mobilenetv2, "efficientnet_lite0": efficientnet_lite0}
    if kind in trunks:
        return inference(trunks[kind](), [images_of(work, way)], way)
    raise ValueError(f"there is no work '{kind}'")


# ---- requests ----

prepared = {}


def info():
    try:
        import openvino
        version = openvino.__version__.split("-")[0]
    except ImportError:
        version = None
    return {"torch": torch.__version__, "openvino": version, "threads": torch.get_num_threads()}


def prepare(request):
    run = make(request["work"], request["way"])
    sample(run, 2)
    seconds = sample(run, 1)
    calls = max(1, min(64, int(LEAST / max(seconds, 1e-7)) + 1))
    prepared[request["id"]] = run, calls, seconds < LONG
    return {"calls": calls}


def answer(request):
    what = request["do"]
    if what == "info":
        return info()
    if what == "prepare":
        return prepare(request)
    if what == "run":
        run, calls, warm = prepared[request["id"]]
        if warm:  # whoever had the last turn has left the caches full of its own
            run()
        seconds = sample(run, calls)
        time.sleep(0.01)  # threads that spin for more work would take the processor from whoever is next
        return {"seconds": seconds}
    if what == "free":
        prepared.pop(request["id"], None)
        gc.collect()
        return {}
    if what == "memory":
        return {"bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}
    raise ValueError(f"unknown request '{what}'")


def main():
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is not an answer
    torch.manual_seed(1)
    for line in sys.stdin:
        try:
            request = json.loads(line)
            if request["do"] == "quit":
                break
            reply = answer(request)
        except Exception as problem:  # whatever it is, the bench shall say so
            reply = {"error": f"{type(problem).__name__}: {problem}".split("\n")[0]}
        out.write(json.dumps(reply) + "\n")
        out.flush()


if __name__ == "__main__":
    main()
