"""What is behind the bird: sky, foliage, water or sand, softly out of focus. Nothing here knows the bird."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from finercam.aviary.draws import Draws
from finercam.aviary.palette import COLOURS, mix, rgb, times
from finercam.aviary.shapes import (
    Colour,
    Picture,
    Plane,
    Window,
    blade,
    circle,
    cover,
    ellipse,
    lay,
    lay_picture,
    smooth,
    upright,
)
from finercam.aviary.textures import grain, sheet, tile


def ramp(t: Plane, low: Colour, high: Colour) -> Picture:
    """Paint a plane of 0..1 with the colours between two."""
    start = np.array(low, np.float32)[:, None, None]
    out: Picture = (np.array(high, np.float32)[:, None, None] - start) * t
    out += start
    return out


def _whole(size: int) -> Window:
    return Window(0, size, 0, size)


def _height(size: int) -> Plane:
    """Return how far down each pixel is, 0 at the top and 1 at the bottom."""
    line = np.linspace(0.0, 1.0, size, dtype=np.float32)
    return np.broadcast_to(line[:, None], (size, size))


def _skyline(size: int, draws: Draws, at: float, rough: float) -> Plane:
    """Return how far below an uneven horizon each pixel is, in heights of the picture."""
    line = sheet(tile(16, 4), size, draws.point(), (0.0, 2.0))[:1]
    return _height(size) - (at + rough * line)


_SKIES = (
    ("4f97d3", "cbe4f1", "ffffff"),
    ("86b0cf", "e4eae4", "f8f6ef"),
    ("6c7db6", "f2b78c", "f8d6bb"),
    ("93a5b3", "ced6da", "eceeee"),
    ("6fb1d6", "f5e6c4", "fff7e8"),
)


def sky(draws: Draws, size: int) -> Picture:
    """Draw the open sky: clouds, sometimes hills far away."""
    high, low, white = (rgb(code) for code in draws.pick(_SKIES))
    out = ramp(_height(size) ** draws.between(0.7, 1.3), high, low)
    at, thick = draws.point(), draws.between(-0.15, 0.35)
    cloud = sheet(tile(6, 5), size, at, (3.2, 1.7))
    lit = cloud - sheet(tile(6, 5), size, (at[0] + 0.03, at[1] + 0.015), (3.2, 1.7))
    alpha = smooth(cloud, 0.25 - thick, 0.75 - thick)
    alpha *= draws.between(0.6, 1.0)
    lay_picture(out, _whole(size), alpha, ramp(np.clip(0.7 + 1.6 * lit, 0.0, 1.0), mix(white, high, 0.35), white))
    hills, far = draws.chance(0.45), draws.between(0.72, 0.92)
    line, shade = _skyline(size, draws, far, 0.05), draws.between(0.25, 0.6)
    if hills:
        lay(out, _whole(size), cover(-line, size / 3.0), mix(rgb("4c6a4a"), low, shade))
    return out


_LEAVES = (
    ("1f3d27", "4f7f3b", "a9c873"),
    ("27472c", "6f9440", "d3da86"),
    ("33401f", "8a8a3a", "e0c766"),
    ("17362f", "3c7257", "9cc7a0"),
    ("43301d", "9a6a2c", "e2b860"),
)


def foliage(draws: Draws, size: int) -> Picture:
    """Draw leaves in light and shade, with discs where the light comes through."""
    deep, middle, light = (rgb(code) for code in draws.pick(_LEAVES))
    base = sheet(tile(8, 3), size, draws.point(), (2.0, 2.0))
    out = ramp(smooth(base, -0.7, 0.6), deep, middle)
    glow = sheet(tile(6, 2, 1), size, draws.point(), (1.6, 1.6))
    lay(out, _whole(size), 0.55 * smooth(glow, 0.1, 0.9), light)
    px = size / 128.0
    for _ in range(draws.count(8, 14)):
        x, y, length = draws.unit() * size, draws.unit() * size, draws.between(14, 34) * px
        frame = upright(x, y, length, draws.between(0, 2 * math.pi))
        tone, soft, alpha = draws.unit(), draws.between(1.5, 4.0) * px, draws.between(0.45, 0.9)
        window = frame.window(0, 1, -0.3, 0.3, size, margin=soft)
        if window.empty:
            continue
        u, v = frame.local(window)
        colour = mix(times(deep, 1.15), mix(middle, light, 0.45), tone)
        side = 1.0 + 0.12 * np.sign(v) - 0.2 * cover(np.abs(v) - 0.01, length, soft)
        lay(out, window, alpha * cover(blade(u, v, 1.0, draws.between(0.16, 0.27)), length, soft), colour, side)
    for _ in range(draws.count(4, 10)):
        x, y, r, alpha = draws.unit() * size, draws.unit() * size, draws.between(3, 9) * px, draws.between(0.1, 0.32)
        frame = upright(x, y, 1.0)
        window = frame.window(-r, r, -r, r, size)
        if window.empty:
            continue
        disc = circle(*frame.local(window), r)
        lay(out, window, alpha * cover(disc, 1.0, 1.6) * (0.75 + 0.25 * smooth(disc, -2.5 * px, 0.0)), light)
    return out


_WATERS = (
    ("a9cbd6", "2c6680", "e9f4f4"),
    ("b9d3c9", "3f7468", "eef5ea"),
    ("d9c3b0", "4a6488", "ffeeda"),
    ("9fb6c0", "3d5566", "dfe8ea"),
)


def water(draws: Draws, size: int) -> Picture:
    """Draw rippled water, often with a far shore."""
    far, near, glint = (rgb(code) for code in draws.pick(_WATERS))
    y = _height(size)
    out = ramp(y ** draws.between(0.6, 1.1), far, near)
    at = draws.point()
    # Ripples are finer and flatter towards the horizon: sample the rows ever further apart upwards.
    rows = (np.sqrt(np.linspace(0.02, 1.0, size)) * 620 + at[0] * 512).astype(np.int64) & 511
    columns = (np.arange(size) * (128.0 / size) * draws.between(0.5, 0.9) + at[1] * 512).astype(np.int64) & 511
    ripple = tile(24, 3).take(rows, axis=0).take(columns, axis=1)
    strong = draws.between(0.10, 0.22)
    out *= 1.0 + strong * ripple
    lay(out, _whole(size), smooth(ripple, 0.38, 0.62) * draws.between(0.25, 0.7), glint)
    shore, horizon = draws.chance(0.6), draws.between(0.08, 0.26)
    line = _skyline(size, draws, horizon, 0.03)
    bank, grass = draws.pick(("5c7050", "7b7a52", "4d6156", "8a8468")), draws.pick(("d7e4e6", "e9e3d3", "c3d2da"))
    if shore:
        land = rgb(bank)
        lay(out, _whole(size), (1.0 - smooth(y, horizon, horizon + 0.16)) * 0.55, times(land, 0.8))
        lay(out, _whole(size), cover(y - horizon, size / 1.5), land, 0.9 + 0.15 * ripple)
        lay(out, _whole(size), cover(line + 0.05, size / 3.0), rgb(grass))
    return out


_SANDS = (
    ("e9d6a8", "c9a468", "a9cfe4"),
    ("e6ddc6", "bda983", "b9cbd3"),
    ("e3bd8c", "b57a4c", "f0d9b5"),
    ("d9cdb8", "a08f78", "c6d4d6"),
)


def sand(draws: Draws, size: int) -> Picture:
    """Draw a beach or dunes: ripples, grains, pebbles, sometimes a horizon."""
    pale, deep, above = (rgb(code) for code in draws.pick(_SANDS))
    y = _height(size)
    mood = sheet(tile(6, 3), size, draws.point(), (2.4, 1.2))
    out = ramp(np.clip(0.15 + 0.65 * y + 0.30 * mood, 0.0, 1.0), pale, deep)
    rows = y * y * draws.between(10, 18) + mood * draws.between(0.6, 1.3)
    rows = np.sin(rows * (2 * math.pi))
    specks = sheet(grain(), size, draws.point(), (1.0, 1.0))
    out *= 1.0 + (0.06 * rows + 0.028 * specks) * (0.35 + 0.65 * y)
    px = size / 128.0
    for _ in range(draws.count(3, 9)):
        x, depth = draws.unit() * size, draws.between(0.35, 1.0)
        r, tone = draws.between(1.0, 4.0) * depth * px, draws.between(0.55, 1.15)
        frame = upright(x, depth * size, 1.0)
        window = frame.window(-1.6 * r, 1.9 * r, -r, 1.2 * r, size)
        if window.empty:
            continue
        u, v = frame.local(window)
        lay(out, window, 0.4 * cover(ellipse(u - 0.3 * r, v - 0.25 * r, 1.5 * r, 0.8 * r), 1.0, 2.0), (0.25, 0.2, 0.15))
        stone = ellipse(u, v, 1.35 * r, 0.85 * r)
        lay(out, window, cover(stone, 1.0, 1.3), times(mix(COLOURS["grey"], deep, 0.5), tone), 1.0 - 0.3 * v / r)
    open_, horizon = draws.chance(0.55), draws.between(0.10, 0.34)
    line, sea = _skyline(size, draws, horizon, 0.02), draws.chance(0.5)
    if open_:
        lay(out, _whole(size), cover(line, size / 2.0), above)
        if sea:
            lay(
                out, _whole(size), cover(np.abs(y - horizon + 0.025) - 0.03, size / 2.0), mix(above, rgb("3b7f9c"), 0.6)
            )
    return out


BACKDROPS: dict[str, Callable[[Draws, int], Picture]] = {
    "sky": sky,
    "foliage": foliage,
    "water": water,
    "sand": sand,
}
"""The kinds of background."""
