"""Where the annotated parts of an object are in a model's input: part points in the manner of CUB-200-2011.

Positions are in pixels of the map, x to the right and y downwards; (0.5, 0.5) is the middle of the first pixel. Points
and boxes of a photo must have gone through the resizing and cropping that the photo went through.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from finercam.errors import FinercamError

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


@dataclass(frozen=True)
class PartPoints:
    """The part points of a batch of photos.

    Attributes:
        points: x, y of each part; NaN where it is not visible.
        extent: the larger side of each object's box, in pixels; NaN where there is no box. Without one there is no
            scale, and no part of that photo has a disc.
    """

    points: Float[Tensor, "b P 2"]
    extent: Float[Tensor, " b"]
    _discs: dict[tuple[float, tuple[int, int]], Tensor] = field(default_factory=dict, repr=False, compare=False)

    def near(self, fraction: float, size: tuple[int, int]) -> Bool[Tensor, "b P H W"]:
        """Return the disc of each part, with a radius of a fraction of the extent; see ``near_parts``.

        Discs are kept: all maps of a batch are held against the same ones.
        """
        if (fraction, size) not in self._discs:
            visible = ~self.points.isnan().any(2) & ~self.extent.isnan()[:, None]
            radius = fraction * self.extent.nan_to_num(0.0)
            self._discs[fraction, size] = near_parts(self.points.nan_to_num(-1.0), visible, radius, size)
        return self._discs[fraction, size]
