"""Studies run in the tests: over pictures or given tensors, in a folder of their own, with the model's runs counted."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
from PIL import Image
from torch import Tensor, nn

from finercam.data.dataset import Dataset, Example, Item
from finercam.models.classifier import Classifier
from finercam.models.preprocessing import Preprocessing
from finercam.models.run import Run
from finercam.runs.engine import run_study
from finercam.runs.loaded import loaded_classifier
from finercam.runs.local import Local
from finercam.runs.rows import Rows
from finercam.runs.study import Study

T = TypeVar("T")


def measured(
    study: Study[Classifier, Any],
    classifier: Classifier,
    dataset: Dataset,
    read: Callable[[Rows], T],
    targets: Sequence[int] | None = None,
    batch: int = 8,
) -> T:
    """Run a study and return what is made of its rows, none of which failed."""
    with tempfile.TemporaryDirectory() as out:
        run, engine = Run(images=batch), Local(workers=0)
        rows = run_study(study, loaded_classifier(classifier), dataset, out, targets, run=run, engine=engine).rows
        assert rows.failed == ()
        return read(rows)


@contextmanager
def runs_of(*modules: nn.Module) -> Iterator[list[int]]:
    """Give the batch sizes of all runs of these modules, as they are run."""
    runs: list[int] = []
    handles = [module.register_forward_pre_hook(lambda _, given: runs.append(len(given[0]))) for module in modules]
    try:
        yield runs
    finally:
        for handle in handles:
            handle.remove()


@dataclass(frozen=True, eq=False)
class Given:
    """Tensors as a data set: photo n is a picture whose colour is n, and its preprocessing puts tensor n in its place.

    Attributes:
        images: at most 256.
        labels: of each.
    """

    images: Tensor
    labels: Sequence[int]

    @property
    def dataset(self) -> Dataset:
        """The pictures, of as many classes as the largest label wants."""
        names = tuple(f"class {label}" for label in range(max(self.labels) + 1))
        return Dataset("given", names, partial(iter, [Item(str(n), "", y) for n, y in enumerate(self.labels)]), _open)

    def classifier(self, classifier: Classifier) -> Classifier:
        """Return the classifier with a preprocessing that gives these tensors."""
        size = (self.images.shape[2], self.images.shape[3])
        return replace(classifier, preprocessing=Preprocessing(self._tensor, size))

    def _tensor(self, photo: Image.Image) -> Tensor:
        return self.images[int(np.asarray(photo)[0, 0, 0])]


def _open(item: Item) -> Example:
    return Example(Image.new("RGB", (2, 2), (int(item.key),) * 3))
