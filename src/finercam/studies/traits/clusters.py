"""Patches that show the same: the regions with the most saliency, grouped by the model's own features.

Nothing is known of the photos here but what the model shows where the evidence lies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from finercam.metrics.intervals import Mean, mean_of
from finercam.studies.traits.rows import Carried

#: Groups are looked for among as many, and merged.
MOST = 6
_RESTARTS, _STEPS, _SHUFFLES = 8, 50, 20


@dataclass(frozen=True)
class Member:
    """A patch of a cluster.

    Attributes:
        photo: the number of its photo among those given.
        patch: its number among the photo's patches.
        likeness: cosine between its features and the cluster's mean.
    """

    photo: int
    patch: int
    likeness: float


@dataclass(frozen=True)
class Cluster:
    """Patches that show the same.

    Attributes:
        share: of all the saliency of a photo, the mean over the photos that have any.
        photos: on how many of them it occurs.
        members: one of each photo, the likest to the cluster's mean first.
        tightness: mean cosine between the patch in the middle of these and the others.
        chance: the same of the tightest of as many patches of which each channel was shuffled, so that they are in no
            groups, the most of several times. Both are NaN where it occurs on a single photo.
    """

    share: Mean
    photos: int
    members: tuple[Member, ...]
    tightness: float
    chance: float

    @property
    def tight(self) -> bool:
        """Whether its patches are more alike than as many can be found to be among patches without groups."""
        return self.tightness > self.chance


def clusters(rows: Sequence[Carried], seed: int = 0) -> list[Cluster]:
    """Return the groups that the patches of photos fall into, the one with most of the saliency first.

    Weighted spherical k-means (Dhillon and Modha, "Concept decompositions for large sparse text data using clustering",
    Machine Learning 42, 2001), each patch weighing as much as its share of the saliency. It starts from ``MOST`` groups
    or half as many as there are photos; two are one where their means are more alike than their patches are to the
    mean of the others of their own group, so that one group is not cut in two.

    Args:
        rows: photos that were asked the same question; those without saliency are left out.
        seed: of what is drawn by lot: starts, and the shuffling that tightness is compared with.
    """
    where = [(number, at) for number, one in enumerate(rows) if not one.empty for at in range(len(one.patches))]
    if not where:
        return []
    patches = [rows[number].patches[at] for number, at in where]
    vectors = torch.nn.functional.normalize(torch.tensor([one["features"] for one in patches], dtype=torch.float64))
    weights = torch.tensor([one["share"] for one in patches], dtype=torch.float64)
    photos = torch.tensor([number for number, _ in where])
    most = max(1, min(MOST, len(photos.unique()) // 2))
    generator = torch.Generator().manual_seed(seed)
    group = _merged(vectors, weights, _grouped(vectors, weights, most, generator))
    shuffled = [_shuffled(vectors, generator) for _ in range(_SHUFFLES)]
    known = [not one.empty for one in rows]
    found = []
    for number in group.unique().tolist():
        own = (group == number).nonzero().flatten()
        total = torch.zeros(len(rows), dtype=torch.float64).index_add_(0, photos[own], weights[own])
        centre = torch.nn.functional.normalize((weights[own, None] * vectors[own]).sum(0), dim=0)
        likeness = vectors[own] @ centre
        first: dict[int, Member] = {}
        for at in likeness.argsort(descending=True, stable=True).tolist():
            photo, patch = where[int(own[at])]
            first.setdefault(photo, Member(photo, patch, float(likeness[at])))
        typical = vectors[[where.index((one.photo, one.patch)) for one in first.values()]]
        chance = max((_tightest(one, len(typical)) for one in shuffled), key=lambda one: (one == one, one))
        found.append(
            Cluster(mean_of(total[known]), len(first), tuple(first.values()), _tightest(typical, len(typical)), chance)
        )
    return sorted(found, key=lambda one: -one.share.mean)


def _grouped(
    vectors: Float[Tensor, "n k"], weights: Float[Tensor, " n"], groups: int, generator: torch.Generator
) -> Int[Tensor, " n"]:
    """Return each vector's group, of the best of several starts."""
    best, most = torch.zeros(len(vectors), dtype=torch.long), -torch.inf
    for _ in range(_RESTARTS):
        centres = _start(vectors, weights, groups, generator)
        for _ in range(_STEPS):
            group = (vectors @ centres.T).argmax(1)
            sums = torch.zeros_like(centres).index_add_(0, group, weights[:, None] * vectors)
            moved = torch.where(sums.norm(dim=1, keepdim=True) > 0, torch.nn.functional.normalize(sums), centres)
            if torch.equal(moved, centres):
                break
            centres = moved
        likeness, group = (vectors @ centres.T).max(1)
        if (total := float((weights * likeness).sum())) > most:
            best, most = group, total
    return best


def _start(
    vectors: Float[Tensor, "n k"], weights: Float[Tensor, " n"], groups: int, generator: torch.Generator
) -> Float[Tensor, "groups k"]:
    """Return vectors that are far from each other (k-means++)."""
    chosen = [int(weights.multinomial(1, generator=generator))]
    while len(chosen) < groups:
        far = weights * (1 - (vectors @ vectors[chosen].T).max(1).values).clamp(min=0)
        if float(far.sum()) < 1e-9:
            break
        chosen.append(int(far.multinomial(1, generator=generator)))
    return vectors[chosen]


def _merged(vectors: Float[Tensor, "n k"], weights: Float[Tensor, " n"], group: Int[Tensor, " n"]) -> Int[Tensor, " n"]:
    """Return groups of which no two are more alike than their own vectors are to what they have in common."""
    group = group.clone()
    while len(names := group.unique().tolist()) > 1:
        sums = torch.stack([(weights[group == name, None] * vectors[group == name]).sum(0) for name in names])
        at = torch.tensor([names.index(name) for name in group.tolist()])
        # Without itself: a vector is in its own mean. Of a single one nothing is left, and it is like nothing.
        rest = torch.nn.functional.normalize(
            (sums[at] - weights[:, None] * vectors).masked_fill(((at[:, None] == at).sum(1) == 1)[:, None], 0.0)
        )
        own = (vectors * rest).sum(1) * weights
        spread = torch.zeros(len(names), dtype=own.dtype).index_add_(0, at, own)
        mass = torch.zeros(len(names), dtype=own.dtype).index_add_(0, at, weights)
        between = (spread[:, None] + spread) / (mass[:, None] + mass)
        centres = torch.nn.functional.normalize(sums)
        more = (centres @ centres.T - between).fill_diagonal_(-torch.inf)
        one, other = divmod(int(more.argmax()), len(names))
        if float(more.max()) <= 0:
            break
        group[group == names[other]] = names[one]
    return group


def _tightest(vectors: Float[Tensor, "n k"], size: int) -> float:
    """Return the mean cosine of a vector and the others likest to it, ``size`` in all, where that is highest."""
    if size < 2:
        return torch.nan
    alike = (vectors @ vectors.T).fill_diagonal_(-torch.inf)
    return float(alike.topk(size - 1).values.mean(1).max())


def _shuffled(vectors: Float[Tensor, "n k"], generator: torch.Generator) -> Float[Tensor, "n k"]:
    """Return vectors in which each channel has the values that it had, of vectors drawn by lot: without groups."""
    order = torch.rand(vectors.shape, generator=generator).argsort(0)
    return torch.nn.functional.normalize(vectors.gather(0, order))
