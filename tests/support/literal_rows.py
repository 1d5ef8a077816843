"""Every column of an evaluation's rows, one photo and one copy at a time, in plain float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from support import evaluations, reference
from support.evaluations import TARGETS

CONTRASTS = ("plain", "finer references=2", "finer gamma=1 references=2")


class Literal:
    """Everything that is known of one photo, in plain float64."""

    def __init__(self, item):
        self.item, self.net = item, evaluations.classifier().module
        example = evaluations.open_with_differences(item)
        self.mask, self.differences = example.mask, example.differences
        self.image = evaluations.preprocess(example.photo)
        self.look = reference.Look(self.net, self.image)
        self.logits = self.look.logits
        self.target = TARGETS[item.label]
        others = [i for i in range(7) if i != self.target]
        self.near = sorted(others, key=lambda i: abs(float(self.logits[i] - self.logits[self.target])))
        self.other = self.near[0]
        self.size = tuple(self.image.shape[1:])
        self.pixels = self.size[0] * self.size[1]

    def probabilities(self, image):
        with torch.no_grad():
            return self.net(image[None])[0].softmax(0)

    def near_to(self, target):
        return sorted(
            (i for i in range(7) if i != target), key=lambda i: abs(float(self.logits[i] - self.logits[target]))
        )

    def drawn(self, number):
        """The class drawn by lot: the first of a shuffled row that is neither c nor d."""
        order = torch.randperm(7, generator=torch.Generator().manual_seed(number)).tolist()
        return next(i for i in order if i not in (self.target, self.other))

    def saliency(self, method, contrast, target=None, reverse=False):
        c = self.target if target is None else target
        cam = {"gradcam": reference.grad_cam, "layercam": reference.layer_cam}[method]
        gamma = {"plain": 0.0, CONTRASTS[1]: 0.6, CONTRASTS[2]: 1.0}[contrast]
        near = self.near_to(c)[:2]
        objective = reference.mean_finer(c, near, gamma)
        if reverse and contrast == "plain":
            objective = reference.mean_finer(self.other, near, 0.0)
        elif reverse:
            objective = lambda y: sum(y[d] for d in near) / 2 - gamma * y[c]  # noqa: E731
        found = cam(self.look.activations, self.look.gradient(objective))
        # Enlarged by torch, so that pixels tie where they do in the package; tests of the maps do it by hand.
        return enlarged(found.clamp(min=0), self.size)

    def control(self, name, number):
        generator = torch.Generator().manual_seed(number)
        noise = torch.rand(self.size, generator=generator)
        if name == "random":
            return noise
        if name == "blurred random":
            return enlarged(torch.rand(1, 7, 7, generator=generator)[0], self.size)
        ys, xs = (np.linspace(-1, 1, n) for n in self.size)
        return torch.from_numpy(np.exp(-2 * (ys[:, None] ** 2 + xs[None] ** 2)))

    def noisy(self, saliency, number):
        noise = torch.rand(self.size, generator=torch.Generator().manual_seed(2**40 + number))
        return saliency + 0.1 * saliency.max() * noise

    def blocks(self, saliency, cells):
        """Each pixel's block has the mean of its pixels."""
        height, width = self.size
        own = saliency.numpy().astype(float)
        found = np.zeros_like(own)
        for i in range(cells):
            for j in range(cells):
                rows = [y for y in range(height) if y * cells // height == i]
                columns = [x for x in range(width) if x * cells // width == j]
                found[np.ix_(rows, columns)] = own[np.ix_(rows, columns)].mean()
        return torch.from_numpy(found)

    def drop(self, saliency, fill=None):
        before, after = self.probabilities(self.image), self.after(saliency, self.pixels // 10, False, fill)
        return float((before - after)[self.target] - (before - after)[self.other])

    def after(self, saliency, count, inserted, fill=None):
        order = np.argsort(-saliency.flatten().numpy(), kind="stable")
        start = reference_blur(self.image) if inserted else self.image
        end = self.image if inserted else torch.zeros_like(self.image) if fill is None else fill
        copy = start.clone().flatten(1)
        chosen = torch.from_numpy(order[:count].copy())
        copy[:, chosen] = end.flatten(1)[:, chosen]
        return self.probabilities(copy.reshape(self.image.shape))

    def curve(self, saliency, inserted):
        counts = [math.floor(round(step / 10 * self.pixels, 6)) for step in range(11)]
        found = torch.stack([self.after(saliency, count, inserted) for count in counts])
        area = np.trapezoid(found[:, self.target], np.array(counts) / self.pixels)
        return float(area), found[:, self.target].tolist(), found[:, self.other].tolist()

    def box(self):
        if self.item.box is None:
            return np.zeros(self.size, bool)
        x0, y0, x1, y1 = self.item.box
        # The middle of pixel (i, j) of the input lies at (2 i + 1, 2 j + 1) of the photo.
        return np.array(
            [[x0 <= 2 * j + 1 < x1 and y0 <= 2 * i + 1 < y1 for j in range(self.size[1])] for i in range(self.size[0])]
        )

    def shrunk(self, mask):
        return np.zeros(self.size, bool) if mask is None else mask[1::2, 1::2]

    def discs(self, fraction):
        if self.item.box is None:
            return []
        x0, y0, x1, y1 = self.item.box
        radius = max(fraction * max((x1 - x0) / 2, (y1 - y0) / 2), 0.7072)
        ys, xs = np.mgrid[: self.size[0], : self.size[1]] + 0.5
        points = [None if p is None else (p[0] / 2, p[1] / 2) for p in self.item.parts]
        return [None if p is None else (xs - p[0]) ** 2 + (ys - p[1]) ** 2 <= radius**2 for p in points]


def enlarged(cells, size):
    return torch.nn.functional.interpolate(cells[None, None], size, mode="bilinear", align_corners=False)[0, 0]


def reference_blur(image):
    sigma = max(image.shape[1:]) / 20
    reach = max(1, round(3 * sigma))
    weights = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * sigma**2))
    weights /= weights.sum()
    padded = np.pad(image.numpy(), ((0, 0), (reach, reach), (reach, reach)), mode="edge")
    for axis in (1, 2):
        padded = np.apply_along_axis(np.convolve, axis, padded, weights, "valid")
    return torch.from_numpy(padded)


def inside(saliency, region):
    if not region.any():
        return None
    total = float(saliency.sum())
    return float(saliency.numpy()[region].sum()) / total if total else 0.0


def precision_of_ranking(saliency, region):
    if not region.any():
        return None
    values, average, before = saliency.numpy(), 0.0, 0.0
    for level in sorted(set(values.flatten().tolist()), reverse=True):
        at = values >= level
        recall = (at & region).sum() / region.sum()
        average += (recall - before) * (at & region).sum() / at.sum()
        before = recall
    return average


def pointing(saliency, region):
    if not region.any():
        return None
    top = saliency.numpy() == float(saliency.max())
    return float((top & region).sum() / top.sum()) if float(saliency.max()) > 0 else 0.0


def overlap(saliency, region, count):
    if not region.any():
        return None
    if float(saliency.max()) <= 0:
        return 0.0
    top = np.zeros(saliency.numel(), bool)
    top[np.argsort(-saliency.flatten().numpy(), kind="stable")[:count]] = True
    top = top.reshape(saliency.shape)
    return (top & region).sum() / (top | region).sum()


def spearman(first, second):
    ranks = []
    for values in (first, second):
        flat = values.flatten().numpy()
        ranks.append(np.array([(flat < v).sum() + ((flat == v).sum() - 1) / 2 for v in flat]))
    return None if any(r.std() == 0 for r in ranks) else np.corrcoef(*ranks)[0, 1]


def expected_of(photo, saliency):
    """Every column of a map, but the correlation with the other class's."""
    before = photo.probabilities(photo.image)
    count = photo.pixels // 10
    after = photo.after(saliency, count, False)
    fall = (before - after)[[photo.target, photo.other]].tolist()
    deleted, inserted = (photo.curve(saliency, kind) for kind in (False, True))
    box, mask = photo.box(), photo.shrunk(photo.mask)
    thing = box if photo.item.box is not None else mask
    differs = photo.shrunk(photo.differences.get({0: 1, 4: 0, 6: 2}.get(photo.other)))
    discs = photo.discs(0.2)
    seen = [d for d in discs if d is not None]
    return {
        "empty": float(saliency.max()) <= 0,
        "deletion": deleted[0],
        "deletion curve": deleted[1],
        "deletion curve of other": deleted[2],
        "insertion": inserted[0],
        "insertion curve": inserted[1],
        "insertion curve of other": inserted[2],
        "confidence-drop@0.1": fall[0],
        "relative-drop@0.1": fall[0] - fall[1],
        "relative-drop@0.1@fill=blur": photo.drop(saliency, reference_blur(photo.image)),
        "relative-drop@0.1@cells=4": photo.drop(photo.blocks(saliency, 4)),
        "localization": inside(saliency, thing),
        "localization@box": inside(saliency, box),
        "localization@mask": inside(saliency, mask),
        "localization@difference": inside(saliency, differs),
        "average-precision": precision_of_ranking(saliency, thing),
        "average-precision@mask": precision_of_ranking(saliency, mask),
        "pointing@difference": pointing(saliency, differs),
        "iou@0.2": overlap(saliency, thing, photo.pixels // 5),
        "iou": overlap(saliency, thing, thing.sum()),
        "parts-precision@0.2": precision_of_ranking(saliency, np.logical_or.reduce(seen)) if seen else None,
        "parts@0.2": inside(saliency, np.logical_or.reduce(seen)) if seen else None,
        "parts@0.2 shares": [None if d is None else inside(saliency, d) for d in discs],
    }


def ordered(saliency):
    """Whether no two values are so near that the last bit decides which is larger."""
    values = saliency.double().unique()
    return bool((values.diff() > 1e-12 * values.max()).all())


def agree(found, expected, name, tolerance=1e-6):
    if isinstance(expected, list):
        assert len(found) == len(expected) or not expected, name
        for one, other in zip(found, expected, strict=False):
            agree(one, other, name, tolerance)
        if not expected:
            assert all(one is None for one in found), name
    elif expected is None or isinstance(expected, (bool, str)):
        assert found == expected, name
    else:
        assert found == pytest.approx(expected, abs=tolerance), name
