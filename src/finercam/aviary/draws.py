"""Seeds: every random number of a sample comes from (split, index, seed), by a stable hash, never Python's own."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from finercam.aviary.shapes import Scalar

T = TypeVar("T")


class Draws:
    """Random numbers for drawing, as Python floats (so that float32 arrays stay float32)."""

    def __init__(self, split: str, index: int, seed: int, stream: str):
        digest = hashlib.sha256(f"{split}/{stream}".encode()).digest()
        entropy = [int.from_bytes(digest[:8], "little"), seed, index]
        self._rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy)))

    def unit(self) -> float:
        """Return a number in [0, 1)."""
        return float(self._rng.random())

    def between(self, low: Scalar, high: Scalar) -> float:
        """Return a number in [low, high)."""
        return low + (high - low) * float(self._rng.random())

    def around(self, middle: Scalar, spread: Scalar) -> float:
        """Return a number near ``middle``: triangular, never further away than ``spread``."""
        return middle + spread * float(self._rng.random() - self._rng.random())

    def chance(self, p: float) -> bool:
        """Return True with probability ``p``."""
        return float(self._rng.random()) < p

    def count(self, low: int, high: int) -> int:
        """Return a whole number from ``low`` to ``high``, both included."""
        return low + int(float(self._rng.random()) * (high - low + 1))

    def pick(self, choices: Sequence[T]) -> T:
        """Return one of the choices, each as likely."""
        return choices[int(float(self._rng.random()) * len(choices))]

    def point(self) -> tuple[float, float]:
        """Return two numbers in [0, 1)."""
        return self.unit(), self.unit()

    def order(self, n: int) -> list[int]:
        """Return 0 .. n - 1 in a random order."""
        keys = self._rng.random(n)
        return [int(i) for i in np.argsort(keys, kind="stable")]
