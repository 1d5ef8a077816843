"""Things that are not the bird: leaves, berries, flowers, butterflies, balls, twigs, grass.

Each returns layers, so that the same thing can lie behind the bird or hide a part of it.
"""

from __future__ import annotations

import math

import numpy as np

from finercam.aviary.draws import Draws
from finercam.aviary.layers import Layer, lit
from finercam.aviary.palette import COLOURS, mix, rgb, times
from finercam.aviary.shapes import (
    Colour,
    Frame,
    Plane,
    blade,
    circle,
    cover,
    ellipse,
    relief,
    round_cone,
    smooth,
    upright,
)
from finercam.aviary.textures import cloth, tile

Light = tuple[float, float, float]

GREENS = ("3f6b33", "5f8a3c", "7ea046", "35573a", "8f9a44")
AUTUMN = ("b5562a", "c98a2b", "8d3f2a", "d2a838")
BARKS = ("6b5543", "7d6b5a", "584a3f", "8a7358", "4e4a46")


def leaf(frame: Frame, colour: Colour, light: Light, size: int, width: float = 0.22, soft: float = 1.2) -> list[Layer]:
    """Draw a leaf from the frame's origin to local (1, 0): two halves that catch the light differently."""
    window = frame.window(0.0, 1.0, -1.3 * width, 1.3 * width, size, margin=soft + 1)
    if window.empty:
        return []
    u, v = frame.local(window)
    scale = frame.scale
    bent = v - 0.18 * u * (1.0 - u)
    d = blade(u, bent, 1.0, width)
    vein = cover(np.abs(bent) - 0.012, scale, 1.4)
    ribs = np.sin((u + 0.6 * np.abs(bent)) * 38.0)
    tone = 1.0 + 0.10 * np.sign(bent) + 0.03 * ribs + 0.16 * vein
    shine = relief(d * scale, 0.5 * width * scale, light)
    return [Layer(None, window, cover(d, scale, soft), lit(colour, shine, tone))]


def ball(x: float, y: float, r: float, colour: Colour, light: Light, size: int, soft: float = 1.2) -> list[Layer]:
    """Draw a round thing of radius ``r`` pixels with a highlight: a berry, a float, a pebble."""
    frame = upright(x, y, 1.0)
    window = frame.window(-r, r, -r, r, size, margin=soft + 1)
    if window.empty:
        return []
    u, v = frame.local(window)
    d = circle(u, v, r)
    paint = lit(colour, relief(d, r, light))
    glint = cover(circle(u - 0.4 * r * light[0], v - 0.45 * r * light[1], 0.22 * r), 1.0, 1.5) * 0.7
    paint += glint * (1.0 - paint)
    return [Layer(None, window, cover(d, 1.0, soft), paint)]


def berries(draws: Draws, x: float, y: float, r: float, colour: Colour, light: Light, size: int) -> list[Layer]:
    """Draw a bunch of three to six berries, each of radius ``r`` pixels."""
    layers = []
    for _ in range(draws.count(3, 6)):
        dx, dy = draws.around(0, 2.2) * r, draws.around(0, 2.0) * r
        layers += ball(x + dx, y + dy, r * draws.between(0.8, 1.1), colour, light, size)
    return layers


def flower(
    x: float, y: float, r: float, angle: float, petals: int, colour: Colour, heart: Colour, light: Light, size: int
) -> list[Layer]:
    """Draw an open flower of radius ``r`` pixels."""
    frame = upright(x, y, r, angle)
    window = frame.window(-1.05, 1.05, -1.05, 1.05, size)
    if window.empty:
        return []
    u, v = frame.local(window)
    radius = np.sqrt(u * u + v * v)
    lobes = np.abs(np.cos(np.arctan2(v, u) * (0.5 * petals)))
    d = (radius - 0.45 - 0.50 * np.sqrt(lobes)) * 0.8
    paint = lit(colour, relief(d * r, 0.4 * r, light), 0.82 + 0.22 * np.clip(radius, 0.0, 1.0))
    middle = cover(radius - 0.27, r)
    paint += middle * (np.array(heart, np.float32)[:, None, None] - paint)
    return [Layer(None, window, cover(d, r), paint)]


def butterfly(x: float, y: float, r: float, angle: float, colour: Colour, size: int) -> list[Layer]:
    """Draw a butterfly with a wingspan of about two ``r`` pixels."""
    frame = upright(x, y, r, angle)
    window = frame.window(-1.1, 1.1, -0.9, 0.9, size)
    if window.empty:
        return []
    u, v = frame.local(window)
    side = np.abs(u)
    upper = ellipse(side - 0.52, v + 0.28 + 0.35 * (side - 0.5), 0.48, 0.36)
    lower = ellipse(side - 0.38, v - 0.36 + 0.3 * (side - 0.4), 0.34, 0.34)
    d = np.minimum(upper, lower)
    edge = smooth(d, -0.16, -0.06)
    body = ellipse(u, v - 0.05, 0.085, 0.5)
    flat = np.array(colour, np.float32)[:, None, None]
    dark = np.array(mix(colour, COLOURS["black"], 0.8), np.float32)[:, None, None]
    ink = np.maximum(edge, cover(body, r))
    return [Layer(None, window, cover(np.minimum(d, body), r), flat + ink * (dark - flat))]


def twig(
    draws: Draws,
    start: tuple[float, float],
    angle: float,
    length: float,
    thick: float,
    light: Light,
    size: int,
    leaves: int,
    colours: tuple[str, ...],
) -> list[Layer]:
    """Draw a bent twig from a pixel, ``length`` and ``thick`` in pixels, with leaves along it."""
    frame = upright(start[0], start[1], length, angle)
    bend, bark = draws.around(0, 0.22), rgb(draws.pick(BARKS))
    reach = abs(bend) + thick / length
    window = frame.window(-0.02, 1.02, -reach, reach, size)
    layers = []
    if not window.empty:
        u, v = frame.local(window)
        bent = v - bend * u * u
        d = round_cone(u, bent, 1.0, thick / length, 0.35 * thick / length)
        layers.append(Layer(None, window, cover(d, length), lit(bark, relief(d * length, thick, light))))
    for number in range(leaves):
        t = (number + draws.between(0.6, 1.2)) / leaves
        side = -1.0 if number % 2 else 1.0
        grow = draws.between(0.5, 1.0)
        at = frame.child(min(t, 1.0), bend * t * t, side * grow)
        long = draws.between(9, 17) * size / 128
        layers += leaf(
            at.child(0, 0, 0, long / length), rgb(draws.pick(colours)), light, size, draws.between(0.20, 0.3)
        )
    return layers


def grass(draws: Draws, x: float, size: int, light: Light, tall: float, colours: tuple[str, ...]) -> list[Layer]:
    """Draw a tuft of long blades that grows from below the picture to about ``tall`` of its height."""
    layers = []
    px = size / 128
    for _ in range(draws.count(2, 4)):
        length = tall * size * draws.between(0.6, 1.1)
        frame = upright(x + draws.around(0, 8) * px, size + 2 * px, length, -math.pi / 2 + draws.around(0, 0.3))
        bend, half = draws.around(0, 0.3), draws.between(1.1, 2.1) * px / length
        window = frame.window(0.0, 1.0, -abs(bend) - half, abs(bend) + half, size)
        colour = rgb(draws.pick(colours))
        if window.empty:
            continue
        u, v = frame.local(window)
        bent = v - bend * u * u
        d = round_cone(u, bent, 1.0, half, 0.12 * half)
        layers.append(Layer(None, window, cover(d, length), lit(colour, relief(d * length, half * length, light))))
    return layers


THINGS = ("ball", "berries", "flower", "butterfly", "leaf")
"""What ``thing`` can draw."""


def distractor(draws: Draws, kinds: tuple[str, ...], size: int, light: Light) -> list[Layer]:
    """Draw something in the colour of some bird's part, anywhere on the picture."""
    px = size / 128
    kind, x, y = draws.pick(kinds), draws.unit() * size, draws.unit() * size
    r, angle, name = draws.between(2.6, 5.2) * px, draws.between(0, 2 * math.pi), draws.pick(tuple(COLOURS))
    if kind == "ball":
        y = (0.45 + 0.55 * y / size) * size
    return thing(draws, kind, name, (x, y), r, angle, light, size)


def thing(
    draws: Draws, kind: str, name: str, at: tuple[float, float], r: float, angle: float, light: Light, size: int
) -> list[Layer]:
    """Draw one of ``THINGS`` around a pixel (a leaf: from it), in a named colour.

    ``r`` in pixels goes for its size: the radius of a ball; flowers, butterflies and leaves are larger.
    """
    (x, y), colour = at, times(COLOURS[name], draws.between(0.85, 1.1))
    if kind == "ball":
        return ball(x, y, r, colour, light, size)
    if kind == "berries":
        return berries(draws, x, y, 0.62 * r, colour, light, size)
    if kind == "flower":
        heart = COLOURS["gold"] if name not in ("gold", "cream", "buff") else COLOURS["brown"]
        return flower(x, y, 1.5 * r, angle, draws.count(5, 7), colour, heart, light, size)
    if kind == "butterfly":
        return butterfly(x, y, 1.7 * r, draws.around(0, 0.7), colour, size)
    frame = upright(x, y, 4.0 * r, angle)
    return leaf(frame, mix(colour, rgb("6a7a3a"), 0.25), light, size, 0.24)


def bark(u: Plane, v: Plane, at: tuple[float, float]) -> Plane:
    """Return a tone of bark or driftwood that runs along u (pixels of 1/128)."""
    return 1.0 + 0.26 * cloth(tile(48, 3), u, v, (1.3, 7.0), at)
