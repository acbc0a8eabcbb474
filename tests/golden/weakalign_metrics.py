# SPDX-License-Identifier: MIT
#
# How weakalign_metrics.json was made: the scores of the alignment papers, written down from their definitions in the
# arithmetic of the authors' code (float32 tensors of PyTorch for transformations, keypoints and masks; double precision
# of numpy for localisation errors and means). Run with PyTorch 2.15 and numpy 2.4 (neither is needed to build, test or
# use lualign); the second argument is the folder with pf-willow, pf-pascal-subset and caltech101-contours:
#
#   python tests/golden/weakalign_metrics.py ../shared/data > tests/golden/weakalign_metrics.json
#
# The authors' own functions, run with corners aligned on the same pairs, give the same to 1e-6 where outlines are filled
# by the even-odd rule, as scikit-image did in 2018; newer ones fill edges too, which is 26 pixels of 2.4 million on
# Caltech-101 and 7e-5 of the localisation error.
#
# Inputs come from the generator of tests/lib/rng.lua, which tests/lua/weakalign_metrics_golden_spec.lua uses in the
# same order. Keypoints are counted from 1; T maps target coordinates to source coordinates, both in [-1, 1].
import csv
import json
import math
import re
import struct
import sys

import numpy as np
import torch

ALPHAS = (0.05, 0.1, 0.15)
MODELS = ("identity", "affine", "tps", "homography", "affine tps", "affine homography tps")
CORNERS = ((-1, -1), (-1, 1), (1, -1), (1, 1))


# ---- random numbers, as tests/lib/rng.lua has them ----

class Rng:
    MASK = (1 << 64) - 1

    def __init__(self, text):
        h = 0xCBF29CE484222325
        for byte in text.encode():
            h = ((h ^ byte) * 0x100000001B3) & self.MASK
        self.state = h

    def uniform(self):
        self.state = (self.state + 0x9E3779B97F4A7C15) & self.MASK
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & self.MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & self.MASK
        z ^= z >> 31
        return ((z >> 11) + 0.5) / 2.0**53

    def number(self, lo, hi):
        return lo + (hi - lo) * self.uniform()

    def integer(self, lo, hi):
        return lo + math.floor((hi - lo + 1) * self.uniform())


def control_points():
    return [(-1 + i, -1 + j) for i in range(3) for j in range(3)]


def random_theta(rng, model):
    """Near the identity; of affine a 2x3 matrix, of the others the images of control points or corners, x then y."""
    if model == "affine":
        return [v + rng.number(-0.2, 0.2) for v in (1, 0, 0, 0, 1, 0)]
    points = control_points() if model == "tps" else CORNERS
    flat = [p[0] for p in points] + [p[1] for p in points]
    return [v + rng.number(-0.2, 0.2) for v in flat]


def random_stages(rng, models):
    return [(m, random_theta(rng, m)) for m in models.split() if m != "identity"]


def random_outline(rng, width, height):
    """A star around the middle, whose spikes may leave the image."""
    count = rng.integer(3, 12)
    turn = rng.number(0, 2 * math.pi)
    outline = []
    for k in range(count):
        a = turn + 2 * math.pi * k / count
        r = rng.number(0.15, 0.6)
        outline.append((width * (0.5 + r * math.cos(a)), height * (0.5 + r * math.sin(a))))
    return outline


# ---- transformations, in float32 ----

def affine(theta, points):
    m = torch.tensor(theta, dtype=torch.float32).reshape(2, 3)
    return m[:, :2] @ points + m[:, 2:]


def spline(theta, points):
    p = torch.tensor(control_points(), dtype=torch.float32)
    r2 = ((p[:, None] - p[None]) ** 2).sum(2)
    r2[r2 == 0] = 1
    system = torch.zeros(12, 12)
    system[:9, :9] = r2 * r2.log()
    system[:9, 9] = system[9, :9] = 1
    system[:9, 10:] = p
    system[10:, :9] = p.T
    weights = torch.inverse(system)[:, :9] @ torch.tensor(theta, dtype=torch.float32).reshape(2, 9).T
    d2 = (points[0, :, None] - p[:, 0]) ** 2 + (points[1, :, None] - p[:, 1]) ** 2
    d2[d2 == 0] = 1
    basis = torch.cat((d2 * d2.log(), torch.ones(points.shape[1], 1), points.T), 1)
    return (basis @ weights).T


def homography(theta, points):
    rows, right = [], []
    for k, (x, y) in enumerate(CORNERS):
        u, v = theta[k], theta[4 + k]
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        right += [u, v]
    h = torch.linalg.solve(torch.tensor(rows, dtype=torch.float32), torch.tensor(right, dtype=torch.float32))
    x, y = points
    k = h[6] * x + h[7] * y + 1
    k = k + k.sign() * 1e-5
    return torch.stack(((h[0] * x + h[1] * y + h[2]) / k, (h[3] * x + h[4] * y + h[5]) / k))


def transform(stages, points):
    """Points (2, P), x before y, through the stages, the last one first."""
    for model, theta in reversed(stages):
        points = {"affine": affine, "tps": spline, "homography": homography}[model](theta, points)
    return points


def sampling_grid(stages, height, width):
    """Where every pixel of the target lies in the source: (height, width, 2)."""
    x, y = np.meshgrid(np.linspace(-1, 1, width), np.linspace(-1, 1, height))
    points = torch.tensor(np.stack((x.ravel(), y.ravel())), dtype=torch.float32)
    return transform(stages, points).T.reshape(height, width, 2)


# ---- PCK ----

def unit(points, size):
    out = points.clone()
    for d in range(2):
        out[d] = (points[d] - 1 - (size[d] - 1) / 2) * 2 / (size[d] - 1)
    return out


def pixels(points, size):
    out = points.clone()
    for d in range(2):
        out[d] = points[d] * (size[d] - 1) / 2 + 1 + (size[d] - 1) / 2
    return out


def pck(pair, stages, protocol):
    """PCK at all alphas, and the number of valid points. Without any, PCK is NaN."""
    a = torch.tensor(pair["a"], dtype=torch.float32).T
    b = torch.tensor(pair["b"], dtype=torch.float32).T
    valid = (a[0] != -1) & (a[1] != -1)
    a, b = a[:, valid], b[:, valid]
    if a.shape[1] == 0:
        return [math.nan] * len(ALPHAS), 0
    size_a, size_b = pair["size_a"], pair["size_b"]
    if protocol == "scnet":
        a, b = (torch.stack((p[0] * 224 / s[0], p[1] * 224 / s[1])) for p, s in ((a, size_a), (b, size_b)))
        size_a = size_b = (224, 224)
        length = torch.tensor(224.0)
    else:
        length = (a.max(1)[0] - a.min(1)[0]).max()
    found = pixels(transform(stages, unit(b, size_b)), size_a)
    distance = ((a - found) ** 2).sum(0) ** 0.5
    return [(distance <= length * alpha).float().mean().item() for alpha in ALPHAS], a.shape[1]


def mean(values):
    """Over what is a number and not -1."""
    good = [v for v in values if v != -1 and not math.isnan(v)]
    return float(np.mean(good)) if good else None


def pck_table(pairs, stages_of, protocol):
    rows = [pck(pair, stages_of(i), protocol) for i, pair in enumerate(pairs)]
    out = {"pairs": [mean(r[0][k] for r in rows) for k in range(len(ALPHAS))]}
    total = sum(n for _, n in rows)
    out["points"] = [sum(r[k] * n for r, n in rows if n) / total for k in range(len(ALPHAS))]
    out["classes"] = {}
    for name in sorted({p["category"] for p in pairs}):
        own = [r[0] for r, p in zip(rows, pairs) if p["category"] == name]
        out["classes"][name] = [mean(r[k] for r in own) for k in range(len(ALPHAS))]
    return out


# ---- masks ----

def fill(outline, width, height):
    """Pixels from which a ray to the right crosses the outline an odd number of times; edges half open."""
    x, y = np.meshgrid(np.arange(width, dtype=float), np.arange(height, dtype=float))
    inside = np.zeros((height, width), bool)
    for (x1, y1), (x2, y2) in zip(outline, outline[1:] + outline[:1]):
        if y1 == y2:
            continue
        across = ((y1 <= y) & (y < y2)) | ((y2 <= y) & (y < y1))
        inside ^= across & (x < (x2 - x1) * (y - y1) / (y2 - y1) + x1)
    return inside


def flow_of(grid, width, height):
    """Source less target position, counted from 1; 1e10 where the position is not strictly inside."""
    rows, columns = grid.shape[:2]
    inside = ((grid > -1) & (grid < 1)).all(2).numpy()
    sx = (grid[:, :, 0] * (width - 1) / 2 + 1 + (width - 1) / 2).numpy()
    sy = (grid[:, :, 1] * (height - 1) / 2 + 1 + (height - 1) / 2).numpy()
    x, y = np.meshgrid(np.arange(1, columns + 1), np.arange(1, rows + 1))
    return np.where(inside[:, :, None], np.stack((sx - x, sy - y), 2), 1e10)


def object_coordinates(mask):
    rows, columns = np.where(mask)
    left, top = columns.min(), rows.min()
    x, y = np.meshgrid(np.arange(1, mask.shape[1] + 1), np.arange(1, mask.shape[0] + 1))
    return (x - left) / (columns.max() - left + 1), (y - top) / (rows.max() - top + 1)


def area(pair, stages):
    """Label transfer accuracy, intersection over union, localisation error."""
    (wa, ha), (wb, hb) = pair["size_a"], pair["size_b"]
    a, b = fill(pair["outline_a"], wa, ha), fill(pair["outline_b"], wb, hb)
    grid = sampling_grid(stages, hb, wb)
    image = torch.tensor(a, dtype=torch.float32)[None, None]
    warped = torch.nn.functional.grid_sample(image, grid[None], align_corners=True)[0, 0] > 0.5
    target = torch.tensor(b)
    part = target.float().sum() / target.float().sum()
    iou = (part * ((warped & target).float().sum() / (warped | target).float().sum())).item()
    accuracy = (warped == target).double().mean().item()
    flow = flow_of(grid, wa, ha)
    x1, y1 = np.meshgrid(np.arange(1, wb + 1), np.arange(1, hb + 1))
    x2, y2 = x1 + flow[:, :, 0], y1 + flow[:, :, 1]
    kept = (x2 >= 1) & (x2 <= wa) & (y2 >= 1) & (y2 <= ha)
    if not (a.any() and b.any() and kept.any()):
        return accuracy, iou, math.nan
    at = y2[kept].astype(int) - 1, x2[kept].astype(int) - 1
    ua, va = object_coordinates(a)
    ub, vb = object_coordinates(b)
    error = np.mean(np.abs(ub[kept] - ua[at]) + np.abs(vb[kept] - va[at]))
    return accuracy, iou, float(error)


def area_table(pairs, stages_of, each):
    rows = [area(pair, stages_of(i)) for i, pair in enumerate(pairs)]
    out = {"mean": [mean(r[k] for r in rows) for k in range(3)]}
    if each:
        out["each"] = rows
    return out


# ---- flow ----

def flow_accuracy(found, truth, mask, alpha):
    limit = alpha * max(mask.shape)
    with np.errstate(invalid="ignore"):
        counted = mask & (np.abs(truth) < 1e9).all(2)
        right = np.sqrt(((found - truth) ** 2).sum(2)) < limit
    return float(right[counted].mean()) if counted.any() else None


# ---- made-up pairs ----

def made_keypoints(name, count):
    rng, pairs = Rng(name), []
    for i in range(count):
        sizes = [(rng.integer(20, 400), rng.integer(20, 400)) for _ in range(2)]
        points = 0 if i % 8 == 7 else rng.integer(1, 17)
        a, b = [], []
        for _ in range(points):
            u, v = rng.uniform(), rng.uniform()
            b.append((1 + u * (sizes[1][0] - 1), 1 + v * (sizes[1][1] - 1)))
            a.append((1 + (u + rng.number(-0.1, 0.1)) * (sizes[0][0] - 1),
                      1 + (v + rng.number(-0.1, 0.1)) * (sizes[0][1] - 1)))
        a += [(-1, -1)] * (20 - points)
        b += [(-1, -1)] * (20 - points)
        pairs.append({"a": a, "b": b, "size_a": sizes[0], "size_b": sizes[1], "category": f"class {i % 3 + 1}"})
    return pairs


def made_outlines(name, count):
    rng, pairs = Rng(name), []
    for i in range(count):
        sizes = [(rng.integer(9, 90), rng.integer(9, 90)) for _ in range(2)]
        if i % 4 == 3:
            sizes[1] = sizes[0]
        a, b = random_outline(rng, *sizes[0]), random_outline(rng, *sizes[1])
        if i % 8 == 5:  # nothing of the target's, then nothing of the source's object is in the image
            b = [(x + 3 * sizes[1][0], y) for x, y in b]
        if i % 8 == 6:
            a = [(x + 3 * sizes[0][0], y) for x, y in a]
        pairs.append({"size_a": sizes[0], "size_b": sizes[1], "outline_a": a, "outline_b": b})
    return pairs


def made_flows(name, count):
    """Accuracies at all alphas of flows of random maps, whose truth has a few pixels that say nothing."""
    rng, out = Rng(name), []
    for _ in range(count):
        wa, ha, wb, hb = (rng.integer(9, 90) for _ in range(4))
        truth = random_stages(rng, "affine tps")
        stages = [(m, [v + rng.number(-0.1, 0.1) for v in theta]) for m, theta in truth]
        mask = fill(random_outline(rng, wb, hb), wb, hb)
        true_flow = flow_of(sampling_grid(truth, hb, wb), wa, ha).astype(np.float32)
        for _ in range(wb * hb // 20):
            row, column = rng.integer(0, hb - 1), rng.integer(0, wb - 1)
            true_flow[row, column] = rng.integer(0, 1) and 1.5e9 or math.nan
        found = flow_of(sampling_grid(stages, hb, wb), wa, ha).astype(np.float32)
        out.append([flow_accuracy(found, true_flow, mask, alpha) for alpha in ALPHAS])
    return out


# ---- the data sets ----

def read(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def willow(root):
    images = {}
    for row in read(root + "/keypoints.csv"):
        images[row["image"]] = ((int(row["width"]), int(row["height"])),
                                [(float(row[f"x{k}"]), float(row[f"y{k}"])) for k in range(10)])
    pairs = []
    for row in read(root + "/test_pairs.csv"):
        a, b = images[row["source_image"]], images[row["target_image"]]
        pairs.append({"a": a[1], "b": b[1], "size_a": a[0], "size_b": b[0], "category": row["category"]})
    return pairs


def jpeg_size(path):
    """Width and height, from the first frame header."""
    data = open(path, "rb").read()
    at = 2
    while not (0xC0 <= data[at + 1] <= 0xCF and data[at + 1] not in (0xC4, 0xC8, 0xCC)):
        at += 2 + struct.unpack(">H", data[at + 2:at + 4])[0]
    height, width = struct.unpack(">HH", data[at + 5:at + 9])
    return width, height


def pascal(root):
    pairs = []
    for row in read(root + "/test_pairs.csv"):
        lists = [[float(v) for v in row[name].split(";")] for name in ("XA", "YA", "XB", "YB")]
        pairs.append({"a": list(zip(*lists[:2])), "b": list(zip(*lists[2:])), "category": row["class"],
                      "size_a": jpeg_size(f"{root}/{row['source_image']}"),
                      "size_b": jpeg_size(f"{root}/{row['target_image']}")})
    return pairs


def caltech(root, step):
    images = {}
    for row in read(root + "/contours.csv"):
        xs, ys = ([float(v) for v in row[name].split(";")] for name in ("contour_x", "contour_y"))
        images[row["image"]] = ((int(row["width"]), int(row["height"])), list(zip(xs, ys)))
    pairs = []
    for row in read(root + "/test_pairs.csv")[::step]:
        a, b = images[row["source_image"]], images[row["target_image"]]
        pairs.append({"size_a": a[0], "size_b": b[0], "outline_a": a[1], "outline_b": b[1]})
    return pairs


def thetas(name, models):
    """Pair i's stages, from a seed of its own."""
    return lambda i: random_stages(Rng(f"{name} {models} {i}"), models)


def plain(value):
    """With nine decimals, and null for what is not a number."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return None if value is None or math.isnan(value) else round(value, 9)


def main(root):
    out = {"made": {"pck": {}, "area": {}}, "willow": {}, "pascal": {"box": {}, "scnet": {}}, "caltech": {}}
    points, outlines = made_keypoints("keypoints", 48), made_outlines("outlines", 24)
    real = willow(root + "/pf-willow"), pascal(root + "/pf-pascal-subset"), caltech(root + "/caltech101-contours", 12)
    for models in MODELS:
        out["made"]["pck"][models] = {p: pck_table(points, thetas("made", models), p) for p in ("box", "scnet")}
        out["made"]["area"][models] = area_table(outlines, thetas("made", models), True)
        out["willow"][models] = pck_table(real[0], thetas("willow", models), "box")
        for protocol in ("box", "scnet"):
            out["pascal"][protocol][models] = pck_table(real[1], thetas("pascal", models), protocol)
        out["caltech"][models] = area_table(real[2], thetas("caltech", models), False)
    out["made"]["flow"] = made_flows("flows", 24)
    print(re.sub(r"\[[^][{]*?\]", lambda m: re.sub(r"\s+", " ", m[0]),
                 json.dumps(plain(out), indent=1, sort_keys=True)))


main(sys.argv[1])
