"""``evaluate()`` on a Ray cluster: every process loads the model once and measures parts as it is given them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finercam.classifiers import Classifier, load
from finercam.datasets.dataset import Dataset, Example, Item
from finercam.engine.manifest import Manifest
from finercam.engine.on_ray import run_parts
from finercam.engine.run_folder import RunFolder
from finercam.engine.storage import Folder
from finercam.errors import FinercamError
from finercam.studies.evaluate import fingerprint
from finercam.studies.evaluate.evaluating import Finished, Progress, set_up
from finercam.studies.evaluate.plan import Plan
from finercam.studies.evaluate.preparing import Preparer
from finercam.studies.evaluate.worker import Worker


class PartActor:
    """One process of the cluster.

    Args:
        spec, options: what ``finercam.load`` takes; the model must have the driver's weights.
        weights: their fingerprint.
        plan, label_of_class: as for ``Worker``.
        open_item: the data set's ``open``.
        places: as for ``Preparer``.
        out: the run's folder, on storage that every process reaches.
    """

    def __init__(
        self,
        spec: str,
        options: Mapping[str, Any],
        weights: str,
        plan: Plan,
        label_of_class: dict[int, int],
        open_item: Callable[[Item], Example],
        places: bool,
        out: str,
    ) -> None:
        classifier = load(spec, **options)
        if fingerprint.of_weights(classifier.module) != weights:
            raise FinercamError(f"{spec} has other weights on this machine than where the run was started")
        self._worker = Worker(classifier, plan, label_of_class)
        self._prepare = Preparer(open_item, classifier.preprocess, places)
        self._run = RunFolder(Folder(out))
        self._manifest = Manifest(Folder(out))
        self._openers = ThreadPoolExecutor(min(8, os.cpu_count() or 1))

    def __call__(self, batch: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Measure parts and put their rows in place."""
        photos, failed = [], []
        for part in batch["part"].tolist():
            # The first photos are measured while the next ones are opened.
            outcome = self._worker.measure(self._openers.map(self._prepare, self._manifest.part(part)))
            self._run.commit(part, outcome.rows)
            photos.append(outcome.photos)
            failed.append(outcome.failed)
        return {"part": np.asarray(batch["part"]), "photos": np.array(photos), "failed": np.array(failed)}


def evaluate_on_ray(
    classifier: Classifier,
    spec: str,
    options: Mapping[str, Any],
    dataset: Dataset,
    plan: Plan,
    out: str,
    targets: Sequence[int],
    *,
    actors: int | None = None,
    address: str | None = None,
    gpus: float | None = None,
    retry_failed: bool = False,
    advance: Callable[[Progress], None] = lambda progress: None,
) -> Finished:
    """Measure a model's explanations over a data set, on a cluster. Rows are those of ``evaluate``.

    Args:
        classifier: what ``load(spec, **options)`` gave here.
        spec, options: for the processes to load it themselves.
        dataset, plan, out, targets, retry_failed, advance: as for ``evaluate``. Photos and ``out`` must be reachable
            from every machine.
        actors, address, gpus: as for ``engine.on_ray.run_parts``.

    Raises:
        FinercamError: as for ``evaluate``; or Ray is missing or a process failed.
    """
    if "://" not in out:
        out = os.path.abspath(out)
    run = set_up(classifier, dataset, plan, out, targets, retry_failed=retry_failed)
    total, done, failed = len(run.manifest), run.done, 0
    advance(Progress(total, done, failed))
    if run.pending:
        arguments = {
            "spec": os.path.abspath(spec) if os.path.isdir(spec) else spec,
            "options": dict(options),
            "weights": fingerprint.of_weights(classifier.module),
            "plan": plan,
            "label_of_class": run.label_of_class,
            "open_item": dataset.open,
            "places": run.places,
            "out": out,
        }
        for row in run_parts(PartActor, arguments, run.pending, actors=actors, address=address, gpus=gpus):
            done, failed = done + int(row["photos"]), failed + int(row["failed"])
            advance(Progress(total, done, failed))
    run.folder.check(run.manifest)
    return Finished(total, run.resumed, total - run.done)
