"""How much of the saliency lies near each annotated part of an object: part points in the manner of CUB-200-2011.

Positions are in pixels of the map, x to the right and y downwards; (0.5, 0.5) is the middle of the first pixel. Points
and boxes of a photo must have gone through the resizing and cropping that the photo went through.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from finercam.errors import FinercamError
from finercam.metrics.localization import energy_inside

#: No point of an image is farther from the nearest pixel's centre than sqrt(1/2).
_LEAST_RADIUS = 0.7072


def part_radius(boxes: Float[Tensor, "b 4"], fraction: float | int = 0.1) -> Float[Tensor, " b"]:
    """Return how far from its point a part is taken to reach, in pixels: a fraction of the box's larger side.

    With 0.1 that is the distance at which PCK@0.1 takes a predicted part for found. The larger side and not the
    image's, so that a distant bird has small parts.

    Args:
        boxes: x0, y0, x1, y1 around each object.
        fraction: above 0.
    """
    if not fraction > 0:
        raise FinercamError(f"the radius is a fraction of the box's larger side above 0, not {fraction}")
    return fraction * (boxes[:, 2:] - boxes[:, :2]).amax(1)


def near_parts(
    points: Float[Tensor, "b P 2"],
    visible: Bool[Tensor, "b P"],
    radius: Float[Tensor, " b"],
    size: tuple[int, int],
) -> Bool[Tensor, "b P H W"]:
    """Return a disc per part: the pixels whose centre is no farther from the part's point than the radius.

    Parts that are not visible, or whose point was cropped away, have no pixel. Every other part has at least one: the
    radius is taken to be no less than sqrt(1/2).

    Args:
        points: x, y of each part; anything where it is not visible.
        visible: whether the part is.
        radius: in pixels, per image; see ``part_radius``.
        size: height and width of the map.
    """
    height, width = size
    x, y = points[..., 0], points[..., 1]
    inside = visible & (x >= 0) & (x <= width) & (y >= 0) & (y <= height)
    columns = torch.arange(width, device=points.device) + 0.5
    rows = torch.arange(height, device=points.device) + 0.5
    across, down = columns - x[..., None], rows - y[..., None]
    squared = down.square()[..., :, None] + across.square()[..., None, :]
    reach = radius.clamp(min=_LEAST_RADIUS).square()[:, None, None, None]
    return (squared <= reach) & inside[..., None, None]


def share_near_parts(saliency: Float[Tensor, "b H W"], discs: Bool[Tensor, "b P H W"]) -> Float[Tensor, "b P"]:
    """Return the share of saliency, 0 to 1, within each part's disc; NaN where a part has no pixel.

    Discs may overlap, so that shares may add up to more than 1; ``share_near_any`` counts nothing twice. An empty map
    has shares of 0, one with a NaN in it of NaN.
    """
    shares = [energy_inside(saliency, disc) for disc in discs.unbind(1)]
    return torch.stack(shares, 1) if shares else saliency.new_empty(len(saliency), 0)


def share_near_any(
    saliency: Float[Tensor, "b H W"], discs: Bool[Tensor, "b P H W"], chosen: Bool[Tensor, "b P"] | None = None
) -> Float[Tensor, " b"]:
    """Return the share of saliency, 0 to 1, within the union of some parts' discs.

    NaN where none of them has a pixel. An empty map has a share of 0.

    Args:
        saliency: not negative.
        discs: see ``near_parts``.
        chosen: which parts, per image (those that tell two classes apart, say); all if left out.
    """
    union = (discs if chosen is None else discs & chosen[..., None, None]).any(1)
    return energy_inside(saliency, union)
