"""Running a study over drawn birds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from tempfile import TemporaryDirectory
from typing import Any

from finercam.aviary import Aviary
from finercam.aviary.format import as_dataset
from finercam.models.classifier import Classifier
from finercam.models.run import Run
from finercam.runs.engine import Progress, run_study
from finercam.runs.loaded import loaded_classifier
from finercam.runs.local import Local
from finercam.runs.rows import Rows
from finercam.runs.study import Study


@contextmanager
def rows_over(
    birds: Aviary,
    study: Study[Classifier, Any],
    classifier: Classifier,
    *,
    out: str | None = None,
    batch_size: int = 16,
    workers: int | None = None,
    advance: Callable[[Progress], None] = lambda come: None,
) -> Iterator[Rows]:
    """Run a study over birds and give its rows, to be read inside.

    Args:
        birds: in the order of the rows.
        study: what is measured.
        classifier: the model.
        out: a folder that keeps the rows, so that the run can be resumed; left out, they are deleted afterwards.
        batch_size: birds per run.
        workers: processes that draw birds.
        advance: called at the start, and after every part.
    """
    with TemporaryDirectory() if out is None else nullcontext(out) as folder:
        yield run_study(
            study,
            loaded_classifier(classifier),
            as_dataset(birds),
            folder,
            run=Run(images=batch_size),
            engine=Local(workers),
            advance=advance,
        ).rows
