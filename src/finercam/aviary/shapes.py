"""Shapes as signed distances: where a form is, how it is lit, and how it is laid on the picture.

A form is a function of coordinates that is negative inside and grows by one per unit outside. Antialiasing, the
part's exact mask and its shading then are one line each. Pictures are planar (3, h, w) float32 in 0..1 while they
are painted: a flat colour times a shade is one broadcast, and each part touches only its own window.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

Plane = Float32[np.ndarray, "h w"]
Picture = Float32[np.ndarray, "3 h w"]
Patch = Float32[np.ndarray, "y x"]  # over a window of a picture
Colour = tuple[float, float, float]
Scalar = int | float  # annotations are enforced in tests, where an int is no float


@dataclass(frozen=True)
class Window:
    """A rectangle of pixels, half-open: rows ``top`` to ``bottom``, columns ``left`` to ``right``."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def empty(self) -> bool:
        """Whether it holds no pixel."""
        return self.bottom <= self.top or self.right <= self.left

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns, to index the last two axes of an array."""
        return slice(self.top, self.bottom), slice(self.left, self.right)


def window_around(points: list[tuple[float, float]], margin: Scalar, size: int) -> Window:
    """Return the smallest window that holds all ``points`` (x, y in pixels) and ``margin`` pixels around them."""
    xs = [x for x, _ in points]
    ys = [y for _, y in points]
    return Window(
        top=min(size, max(0, math.floor(min(ys) - margin))),
        bottom=min(size, max(0, math.ceil(max(ys) + margin) + 1)),
        left=min(size, max(0, math.floor(min(xs) - margin))),
        right=min(size, max(0, math.ceil(max(xs) + margin) + 1)),
    )


@dataclass(frozen=True)
class Frame:
    """A local coordinate system on the picture: an origin and two perpendicular axes of the same length, in pixels.

    The pixel of local ``(u, v)`` is ``origin + u * U + v * V``. A mirrored bird is a frame whose axes are
    mirrored; nothing that is drawn in the frame has to know.
    """

    x: float
    y: float
    ux: float
    uy: float
    vx: float
    vy: float

    @property
    def scale(self) -> float:
        """Pixels per local unit."""
        return math.hypot(self.ux, self.uy)

    def pixel(self, u: Scalar, v: Scalar) -> tuple[float, float]:
        """Return the pixel coordinates (x, y) of a local point."""
        return self.x + u * self.ux + v * self.vx, self.y + u * self.uy + v * self.vy

    def child(self, u: Scalar, v: Scalar, angle: Scalar = 0.0, scale: Scalar = 1.0, mirror: bool = False) -> Frame:
        """Return the frame at local ``(u, v)``, turned by ``angle`` (radians, from u towards v)."""
        c, s = math.cos(angle) * scale, math.sin(angle) * scale
        x, y = self.pixel(u, v)
        ux, uy = c * self.ux + s * self.vx, c * self.uy + s * self.vy
        vx, vy = c * self.vx - s * self.ux, c * self.vy - s * self.uy
        return Frame(x, y, ux, uy, -vx, -vy) if mirror else Frame(x, y, ux, uy, vx, vy)

    def local(self, window: Window) -> tuple[Plane, Plane]:
        """Return local ``(u, v)`` of the window's pixel centres, each (h, w)."""
        xs = np.arange(window.left, window.right, dtype=np.float32) - self.x
        ys = np.arange(window.top, window.bottom, dtype=np.float32) - self.y
        norm = self.ux * self.ux + self.uy * self.uy
        u = (xs * (self.ux / norm))[None, :] + (ys * (self.uy / norm))[:, None]
        v = (xs * (self.vx / norm))[None, :] + (ys * (self.vy / norm))[:, None]
        return u, v

    def window(self, u0: Scalar, u1: Scalar, v0: Scalar, v1: Scalar, size: int, margin: Scalar = 1.5) -> Window:
        """Return the window around a local rectangle."""
        corners = [self.pixel(u, v) for u in (u0, u1) for v in (v0, v1)]
        return window_around(corners, margin, size)


def upright(x: Scalar, y: Scalar, scale: Scalar, angle: Scalar = 0.0, mirror: bool = False) -> Frame:
    """Return a frame at pixel (x, y): u to the right (to the left if ``mirror``), v down, turned by ``angle``."""
    side = -1.0 if mirror else 1.0
    c, s = math.cos(angle) * scale, math.sin(angle) * scale
    return Frame(x, y, side * c, s, -side * s, c)


def circle(u: Plane, v: Plane, r: float) -> Plane:
    """Distance to a circle of radius ``r`` around the origin."""
    out: Plane = np.sqrt(u * u + v * v)
    out -= r
    return out


def ellipse(u: Plane, v: Plane, ru: float, rv: float) -> Plane:
    """Nearly the distance to an ellipse around the origin (exact on its edge, first order beside it)."""
    uu, vv = u * (1 / ru), v * (1 / rv)
    inner = np.sqrt(uu * uu + vv * vv)
    uu *= 1 / ru
    vv *= 1 / rv
    steep = np.sqrt(uu * uu + vv * vv)
    out: Plane = inner * (inner - 1.0) / (steep + 1e-6)
    return out


def round_cone(u: Plane, v: Plane, length: float, r0: float, r1: float) -> Plane:
    """Distance to the hull of a circle ``r0`` at the origin and a circle ``r1`` at ``(length, 0)``."""
    slope = (r0 - r1) / length
    lift = math.sqrt(max(1.0 - slope * slope, 1e-6))
    across = np.abs(v)
    # The nearest circle's centre is where the side's normal, which leans to the thin end, meets the axis.
    foot = np.clip(u - across * (slope / lift), 0.0, length)
    along = u - foot
    out: Plane = np.sqrt(along * along + across * across) - (r0 - slope * foot)
    return out


def segment(u: Plane, v: Plane, u1: float, v1: float, r: float) -> Plane:
    """Distance to a round-ended stroke of half-width ``r`` from the origin to ``(u1, v1)``."""
    t = np.clip((u * u1 + v * v1) * (1.0 / (u1 * u1 + v1 * v1)), 0.0, 1.0)
    du, dv = u - t * u1, v - t * v1
    out: Plane = np.sqrt(du * du + dv * dv)
    out -= r
    return out


def blade(u: Plane, v: Plane, length: float, width: float, belly: float = 0.4) -> Plane:
    """Nearly the distance to a leaf-like blade from the origin to ``(length, 0)``, pointed at both ends.

    ``width`` is the half-width where it is widest, at the fraction ``belly`` of the length.
    """
    t = np.clip(u * (1 / length), 0.0, 1.0)
    # A parabola bent towards the belly: zero at both ends, one at the belly.
    power = math.log(0.5) / math.log(belly)
    s = t**power
    half = (4.0 * width) * s * (1.0 - s)
    out: Plane = np.maximum(np.abs(v) - half, np.abs(u - 0.5 * length) - 0.5 * length)
    out *= 0.9
    return out


def melt(a: Plane, b: Plane, k: float) -> Plane:
    """Union of two forms whose joint is filled over about ``k`` units (polynomial smooth minimum)."""
    h = np.maximum(k - np.abs(a - b), 0.0)
    out: Plane = np.minimum(a, b)
    out -= h * h * (0.25 / k)
    return out


def cover(d: Plane, scale: float, soft: float = 1.0) -> Plane:
    """Coverage 0..1 of each pixel from distances ``d`` in local units; the edge is ``soft`` pixels wide."""
    out = d * (-scale / soft)
    out += 0.5
    return np.clip(out, 0.0, 1.0, out=out)


def smooth(x: Plane, low: float, high: float) -> Plane:
    """Smooth step: 0 below ``low``, 1 above ``high``."""
    t = np.clip((x - low) * (1.0 / (high - low)), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def relief(d: Plane, round_over: float, light: tuple[float, float, float]) -> Plane:
    """Light on a form that is round within ``round_over`` of its edge: n . l, -1..1.

    ``d`` is a distance in pixels (negative inside), ``light`` the unit vector to the light: x right, y down,
    z to the viewer.
    """
    edge = np.clip(d * (1.0 / round_over) + 1.0, 0.0, 1.0)
    slant = np.zeros_like(d)
    if d.shape[1] > 2:
        slant[:, 1:-1] += (0.5 * light[0]) * (d[:, 2:] - d[:, :-2])
    if d.shape[0] > 2:
        slant[1:-1] += (0.5 * light[1]) * (d[2:] - d[:-2])
    slant *= edge
    slant += light[2] * np.sqrt(1.0 - edge * edge)
    return slant


def lay(picture: Picture, window: Window, alpha: Patch, colour: Colour, shade: Patch | None = None) -> None:
    """Lay a colour, times an optional shade, over a window of the picture, in place."""
    if window.empty:
        return
    rows, columns = window.slices
    under = picture[:, rows, columns]
    flat = np.array(colour, np.float32)[:, None, None]
    over = flat - under if shade is None else flat * shade - under
    over *= alpha
    under += over


def lay_picture(picture: Picture, window: Window, alpha: Patch, over: Float32[np.ndarray, "3 y x"]) -> None:
    """Lay a painted picture of the window's shape over a window of the picture, in place.

    What is fully covered leaves no trace, and what is not covered stays as it is, to the last bit.
    """
    if window.empty:
        return
    rows, columns = window.slices
    under = picture[:, rows, columns]
    under *= 1.0 - alpha
    under += alpha * over
