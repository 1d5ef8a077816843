"""Whether saliency lies where it should: in a box, on a part, on the true difference of two classes."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def energy_inside(saliency: Float[Tensor, "b H W"], region: Bool[Tensor, "b H W"]) -> Float[Tensor, " b"]:
    """Return the share of saliency inside the region, 0 to 1: the energy-based pointing game.

    Sum of saliency inside over sum of all (Score-CAM, arXiv 1910.01279, Section 4.3). An empty map scores 0. Raising a
    map to a power raises this share without changing one ranking: report it beside ``average_precision``.

    Args:
        saliency: not negative.
        region: a box, a part, or for *difference localisation* the parts that tell two classes apart.
    """
    total = saliency.sum((1, 2))
    inside = (saliency * region).sum((1, 2))
    return torch.where(total > 0, inside / torch.where(total > 0, total, 1), 0)


def average_precision(saliency: Float[Tensor, "b H W"], region: Bool[Tensor, "b H W"]) -> Float[Tensor, " b"]:
    """Return the average precision, 0 to 1, of saliency as a ranking of the region's pixels.

    ``sum_n (R_n - R_(n-1)) P_n`` over the distinct values of the map, from the largest; pixels of one value enter
    together, so their order does not matter. Any strictly increasing change of the map leaves it as it is. A constant
    map, an empty one too, gets the region's share of the image. NaN where the region has no pixel.
    """
    value, order = saliency.flatten(1).sort(dim=1, descending=True)
    hit = region.flatten(1).gather(1, order).double()
    found = hit.cumsum(1)
    rank = torch.arange(1, hit.shape[1] + 1, device=hit.device)
    last_of_value = torch.ones_like(value, dtype=torch.bool)
    last_of_value[:, :-1] = value[:, :-1] != value[:, 1:]
    # Every pixel counts with the precision at the last pixel of its value.
    at_last = torch.where(last_of_value, rank, hit.shape[1]).flip(1).cummin(1).values.flip(1)
    precision = found.gather(1, at_last - 1) / at_last
    return ((hit * precision).sum(1) / found[:, -1]).to(saliency.dtype)
