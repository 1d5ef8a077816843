"""Is a concept found where it is? On the aviary, where the part that every trait is seen on is known.

A model of images and text is asked about each trait of a bird in words, "a white eye ring", alone and against a base,
"a bird" (arXiv 2501.11309, Section 3.3: the concept's logit minus gamma times the base word's). The saliency is
compared with the pixels of the part that the trait is seen on, which the model was never told of.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Bool
from numpy.typing import NDArray

from finercam.aviary import ATTRIBUTES, PART_OF, SPECIES, Aviary
from finercam.aviary.captions import phrase
from finercam.aviary.studies.concept_rows import ALONE, Row, Summary, summarise
from finercam.aviary.studies.running import rows_over
from finercam.contrast.contrast import PLAIN, Contrast, exactly
from finercam.data.dataset import Dataset
from finercam.errors import FinercamError
from finercam.explanations.answering import answer, ask, gather_each
from finercam.methods.method import find_method
from finercam.metrics.localization import average_precision, energy_inside
from finercam.models.classifier import Classifier
from finercam.runs.rows import Rows
from finercam.runs.study import Bench, Opened, Prepared, Study

BASE = "a bird"
LEAST = 16
"""Pixels (of a picture of 128 x 128) that must be seen of a part before its trait is asked about."""


def concepts() -> dict[tuple[str, str], str]:
    """Return the prompt of every trait that a species has and that can be seen: (attribute, value) to words."""
    return {
        (key, value): phrase(key, value)
        for key in ATTRIBUTES
        for value in dict.fromkeys(species.attributes[key] for species in SPECIES)
        if value != "none"
    }


def concept_classifier(model: str | os.PathLike[str], *, base: str = BASE, device: str = "auto") -> Classifier:
    """Return a classifier whose "classes" are the base and every trait, as prompts.

    Args:
        model: as ``finercam.models.text`` takes it.
        base: what concepts are compared with.
        device: as for ``finercam.load``.
    """
    from finercam.models.text import BARE, text

    return text(model, [base, *concepts().values()], templates=BARE, device=device)


@dataclass(frozen=True, eq=False)
class Bird(Prepared):
    """A bird ready to be measured.

    Attributes:
        traits: those whose part can be seen, (attribute, value), and the pixels of the part in the model's input.
    """

    traits: Mapping[tuple[str, str], Bool[NDArray[Any], "H W"]]


@dataclass(frozen=True)
class Concepts(Study[Classifier, Bird]):
    """Measures a classifier whose first class is the base, and whose others hold the prompts of ``concepts()``.

    Args:
        birds: what is measured.
        method: spec of a method.
        gammas: strengths of the comparison with the base; the concept alone is always measured.
    """

    name: ClassVar[str] = "concepts"
    row_key: ClassVar[tuple[str, ...]] = ("attribute", "contrast")

    birds: Aviary
    method: str = "gradcam"
    gammas: tuple[float, ...] = (0.6, 1.0)

    def settings(self) -> dict[str, Any]:
        """Return all that decides the numbers."""
        method = find_method(self.method).spec
        return {"birds": asdict(self.birds), "method": method, "gammas": list(self.gammas)}

    def schema(self) -> pa.Schema:
        """Return the columns of ``Row``."""
        return pa.schema(
            [
                *((name, pa.string()) for name in ("attribute", "value", "part", "contrast")),
                *((name, pa.float64()) for name in ("energy", "precision", "area")),
                ("empty", pa.bool_()),
            ]
        )

    def uses(self) -> Iterable[Any]:
        """Return the functions of the method."""
        return find_method(self.method).functions

    def check(self, model: Classifier, dataset: Dataset) -> None:
        """Raise where the classifier does not know some trait."""
        classes_of(model)

    def prepare(self, opened: Opened) -> Bird:
        """Return the bird with the parts on which its traits are seen."""
        masks = opened.example.part_masks
        least = LEAST * opened.example.photo.width**2 / 128**2
        seen = {
            (key, value): opened.placement.mask(masks[PART_OF[key]]).numpy()
            for key, value in SPECIES[opened.item.label].attributes.items()
            if value != "none" and PART_OF[key] in masks and masks[PART_OF[key]].sum() >= least
        }
        return Bird(opened.entry, opened.image, seen)

    def start(self, bench: Bench[Classifier]) -> Callable[[Sequence[Bird]], list[list[dict[str, Any]]]]:
        """Return what measures batches."""
        classes = classes_of(bench.model)
        return lambda batch: _measure(self, bench, classes, batch)

    def summary(self, rows: Rows) -> list[Summary]:
        """Return a line for each map, over all traits."""
        return summarise(rows.records(Row))


def classes_of(classifier: Classifier) -> dict[tuple[str, str], int]:
    """Return a classifier's class for every trait.

    Raises:
        FinercamError: it does not know some trait.
    """
    prompts = concepts()
    names = () if classifier.labels is None else classifier.labels.names
    missing = [prompt for prompt in prompts.values() if prompt not in names[1:]]
    if missing:
        raise FinercamError(f"the classifier has no class {missing[0]!r}; make it with concept_classifier()")
    return {trait: names.index(prompt) for trait, prompt in prompts.items()}


def measure(
    classifier: Classifier,
    birds: Aviary,
    *,
    method: str = "gradcam",
    gammas: Sequence[float] = (0.6, 1.0),
    **options: Any,
) -> list[Row]:
    """Return one row per bird, trait and map.

    Args:
        classifier, birds, method, gammas: as for ``Concepts``.
        options: of ``finercam.aviary.studies.running.rows_over``.

    Raises:
        FinercamError: the classifier does not know some trait.
    """
    with rows_over(birds, Concepts(birds, method, tuple(gammas)), classifier, **options) as rows:
        return rows.records(Row)


def _measure(
    study: Concepts, bench: Bench[Classifier], classes: Mapping[tuple[str, str], int], batch: Sequence[Bird]
) -> list[list[dict[str, Any]]]:
    classifier, how = bench.model, find_method(study.method)
    images = torch.from_numpy(np.stack([bird.image for bird in batch]))
    finer = {f"gamma {exactly(gamma)}": Contrast(against=[0], gamma=gamma) for gamma in study.gammas}
    contrasts = {ALONE: PLAIN} | finer
    found: list[list[dict[str, Any]]] = [[] for _ in batch]
    traits = [list(bird.traits) for bird in batch]
    asked = [i for i, own in enumerate(traits) if own]
    if not asked:
        return found
    # The n-th trait of every bird of the batch at once; a bird with fewer repeats its first, which is not counted.
    turns = [
        {i: traits[i][turn if turn < len(traits[i]) else 0] for i in asked} for turn in range(max(map(len, traits)))
    ]
    every = sorted({0, *(classes[trait] for own in traits for trait in own)})
    with classifier.look(images[asked], bench.run, at=how.taps(classifier)) as look:
        logits = look.logits
        questions = [
            ask(classifier, logits, list(contrasts.values()), [classes[trait] for trait in now.values()])
            for now in turns
        ]
        (evidence,) = gather_each(look, [how], [question for own in questions for question in own], every)
    for turn, now in enumerate(turns):
        truth = torch.from_numpy(np.stack([batch[i].traits[trait] for i, trait in now.items()])).to(logits.device)
        for title, question in zip(contrasts, questions[turn], strict=True):
            saliency = answer(evidence, question).saliency
            energy, precision = energy_inside(saliency, truth), average_precision(saliency, truth)
            for n, (i, (attribute, value)) in enumerate(now.items()):
                if turn < len(traits[i]):
                    found[i].append(
                        {
                            "attribute": attribute,
                            "value": value,
                            "part": PART_OF[attribute],
                            "contrast": title,
                            "energy": float(energy[n]),
                            "precision": float(precision[n]),
                            "area": float(truth[n].float().mean()),
                            "empty": float(saliency[n].max()) <= 0,
                        }
                    )
    return found
