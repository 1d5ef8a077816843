"""How alike two maps of one image are, and what that comes to over images."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import torch
from jaxtyping import Float
from torch import Tensor

from finercam.contrast.contrast import Contrast
from finercam.contrast.objective import Objective
from finercam.errors import FinercamError, nearest
from finercam.explanations.answering import Answer
from finercam.metrics.correlation import correlation, rank_correlation
from finercam.metrics.intervals import Mean, mean_of
from finercam.studies.evaluate.contrasts import contrast_name

#: The columns of ``Likeness``.
COLUMNS = (*((name, pa.float64()) for name in ("ranks", "values", "signed")), ("empty", pa.bool_()))
TARGETS = ("predicted", "label")


@dataclass(frozen=True)
class Likeness:
    """How alike two maps of one image are.

    Attributes:
        id: number of the image in the run.
        ranks, values: Spearman's and Pearson's correlation of their saliency, -1 to 1; ``None`` where one is constant.
        signed: Spearman's correlation of their signed maps, at the layer's resolution. A random network often speaks
            against the target everywhere: the saliency is then empty, the signed map still compares.
        empty: whether a saliency that is compared is zero.
    """

    id: int
    ranks: float | None
    values: float | None
    signed: float | None
    empty: bool


@dataclass(frozen=True)
class LikenessSummary:
    """A line of a table: means over images where neither map is constant, and the share of images with an empty one.

    Attributes:
        of: what was compared.
        ranks, values, signed: see ``Likeness``.
        empty: 0 to 1.
        images: how many.
    """

    of: str
    ranks: Mean
    values: Mean
    signed: Mean
    empty: float
    images: int


@dataclass(frozen=True, eq=False)
class Maps:
    """Answers to one question for a batch: saliency, and signed maps at their own resolution."""

    saliency: Float[Tensor, "b H W"]
    signed: Float[Tensor, "b h w"]

    @classmethod
    def mean(cls, answers: Sequence[Answer]) -> Maps:
        """Return the mean of answers to one question on several copies of a batch."""
        return cls(
            torch.stack([one.saliency for one in answers]).mean(0), torch.stack([one.maps for one in answers]).mean(0)
        )

    @property
    def empty(self) -> list[bool]:
        """Whether each saliency is zero."""
        return [float(one.amax()) <= 0 for one in self.saliency]


def compared(first: Maps, second: Maps, empty: Sequence[bool]) -> list[dict[str, Any]]:
    """Return the columns of ``Likeness`` for each image of a batch.

    Args:
        first, second: the two maps of each.
        empty: goes into the column of that name.
    """
    ranks = rank_correlation(first.saliency, second.saliency).tolist()
    values = correlation(first.saliency, second.saliency).tolist()
    signed = rank_correlation(first.signed, second.signed).tolist()
    return [
        {
            name: None if isinstance(value, float) and math.isnan(value) else value
            for name, value in zip(("ranks", "values", "signed", "empty"), own, strict=True)
        }
        for own in zip(ranks, values, signed, empty, strict=True)
    ]


def summarise(of: str, rows: Sequence[Likeness]) -> LikenessSummary:
    """Return what rows come to; the intervals are over images."""
    return LikenessSummary(
        of,
        _mean(row.ranks for row in rows),
        _mean(row.values for row in rows),
        _mean(row.signed for row in rows),
        sum(row.empty for row in rows) / len(rows),
        len(rows),
    )


def question_name(contrast: Contrast | Objective) -> str:
    """Return what is asked, for a run's settings and for headings."""
    return contrast_name(contrast) if isinstance(contrast, Contrast) else f"objective {contrast.name}"


def check_target(target: str) -> None:
    """Raise unless a study knows which class that is."""
    if target not in TARGETS:
        raise FinercamError(f"target is {target!r}; {nearest(target, TARGETS)}")


def _mean(values: Iterable[float | None]) -> Mean:
    found = [math.nan if value is None else value for value in values]
    return mean_of(torch.tensor(found, dtype=torch.float64))
