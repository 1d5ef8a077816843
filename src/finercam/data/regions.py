"""A region of a photo: its pixels, box and outline, what it is of, and how much of the evidence lies in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from finercam.errors import FinercamError

#: Pixels that an outline may pass beside the corners of the pixels it follows.
_OFF = 1.0


@dataclass(frozen=True, eq=False)
class Region:
    """Some pixels of a photo. Coordinates are those of the upright photo: pixels from its upper left corner.

    Attributes:
        box: x0, y0, x1, y1: the smallest box around them, half-open.
        inside: which pixels of the box are in the region.
        photo: width and height of the photo.
        score: the share of the map's evidence that lies in it, 0 to 1.
        classes: what it is evidence for and, after it, against.
    """

    box: tuple[int, int, int, int]
    inside: Bool[NDArray[Any], "h w"] = field(repr=False)
    photo: tuple[int, int]
    score: float = 1.0
    classes: tuple[str, ...] = ()

    @classmethod
    def of(cls, mask: NDArray[Any], score: float = 1.0, classes: Sequence[str] = ()) -> Region:
        """Return the region of a mask.

        Args:
            mask: bool, of the photo's height and width.
            score, classes: as the region's.

        Raises:
            FinercamError: it is not a mask, or has no pixel.
        """
        if mask.ndim != 2 or mask.dtype != np.bool_ or not mask.any():
            raise FinercamError(
                "a region is made of a mask (bool) of the photo's height and width with a pixel in it; "
                f"{mask.dtype} of shape {mask.shape} was given"
            )
        (down,), (across,) = (np.nonzero(mask.any(axis)) for axis in (1, 0))
        x0, y0, x1, y1 = int(across[0]), int(down[0]), int(across[-1]) + 1, int(down[-1]) + 1
        inside = np.ascontiguousarray(mask[y0:y1, x0:x1])
        return cls((x0, y0, x1, y1), inside, (mask.shape[1], mask.shape[0]), score, tuple(classes))

    @property
    def mask(self) -> Bool[NDArray[Any], "H W"]:
        """Which pixels of the photo are in the region."""
        found = np.zeros(self.photo[::-1], np.bool_)
        x0, y0, x1, y1 = self.box
        found[y0:y1, x0:x1] = self.inside
        return found

    @cached_property
    def area(self) -> int:
        """How many pixels it has."""
        return int(self.inside.sum())

    @cached_property
    def polygon(self) -> tuple[tuple[float, float], ...]:
        """The corners x, y of its outer outline, to about a pixel; holes in it are filled.

        Of a region that is not connected it is the outline of the part that its first pixel is in.
        """
        x0, y0, _, _ = self.box
        return tuple((float(x + x0), float(y + y0)) for x, y in _simplified(_outline(self.inside)))


#: A region, a box x0, y0, x1, y1, a polygon of points x, y, or a mask of the photo's height and width.
RegionLike: TypeAlias = "Region | Sequence[Any] | Tensor | NDArray[Any]"


def regions_of(
    heat: Float[Tensor, "H W"], chosen: Bool[Tensor, "H W"], *, least: float | int = 0.0, classes: Sequence[str] = ()
) -> list[Region]:
    """Return the connected parts of some of a map's pixels, the one with the most of the map first.

    Pixels that share an edge are connected.

    Args:
        heat: not negative; NaN counts as nothing.
        chosen: the pixels.
        least: parts with a smaller share of the whole map are left out, 0 to 1.
        classes: of the regions.
    """
    values = heat.nan_to_num(0.0).double().numpy()
    total = float(values.sum())
    found = []
    for x0, y0, inside in connected(chosen.numpy()):
        height, width = inside.shape
        own = float(values[y0 : y0 + height, x0 : x0 + width][inside].sum())
        score = min(1.0, own / total) if total > 0 else 0.0
        if score >= least:
            box = (x0, y0, x0 + width, y0 + height)
            found.append(Region(box, inside, (values.shape[1], values.shape[0]), score, tuple(classes)))
    return sorted(found, key=lambda region: -region.score)


def connected(mask: Bool[NDArray[Any], "H W"]) -> list[tuple[int, int, Bool[NDArray[Any], "h w"]]]:
    """Return the parts of a mask whose pixels are connected by edges: the corner x, y of its box and the box's mask."""
    edges = np.diff(np.pad(mask.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    rows, starts = np.nonzero(edges == 1)
    _, stops = np.nonzero(edges == -1)
    # Runs of pixels in a row are joined to those they touch in the row above: union-find, by the first run of each.
    first = list(range(len(rows)))

    def root(run: int) -> int:
        while first[run] != run:
            first[run] = first[first[run]]
            run = first[run]
        return run

    runs = list(zip(rows.tolist(), starts.tolist(), stops.tolist(), strict=True))
    above = 0
    for run, (row, start, stop) in enumerate(runs):
        while runs[above][0] < row - 1 or (runs[above][0] == row - 1 and runs[above][2] <= start):
            above += 1
        at = above
        while runs[at][0] == row - 1 and runs[at][1] < stop:
            a, b = root(at), root(run)
            first[max(a, b)] = min(a, b)
            at += 1
    parts: dict[int, list[int]] = {}
    for run in range(len(runs)):
        parts.setdefault(root(run), []).append(run)
    found = []
    for members in parts.values():
        x0, x1 = min(runs[run][1] for run in members), max(runs[run][2] for run in members)
        y0, y1 = runs[members[0]][0], runs[members[-1]][0] + 1
        inside = np.zeros((y1 - y0, x1 - x0), np.bool_)
        for run in members:
            row, start, stop = runs[run]
            inside[row - y0, start - x0 : stop - x0] = True
        found.append((x0, y0, inside))
    return found


def _outline(inside: Bool[NDArray[Any], "h w"]) -> list[tuple[int, int]]:
    """Return the corners of the edge around the first pixel's part, clockwise as seen, where it turns."""
    # With a frame of nothing, no step asks for a pixel outside.
    padded = np.pad(inside, 1).tolist()
    y = next(row for row, line in enumerate(padded) if any(line))
    x = padded[y].index(True)
    start, place, step = (x, y), (x, y), (1, 0)
    corners: list[tuple[int, int]] = [(x - 1, y - 1)]
    while True:
        place = (place[0] + step[0], place[1] + step[1])
        if place == start:
            return corners
        # The pixels ahead, right and left of the way, which has the region on its right.
        (dx, dy), (x, y) = step, place
        right = padded[y + (dx + dy - 1) // 2][x + (dx - dy - 1) // 2]
        left = padded[y + (dy - dx - 1) // 2][x + (dx + dy - 1) // 2]
        if not right:
            step = (-dy, dx)
        elif left:
            step = (dy, -dx)
        else:
            continue
        corners.append((x - 1, y - 1))


def _simplified(ring: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return a ring without the corners that it passes by at most ``_OFF`` without (Douglas and Peucker, 1973)."""
    points = np.array([*ring, ring[0]], np.float64)
    keep = np.zeros(len(points), np.bool_)
    # A ring has no ends: it begins at its first corner and at the one farthest from it.
    far = int(((points - points[0]) ** 2).sum(1).argmax())
    keep[[0, far]] = True
    waiting = [(0, far), (far, len(points) - 1)]
    while waiting:
        low, high = waiting.pop()
        if high - low < 2:
            continue
        way = points[high] - points[low]
        apart = points[low + 1 : high] - points[low]
        off = np.abs(way[0] * apart[:, 1] - way[1] * apart[:, 0]) / np.hypot(*way)
        worst = int(off.argmax())
        if off[worst] > _OFF:
            keep[low + 1 + worst] = True
            waiting += [(low, low + 1 + worst), (low + 1 + worst, high)]
    kept = [point for point, wanted in zip(ring, keep, strict=False) if wanted]
    return kept if len(kept) >= 3 else ring


def levelled(heat: Float[Tensor, "H W"], way: str, share: float) -> Bool[Tensor, "H W"]:
    """Return which pixels of a map are chosen, none where it is not above zero.

    Args:
        heat: not negative; NaN counts as nothing.
        way: ``threshold``: at least this share of the peak; ``top``: this share of the pixels with values, those that
            have the most; ``energy``: as few pixels as have together this share of the map.
        share: above 0, up to 1.
    """
    values = heat.nan_to_num(0.0)
    positive = values > 0
    if way == "threshold":
        return positive & (values >= share * values.max())
    flat = values.flatten()
    order = flat.argsort(descending=True, stable=True)
    if way == "top":
        count = int(share * int((~heat.isnan()).sum()))
    else:
        summed = flat[order].double().cumsum(0)
        count = int((summed < share * summed[-1]).sum()) + 1
    chosen = torch.zeros_like(flat, dtype=torch.bool)
    chosen[order[:count]] = True
    return chosen.view_as(values) & positive
