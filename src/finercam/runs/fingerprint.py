"""What decides a run's numbers, so that no row of one run is ever taken for a row of another."""

from __future__ import annotations

import json
from typing import Any

import finercam
from finercam.data.dataset import Dataset
from finercam.models.run import Run
from finercam.runs import measuring, preparing
from finercam.runs.code import of_code
from finercam.runs.loaded import Loaded, of_text
from finercam.runs.manifest import Summary
from finercam.runs.preprocessed import of_preprocessing
from finercam.runs.study import Study


def code_of(study: Study[Any, Any], model: Loaded[Any], open_item: Any) -> str:
    """Return the hash of the source that a run's numbers come from, found from what it imports."""
    return of_code(parts_of(study, model, open_item))


def parts_of(study: Study[Any, Any], model: Loaded[Any], open_item: Any) -> list[Any]:
    """Return the functions, classes and modules that a run's numbers come from."""
    return [study, *study.uses(), open_item, *model.uses, measuring, preparing]


def describe(
    study: Study[Any, Any],
    model: Loaded[Any],
    dataset: Dataset,
    listed: Summary,
    targets: tuple[int, ...],
    run: Run,
    code: str,
    part_size: int,
) -> dict[str, Any]:
    """Return everything that decides a run's numbers, as plain data.

    Batch sizes and processes are not among it: they change no number but in its last digits.
    """
    return {
        "finercam": finercam.__version__,
        "study": study.name,
        "plan": {**study.settings(), "precision": run.precision},
        "model": {**model.identity, "preprocessed": of_preprocessing(model.preprocessing)},
        "data": {
            "name": dataset.name,
            "photos": listed.items,
            "manifest": listed.sha256,
            "targets": of_text(json.dumps(targets)),
            **({"parts": list(dataset.part_names)} if dataset.part_names else {}),
        },
        "classes": list(dataset.class_names),
        "code": code,
        "photos per part": part_size,
    }
