"""How alike the rows of a classifier are: the paper's Eq. 11 and 12, behind the left of its Fig. 1.

All is computed in blocks of rows, so that the matrix of all classes against all is never held.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from finercam.contrast.labels import display_name
from finercam.errors import FinercamError
from finercam.models import Classifier

#: Entries of the matrix that are held at once, 64 MB in float32.
_ENTRIES = 1 << 24


def rows_of(classifier: Classifier) -> Float[Tensor, "C K"]:
    """Return the classifier's rows, in float32 or better on the CPU, having seen that they can be compared.

    Raises:
        FinercamError: the model does not end in a linear layer, or a row is zero or not finite.
    """
    rows = classifier.rows
    if rows is None:
        raise FinercamError(
            f"{classifier.name} does not end in a linear layer, so its classes have no rows to compare; take a model "
            "that does, or train a probe on it (finercam probe)"
        )
    if len(rows) < 2:
        raise FinercamError(f"{classifier.name} has {len(rows)} class; it takes two to be alike")
    rows = rows.detach().cpu().to(torch.promote_types(rows.dtype, torch.float32))
    norms = rows.norm(dim=1)
    bad = (~(norms.isfinite() & (norms > 0))).nonzero().flatten().tolist()
    if bad:
        raise FinercamError(
            f"{len(bad)} rows of {classifier.name} are zero or not finite, such as that of "
            f"{display_name(bad[0], classifier.labels)}; it may be untrained"
        )
    return rows


@dataclass(frozen=True, eq=False)
class Curve:
    """Sorted similarity, over the classes: at each rank its mean and its (population) standard deviation."""

    mean: Float[Tensor, " ranks"]
    std: Float[Tensor, " ranks"]


def curve(rows: Float[Tensor, "C K"], *, own: bool = True) -> Curve:
    """Return the mean over classes of each class's similarities, sorted from the highest down (Eq. 11 and 12).

    Args:
        rows: of the classifier, none of them zero.
        own: keep each class's similarity to itself as the paper does: 1 is taken off, and the 0 that is left is
            sorted with the others (C ranks). Without it there are C - 1, and a class that is like no other starts
            below zero.

    Returns:
        In float64; similarities are between -1 and 1.
    """
    count = len(rows) if own else len(rows) - 1
    total, squares = torch.zeros(2, count, dtype=torch.float64)
    for start, similar in _blocks(rows):
        mine = torch.arange(len(similar))
        if own:
            similar[mine, mine + start] -= 1
        else:
            similar[mine, mine + start] = -torch.inf
        ranked = similar.sort(1, descending=True).values[:, :count].double()
        total += ranked.sum(0)
        squares += ranked.square().sum(0)
    mean = total / len(rows)
    return Curve(mean, (squares / len(rows) - mean.square()).clamp(min=0).sqrt())


@dataclass(frozen=True, eq=False)
class LookAlikes:
    """For each class the others most like it, the most similar first.

    Attributes:
        classes: indices.
        similarity: cosine, between -1 and 1.
    """

    classes: Int[Tensor, "C top"]
    similarity: Float[Tensor, "C top"]


def look_alikes(rows: Float[Tensor, "C K"], top: int) -> LookAlikes:
    """Return the ``top`` most similar other classes of each class; all others where there are no more."""
    if top < 1:
        raise FinercamError(f"top is {top}; it must be at least 1")
    found = []
    for start, similar in _blocks(rows):
        mine = torch.arange(len(similar))
        similar[mine, mine + start] = -torch.inf
        found.append(similar.topk(min(top, len(rows) - 1), dim=1))
    return LookAlikes(torch.cat([one.indices for one in found]), torch.cat([one.values for one in found]))


@dataclass(frozen=True)
class Pair:
    """Two classes, by index, ``first < second``, and the cosine between their rows."""

    first: int
    second: int
    similarity: float


def most_similar_pairs(rows: Float[Tensor, "C K"], count: int) -> list[Pair]:
    """Return the ``count`` most similar pairs of all, the most similar first; each pair is there once."""
    best: list[Pair] = []
    for start, similar in _blocks(rows):
        # A pair belongs to the block of its first class.
        later = torch.arange(len(rows)) > torch.arange(start, start + len(similar))[:, None]
        values, flat = similar.masked_fill(~later, -torch.inf).flatten().topk(min(count, similar.numel()))
        pairs = zip(values.tolist(), flat.tolist(), strict=True)
        best += [Pair(start + at // len(rows), at % len(rows), value) for value, at in pairs if value > -torch.inf]
        best = sorted(best, key=lambda pair: (-pair.similarity, pair.first, pair.second))[:count]
    return best


def _blocks(rows: Float[Tensor, "C K"]) -> Iterator[tuple[int, Float[Tensor, "n C"]]]:
    """Yield the index of a block's first class, and the cosines of its classes with all classes (Eq. 11)."""
    unit = torch.nn.functional.normalize(rows, dim=1)
    size = max(1, _ENTRIES // len(rows))
    for start in range(0, len(rows), size):
        yield start, (unit[start : start + size] @ unit.T).clamp(-1, 1)


def titles(models: Sequence[str]) -> list[str]:
    """Return short names for models, told apart by as much of the end of their specs as that takes.

    Raises:
        FinercamError: one of them is there twice.
    """
    twice = [model for number, model in enumerate(models) if model in models[:number]]
    if twice:
        raise FinercamError(f"{twice[0]!r} is given twice")
    parts = [model.rstrip("/").split("/") for model in models]
    lengths = range(1, max(map(len, parts)) + 1)
    ends = (["/".join(part[-length:]) for part in parts] for length in lengths)
    return next((short for short in ends if len(set(short)) == len(short)), list(models))
