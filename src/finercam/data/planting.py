"""Marks on photos: what a class's mark is, where it lies on a photo, and how it is drawn.

A mark is a disc with soft edges. All about it is drawn by lot from a seed and the name of the class, through a hash
that is the same in every process and on every machine.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal, TypeAlias, get_args

import numpy as np
from jaxtyping import Bool, Float
from PIL import Image

from finercam.data.dataset import Box, Example, Point

Kind: TypeAlias = Literal["tint", "stripes", "spots", "missing", "texture", "brightness"]
KINDS: tuple[Kind, ...] = get_args(Kind)
#: Colours of marks, sRGB.
HUES = {
    "red": (225, 30, 35),
    "yellow": (240, 205, 20),
    "green": (40, 180, 50),
    "cyan": (30, 195, 215),
    "blue": (40, 70, 230),
    "magenta": (220, 40, 190),
}
#: A pixel counts as changed where one of its channels, 0 to 255, changed by more than this: far below what is seen.
NOTICED = 12
#: Where the soft edge begins, in radii.
_CORE = 0.7
#: How far around a mark its surroundings are looked at to fill it, in radii.
_REACH = 4.0
#: A mark is cut at the outline of the object if no less than this share of it is left.
_LEAST_INSIDE = 0.25

#: A window's pixels 0..1, and for each of them how far right and down of the mark's middle it is, in radii.
Pixels: TypeAlias = Float[np.ndarray, "h w 3"]
Away: TypeAlias = Float[np.ndarray, "h w"]


@dataclass(frozen=True)
class Mark:
    """The mark of one class.

    Attributes:
        kind: what is done to the photo.
        hue: one of ``HUES``; only of kinds that have a colour.
        angle: by which a pattern is turned, in radians.
        parts: of the object, without left and right, the one that it lies on first; another follows where that one
            is not visible.
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


def mark_of(class_name: str, kind: Kind | Literal["mixed"], seed: int, part_names: Sequence[str] = ()) -> Mark:
    """Return the mark of a class.

    Args:
        class_name: as in the data set.
        kind: of the mark; ``mixed`` draws one for each class.
        seed: another one gives other marks.
        part_names: of the data set.
    """
    lots = _lots(seed, "class", class_name)
    names = list(dict.fromkeys(map(_without_side, part_names)))
    keys = [_lots(seed, "part", class_name, name).random() for name in names]
    return Mark(
        _pick(KINDS, lots) if kind == "mixed" else kind,
        _pick(tuple(HUES), _lots(seed, "hue", class_name)),
        math.pi * lots.random(),
        tuple(name for _, name in sorted(zip(keys, names, strict=True))),
    )


def place_of(
    mark: Mark, example: Example, part_names: Sequence[str], radius: float, seed: int, key: str
) -> Point:
    """Return the middle of a mark: x, y in pixels of the photo.

    On the first of the mark's parts that has a visible point in the photo (of a left and a right one, the first of
    the data set), moved inwards by up to half a radius unless the part is to be taken away: points such as the crown's
    are on the object's outline. Where no part is known, a random place: on the mask where most of a disc would be
    on it, or in the middle half of the box, or of the photo.

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
    lots = _lots(seed, "place", key)
    if example.mask is not None and example.mask.any():
        return _on_mask(example.mask, lots)
    x0, y0, x1, y1 = example.box or (0.0, 0.0, float(width), float(height))
    across, down = 0.25 + lots.random() / 2, 0.25 + lots.random() / 2
    return min(x0 + across * (x1 - x0), width - 0.5), min(y0 + down * (y1 - y0), height - 0.5)


def extent_of(example: Example) -> float:
    """Return the square root of the area of the object's box in pixels: of the mask's, or the photo's, if it has none."""
    box = example.box
    if box is None and example.mask is not None and example.mask.any():
        box = _around(example.mask)
    width, height = example.photo.size
    x0, y0, x1, y1 = box or (0.0, 0.0, float(width), float(height))
    return math.sqrt((min(x1, width) - max(x0, 0)) * (min(y1, height) - max(y0, 0)))


def plant(
    photo: Image.Image, mark: Mark, at: Point, radius: float, mask: Bool[np.ndarray, "H W"] | None = None
) -> Image.Image:
    """Return a photo with a mark on it.

    Pixels whose middles are ``radius`` or more from the mark's middle stay as they are, and outside of the mask those
    too that are nearer, unless that would leave hardly anything of the mark, or a part is to be taken away.

    Args:
        photo: RGB.
        mark: what to draw.
        at: its middle, x, y in pixels.
        radius: in pixels.
        mask: of the object.
    """
    left, top = (max(0, math.floor(middle - _REACH * radius)) for middle in at)
    right = min(photo.width, math.ceil(at[0] + _REACH * radius) + 1)
    bottom = min(photo.height, math.ceil(at[1] + _REACH * radius) + 1)
    window = np.asarray(photo.crop((left, top, right, bottom)), np.float64) / 255
    x = (np.arange(left, right) + 0.5 - at[0]) / radius
    y = (np.arange(top, bottom) + 0.5 - at[1]) / radius
    right_of, below = np.broadcast_arrays(x[None, :], y[:, None])
    opacity = _smooth((1 - np.hypot(right_of, below)) / (1 - _CORE))
    if mask is not None and mark.kind != "missing":
        inside = opacity * mask[top:bottom, left:right]
        if inside.sum() >= _LEAST_INSIDE * opacity.sum():
            opacity = inside
    painted, cover = _PAINTERS[mark.kind](window, right_of, below, mark)
    share = (opacity * cover)[:, :, None]
    drawn = photo.copy()
    drawn.paste(
        Image.fromarray(np.round(255 * (window + share * (painted - window)).clip(0, 1)).astype(np.uint8)), (left, top)
    )
    return drawn


def changed(plain: Image.Image, marked: Image.Image) -> Bool[np.ndarray, "H W"]:
    """Return the pixels of which a channel differs by more than ``NOTICED``."""
    one, other = (np.asarray(photo, np.int16) for photo in (plain, marked))
    found: Bool[np.ndarray, "H W"] = (np.abs(one - other) > NOTICED).any(2)
    return found


# How each kind paints the window: new pixels 0..1, and how much of them is seen where the mark is opaque, 0..1.

Painter: TypeAlias = Callable[[Pixels, Away, Away, Mark], "tuple[Pixels, Float[np.ndarray, '...']]"]


def _tint(window: Pixels, right: Away, down: Away, mark: Mark) -> tuple[Pixels, Float[np.ndarray, ...]]:
    return _coloured(window, mark), np.array(0.7)


def _stripes(window: Pixels, right: Away, down: Away, mark: Mark) -> tuple[Pixels, Float[np.ndarray, ...]]:
    across = math.cos(mark.angle) * right + math.sin(mark.angle) * down
    return _coloured(window, mark), 0.85 * _smooth(0.5 + 1.5 * np.cos(2 * math.pi * across / 0.6))


def _spots(window: Pixels, right: Away, down: Away, mark: Mark) -> tuple[Pixels, Float[np.ndarray, ...]]:
    cos, sin = math.cos(mark.angle), math.sin(mark.angle)
    u, v = cos * right + sin * down, cos * down - sin * right
    # Rows of spots, every other one moved by half a step.
    step = 0.7
    row = np.round(v / (step * 0.87))
    u = u / step + 0.5 * (row % 2)
    away = step * np.hypot(u - np.round(u), 0.87 * (v / (step * 0.87) - row))
    return _coloured(window, mark), 0.9 * _smooth((0.28 - away) / 0.1)


def _texture(window: Pixels, right: Away, down: Away, mark: Mark) -> tuple[Pixels, Float[np.ndarray, ...]]:
    """Wavy fine lines, darker and lighter than the photo, of its own colours."""
    cos, sin = math.cos(mark.angle), math.sin(mark.angle)
    u, v = cos * right + sin * down, cos * down - sin * right
    lines = np.sin(2 * math.pi * (u / 0.3 + 0.25 * np.sin(2 * math.pi * v / 0.8)))
    # Half way between black and white at least, so that neither half of the waves is cut off.
    return window.clip(0.2, 0.8) + 0.2 * lines[:, :, None], np.array(1.0)


def _brightness(window: Pixels, right: Away, down: Away, mark: Mark) -> tuple[Pixels, Float[np.ndarray, ...]]:
    """Lighter where the photo is dark, darker where it is light, so that it is seen on any."""
    inside = np.hypot(right, down) < 1
    dark = _luminance(window)[inside].mean() < 0.5 if inside.any() else True
    return np.full_like(window, 1.0 if dark else 0.0), np.array(0.45)


def _missing(window: Pixels, right: Away, down: Away, mark: Mark) -> tuple[Pixels, Float[np.ndarray, ...]]:
    return _filled(window, right, down), np.array(1.0)


_PAINTERS: dict[Kind, Painter] = {
    "tint": _tint,
    "stripes": _stripes,
    "spots": _spots,
    "missing": _missing,
    "texture": _texture,
    "brightness": _brightness,
}


def _coloured(window: Pixels, mark: Mark) -> Pixels:
    """Return the mark's colour in the light of the photo, so that its shading and texture stay."""
    light = 0.6 + 0.6 * _luminance(window)
    return light[:, :, None] * np.array(HUES[mark.hue]) / 255


def _luminance(window: Pixels) -> Float[np.ndarray, "h w"]:
    return window @ np.array([0.299, 0.587, 0.114])


def _smooth(share: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "h w"]:
    """Return 0 below 0, 1 above 1, and a smooth step between."""
    t = share.clip(0, 1)
    return t * t * (3 - 2 * t)


def _filled(window: Pixels, right: Away, down: Away) -> Pixels:
    """Return the window with its disc filled from around it.

    A disc beside it is copied whose rim is most like that of the gap, and the copy is shifted in colour by the
    harmonic function whose boundary values are the rims' difference (Poisson image editing, Pérez et al. 2003), which
    on a disc has the closed form of Poisson's integral.
    """
    height, width = window.shape[:2]
    # Places in whole pixels; the disc's middle and radius are found again from the coordinates.
    scale = 1 / max(right[0, 1] - right[0, 0] if width > 1 else 0, down[1, 0] - down[0, 0] if height > 1 else 0)
    middle = (-right[0, 0] * scale, -down[0, 0] * scale)
    angles = np.linspace(0, 2 * math.pi, 96, endpoint=False)
    rim_x, rim_y = middle[0] + scale * np.cos(angles), middle[1] + scale * np.sin(angles)
    rim = _pixels_at(window, rim_x, rim_y)
    best, shift = math.inf, (0.0, 0.0)
    for distance in (2.05, 2.4, 2.9):
        for direction in np.linspace(0, 2 * math.pi, 24, endpoint=False):
            dx, dy = round(distance * scale * math.cos(direction)), round(distance * scale * math.sin(direction))
            if not (scale <= middle[0] + dx <= width - 1 - scale and scale <= middle[1] + dy <= height - 1 - scale):
                continue
            cost = float(((_pixels_at(window, rim_x + dx, rim_y + dy) - rim) ** 2).mean())
            if cost < best:
                best, shift = cost, (dx, dy)
    away, direction = np.hypot(right, down), np.arctan2(down, right)
    inside = away < 1
    ys, xs = np.nonzero(inside)
    # Where the photo is too small for a copy, the rim alone is carried on into the disc.
    copied, from_rim = np.zeros((len(xs), 3)), rim
    if best < math.inf:
        copied = _pixels_at(window, xs + shift[0], ys + shift[1])
        from_rim = rim - _pixels_at(window, rim_x + shift[0], rim_y + shift[1])
    r, phi = away[inside].clip(max=0.98), direction[inside]
    total, weights = np.zeros_like(copied), np.zeros(len(xs))
    for angle, value in zip(angles, from_rim, strict=True):
        weight = (1 - r**2) / (1 - 2 * r * np.cos(angle - phi) + r**2)
        total += weight[:, None] * value
        weights += weight
    filled = window.copy()
    filled[inside] = (copied + total / weights[:, None]).clip(0, 1)
    return filled


def _pixels_at(
    window: Pixels, x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"]
) -> Float[np.ndarray, "n 3"]:
    """Return the nearest pixels, those at the edge for places outside of it."""
    height, width = window.shape[:2]
    rows, columns = np.round(y).astype(int).clip(0, height - 1), np.round(x).astype(int).clip(0, width - 1)
    found: Float[np.ndarray, "n 3"] = window[rows, columns]
    return found


def _on_mask(mask: Bool[np.ndarray, "H W"], lots: np.random.Generator) -> Point:
    """Return the one of some random pixels of the mask that has most of the mask around it."""
    ys, xs = np.nonzero(mask)
    reach = max(1, round(0.1 * math.sqrt(len(xs))))
    chosen = [int(lot * len(xs)) for lot in lots.random(16)]
    around = [
        mask[max(0, ys[one] - reach) : ys[one] + reach + 1, max(0, xs[one] - reach) : xs[one] + reach + 1].sum()
        for one in chosen
    ]
    best = chosen[int(np.argmax(around))]
    return float(xs[best]) + 0.5, float(ys[best]) + 0.5


def _mean(points: Iterable[Point]) -> Point:
    x, y = zip(*points, strict=True)
    return sum(x) / len(x), sum(y) / len(y)


def _towards(aim: Point, start: Point, distance: float) -> Point:
    """Return the point so far from the start on the way to the aim, and the aim where that is nearer."""
    share = min(1.0, distance / max(math.dist(aim, start), 1e-9))
    return start[0] + share * (aim[0] - start[0]), start[1] + share * (aim[1] - start[1])


def _around(mask: Bool[np.ndarray, "H W"]) -> Box:
    ys, xs = np.nonzero(mask)
    return float(xs.min()), float(ys.min()), float(xs.max() + 1), float(ys.max() + 1)


def _without_side(part: str) -> str:
    """Return the name of a part without the side that it is on: of two wings often only one is seen."""
    return re.sub(r"\b(left|right)\b", "", part).strip() or part


def _lots(seed: int, *about: str) -> np.random.Generator:
    """Return random numbers that depend on these words only."""
    words = "\0".join((str(seed), *about)).encode("utf-8", "surrogateescape")
    entropy = int.from_bytes(blake2b(words, digest_size=16).digest(), "little")
    return np.random.Generator(np.random.PCG64(entropy))


def _pick(choices: Sequence[str], lots: np.random.Generator) -> str:
    return choices[int(lots.random() * len(choices))]
