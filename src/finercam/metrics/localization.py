"""Whether saliency lies where it should: in a box, on a part, on the true difference of two classes.

Saliency is not negative. A map that is zero everywhere is empty: it points nowhere and, but for ``average_precision``,
scores 0. Where the region has no pixel, or the map has a NaN in it, there is no score: NaN.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from finercam.errors import FinercamError
from finercam.metrics.masking import check_fraction, descending, ranking, top_count
from finercam.metrics.metric import metric
from finercam.metrics.view import OBJECT, Needs, Region, View


def _needs(region: Region, fraction: float | None = None, tolerance: float = 0.0) -> Needs:
    if fraction is not None:
        check_fraction(fraction)
    _check_distance(tolerance)
    return Needs(regions=(region,))


@metric("localization", title="Loc.", better="higher", needs=_needs)
def _localization(view: View, *, region: Region = OBJECT) -> Float[Tensor, " b"]:
    """Return the share of the saliency inside of a region, 0 to 1.

    By ``energy_inside``.
    """
    return energy_inside(view.saliency, view.region(region))


def energy_inside(saliency: Float[Tensor, "b H W"], region: Bool[Tensor, "b H W"]) -> Float[Tensor, " b"]:
    """Return the share of saliency inside the region, 0 to 1: the energy-based pointing game.

    Sum of saliency inside over sum of all (Score-CAM, arXiv 1910.01279, Section 4.3); "relevance mass accuracy"
    elsewhere. An empty map scores 0. Raising a map to a power raises this share without changing one ranking: report
    it beside ``average_precision``.

    Args:
        saliency: not negative.
        region: a box, a part, or for *difference localisation* the parts that tell two classes apart.
    """
    total = saliency.sum((1, 2))
    inside = (saliency * region).sum((1, 2))
    share = torch.where(total > 0, inside / torch.where(total > 0, total, 1), 0)
    return _where_defined(share, saliency, region)


@metric("average-precision", title="AP", better="higher", needs=_needs)
def _average_precision(view: View, *, region: Region = OBJECT) -> Float[Tensor, " b"]:
    """Return the average precision of the saliency as a ranking of a region's pixels, 0 to 1.

    By ``average_precision``.
    """
    return average_precision(view.saliency, view.region(region))


def average_precision(saliency: Float[Tensor, "b H W"], region: Bool[Tensor, "b H W"]) -> Float[Tensor, " b"]:
    """Return the average precision, 0 to 1, of saliency as a ranking of the region's pixels.

    ``sum_n (R_n - R_(n-1)) P_n`` over the distinct values of the map, from the largest; pixels of one value enter
    together, so their order does not matter. Any strictly increasing change of the map leaves it as it is. A constant
    map, an empty one too, gets the region's share of the image.
    """
    order = descending(saliency.flatten(1))
    value = saliency.flatten(1).gather(1, order)
    hit = region.flatten(1).gather(1, order).double()
    found = hit.cumsum(1)
    rank = torch.arange(1, hit.shape[1] + 1, device=hit.device)
    last_of_value = torch.ones_like(value, dtype=torch.bool)
    last_of_value[:, :-1] = value[:, :-1] != value[:, 1:]
    # Every pixel counts with the precision at the last pixel of its value.
    at_last = torch.where(last_of_value, rank, hit.shape[1]).flip(1).cummin(1).values.flip(1)
    precision = found.gather(1, at_last - 1) / at_last
    average = ((hit * precision).sum(1) / found[:, -1]).to(saliency.dtype)
    return _where_defined(average, saliency, region)


@metric("pointing", title="Pointing", better="higher", needs=_needs)
def _pointing(view: View, *, region: Region = OBJECT, tolerance: float = 0.0) -> Float[Tensor, " b"]:
    """Return whether the most salient pixel lies in a region, 1 or 0.

    By ``pointing``.
    """
    return pointing(view.saliency, view.region(region), tolerance)


def pointing(
    saliency: Float[Tensor, "b H W"], region: Bool[Tensor, "b H W"], tolerance: float | int = 0
) -> Float[Tensor, " b"]:
    """Return whether the most salient pixel lies in the region, 1 or 0: the pointing game.

    Excitation Backprop (arXiv 1608.00507, Section 4.1). Where several pixels share the largest value, the share of
    them that hit: what a tie broken at random would score on average. So a constant map gets the region's share of
    the image, and neither it nor a block of equal pixels gains by where its first pixel happens to lie. An empty map
    misses.

    Args:
        saliency: not negative.
        region: a box, a part, an object.
        tolerance: a pixel hits if a pixel of the region is no farther from it, in pixels; that paper's is 15.
    """
    peak = saliency.amax((1, 2), keepdim=True)
    tied = saliency == peak
    share = (tied & widened(region, tolerance)).sum((1, 2)).double() / tied.sum((1, 2))
    hit = torch.where(peak[:, 0, 0] > 0, share.to(saliency), 0)
    return _where_defined(hit, saliency, region)


def _iou_title(fraction: float | None, region: Region) -> str:
    title = "IoU" if fraction is None else f"IoU@{fraction:g}"
    return title if region == OBJECT else f"{title} ({region})"


@metric("iou", title=_iou_title, better="higher", needs=_needs)
def _iou(view: View, *, fraction: float | None = None, region: Region = OBJECT) -> Float[Tensor, " b"]:
    """Return the intersection over union of a region and the most salient pixels, 0 to 1.

    By ``iou_of_top``.
    """
    return iou_of_top(view.saliency, view.region(region), fraction)


def iou_of_top(
    saliency: Float[Tensor, "b H W"], region: Bool[Tensor, "b H W"], fraction: float | None = None
) -> Float[Tensor, " b"]:
    """Return the intersection over union, 0 to 1, of the region and the most salient pixels.

    Exactly as many pixels are taken as asked for, ties by their order in the image. With as many as the region has,
    the share of them that hit ("relevance rank accuracy", precision and recall at once) is ``2 IoU / (1 + IoU)``. An
    empty map scores 0.

    Args:
        saliency: not negative.
        region: a box, a part, an object.
        fraction: of the image's pixels, rounded down; ``None`` takes as many as the region has.
    """
    size = region.sum((1, 2))
    count = size if fraction is None else torch.full_like(size, top_count(fraction, region[0].numel()))
    top = ranking(saliency.masked_fill(saliency.isnan(), 0)) < count[:, None, None]
    overlap = (top & region).sum((1, 2))
    share = (overlap.double() / (size + count - overlap)).to(saliency)
    return _where_defined(torch.where(saliency.amax((1, 2)) > 0, share, 0), saliency, region)


def widened(region: Bool[Tensor, "b H W"], distance: float | int) -> Bool[Tensor, "b H W"]:
    """Return the pixels no farther than ``distance`` from a pixel of the region, from centre to centre."""
    _check_distance(distance)
    height, width = region.shape[1:]
    wide = region.clone()
    for down in range(min(int(distance), height - 1) + 1):
        # The disc's row so far from its middle, and that row moved down and up.
        reach = min(int(math.sqrt(distance**2 - down**2)), width - 1)
        row = torch.nn.functional.max_pool2d(region.float(), (1, 2 * reach + 1), 1, (0, reach)) > 0
        wide[:, down:] |= row[:, : height - down]
        wide[:, : height - down] |= row[:, down:]
    return wide


def _check_distance(distance: float | int) -> None:
    if not 0 <= distance < math.inf:
        raise FinercamError(f"a distance in pixels must be a number from 0 upwards, not {distance}")


def _where_defined(
    scores: Float[Tensor, " b"], saliency: Float[Tensor, "b H W"], region: Bool[Tensor, "b H W"]
) -> Float[Tensor, " b"]:
    return scores.masked_fill(saliency.isnan().flatten(1).any(1) | ~region.flatten(1).any(1), torch.nan)
