"""How well two maps of one photo agree, also where two models were given different parts of it."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from finercam.data.placement import Axis, Placement
from finercam.errors import FinercamError
from finercam.metrics.correlation import rank_correlation
from finercam.metrics.masking import ranking, top_count

#: How much of the photo the overlap is of: the most salient fifth.
TOP = 0.2
#: Cells along each side of the frame in which maps are compared: finer than the maps' own.
_CELLS = 64


def in_common(
    first: Float[Tensor, "h1 w1"], of_first: Placement, second: Float[Tensor, "h2 w2"], of_second: Placement
) -> tuple[Float[Tensor, "c c"], Float[Tensor, "c c"]]:
    """Return both maps over the rectangle of the photo that both models were given.

    Args:
        first, second: maps over each model's input.
        of_first, of_second: how the photo lies in each.

    Raises:
        FinercamError: the inputs show no part of the photo in common.
    """
    columns = _window(of_first.x, of_second.x)
    rows = _window(of_first.y, of_second.y)
    return _sampled(first, of_first, rows, columns), _sampled(second, of_second, rows, columns)


def carried(saliency: Float[Tensor, "h w"], placement: Placement, to: Placement) -> Float[Tensor, "H W"]:
    """Return a map over one model's input as it lies over another's; zero where the first saw nothing.

    Args:
        saliency, placement: the map, and how the photo lies in it.
        to: how the photo lies in the other input.
    """
    rows, columns = to.y.cells(), to.x.cells()
    x, y = placement.x.to_input(columns), placement.y.to_input(rows)
    seen = ((y >= 0) & (y <= placement.y.input))[:, None] & (x >= 0) & (x <= placement.x.input)
    return _sampled(saliency, placement, rows, columns) * seen


def overlap(first: Float[Tensor, "b h w"], second: Float[Tensor, "b h w"], fraction: float = TOP) -> Tensor:
    """Return the intersection over union, 0 to 1, of the most salient pixels of two maps.

    Ties go by pixel order; a pixel whose saliency is zero is not taken. NaN where either map is empty or has a NaN.
    """
    one, other = (_top(saliency, fraction) for saliency in (first, second))
    shared, either = (one & other).sum((1, 2)), (one | other).sum((1, 2))
    defined = one.any(2).any(1) & other.any(2).any(1)
    return (shared / either.clamp(min=1)).masked_fill(~defined, torch.nan)


def agreement(first: Float[Tensor, "h w"], second: Float[Tensor, "h w"]) -> tuple[float, float]:
    """Return the rank correlation, -1 to 1, and the overlap of the top fifth, 0 to 1, of two maps."""
    a, b = first.double()[None], second.double()[None]
    return float(rank_correlation(a, b)), float(overlap(a, b))


def _top(saliency: Float[Tensor, "b h w"], fraction: float) -> Bool[Tensor, "b h w"]:
    count = top_count(fraction, saliency[0].numel())
    broken = saliency.isnan().flatten(1).any(1)[:, None, None]
    return (ranking(saliency.nan_to_num()) < count) & (saliency > 0) & ~broken


def _window(first: Axis, second: Axis) -> Float[Tensor, " c"]:
    """Return coordinates of the photo, evenly over what both inputs show of it."""
    ends = [sorted(((0 - axis.shift) / axis.scale, (axis.input - axis.shift) / axis.scale)) for axis in (first, second)]
    low, high = max(0.0, *(end[0] for end in ends)), min(float(first.photo), *(end[1] for end in ends))
    if high <= low:
        raise FinercamError("the two models are given different parts of the photo, so their maps cannot be compared")
    return low + (torch.arange(_CELLS, dtype=torch.float64) + 0.5) * (high - low) / _CELLS


def _sampled(
    saliency: Float[Tensor, "h w"], placement: Placement, rows: Float[Tensor, " r"], columns: Float[Tensor, " c"]
) -> Float[Tensor, "r c"]:
    # grid_sample counts the input's edges as -1 and 1.
    x = 2 * placement.x.to_input(columns) / placement.x.input - 1
    y = 2 * placement.y.to_input(rows) / placement.y.input - 1
    grid = torch.stack([x.expand(len(y), -1), y[:, None].expand(-1, len(x))], 2)
    plane = saliency.detach().double().cpu()[None, None]
    return torch.nn.functional.grid_sample(plane, grid[None], padding_mode="border", align_corners=False)[0, 0]
