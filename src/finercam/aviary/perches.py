"""What the bird stands on: a branch, a wire, a post, a rock, or the ground. All hold the same point: its feet."""

from __future__ import annotations

import math

import numpy as np

from finercam.aviary.draws import Draws
from finercam.aviary.layers import Layer, lit
from finercam.aviary.palette import mix, rgb
from finercam.aviary.props import AUTUMN, BARKS, GREENS, Light, bark, twig
from finercam.aviary.shapes import Plane, cover, ellipse, relief, smooth, upright
from finercam.aviary.textures import cloth, tile

PERCHES: dict[str, tuple[str, ...]] = {
    "sky": ("branch", "branch", "wire", "post"),
    "foliage": ("branch", "branch", "branch", "post"),
    "water": ("rock", "rock", "post", "branch"),
    "sand": ("ground", "ground", "rock", "branch"),
}
"""The perches that go with each background."""


def perch(draws: Draws, kind: str, foot: tuple[float, float], light: Light, size: int) -> list[Layer]:
    """Draw a perch whose top is at the pixel ``foot``."""
    if kind == "branch":
        return _branch(draws, foot, light, size)
    if kind == "wire":
        return _wire(draws, foot, light, size)
    if kind == "post":
        return _post(draws, foot, light, size)
    return _shadow(foot, light, size) if kind == "ground" else _rock(draws, foot, light, size)


def _branch(draws: Draws, foot: tuple[float, float], light: Light, size: int) -> list[Layer]:
    px = size / 128
    thick, angle, bend = draws.between(3.2, 6.0), draws.around(0, 0.32), draws.around(0, 0.0016)
    side = 1.0 if draws.chance(0.5) else -1.0
    colour, at = rgb(draws.pick(BARKS)), draws.point()
    moss, leaves = draws.chance(0.35), draws.count(0, 2)
    frame = upright(foot[0], foot[1], px, angle, mirror=side < 0)
    window = frame.window(-140, 140, -10 - thick, 10 + 2.6 * thick, size)
    u, v = frame.local(window)
    # Thinner to one end; the knots are bumps of a slow noise. At u = 0 the top edge passes through the feet.
    knots = 0.5 * cloth(tile(24, 2), u, np.zeros_like(u), (2.2, 1.0), at)
    half = thick * (1.0 - 0.005 * np.clip(u, -80.0, 120.0)) + knots
    axis = bend * u * u + thick - 0.6
    d = np.abs(v - axis) - half
    rounded = relief(d * px, thick * px, light)
    tone = bark(u, v - axis, at)
    paint = lit(colour, rounded, tone)
    if moss:
        green = lit(rgb("6d8a3a"), rounded, 0.8 + 0.35 * tone)
        paint += smooth(_moss(v - axis, thick, tone), 0.0, 0.4) * (green - paint)
    layers = [Layer(None, window, cover(d, px), paint)]
    colours = GREENS if draws.chance(0.7) else AUTUMN
    for _ in range(leaves):
        along = draws.between(18, 52) * (1 if draws.chance(0.6) else -1)
        start = frame.pixel(along, bend * along * along + thick)
        rise = -math.pi / 2 + draws.around(0, 1.1)
        if draws.chance(0.4):
            rise = -rise
        layers += twig(
            draws, start, rise, draws.between(14, 30) * px, 1.3 * px, light, size, draws.count(2, 4), colours
        )
    return layers


def _moss(across: Plane, thick: float, tone: Plane) -> Plane:
    """Return how mossy a branch is, from its upper side downwards; it starts in the bark's pale places."""
    return 1.6 * (tone - 1.0) - across * (1.0 / thick) - 0.35


def _wire(draws: Draws, foot: tuple[float, float], light: Light, size: int) -> list[Layer]:
    px = size / 128
    angle, sag, colour = draws.around(0, 0.15), draws.between(-0.0008, 0.0), rgb(draws.pick(("33373d", "5a5048")))
    frame = upright(foot[0], foot[1], px, angle)
    window = frame.window(-140, 140, -12, 6, size)
    u, v = frame.local(window)
    d = np.abs(v - 0.9 - sag * u * u) - 1.3
    return [Layer(None, window, cover(d, px), lit(colour, relief(d * px, 1.4 * px, light)))]


def _post(draws: Draws, foot: tuple[float, float], light: Light, size: int) -> list[Layer]:
    px = size / 128
    half, angle, colour, at = draws.between(7, 12), draws.around(0, 0.07), rgb(draws.pick(BARKS)), draws.point()
    frame = upright(foot[0], foot[1], px, angle)
    window = frame.window(-half - 1, half + 1, -4, 60, size)
    u, v = frame.local(window)
    side = np.maximum(np.abs(u) - half, 1.0 - v)
    across = np.clip(u * (1 / half), -1.0, 1.0)
    round_ = across * (light[0] * (-1.0 if frame.ux < 0 else 1.0)) + light[2] * np.sqrt(1.0 - across * across)
    paint = lit(colour, round_, bark(v, u, at))
    top = ellipse(u, v - 1.2, half, 2.6)
    rings = 1.0 + 0.10 * np.sin(np.sqrt(u * u + 9.0 * (v - 1.2) * (v - 1.2)) * 2.4)
    over = lit(mix(colour, rgb("d9c39a"), 0.5), np.full_like(u, 0.7), rings)
    lid = cover(top, px)
    paint += lid * (over - paint)
    return [Layer(None, window, np.maximum(cover(side, px), lid), paint)]


def _rock(draws: Draws, foot: tuple[float, float], light: Light, size: int) -> list[Layer]:
    px = size / 128
    wide, high, at = draws.between(26, 44), draws.between(16, 30), draws.point()
    shift, colour = draws.around(0, 10), rgb(draws.pick(("7b7a76", "8d8577", "6a6f75", "9a8a78", "5d5a58")))
    frame = upright(foot[0], foot[1], px)
    window = frame.window(shift - wide - 4, shift + wide + 4, -4, high + 6, size)
    if window.empty:
        return []
    u, v = frame.local(window)
    rough = cloth(tile(32, 4), u, v, (3.0, 4.0), at)
    # The top of an ellipse, flattened, whose surface passes through the feet wherever they are on it.
    top = high * (1.0 - math.sqrt(max(0.0, 1.0 - (shift / wide) ** 2)))
    d = ellipse(u - shift, v - high + top, wide, high) + 1.1 * rough
    d = np.maximum(d, v - 0.75 * high - 4.0 + 0.8 * rough)
    paint = lit(colour, relief((d + 1.5 * rough) * px, 0.7 * high * px, light), 1.0 + 0.22 * rough)
    return [Layer(None, window, cover(d, px), paint)]


def _shadow(foot: tuple[float, float], light: Light, size: int) -> list[Layer]:
    px = size / 128
    frame = upright(foot[0] - 16 * light[0] * px, foot[1] + 1.5 * px, px)
    window = frame.window(-34, 34, -9, 9, size)
    u, v = frame.local(window)
    alpha = (1.0 - smooth(ellipse(u, v, 25.0, 5.0), -5.0, 3.0)) * 0.45
    return [Layer(None, window, alpha, lit((0.22, 0.17, 0.13), np.full_like(u, 0.6)))]
