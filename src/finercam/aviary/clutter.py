"""What grows and lies behind the bird: reeds and lily pads, dry tufts, branches further away."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from finercam.aviary.draws import Draws
from finercam.aviary.layers import Layer, lit
from finercam.aviary.palette import mix, rgb
from finercam.aviary.props import AUTUMN, GREENS, Light, twig
from finercam.aviary.shapes import cover, ellipse, relief, round_cone, upright


def _stalks(
    draws: Draws,
    count: int,
    x: float,
    foot: float,
    tall: float,
    colours: tuple[str, ...],
    size: int,
    light: Light,
    heads: bool,
) -> list[Layer]:
    """Draw thin blades that fan out from around (x, foot); with ``heads`` some bear a bulrush's brown spike."""
    px = size / 128
    layers = []
    for _ in range(count):
        length = tall * draws.between(0.55, 1.1)
        lean, bend = draws.around(0, 0.28), draws.around(0, 0.22)
        half, spike, colour = draws.between(0.9, 1.8) * px, heads and draws.chance(0.5), rgb(draws.pick(colours))
        frame = upright(x + draws.around(0, 9) * px, foot, length, -math.pi / 2 + lean)
        reach = abs(bend) + 3.0 * px / length
        window = frame.window(0.0, 1.05, -reach, reach, size)
        if window.empty:
            continue
        u, v = frame.local(window)
        bent = v - bend * u * u
        d = round_cone(u, bent, 1.0, half / length, 0.2 * half / length)
        paint = lit(colour, relief(d * length, half, light))
        layers.append(Layer(None, window, cover(d, length, 1.5), paint))
        if spike:
            head = ellipse(u - 0.88, bent, 0.11, 2.3 * px / length)
            layers.append(
                Layer(None, window, cover(head, length, 1.5), lit(rgb("5b3a22"), relief(head * length, 2 * px, light)))
            )
    return layers


def _in_water(draws: Draws, size: int, light: Light) -> list[Layer]:
    layers = []
    if draws.chance(0.45):
        for _ in range(draws.count(2, 5)):
            x, y, wide = draws.unit() * size, draws.between(0.5, 1.0) * size, draws.between(7, 14) * size / 128
            tone, turn = draws.unit(), draws.between(-2.5, -0.6)
            frame = upright(x, y, wide)
            window = frame.window(-1.1, 1.1, -0.5, 0.5, size)
            if window.empty:
                continue
            u, v = frame.local(window)
            # Seen from the side a pad is flat; its notch is a wedge from the middle outwards.
            a, b = u * math.cos(turn) + 2.6 * v * math.sin(turn), 2.6 * v * math.cos(turn) - u * math.sin(turn)
            d = np.maximum(ellipse(u, v, 1.0, 0.38), 0.5 * (0.35 * a - np.abs(b)))
            paint = lit(mix(rgb("3f6f45"), rgb("8aa858"), tone), 0.55 - 0.9 * v)
            layers.append(Layer(None, window, cover(d, wide, 1.5), paint))
    if draws.chance(0.5):
        x, foot, tall = draws.unit() * size, draws.between(0.55, 1.05) * size, draws.between(30, 70) * size / 128
        layers += _stalks(draws, draws.count(4, 8), x, foot, tall, GREENS, size, light, heads=True)
    return layers


def _on_sand(draws: Draws, size: int, light: Light) -> list[Layer]:
    layers = []
    for _ in range(draws.count(0, 2)):
        x, foot, tall = draws.unit() * size, draws.between(0.45, 1.0) * size, draws.between(14, 34) * size / 128
        straw = ("a8935a", "8b8448", "b9a468", "76803f")
        layers += _stalks(draws, draws.count(4, 8), x, foot, tall, straw, size, light, heads=False)
    return layers


def _branches(draws: Draws, size: int, light: Light) -> list[Layer]:
    layers = []
    for _ in range(draws.count(0, 2)):
        left, y = draws.chance(0.5), draws.between(0.0, 0.7) * size
        angle = draws.around(0.1, 0.7)
        start, turn = ((-2.0, y), angle) if left else ((size + 2.0, y), math.pi - angle)
        long, thick = draws.between(30, 75) * size / 128, draws.between(1.0, 2.2) * size / 128
        colours = GREENS if draws.chance(0.75) else AUTUMN
        layers += twig(draws, start, turn, long, thick, light, size, draws.count(3, 6), colours)
    return layers


CLUTTER: dict[str, Callable[[Draws, int, Light], list[Layer]]] = {
    "sky": _branches,
    "foliage": _branches,
    "water": _in_water,
    "sand": _on_sand,
}
"""What stands around in each background."""
