"""How often a model of images and text is right about drawn birds without training."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import torch

from finercam.aviary import ATTRIBUTES, SPECIES, Aviary, label_names
from finercam.aviary.captions import phrase
from finercam.aviary.studies.running import rows_over
from finercam.models.classifier import Classifier
from finercam.runs.rows import Rows
from finercam.runs.study import Bench, Opened, Prepared, Study


@dataclass(frozen=True)
class Accuracy:
    """What a model of images and text says of birds without training.

    Attributes:
        n: how many birds.
        species: share whose species' name is the nearest of all.
        traits: for every attribute the share whose value's prompt is the nearest of that attribute's prompts ("no
            crest" and the like are among them).
    """

    n: int
    species: float
    traits: Mapping[str, float]

    @property
    def trait(self) -> float:
        """The mean over attributes."""
        return float(np.mean(list(self.traits.values())))


@dataclass(frozen=True)
class ZeroShot(Study[Classifier, Prepared]):
    """Notes which species and which traits a classifier of ``zero_shot_classifier`` finds nearest.

    Args:
        birds: what is measured.
    """

    name: ClassVar[str] = "zero-shot"

    birds: Aviary

    def settings(self) -> dict[str, Any]:
        """Return all that decides the numbers."""
        return {"birds": asdict(self.birds)}

    def schema(self) -> pa.Schema:
        """Return whether the species, and each attribute, is right."""
        return pa.schema([(name, pa.bool_()) for name in ("species", *ATTRIBUTES)])

    def prepare(self, opened: Opened) -> Prepared:
        """Return the picture."""
        return Prepared(opened.entry, opened.image)

    def start(self, bench: Bench[Classifier]) -> Callable[[Sequence[Prepared]], list[list[dict[str, Any]]]]:
        """Return what measures batches."""
        return lambda batch: _measure(bench, batch)

    def summary(self, rows: Rows) -> Accuracy:
        """Return the shares that are right."""
        table = rows.table(["species", *ATTRIBUTES])
        shares = {name: float(np.mean(table[name].to_pylist())) for name in table.column_names}
        return Accuracy(table.num_rows, shares.pop("species"), shares)


def zero_shot_classifier(model: str | os.PathLike[str], *, device: str = "auto") -> Classifier:
    """Return a classifier of the species' names and then of every attribute's values, in words.

    Args:
        model: as ``finercam.models.text`` takes it.
        device: as for ``finercam.load``.
    """
    from finercam.models.text import BARE, text

    prompts = [phrase(key, value) for key, own in _values().items() for value in own]
    names = [f"a photo of a {name}" for name in label_names]
    return text(model, [*names, *prompts], templates=BARE, device=device)


def zero_shot(model: str | os.PathLike[str], birds: Aviary, *, device: str = "auto", **options: Any) -> Accuracy:
    """Count how often a model of images and text is right about species and traits, among those of the 32 species.

    Args:
        model, device: as for ``zero_shot_classifier``.
        birds: to look at.
        options: of ``finercam.aviary.studies.running.rows_over``.
    """
    study = ZeroShot(birds)
    with rows_over(birds, study, zero_shot_classifier(model, device=device), **options) as rows:
        return study.summary(rows)


def _measure(bench: Bench[Classifier], batch: Sequence[Prepared]) -> list[list[dict[str, Any]]]:
    images = torch.from_numpy(np.stack([bird.image for bird in batch]))
    with bench.model.look(images, bench.run) as look:
        logits = look.logits.cpu()
    right: list[dict[str, Any]] = []
    for row, bird in zip(logits, batch, strict=True):
        species = SPECIES[bird.entry.item.label]
        own: dict[str, Any] = {"species": int(row[: len(SPECIES)].argmax()) == bird.entry.item.label}
        at = len(SPECIES)
        for key, values in _values().items():
            own[key] = values[int(row[at : at + len(values)].argmax())] == species.attributes[key]
            at += len(values)
        right.append(own)
    return [[own] for own in right]


def _values() -> dict[str, tuple[str, ...]]:
    """Return the values of every attribute that some species has."""
    return {key: tuple(dict.fromkeys(species.attributes[key] for species in SPECIES)) for key in ATTRIBUTES}
