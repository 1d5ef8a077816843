"""Noise to paint with: a few periodic tiles, made once from fixed seeds, and sampled at random offsets.

Drawing fresh noise for each picture would cost more than drawing the bird.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from jaxtyping import Float32

TILE = 512
"""Side of a tile. A picture of the default size looks at every second pixel of a quarter of it."""


@lru_cache(maxsize=16)
def tile(cells: int, octaves: int = 1, seed: int = 0) -> Float32[np.ndarray, "512 512"]:
    """Return smooth periodic noise in -1..1 with ``cells`` bumps across, and ``octaves - 1`` finer ones on it."""
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([77, cells, octaves, seed])))
    total = np.zeros((TILE, TILE), np.float32)
    weight = 1.0
    for octave in range(octaves):
        n = cells << octave
        lattice = rng.random((n, n), dtype=np.float32) * 2 - 1
        total += np.float32(weight) * _stretch(_stretch(lattice).T).T
        weight *= 0.55
    total /= np.abs(total).max()
    total.setflags(write=False)
    return total


def _stretch(lattice: Float32[np.ndarray, "n m"]) -> Float32[np.ndarray, "512 m"]:
    """Interpolate the rows of a periodic lattice to the tile's side, with cubic B-splines: round, no grid shows."""
    n = len(lattice)
    at = np.arange(TILE) * (n / TILE)
    low = at.astype(np.int64)
    t = (at - low).astype(np.float32)[:, None]
    weights = ((1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3)
    out = np.zeros((TILE, lattice.shape[1]), np.float32)
    for step, weight in enumerate(weights):
        out += weight * lattice[(low + step) % n]
    return out


@lru_cache(maxsize=4)
def grain(seed: int = 0) -> Float32[np.ndarray, "512 512"]:
    """Return white noise of unit variance, roughly normal (a sum of uniforms)."""
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([78, seed])))
    noise: Float32[np.ndarray, "512 512"] = rng.random((4, TILE, TILE), dtype=np.float32).sum(0) - 2.0
    noise *= np.float32(np.sqrt(3.0))
    noise.setflags(write=False)
    return noise


def sheet(
    of: Float32[np.ndarray, "512 512"],
    size: int,
    at: tuple[float, float],
    steps: tuple[float, float] = (2.0, 2.0),
) -> Float32[np.ndarray, "size size"]:
    """Sample a tile over a whole picture: ``at`` (row, column) in 0..1, ``steps`` tile pixels per 1/128 of it."""
    index = np.arange(size) * (128.0 / size)
    rows = (index * steps[0] + at[0] * TILE).astype(np.int64) & (TILE - 1)
    columns = (index * steps[1] + at[1] * TILE).astype(np.int64) & (TILE - 1)
    return of.take(rows, axis=0).take(columns, axis=1)


def cloth(
    of: Float32[np.ndarray, "512 512"],
    u: Float32[np.ndarray, "h w"],
    v: Float32[np.ndarray, "h w"],
    steps: tuple[float, float],
    at: tuple[float, float],
) -> Float32[np.ndarray, "h w"]:
    """Sample a tile in local coordinates, so that plumage turns with the bird: ``steps`` tile pixels per unit."""
    # Offset well into the positive, so that truncation is floor.
    columns = (u * steps[0] + (at[0] + 8) * TILE).astype(np.int32)
    rows = (v * steps[1] + (at[1] + 8) * TILE).astype(np.int32)
    columns &= TILE - 1
    rows &= TILE - 1
    rows *= TILE
    rows += columns
    return of.ravel().take(rows)
