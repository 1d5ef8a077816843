"""What carries the evidence for one class over another, over all photos: means with their intervals, and in words."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from finercam.metrics.intervals import Mean, mean_of
from finercam.runs.rows import Rows

#: Columns that the means are made of.
_COLUMNS = (
    *("target", "other", "correct", "margin", "empty", "off", "off_even"),
    *("places", "shares", "plain", "even", "falls", "elsewhere"),
)

#: In place of a class: whichever a photo was compared with.
ANY = -1


@dataclass(frozen=True)
class Carrier:
    """A place of the object, over the photos that show it.

    Attributes:
        place: its name.
        fall: by how much the margin ``y_c - y_d`` falls as the place is painted over, in logits.
        elsewhere: as a patch of its shape elsewhere on the object is.
        caused: ``fall - elsewhere``, paired.
        share: of the saliency, 0 to 1.
        even: what its area would give.
        beyond: ``share - even``, paired.
        drawn: ``share`` less what the map of the class alone has there, paired: what the comparison draws to it.
    """

    place: str
    fall: Mean
    elsewhere: Mean
    caused: Mean
    share: Mean
    even: Mean
    beyond: Mean
    drawn: Mean

    @property
    def carries(self) -> bool:
        """Whether painting it over costs something, and more than painting over anything, by intervals above 0."""
        return self.caused.judged and min(self.fall.low, self.caused.low) > 0


@dataclass(frozen=True)
class Direction:
    """The photos of class c that were asked about c against d.

    Attributes:
        target, other: the model's classes c and d; or ``ANY``.
        photos: how many.
        correct: how many of them are correctly classified.
        empty: how many have no evidence for c over d.
        margin: ``y_c - y_d``.
        carriers: places, the one that costs most when it is painted over first.
        off, off_even: the share off the object, and what that area would give; of no photo where no outline is known.
    """

    target: int
    other: int
    photos: int
    correct: int
    empty: int
    margin: Mean
    carriers: tuple[Carrier, ...]
    off: Mean
    off_even: Mean

    @property
    def carrier(self) -> Carrier | None:
        """The place that carries the most; ``None`` where none carries more than any patch of its shape would."""
        return next((one for one in self.carriers if one.carries), None)


def strongest(both: Sequence[Direction]) -> list[tuple[Direction, Carrier]]:
    """Return what tells a pair of classes apart: of each class the place that carries the most, the stronger first.

    Args:
        both: one class against the other, and the other way round; one of them where there are photos of one only.
            One whose photos show no place that carries anything is left out.
    """
    found = [(direction, direction.carrier) for direction in both]
    known = [(direction, carrier) for direction, carrier in found if carrier is not None]
    return sorted(known, key=lambda one: -one[1].fall.mean)


def directions(rows: Rows) -> list[Direction]:
    """Return each class against each other one it was compared with, those with most photos first."""
    return directions_of(rows.table(_COLUMNS).to_pylist())


def over_all(rows: Rows) -> list[Direction]:
    """Return each class against whichever class each of its photos was compared with: ``other`` is ``ANY``."""
    return directions_of([row | {"other": ANY} for row in rows.table(_COLUMNS).to_pylist()])


def directions_of(rows: Iterable[dict[str, Any]]) -> list[Direction]:
    """Return the same from rows as records (``Carried``'s columns)."""
    pairs: dict[tuple[int, int], list[dict[str, Any]]] = {}
    for row in rows:
        pairs.setdefault((row["target"], row["other"]), []).append(row)
    found = [_direction(target, other, own) for (target, other), own in pairs.items()]
    return sorted(found, key=lambda one: (-one.photos, one.target, one.other))


def _direction(target: int, other: int, rows: Sequence[dict[str, Any]]) -> Direction:
    places = dict.fromkeys(place for row in rows for place in row["places"])
    carriers = [_carrier(place, rows) for place in places]
    return Direction(
        target,
        other,
        len(rows),
        sum(row["correct"] for row in rows),
        sum(row["empty"] for row in rows),
        _mean([row["margin"] for row in rows]),
        tuple(sorted(carriers, key=lambda one: -one.fall.mean if one.fall.n else math.inf)),
        _mean([row["off"] for row in rows]),
        _mean([row["off_even"] for row in rows]),
    )


def _carrier(place: str, rows: Sequence[dict[str, Any]]) -> Carrier:
    own = [(row, row["places"].index(place)) for row in rows if place in row["places"]]
    names = ("shares", "plain", "even", "falls", "elsewhere")
    share, plain, even, fall, elsewhere = ([row[name][at] for row, at in own] for name in names)
    return Carrier(
        place,
        _mean(fall),
        _mean(elsewhere),
        _mean([f - e for f, e in zip(fall, elsewhere, strict=True)]),
        _mean(share),
        # Of the same photos: an empty map has a share of nothing.
        _mean([e if s == s else math.nan for e, s in zip(even, share, strict=True)]),
        _mean([s - e for s, e in zip(share, even, strict=True)]),
        _mean([s - p for s, p in zip(share, plain, strict=True)]),
    )


def _mean(values: Sequence[float]) -> Mean:
    return mean_of(torch.tensor(values, dtype=torch.float64))
