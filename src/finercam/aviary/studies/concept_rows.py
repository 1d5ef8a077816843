"""What is found of each concept, and what it comes to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from finercam.aviary.species import ATTRIBUTES
from finercam.errors import FinercamError
from finercam.metrics.intervals import Mean, mean_of

#: Shown for the concept's own map.
ALONE = "alone"


@dataclass(frozen=True)
class Row:
    """One trait of one bird, one map.

    Attributes:
        id: of the bird.
        attribute, value: the trait, as in ``ATTRIBUTES``.
        part: where it is seen.
        contrast: ``alone``, ``gamma 0.6`` ...
        energy: share of saliency on the part, 0 to 1.
        precision: average precision of saliency as a ranking of the part's pixels, 0 to 1.
        area: the part's share of the image.
        empty: whether the map is zero.
    """

    id: int
    attribute: str
    value: str
    part: str
    contrast: str
    energy: float
    precision: float
    area: float
    empty: bool


@dataclass(frozen=True)
class Summary:
    """A line of the table: means over birds (of each bird's mean over its traits), and paired gains over ``alone``.

    Attributes:
        of: ``all``, an attribute, or ``attribute=value``.
        contrast: as in ``Row``.
        energy, precision: see ``Row``.
        energy_gain, precision_gain: ``None`` for ``alone`` itself.
        area: mean share of the image, what a map that knows nothing would score.
        empty: share of maps that are zero.
    """

    of: str
    contrast: str
    energy: Mean
    precision: Mean
    energy_gain: Mean | None
    precision_gain: Mean | None
    area: float
    empty: float


def summarise(rows: Sequence[Row], by: str = "all") -> list[Summary]:
    """Return a summary per group and contrast.

    Intervals are over birds: traits of one bird are not independent.

    Args:
        rows: from ``measure``.
        by: ``all``, ``attribute`` or ``trait``.
    """
    if by not in _GROUPS:
        raise FinercamError(f"by is {by!r}; give one of {', '.join(_GROUPS)}")
    groups: dict[str, dict[str, list[Row]]] = {}
    # Not in the order in which birds happen to show them.
    order = list(ATTRIBUTES)
    for row in sorted(rows, key=lambda row: order.index(row.attribute)):
        groups.setdefault(_GROUPS[by](row), {}).setdefault(row.contrast, []).append(row)
    summaries = []
    for of, by_contrast in groups.items():
        means = {
            (contrast, name): _per_bird(own, name)
            for contrast, own in by_contrast.items()
            for name in ("energy", "precision")
        }
        for contrast, own in by_contrast.items():
            energy, precision = means[contrast, "energy"], means[contrast, "precision"]
            alone = contrast == ALONE
            summaries.append(
                Summary(
                    of,
                    contrast,
                    energy=mean_of(energy),
                    precision=mean_of(precision),
                    energy_gain=None if alone else mean_of(energy - means[ALONE, "energy"]),
                    precision_gain=None if alone else mean_of(precision - means[ALONE, "precision"]),
                    area=float(np.mean([row.area for row in own])),
                    empty=float(np.mean([row.empty for row in own])),
                )
            )
    return summaries


_GROUPS: dict[str, Callable[[Row], str]] = {
    "all": lambda row: "all",
    "attribute": lambda row: row.attribute,
    "trait": lambda row: f"{row.attribute}={row.value}",
}


def _per_bird(rows: Iterable[Row], name: str) -> Tensor:
    """Return a column's mean over each bird's rows, in the order of the birds."""
    birds: dict[int, list[float]] = {}
    for row in rows:
        birds.setdefault(row.id, []).append(getattr(row, name))
    return torch.tensor([float(np.mean(values)) for _, values in sorted(birds.items())], dtype=torch.float64)
