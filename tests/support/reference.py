"""The papers' formulas as they stand: one image, float64, plain loops, nothing shared with the package.

Finer-CAM's equations are numbered as in arXiv 2501.11309. A map is signed: the ReLU of its Eq. 1 is the caller's.
Gradients come from autograd over the rest of a net, run as a function of its target layer's output.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from support.models import Net

Objective = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Look:
    """One image through a net: A (K h w), the logits (C), and the gradient of any objective of the logits."""

    net: Net
    image: Tensor

    @property
    def logits(self) -> Tensor:
        with torch.no_grad():
            return self.net(self.image[None])[0]

    @property
    def activations(self) -> Tensor:
        with torch.no_grad():
            output, _ = self.net.split(self.image[None])
            return self.net.grid(output)[0]

    def gradient(self, objective: Objective) -> Tensor:
        with torch.no_grad():
            output, tail = self.net.split(self.image[None])
        leaf = output.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(objective(tail(leaf)[0]), leaf)
        return self.net.grid(gradient)[0]

    def without(self, channel: int) -> Tensor:
        """The logits with one channel of the grid set to zero."""
        with torch.no_grad():
            output, tail = self.net.split(self.image[None])
            output = output.clone()
            self.net.grid(output)[0, channel] = 0
            return tail(output)[0]


# --- what is asked -----------------------------------------------------------------------------------------------


def finer(c: int, d: int, gamma: float) -> Objective:
    """Eq. 5: ``y_c - gamma y_d``."""
    return lambda y: y[c] - gamma * y[d]


def mean_finer(c: int, references: Sequence[int], gamma: float) -> Objective:
    """Eq. 8's mean over the T references, taken inside the objective."""
    return lambda y: sum(finer(c, d, gamma)(y) for d in references) / len(references)


def official(c: int, references: Sequence[int], alpha: float, detach: bool = False) -> Objective:
    """The authors' released objective: ``sum_i p_i (y_c - alpha y_i) / sum_i p_i``, p the softmax of all logits.

    With ``detach`` the probabilities are constants.
    """

    def objective(y: Tensor) -> Tensor:
        p = (y.detach() if detach else y).softmax(0)
        return sum(p[i] * (y[c] - alpha * y[i]) for i in references) / sum(p[i] for i in references)

    return objective


def softmax_shares(logits: Tensor, references: Sequence[int]) -> list[float]:
    """The references' renormalised probabilities."""
    p = logits.softmax(0)
    return [float(p[d] / sum(p[i] for i in references)) for d in references]


def similarity(rows: Tensor) -> list[list[float]]:
    """Eq. 11: the cosine similarity of every two rows of a classifier."""
    return [[float((p * q).sum() / (p.pow(2).sum().sqrt() * q.pow(2).sum().sqrt())) for q in rows] for p in rows]


# --- gradient methods --------------------------------------------------------------------------------------------


def _combined(weights: Sequence[float], a: Tensor) -> Tensor:
    """Eq. 1: ``sum_k alpha_k A_k``, without its activation function."""
    total = torch.zeros(a.shape[1:], dtype=torch.float64)
    for weight, channel in zip(weights, a, strict=True):
        total = total + weight * channel
    return total


def _cells(a: Tensor) -> list[tuple[int, int]]:
    return [(i, j) for i in range(a.shape[1]) for j in range(a.shape[2])]


def grad_cam(a: Tensor, g: Tensor) -> Tensor:
    """arXiv 1610.02391, Eq. 1-2 (Finer-CAM's Eq. 1-2)."""
    z = a.shape[1] * a.shape[2]
    return _combined([sum(float(g[k, i, j]) for i, j in _cells(a)) / z for k in range(len(a))], a)


def grad_cam_plus_plus(a: Tensor, g: Tensor) -> Tensor:
    """arXiv 1710.11063, Eq. 10 and 19, with its second and third powers; 0 where 0/0 or x/0."""
    weights = []
    for k in range(len(a)):
        total = sum(float(a[k, i, j]) for i, j in _cells(a))
        weight = 0.0
        for i, j in _cells(a):
            x = float(g[k, i, j])
            denominator = 2 * x**2 + total * x**3
            alpha = x**2 / denominator if denominator != 0 else 0.0
            weight += alpha * max(x, 0.0)
        weights.append(weight)
    return _combined(weights, a)


def xgrad_cam(a: Tensor, g: Tensor) -> Tensor:
    """arXiv 2008.02312, Eq. 8; 0 where the activations sum to 0."""
    weights = []
    for k in range(len(a)):
        total = sum(float(a[k, i, j]) for i, j in _cells(a))
        weights.append(sum(float(a[k, i, j]) / total * float(g[k, i, j]) for i, j in _cells(a)) if total else 0.0)
    return _combined(weights, a)


def hires_cam(a: Tensor, g: Tensor) -> Tensor:
    """arXiv 2011.08891, Eq. 5."""
    out = torch.zeros(a.shape[1:], dtype=torch.float64)
    for i, j in _cells(a):
        out[i, j] = sum(float(g[k, i, j]) * float(a[k, i, j]) for k in range(len(a)))
    return out


def layer_cam(a: Tensor, g: Tensor) -> Tensor:
    """Jiang et al., LayerCAM, IEEE TIP 2021, Eq. 6-7."""
    out = torch.zeros(a.shape[1:], dtype=torch.float64)
    for i, j in _cells(a):
        out[i, j] = sum(max(float(g[k, i, j]), 0.0) * float(a[k, i, j]) for k in range(len(a)))
    return out


def eigen_grad_cam(a: Tensor, g: Tensor) -> Tensor:
    """arXiv 2008.00299's projection on the first right singular vector, of ``G * A`` and centred as usual.

    The sign, which the decomposition leaves open, is HiRes-CAM's.
    """
    product = (g * a).flatten(1).numpy().T
    centred = product - product.mean(0)
    _, _, right = np.linalg.svd(centred, full_matrices=False)
    projection = centred @ right[0]
    if projection @ product.sum(1) < 0:
        projection = -projection
    return torch.from_numpy(projection).reshape(a.shape[1:])


# --- score methods -----------------------------------------------------------------------------------------------


def resized(channel: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear, cells taken as areas: the pixel centre ``(i + 1/2) h/H - 1/2`` lies between two cell centres."""
    (h, w), (height, width) = channel.shape, size
    out = torch.zeros(size, dtype=torch.float64)
    for i in range(height):
        y = max((i + 0.5) * h / height - 0.5, 0.0)
        top = int(y)
        for j in range(width):
            x = max((j + 0.5) * w / width - 0.5, 0.0)
            left = int(x)
            for row, row_share in ((top, 1 - (y - top)), (min(top + 1, h - 1), y - top)):
                for column, column_share in ((left, 1 - (x - left)), (min(left + 1, w - 1), x - left)):
                    out[i, j] += row_share * column_share * float(channel[row, column])
    return out


def masked_scores(look: Look) -> tuple[list[Tensor], Tensor]:
    """``f(x o H_k)`` for every channel, and ``f(x_b)`` of the zero input. A constant channel's H is zero."""
    with torch.no_grad():
        scores = []
        for channel in look.activations:
            mask = resized(channel, (look.image.shape[1], look.image.shape[2]))
            spread = float(channel.max() - channel.min())
            mask = (mask - mask.min()) / (mask.max() - mask.min()) if spread > 0 else torch.zeros_like(mask)
            scores.append(look.net((look.image * mask)[None])[0])
        return scores, look.net(torch.zeros_like(look.image)[None])[0]


def ablated_scores(look: Look) -> tuple[list[Tensor], Tensor]:
    """The logits without each channel, and with all of them."""
    return [look.without(k) for k in range(len(look.activations))], look.logits


@dataclass(frozen=True)
class Scored:
    """A contrast put to scores: ``c`` against references with shares of gamma that sum to one."""

    c: int
    references: Sequence[int]
    shares: Sequence[float]
    gamma: float

    def __call__(self, y: Tensor) -> float:
        against = sum(s * float(y[d]) for s, d in zip(self.shares, self.references, strict=True))
        return float(y[self.c]) - self.gamma * against


def score_cam(a: Tensor, scores: Sequence[Tensor], baseline: Tensor, asked: Scored) -> Tensor:
    """Eq. 9 as printed, ``f(x o H)^c - gamma f(x o H)^d - f(x_b)^c`` (Eq. 3 at gamma 0), mean over references."""
    return _combined([asked(y) - float(baseline[asked.c]) for y in scores], a)


def score_cam_consistent(a: Tensor, scores: Sequence[Tensor], baseline: Tensor, asked: Scored) -> Tensor:
    """Eq. 9 with the baseline of the whole contrast, not of the target alone."""
    return _combined([asked(y) - asked(baseline) for y in scores], a)


def score_cam_softmax(a: Tensor, scores: Sequence[Tensor], baseline: Tensor, asked: Scored) -> Tensor:
    """arXiv 1910.01279, Algorithm 1: ``alpha = exp(S_k) / sum_k exp(S_k)``."""
    of_channels = [asked(y) for y in scores]
    largest = max(of_channels)
    powers = [np.exp(score - largest) for score in of_channels]
    return _combined([power / sum(powers) for power in powers], a)


def ablation_cam(a: Tensor, scores: Sequence[Tensor], baseline: Tensor, asked: Scored) -> Tensor:
    """Ramaswamy and Desai, WACV 2020, Eq. 3, without its division by the score: ``y - y without k``."""
    return _combined([asked(baseline) - asked(y) for y in scores], a)
