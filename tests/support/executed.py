"""Which of finercam's modules have code that really runs: what a run's numbers can come from.

As a program, in an interpreter of its own, it measures a few birds by an evaluation and prints, as JSON, the modules
that ran and those whose source the run's fingerprint covers.
"""

from __future__ import annotations

import json
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import finercam

ROOT = Path(finercam.__file__).parent


@contextmanager
def executed() -> Iterator[set[str]]:
    """Note the modules of finercam's whose functions are called inside, in any thread of this process."""
    files: set[str] = set()

    def note(frame: FrameType, event: str, argument: Any) -> None:
        if event == "call":
            files.add(frame.f_code.co_filename)

    found: set[str] = set()
    threading.setprofile(note)
    sys.setprofile(note)
    try:
        yield found
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
        for file in files:
            path = Path(file)
            if ROOT in path.parents:
                parts = path.relative_to(ROOT.parent).with_suffix("").parts
                found.add(".".join(parts[:-1] if parts[-1] == "__init__" else parts))


def run_and_covered(study: Any, model: Any, dataset: Any, targets: Any = None) -> dict[str, list[str]]:
    """Run a study twice, so that nothing is imported the second time; return what ran then and what is covered."""
    from finercam.runs.code import sources
    from finercam.runs.engine import run_study
    from finercam.runs.fingerprint import parts_of
    from finercam.runs.local import Local

    with tempfile.TemporaryDirectory() as scratch:
        options: dict[str, Any] = {"targets": targets, "engine": Local(0)}
        first = run_study(study, model, dataset, f"{scratch}/first", **options)
        if first.rows.failed:
            raise AssertionError(first.rows.failed)
        with executed() as ran:
            run_study(study, model, dataset, f"{scratch}/second", **options)
    return {"ran": sorted(ran), "covered": sorted(sources(parts_of(study, model, dataset.open)))}


def main(prepare: Callable[[], tuple[Any, Any, Any, Any]]) -> None:
    """Print what ``run_and_covered`` finds."""
    print(json.dumps(run_and_covered(*prepare())))


def evaluation() -> tuple[Any, Any, Any, Any]:
    """Return an evaluation of a method of each kind that this network takes, and of all metrics."""
    from finercam.data.reading import read_dataset
    from finercam.metrics.metric import METRICS
    from finercam.models import load
    from finercam.runs.loaded import loaded_classifier
    from finercam.studies.evaluate.evaluation import Evaluation

    data = read_dataset("aviary", images=2)
    methods = ("gradcam", "eigengradcam", "ablationcam", "scorecam", "rise@masks=8", "sharp", "integrated-gradients")
    study = Evaluation(methods=methods, metrics=tuple(METRICS), steps=2)
    return study, loaded_classifier(load("aviary", device="cpu")), data, range(len(data.class_names))


if __name__ == "__main__":
    main(evaluation)
