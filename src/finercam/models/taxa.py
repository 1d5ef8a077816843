"""A classifier of genera, families or the like, made of one of their species."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from finercam.contrast.labels import Labels
from finercam.contrast.taxonomy import Groups, check_rank
from finercam.errors import FinercamError
from finercam.models.assumed import SOFTMAX
from finercam.models.classifier import Classifier


@dataclass(frozen=True, eq=False)
class OfTaxa:
    """Reads the logits of classes as those of taxa: ``log sum_c exp y_c``, whose softmax is the sum of the classes'.

    Args:
        read: gives the classes' logits.
        groups: the taxa.
    """

    read: Callable[[Any], Tensor]
    groups: Groups

    def __call__(self, output: Any) -> Float[Tensor, "b G"]:
        """Return the taxa's logits, in float32 or better."""
        logits = self.read(output)
        return self.groups.log_sums(logits.to(torch.promote_types(logits.dtype, torch.float32)))


def groups_of(classifier: Classifier, rank: str) -> Groups:
    """Return the taxa of a rank that a classifier's classes are in.

    Raises:
        FinercamError: no such rank, nothing is known at it, or the classes have probabilities of their own, which do
            not add up.
    """
    check_rank(rank)
    if classifier.probabilities != SOFTMAX:
        raise FinercamError(
            f"rank {rank!r} adds up the probabilities of classes, but those of {classifier.name} are "
            f"{classifier.probabilities}'s, each by itself; ask about classes"
        )
    taxonomy = None if classifier.labels is None else classifier.labels.taxonomy
    if taxonomy is None:
        raise FinercamError(
            f"rank {rank!r} needs the ranks of the classes, which their names do not tell; give a table of them "
            "(taxonomy=, --taxonomy)"
        )
    return taxonomy.groups(rank)


def of_taxa(classifier: Classifier, rank: str) -> Classifier:
    """Return a classifier whose classes are the taxa of a rank: everything that is asked is asked about those.

    Classes whose taxon is not known count for none. There are no rows of taxa, so ``against="weights"`` has no meaning.

    Args:
        classifier: of finer classes, whose labels carry a taxonomy.
        rank: ``genus``, ``family``, ...

    Raises:
        FinercamError: as for ``groups_of``.
    """
    groups = groups_of(classifier, rank)
    return replace(
        classifier,
        classes=len(groups.names),
        labels=Labels(groups.names, groups.taxonomy),
        read=OfTaxa(classifier.read, groups),
        head=None,
        pooled=False,
    )


def taxa_of_targets(classifier: Classifier, rank: str, targets: Sequence[int]) -> list[int]:
    """Return the taxon of each of a classifier's classes, by their numbers in ``of_taxa``; -1 where there is none."""
    codes = groups_of(classifier, rank).codes
    return [-1 if target < 0 else int(codes[target]) for target in targets]
