"""Masking metrics as they are defined: one image, one step and one copy after another.

Everything takes ``score``, a function from preprocessed images b 3 H W to probabilities b C.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor

Score = Callable[[Tensor], Tensor]


def count_of(fraction: float | Fraction, pixels: int) -> int:
    """floor(fraction * pixels) of the decimal number that was written, not of the nearest binary one."""
    return math.floor(Fraction(str(fraction)) * pixels)


def without_top(images: Tensor, saliency: Tensor, count: int, fill: Tensor) -> Tensor:
    """The images with their most salient pixels filled, ties by pixel order."""
    masked = images.clone()
    for image, own in enumerate(saliency):
        order = np.argsort(-own.flatten().numpy(), kind="stable")
        for pixel in order[:count]:
            row, column = divmod(int(pixel), own.shape[1])
            masked[image, :, row, column] = fill[image, :, row, column]
    return masked


@dataclass(frozen=True)
class Drop:
    confidence: Tensor
    relative: Tensor


def drop(before: Tensor, after: Tensor, target: Tensor, other: Tensor) -> Drop:
    """``p_c - p*_c``, and ``(p_c - p*_c) - (p_d - p*_d)`` (arXiv 2501.11309, Eq. 10)."""
    image = torch.arange(len(target))
    of_target, of_other = ((before - after)[image, c] for c in (target, other))
    return Drop(of_target, of_target - of_other)


@dataclass(frozen=True)
class Curve:
    """Probabilities b n of two classes, and the fractions of pixels changed."""

    fractions: Tensor
    target: Tensor
    other: Tensor

    @property
    def area(self) -> Tensor:
        return torch.trapezoid(self.target, self.fractions.to(self.target), dim=1)


def deletion(
    score: Score, images: Tensor, saliency: Tensor, target: Tensor, other: Tensor, *, steps: int, fill: Tensor
) -> Curve:
    """RISE (arXiv 1806.07421, Section 4.2): pixels removed from the most to the least salient."""
    return _curve(score, images, fill, saliency, target, other, steps)


def insertion(
    score: Score, images: Tensor, saliency: Tensor, target: Tensor, other: Tensor, *, steps: int, start: Tensor
) -> Curve:
    """The same: pixels given back to ``start``."""
    return _curve(score, start, images, saliency, target, other, steps)


def _curve(
    score: Score, start: Tensor, end: Tensor, saliency: Tensor, target: Tensor, other: Tensor, steps: int
) -> Curve:
    pixels, image = saliency[0].numel(), torch.arange(len(target))
    counts = [count_of(Fraction(step, steps), pixels) for step in range(steps + 1)]
    found = torch.stack([score(without_top(start, saliency, count, end)) for count in counts], 1)  # b n C
    fractions = torch.tensor([count / pixels for count in counts], dtype=torch.float64)
    return Curve(fractions, found[image, :, target], found[image, :, other])
