"""How marks are drawn on photos: discs with soft edges, so that every pixel that changes is known."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from PIL import Image, ImageChops

from finercam.data.dataset import Point
from finercam.data.planting import HUES, Kind, Mark

#: A pixel counts as changed where one of its channels, 0 to 255, changed by more than this: hardly to be seen.
NOTICED = 12
#: Where the soft edge begins, in radii.
_CORE = 0.7
#: A mark is cut at the outline of the object if no less than this share of it is left.
_LEAST_INSIDE = 0.25
#: To fill a disc, as much around it is looked at, in radii.
_SURROUNDINGS = 4.0


@dataclass(frozen=True, eq=False)
class _Window:
    """The part of a photo that a mark is drawn in.

    Attributes:
        pixels: 0 to 1.
        right, down: of the mark's middle, for each pixel, in radii.
        middle: the mark's, x, y in pixels, counted from the middle of the first.
        radius: the mark's, in pixels.
    """

    pixels: Float[np.ndarray, "h w 3"]
    right: Float[np.ndarray, "h w"]
    down: Float[np.ndarray, "h w"]
    middle: Point
    radius: float

    def turned(self, angle: float) -> tuple[Float[np.ndarray, "h w"], Float[np.ndarray, "h w"]]:
        """Return ``right`` and ``down`` turned by an angle."""
        cos, sin = math.cos(angle), math.sin(angle)
        return cos * self.right + sin * self.down, cos * self.down - sin * self.right

    @property
    def luminance(self) -> Float[np.ndarray, "h w"]:
        return self.pixels @ np.array([0.299, 0.587, 0.114])

    @property
    def inside(self) -> Bool[np.ndarray, "h w"]:
        """The pixels whose middles are in the disc."""
        return np.hypot(self.right, self.down) < 1

    def at(self, x: NDArray[Any], y: NDArray[Any]) -> Float[np.ndarray, "n 3"]:
        """Return the pixels nearest to some places, those at the edge for places outside."""
        height, width = self.pixels.shape[:2]
        rows, columns = np.round(y).astype(int).clip(0, height - 1), np.round(x).astype(int).clip(0, width - 1)
        return self.pixels[rows, columns]


def plant(
    photo: Image.Image, mark: Mark, at: Point, radius: float, mask: Bool[np.ndarray, "H W"] | None = None
) -> Image.Image:
    """Return a photo with a mark on it.

    Pixels whose middles are ``radius`` or more from the mark's middle stay as they are. So do those outside of the
    mask, unless a part is to be taken away, or less than a quarter of the mark would be left.

    Args:
        photo: RGB.
        mark: what to draw.
        at: its middle, x, y in pixels of the photo.
        radius: in pixels.
        mask: of the object, if it is known.
    """
    reach = radius * (_SURROUNDINGS if mark.kind == "missing" else 1)
    left, top = max(0, math.floor(at[0] - reach)), max(0, math.floor(at[1] - reach))
    right, bottom = min(photo.width, math.ceil(at[0] + reach)), min(photo.height, math.ceil(at[1] + reach))
    right_of, below = np.meshgrid(
        (np.arange(left, right) + 0.5 - at[0]) / radius, (np.arange(top, bottom) + 0.5 - at[1]) / radius
    )
    pixels = np.asarray(photo.crop((left, top, right, bottom)), np.float64) / 255
    window = _Window(pixels, right_of, below, (at[0] - left - 0.5, at[1] - top - 0.5), radius)
    opacity = _smooth((1 - np.hypot(right_of, below)) / (1 - _CORE))
    if mask is not None and mark.kind != "missing":
        cut = opacity * mask[top:bottom, left:right]
        if cut.sum() >= _LEAST_INSIDE * opacity.sum():
            opacity = cut
    paint, cover = _PAINTERS[mark.kind](window, mark)
    pixels = pixels + (opacity * cover)[:, :, None] * (paint - pixels)
    drawn = photo.copy()
    drawn.paste(Image.fromarray(np.round(255 * pixels).clip(0, 255).astype(np.uint8)), (left, top))
    return drawn


def changed(plain: Image.Image, marked: Image.Image) -> Bool[np.ndarray, "H W"]:
    """Return the pixels of which a channel differs by more than ``NOTICED``."""
    red, green, blue = (np.asarray(channel) > NOTICED for channel in ImageChops.difference(plain, marked).split())
    return red | green | blue


#: Returns the colours that a mark gives a window's pixels (h w 3, 0 to 1), and how much of them is seen where the mark
#: is opaque (h w or one number, 0 to 1).
_Painter: TypeAlias = Callable[[_Window, Mark], "tuple[NDArray[Any], NDArray[Any] | float]"]


def _tint(window: _Window, mark: Mark) -> tuple[NDArray[Any], NDArray[Any] | float]:
    return _coloured(window, mark), 0.7


def _stripes(window: _Window, mark: Mark) -> tuple[NDArray[Any], NDArray[Any] | float]:
    across, _ = window.turned(mark.angle)
    return _coloured(window, mark), 0.85 * _smooth(0.5 + 1.5 * np.cos(2 * math.pi * across / 0.6))


def _spots(window: _Window, mark: Mark) -> tuple[NDArray[Any], NDArray[Any] | float]:
    u, v = window.turned(mark.angle)
    # Rows of spots, every other one moved by half a step.
    step, height = 0.7, 0.6
    row = np.round(v / height)
    u = u + step / 2 * (row % 2)
    away = np.hypot(u - step * np.round(u / step), v - height * row)
    return _coloured(window, mark), 0.9 * _smooth((0.28 - away) / 0.1)


def _texture(window: _Window, mark: Mark) -> tuple[NDArray[Any], NDArray[Any] | float]:
    """Wavy fine lines, darker and lighter than the photo and of its own colours."""
    u, v = window.turned(mark.angle)
    lines = np.sin(2 * math.pi * (u / 0.3 + 0.25 * np.sin(2 * math.pi * v / 0.8)))
    # Neither black nor white, so that neither half of the waves is cut off.
    return window.pixels.clip(0.2, 0.8) + 0.2 * lines[:, :, None], 1.0


def _brightness(window: _Window, mark: Mark) -> tuple[NDArray[Any], NDArray[Any] | float]:
    """Lighter where the photo is dark, darker where it is light, so that it is seen on any."""
    dark = window.luminance[window.inside].mean() < 0.5
    return np.full_like(window.pixels, 1.0 if dark else 0.0), 0.45


def _missing(window: _Window, mark: Mark) -> tuple[NDArray[Any], NDArray[Any] | float]:
    return _filled(window), 1.0


_PAINTERS: dict[Kind, _Painter] = {
    "tint": _tint,
    "stripes": _stripes,
    "spots": _spots,
    "missing": _missing,
    "texture": _texture,
    "brightness": _brightness,
}


def _coloured(window: _Window, mark: Mark) -> Float[np.ndarray, "h w 3"]:
    """Return the mark's colour in the light of the photo, so that shading and texture stay."""
    return (0.6 + 0.6 * window.luminance)[:, :, None] * np.array(HUES[mark.hue]) / 255


def _smooth(share: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "h w"]:
    """Return 0 below 0, 1 above 1, and a smooth step between."""
    t = share.clip(0, 1)
    return t * t * (3 - 2 * t)


def _filled(window: _Window) -> Float[np.ndarray, "h w 3"]:
    """Return the window with its disc filled from around it.

    A disc beside it is copied, the one whose rim is most like that of the gap, and its colours are shifted by the
    harmonic function that equals the rims' difference on the rim (Poisson image editing, Pérez et al. 2003). On a
    disc that is the real part of a power series, whose coefficients are the Fourier coefficients of the rim. Where
    the photo has no room for a copy, the rim alone is carried on into the disc.
    """
    height, width = window.pixels.shape[:2]
    (x, y), radius = window.middle, window.radius
    angles = np.linspace(0, 2 * math.pi, 96, endpoint=False)
    rim_x, rim_y = x + radius * np.cos(angles), y + radius * np.sin(angles)
    rim = window.at(rim_x, rim_y)
    found: tuple[float, int, int] | None = None
    for distance in (2.05, 2.4, 2.9):
        for angle in angles[::4].tolist():
            dx, dy = round(distance * radius * math.cos(angle)), round(distance * radius * math.sin(angle))
            if radius <= x + dx <= width - 1 - radius and radius <= y + dy <= height - 1 - radius:
                unlike = float(((window.at(rim_x + dx, rim_y + dy) - rim) ** 2).mean())
                found = min(found or (math.inf, 0, 0), (unlike, dx, dy))
    inside = window.inside
    rows, columns = np.nonzero(inside)
    copied, carried = np.zeros((len(rows), 3)), rim
    if found is not None:
        _, dx, dy = found
        copied, carried = window.at(columns + dx, rows + dy), rim - window.at(rim_x + dx, rim_y + dy)
    # The higher terms are noise of single pixels of the rim.
    terms = np.fft.fft(carried, axis=0)[:24] / len(angles)
    z = (window.right[inside] + 1j * window.down[inside])[:, None]
    series = np.zeros((len(rows), 3), complex)
    for term in terms[:0:-1]:
        series = (series + term) * z
    filled = window.pixels.copy()
    filled[inside] = (copied + terms[0].real + 2 * series.real).clip(0, 1)
    return filled
