"""How alike two maps of the same images are."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn


def rank_correlation(first: Float[Tensor, "b h w"], second: Float[Tensor, "b h w"]) -> Float[Tensor, " b"]:
    """Return Spearman's correlation of two maps of each image, -1 to 1.

    That of the pixels' ranks, pixels of one value sharing their mean rank. No increasing change of either map matters.
    NaN where a map is constant (an empty one is) or has a NaN in it: such a map ranks nothing.
    """
    return correlation(_mean_ranks(first), _mean_ranks(second)).to(first.dtype)


def correlation(first: Float[Tensor, "b h w"], second: Float[Tensor, "b h w"]) -> Float[Tensor, " b"]:
    """Return Pearson's correlation of two maps of each image, -1 to 1.

    Unlike the ranks' it weighs a pixel by how far it stands out. It needs neither the scaling to a common range nor
    the window and constants of SSIM, which on maps of smoothly resized cells decide much of the result. NaN where a
    map is constant (an empty one is) or has a NaN in it.
    """
    a, b = first.flatten(1).double(), second.flatten(1).double()
    # The rounded mean of a constant may differ from it.
    varied = (a.amax(1) > a.amin(1)) & (b.amax(1) > b.amin(1))
    a, b = (nn.functional.normalize(v - v.mean(1, keepdim=True), dim=1, eps=0.0) for v in (a, b))
    return (a * b).sum(1).clamp(-1, 1).masked_fill(~varied, torch.nan).to(first.dtype)


def _mean_ranks(maps: Float[Tensor, "b h w"]) -> Float[Tensor, "b h w"]:
    """Return each pixel's rank from the smallest, equal pixels sharing the mean of theirs; NaN for a map with NaN."""
    value, order = maps.flatten(1).sort(dim=1)
    place = torch.arange(value.shape[1], device=value.device).expand_as(value)
    differs = value[:, 1:] != value[:, :-1]
    edge = torch.ones_like(differs[:, :1])
    first = torch.where(torch.cat([edge, differs], 1), place, 0).cummax(1).values
    last = torch.where(torch.cat([differs, edge], 1), place, place.shape[1]).flip(1).cummin(1).values.flip(1)
    ranks = torch.empty_like(value, dtype=torch.float64).scatter_(1, order, (first + last).double() / 2)
    return ranks.masked_fill(maps.flatten(1).isnan().any(1, keepdim=True), torch.nan).unflatten(1, maps.shape[1:])
