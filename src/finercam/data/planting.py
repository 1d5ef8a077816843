"""Marks on photos: what the mark of a class is, and where it lies on a photo. ``finercam.data.painting`` draws them.

All about a mark is drawn by lot from a seed and the name of its class, through a hash that is the same in every
process and on every machine.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal, TypeAlias, TypeVar, get_args

import numpy as np
from jaxtyping import Bool

from finercam.data.dataset import Box, Example, Point

T = TypeVar("T")

Kind: TypeAlias = Literal["tint", "stripes", "spots", "missing", "texture", "brightness"]
KINDS: tuple[Kind, ...] = get_args(Kind)
#: One kind for all classes, or one of them for each.
Kinds: TypeAlias = Literal[Kind, "mixed"]
#: Colours of marks, sRGB.
HUES = {
    "red": (225, 30, 35),
    "yellow": (240, 205, 20),
    "green": (40, 180, 50),
    "cyan": (30, 195, 215),
    "blue": (40, 70, 230),
    "magenta": (220, 40, 190),
}
#: The least radius of a mark in pixels of the photo.
_LEAST_RADIUS = 2.0


@dataclass(frozen=True)
class Mark:
    """The mark of one class.

    Attributes:
        kind: what is done to the photo.
        hue: one of ``HUES``; only of kinds that have a colour.
        angle: by which a pattern is turned, in radians.
        parts: of the object, without left and right: the one that it lies on, then those that it lies on where the
            ones before are not visible.
    """

    kind: Kind
    hue: str
    angle: float
    parts: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """What is seen, to follow "with"."""
        return {
            "tint": f"a {self.hue} tint",
            "stripes": f"{self.hue} stripes",
            "spots": f"{self.hue} spots",
            "missing": "a patch missing",
            "texture": "a wavy patch",
            "brightness": "a shaded patch",
        }[self.kind]


def mark_of(class_name: str, kind: Kinds, seed: int, part_names: Sequence[str] = ()) -> Mark:
    """Return the mark of a class.

    Args:
        class_name: as in the data set.
        kind: of the mark; ``mixed`` draws one for each class.
        seed: another one gives other marks.
        part_names: of the data set.
    """

    def lot(about: str) -> float:
        return _lots(seed, class_name, about).random()

    return Mark(
        kind=_pick(KINDS, lot("kind")) if kind == "mixed" else kind,
        hue=_pick(tuple(HUES), lot("hue")),
        angle=math.pi * lot("angle"),
        # One lot for each part, so that the same parts in another order give the same marks.
        parts=tuple(sorted({_without_side(name) for name in part_names}, key=lambda name: lot(f"part {name}"))),
    )


def radius_of(size: float, example: Example) -> float:
    """Return the radius of a mark in pixels, at least 2.

    Args:
        size: as a share of the square root of the object's box area: of the mask's box if there is no other, or of
            the whole photo.
        example: the plain photo.
    """
    width, height = example.photo.size
    x0, y0, x1, y1 = _box(example)
    area = max(0, min(x1, width) - max(x0, 0)) * max(0, min(y1, height) - max(y0, 0))
    return max(_LEAST_RADIUS, size * math.sqrt(area))


def place_of(mark: Mark, example: Example, part_names: Sequence[str], radius: float, seed: int, key: str) -> Point:
    """Return the middle of a mark: x, y in pixels of the photo.

    On the first of the mark's parts that has a visible point in the photo (of a left and a right one, the first of
    the data set), moved inwards by up to half a radius unless the part is to be taken away: points such as the
    crown's are on the object's outline. Where no part is known, a random place: on the mask where most of a disc
    would be on it, or in the middle half of the box, or of the photo.

    Args:
        mark: of the class.
        example: the plain photo.
        part_names: of the data set, in the order of the example's parts.
        radius: of the mark in pixels.
        seed, key: draw the random place; the key is the photo's.
    """
    width, height = example.photo.size
    seen = {
        name: point
        for name, point in zip(part_names, example.parts, strict=False)
        if point is not None and 0 <= point[0] < width and 0 <= point[1] < height
    }
    own = min(seen, key=lambda name: mark.parts.index(_without_side(name)), default=None)
    if own is not None:
        return seen[own] if mark.kind == "missing" else _towards(_mean(seen.values()), seen[own], radius / 2)
    lots = _lots(seed, key, "place")
    if example.mask is not None and example.mask.any():
        return _on_mask(example.mask, radius, lots)
    x0, y0, x1, y1 = _box(example)
    across, down = 0.25 + lots.random(2) / 2
    return min(x0 + float(across) * (x1 - x0), width - 0.5), min(y0 + float(down) * (y1 - y0), height - 0.5)


def _on_mask(mask: Bool[np.ndarray, "H W"], radius: float, lots: np.random.Generator) -> Point:
    """Return the one of some random pixels of the mask that has most of the mask around it."""
    ys, xs = np.nonzero(mask)
    reach = math.ceil(radius)
    chosen = [int(lot * len(xs)) for lot in lots.random(16)]

    def around(one: int) -> int:
        x, y = int(xs[one]), int(ys[one])
        return int(mask[max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1].sum())

    best = max(chosen, key=around)
    return float(xs[best]) + 0.5, float(ys[best]) + 0.5


def _box(example: Example) -> Box:
    """Return the object's box, the mask's if there is none, or the photo's."""
    if example.box is not None:
        return example.box
    if example.mask is not None and example.mask.any():
        ys, xs = np.nonzero(example.mask)
        return float(xs.min()), float(ys.min()), float(xs.max() + 1), float(ys.max() + 1)
    return 0.0, 0.0, float(example.photo.width), float(example.photo.height)


def _mean(points: Iterable[Point]) -> Point:
    x, y = zip(*points, strict=True)
    return sum(x) / len(x), sum(y) / len(y)


def _towards(aim: Point, start: Point, distance: float) -> Point:
    """Return the point so far from the start on the way to the aim, and the aim where that is nearer."""
    share = min(1.0, distance / max(math.dist(aim, start), 1e-9))
    return start[0] + share * (aim[0] - start[0]), start[1] + share * (aim[1] - start[1])


def _without_side(part: str) -> str:
    """Return the name of a part without the side that it is on: of two wings often only one is seen."""
    return re.sub(r"\b(left|right)\b", "", part).strip() or part


def _lots(seed: int, *about: str) -> np.random.Generator:
    """Return random numbers that depend on the seed and these words only."""
    words = "\0".join((str(seed), *about)).encode("utf-8", "surrogateescape")
    entropy = int.from_bytes(blake2b(words, digest_size=16).digest(), "little")
    return np.random.Generator(np.random.PCG64(entropy))


def _pick(choices: Sequence[T], lot: float) -> T:
    return choices[int(lot * len(choices))]
