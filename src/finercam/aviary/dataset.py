"""The aviary as a sequence of samples."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from dataclasses import dataclass
from typing import SupportsIndex

from finercam.aviary import samples as draw
from finercam.aviary.samples import Image, Repainted, Sample
from finercam.aviary.species import label_names
from finercam.errors import check_between


@dataclass(frozen=True)
class Aviary:
    """A number of samples, drawn when they are asked for. Any two are independent; nothing is stored.

    Attributes:
        split: any name; different names give different pictures.
        n: how many samples.
        seed: from 0 upwards.
        biased: let the background go with the species (9 times in 10).
        size: side of the pictures in pixels, 32 to 1024.

    Raises:
        FinercamError: an argument is out of range.
    """

    split: str = "train"
    n: int = 3000
    seed: int = 0
    biased: bool = False
    size: int = 128

    def __post_init__(self) -> None:
        draw.check(self.split, 0, self.seed, self.size)
        check_between("the number of birds", self.n, 0, 10_000_000)

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: SupportsIndex) -> Sample:
        """Return a sample; negative indices count from the end."""
        return draw.sample(self.split, self._at(index), self.seed, biased=self.biased, size=self.size)

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(self.n))

    @property
    def label_names(self) -> tuple[str, ...]:
        """The name of each label."""
        return label_names

    def label(self, index: SupportsIndex) -> int:
        """Return a sample's label without drawing it."""
        return draw.label_at(self.split, self._at(index), self.seed)

    def picture(self, index: SupportsIndex) -> tuple[Image, int]:
        """Return only a sample's image and label, for training."""
        return draw.picture(self.split, self._at(index), self.seed, biased=self.biased, size=self.size)

    def empty_scene(self, index: SupportsIndex) -> Image:
        """Return a sample's scene without its bird."""
        return draw.empty_scene(self.split, self._at(index), self.seed, biased=self.biased, size=self.size)

    def repaint(self, index: SupportsIndex, other_species: str) -> Repainted:
        """Return a sample with its discriminating traits drawn as a look-alike's; see ``sample.repaint``."""
        at = self._at(index)
        return draw.repaint(self.split, at, self.seed, other_species, biased=self.biased, size=self.size)

    def _at(self, index: SupportsIndex) -> int:
        number = operator.index(index)
        if not -self.n <= number < self.n:
            # An IndexError, as sequences raise.
            raise IndexError(f"there is no sample {number}: the aviary holds {self.n}")
        return number % self.n
