"""*Class sensitivity*: how alike are the maps of two classes for one image?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Int
from torch import Tensor

from finercam.contrast.contrast import PLAIN, Contrast
from finercam.contrast.references import ClassName, find_targets, nearest_references
from finercam.data.dataset import Dataset, Item
from finercam.errors import FinercamError
from finercam.explanations.answering import answer, ask, gather_each
from finercam.methods.method import find_method
from finercam.models.classifier import Classifier
from finercam.models.look import Look
from finercam.runs.rows import Rows
from finercam.runs.study import Bench, Measurer, Opened, Prepared, Row, Study
from finercam.studies.evaluate.contrasts import contrast_name
from finercam.studies.sanity.likeness import (
    COLUMNS,
    Likeness,
    LikenessSummary,
    Maps,
    check_target,
    compared,
    summarise,
)


@dataclass(frozen=True)
class ClassRow(Likeness):
    """One image, the maps of two classes.

    Attributes:
        target, other: the two classes.
    """

    target: int
    other: int


@dataclass(frozen=True)
class ClassSensitivity(Study[Classifier, Prepared]):
    """How alike the maps of a class and of another one are for the same image: the lower, the better.

    The contrast is put twice, for each class as the target. References that are chosen (``similar`` ...) are chosen
    for each, so that each is as a rule contrasted with the other. A contrast therefore lowers the likeness by
    construction: with gamma 1 and no other reference, signed maps of a linear method are each other's negative.

    Args:
        contrast, method: what is asked and how it is answered.
        target: class c: the one ``predicted`` or the ``label``.
        other: class d for all images; the class whose logit is nearest to the target's if left out.

    Attributes:
        title, of: headings of the table, and of its first column.

    Raises:
        FinercamError: an unknown target.
    """

    contrast: Contrast = PLAIN
    method: str = "gradcam"
    target: str = "predicted"
    other: ClassName | None = None

    name: ClassVar[str] = "class sensitivity"
    title: ClassVar[str] = "Maps of two classes"
    of: ClassVar[str] = "compared"

    def __post_init__(self) -> None:
        check_target(self.target)

    def settings(self) -> dict[str, Any]:
        """Return all that decides the numbers."""
        return {
            "contrast": contrast_name(self.contrast),
            "method": find_method(self.method).spec,
            "target": self.target,
            "other": self.other,
        }

    def schema(self) -> pa.Schema:
        """Return the columns of ``ClassRow``."""
        return pa.schema([("other", pa.int32()), *COLUMNS])

    def uses(self) -> Iterable[Any]:
        """Return the functions of the method."""
        return find_method(self.method).functions

    def check(self, model: Classifier, dataset: Dataset) -> None:
        """Raise where the method or the other class is not known."""
        find_method(self.method)
        if self.other is not None:
            find_targets(self.other, torch.zeros(1, model.classes), model.labels)

    def takes(self, item: Item, target: int) -> bool:
        """Return whether the item has a class that can be explained."""
        return self.target != "label" or target >= 0

    def prepare(self, opened: Opened) -> Prepared:
        """Return the photo's input."""
        return Prepared(opened.entry, opened.image)

    def start(self, bench: Bench[Classifier]) -> Measurer[Prepared]:
        """Return what measures batches."""
        return partial(_measure, self, bench)

    def summary(self, rows: Rows) -> list[LikenessSummary]:
        """Return one line, over all images."""
        return [summarise("the target and the other class", rows.records(ClassRow))]


def _measure(study: ClassSensitivity, bench: Bench[Classifier], batch: Sequence[Prepared]) -> list[list[Row]]:
    how = find_method(study.method)
    images = torch.from_numpy(np.stack([one.image for one in batch]))
    with bench.model.look(images, bench.run, at=how.taps(bench.model)) as look:
        targets, others = _classes(study, look, [one.entry.target for one in batch])
        questions = [ask(bench.model, look.logits, [study.contrast], each)[0] for each in (targets, others)]
        (evidence,) = gather_each(look, [how], questions)
        first, second = (Maps.mean([answer(evidence, question)]) for question in questions)
    empty = [a or b for a, b in zip(first.empty, second.empty, strict=True)]
    return [
        [{"target": int(c), "other": int(d), **own}]
        for c, d, own in zip(targets, others, compared(first, second, empty), strict=True)
    ]


def _classes(study: ClassSensitivity, look: Look, labels: Sequence[int]) -> tuple[Int[Tensor, " b"], Int[Tensor, " b"]]:
    """Return class c and class d of each image."""
    stated = torch.tensor(labels, device=look.logits.device)
    targets = stated if study.target == "label" else look.logits.argmax(1)
    if study.other is not None:
        return targets, find_targets(study.other, look.logits, look.classifier.labels)
    others = nearest_references("similar", 1, targets, look.logits, None)[:, 0]
    if bool((others < 0).any()):
        raise FinercamError("a target has no other class with a finite logit to be compared with")
    return targets, others
