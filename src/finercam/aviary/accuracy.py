"""How often the embedded classifier is right on pictures that were never trained on, and what it confuses."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import nn

from finercam.aviary.drawing import draw
from finercam.aviary.network import build, predict
from finercam.aviary.species import SPECIES, family_of, label_names


@dataclass(frozen=True)
class Evaluation:
    """Mistakes on fresh pictures.

    Attributes:
        n: how many pictures.
        top1: share correctly classified, 0 to 1.
        inside_family: share whose highest logit among the species of their family is their own, 0 to 1.
        family: share classified as a species of their own family, 0 to 1.
        confusions: (true species, predicted species, how often), the most frequent first.
        mistakes: indices of the misclassified pictures.
    """

    n: int
    top1: float
    inside_family: float
    family: float
    confusions: tuple[tuple[str, str, int], ...]
    mistakes: tuple[int, ...]


def evaluate(
    model: str | os.PathLike[str] | nn.Module,
    n: int = 3200,
    *,
    split: str = "test",
    seed: int = 0,
    biased: bool = False,
    workers: int | None = None,
) -> Evaluation:
    """Count the mistakes of a trained network on fresh pictures.

    Args:
        model: the folder that ``train`` wrote, or its module.
        n: how many pictures; every species is shown equally often if it is a multiple of their number.
        split, seed: name the pictures; nothing is trained on any split but ``train``.
        biased: the pictures' backgrounds go with the species.
        workers: processes that draw.
    """
    module = model if isinstance(model, nn.Module) else build(Path(model))
    images, labels = draw(split, n, seed, biased=biased, workers=workers)
    logits = predict(module, images)
    named = logits.argmax(1)
    families = np.array([family_of(species).name for species in SPECIES])
    alike = families[None, :] == families[labels][:, None]
    inside = np.where(alike, logits, -np.inf).argmax(1)
    wrong = np.flatnonzero(named != labels)
    pairs = Counter((label_names[labels[i]], label_names[named[i]]) for i in wrong)
    return Evaluation(
        n=n,
        top1=float((named == labels).mean()),
        inside_family=float((inside == labels).mean()),
        family=float((families[named] == families[labels]).mean()),
        confusions=tuple((true, said, count) for (true, said), count in pairs.most_common()),
        mistakes=tuple(int(i) for i in wrong),
    )
