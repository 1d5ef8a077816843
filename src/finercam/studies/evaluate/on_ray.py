"""``evaluate()`` on a Ray cluster: every process loads the model once and measures parts as it is given them."""

from __future__ import annotations

import os
import platform
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from functools import partial
from typing import Any

from finercam.data.dataset import Dataset, Example, Item
from finercam.errors import FinercamError
from finercam.models import Classifier, load
from finercam.runs.manifest import Entry, Manifest
from finercam.runs.memory import keep_memory
from finercam.runs.on_ray import run_parts
from finercam.runs.run_folder import RunFolder
from finercam.runs.storage import Folder
from finercam.studies.evaluate import fingerprint
from finercam.studies.evaluate.evaluating import Finished, Progress, set_up
from finercam.studies.evaluate.plan import Plan
from finercam.studies.evaluate.preparing import Prepared, Preparer
from finercam.studies.evaluate.worker import Worker

#: Photos opened ahead of the model, for each thread that opens them.
_AHEAD = 4
#: Photos by which a process finds out whether it reaches the data.
_TRIED = 8


class PartWorker:
    """What one process of the cluster does.

    Args:
        spec, options: what ``finercam.load`` takes.
        expected: ``code`` and ``weights`` as they are where the run was started.
        plan, label_of_class: as for ``Worker``.
        open_item: the data set's ``open``.
        places: as for ``Preparer``.
        out: the run's folder, on storage that every process reaches.
        folder: the one that paths are relative to.

    Raises:
        FinercamError: this machine has another finercam or other weights, or does not reach the photos.
    """

    def __init__(
        self,
        spec: str,
        options: Mapping[str, Any],
        expected: Mapping[str, str],
        plan: Plan,
        label_of_class: dict[int, int],
        open_item: Callable[[Item], Example],
        places: bool,
        out: str,
        folder: str,
    ) -> None:
        if os.path.isdir(folder):
            os.chdir(folder)
        machine = platform.node()
        if fingerprint.of_code() != expected["code"]:
            raise FinercamError(f"finercam on {machine} is not the one that the run was started with; install the same")
        keep_memory()
        classifier = load(spec, **options)
        if fingerprint.of_weights(classifier.module) != expected["weights"]:
            raise FinercamError(f"{spec} has other weights on {machine} than where the run was started")
        self._worker = Worker(classifier, plan, label_of_class)
        self._prepare = Preparer(open_item, classifier.preprocess, places)
        self._run = RunFolder(Folder(out))
        self._manifest = Manifest(Folder(out))
        self._threads = min(8, os.cpu_count() or 1)
        self._openers = ThreadPoolExecutor(self._threads)
        self._check_reach(machine)

    def __call__(self, part: int) -> dict[str, int]:
        """Measure a part, put its rows in place, and return how many photos there were and failed."""
        # The first photos are measured while the next ones are opened; never all of them, which might be a thousand.
        photos = ahead(self._openers, self._prepare, self._manifest.part(part), _AHEAD * self._threads)
        outcome = self._worker.measure(photos)
        self._run.commit(part, outcome.rows)
        return {"photos": outcome.photos, "failed": outcome.failed}

    def _check_reach(self, machine: str) -> None:
        """Refuse to go on where no photo opens: such a machine would soon have failed every photo of the run."""
        step = max(1, self._manifest.parts // _TRIED)
        tried = [self._manifest.part(part)[0] for part in range(0, self._manifest.parts, step)][:_TRIED]
        errors = [prepared.error for prepared in self._openers.map(self._prepare, tried)]
        if all(errors):
            raise FinercamError(
                f"none of {len(tried)} photos that were tried can be opened on {machine}: {errors[0]}. "
                "Photos must be reachable from every machine"
            )


def ahead(
    threads: Executor, function: Callable[[Entry], Prepared], entries: Iterable[Entry], most: int
) -> Iterator[Prepared]:
    """Yield what a function makes of each entry, in order, while threads work on up to ``most`` of the next ones."""
    waiting: deque[Future[Prepared]] = deque()
    for entry in entries:
        waiting.append(threads.submit(function, entry))
        if len(waiting) > most:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


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
    run = set_up(classifier, dataset, plan, out, targets, retry_failed=retry_failed)
    total, done, failed = len(run.manifest), run.done, 0
    advance(Progress(total, done, failed))
    if run.pending:
        make = partial(
            PartWorker,
            spec=spec,
            options=dict(options),
            expected={"code": fingerprint.of_code(), "weights": fingerprint.of_weights(classifier.module)},
            plan=plan,
            label_of_class=run.label_of_class,
            open_item=dataset.open,
            places=run.places,
            out=out,
            folder=os.getcwd(),
        )
        for part in run_parts(make, run.pending, actors=actors, address=address, gpus=gpus):
            done, failed = done + part["photos"], failed + part["failed"]
            advance(Progress(total, done, failed))
    run.folder.check(run.manifest)
    return Finished(total, run.resumed, total - run.done)
