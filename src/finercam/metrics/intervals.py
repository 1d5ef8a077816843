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


#: From twice as many values on, means of this many equal groups are drawn from instead.
_GROUPS = 10_000
#: Values drawn at once; bounds the memory.
_DRAWN = 4_000_000


def bootstrap_mean(values: Float[Tensor, " n"], resamples: int = 2000, seed: int = 0) -> Mean:
    """Return the mean of per-image values with its percentile bootstrap interval over images.

    For a paired difference give the differences per image. NaN marks an image where the measure is undefined; such
    images are left out and not counted. Of more than 20,000 values, the means of 10,000 random groups are resampled:
    they vary as the values do around the same mean, and millions of images take no longer than thousands.
    """
    defined = values[~values.isnan()].double().cpu()
    if not len(defined):
        return Mean(float("nan"), float("nan"), float("nan"), 0)
    generator = torch.Generator().manual_seed(seed)
    drawn_from = defined
    if len(defined) >= 2 * _GROUPS:
        shuffled = defined[torch.randperm(len(defined), generator=generator)]
        each = len(defined) // _GROUPS
        drawn_from = shuffled[: each * _GROUPS].reshape(_GROUPS, each).mean(1)
    n = len(drawn_from)
    at_once = max(1, _DRAWN // n)
    means = torch.cat(
        [
            drawn_from[torch.randint(n, (min(at_once, resamples - start), n), generator=generator)].mean(1)
            for start in range(0, resamples, at_once)
        ]
    )
    low, high = torch.quantile(means, torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return Mean(float(defined.mean()), low, high, len(defined))
