"""Means with the interval that images of the same kind would vary in."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Mean:
    """A mean over images and its 95 % bootstrap interval; ``n`` images counted, undefined ones left out."""

    mean: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"


def bootstrap_mean(values: Float[Tensor, " n"], resamples: int = 2000, seed: int = 0) -> Mean:
    """Return the mean of per-image values with its percentile bootstrap interval over images.

    For a paired difference give the differences per image. NaN marks an image where the measure is undefined; such
    images are left out and not counted.
    """
    defined = values[~values.isnan()].double().cpu()
    if not len(defined):
        return Mean(float("nan"), float("nan"), float("nan"), 0)
    generator = torch.Generator().manual_seed(seed)
    means = torch.stack([
        defined[torch.randint(len(defined), (len(defined),), generator=generator)].mean() for _ in range(resamples)
    ])  # fmt: skip
    low, high = torch.quantile(means, torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return Mean(float(defined.mean()), low, high, len(defined))
