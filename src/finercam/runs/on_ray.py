"""A run's parts on a Ray cluster: every process loads the model once and measures parts as it is given them."""

from __future__ import annotations

import os
import platform
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from finercam.data.dataset import Example, Item, Repaint
from finercam.errors import FinercamError
from finercam.models.run import Run
from finercam.runs.clock import Clock
from finercam.runs.cluster import run_parts
from finercam.runs.fingerprint import code_of
from finercam.runs.job import Done, Engine, Job
from finercam.runs.loaded import Loaded
from finercam.runs.manifest import Entry, Manifest
from finercam.runs.measuring import Measurer
from finercam.runs.memory import keep_memory
from finercam.runs.preparing import Failed, Preparer
from finercam.runs.run_folder import RunFolder
from finercam.runs.storage import Folder
from finercam.runs.study import Bench, Study

T = TypeVar("T")
#: Photos opened ahead of the model, for each thread that opens them.
_AHEAD = 4
#: Photos by which a process finds out whether it reaches the data.
_TRIED = 8


@dataclass(frozen=True)
class OnRay(Engine):
    """A cluster's processes, each with the model. Photos and the run's folder must be reachable from all of them.

    Args:
        actors, address, gpus: as for ``finercam.runs.cluster.run_parts``.

    Raises:
        FinercamError: too few actors or GPUs.
    """

    actors: int | None = None
    address: str | None = None
    gpus: float | None = None

    def __post_init__(self) -> None:
        if self.actors is not None and self.actors < 1:
            raise FinercamError(f"{self.actors} models at once is too few; give --workers from 1 upwards")
        if self.gpus is not None and not 0 <= self.gpus < float("inf"):
            raise FinercamError(f"gpus is {self.gpus}; give a number from 0 upwards")

    def do(self, job: Job) -> Iterator[Done]:
        """Have a job's parts measured, in whatever order.

        Raises:
            FinercamError: the model cannot be loaded elsewhere, Ray is missing, or a process failed.
        """
        if job.model.load is None:
            raise FinercamError("other machines cannot load this model; name it by its spec, or run locally")
        make = partial(
            PartWorker,
            study=job.study,
            load=job.model.load,
            expected={"code": job.code, "model": dict(job.model.identity)},
            targets=job.targets,
            run=job.run,
            open_item=job.open,
            repaint=job.repaint,
            out=job.out,
            folder=os.getcwd(),
        )
        for part in run_parts(make, job.parts, actors=self.actors, address=self.address, gpus=self.gpus):
            yield Done(part["photos"], part["failed"])


class PartWorker:
    """What one process of the cluster does.

    Args:
        study, targets, run: as for ``finercam.runs.engine.run_study``.
        load: the model's.
        expected: ``code`` and ``model`` (its identity) as they are where the run was started.
        open_item, repaint: the data set's ``open`` and ``repaint``.
        out: the run's folder, on storage that every process reaches.
        folder: the one that paths are relative to.

    Raises:
        FinercamError: this machine has another finercam or another model, or does not reach the photos.
    """

    def __init__(
        self,
        study: Study[Any, Any],
        load: Callable[[], Loaded[Any]],
        expected: Mapping[str, Any],
        targets: tuple[int, ...],
        run: Run,
        open_item: Callable[[Item], Example],
        repaint: Repaint | None,
        out: str,
        folder: str,
    ) -> None:
        if os.path.isdir(folder):
            os.chdir(folder)
        machine = platform.node()
        keep_memory()
        model = load()
        if code_of(study, model, open_item) != expected["code"]:
            raise FinercamError(
                f"finercam on {machine} differs from the one that started the run; install the same version"
            )
        if dict(model.identity) != expected["model"]:
            differs = [key for key, value in expected["model"].items() if model.identity.get(key) != value]
            raise FinercamError(
                f"the model on {machine} differs in {' and '.join(differs)} from the one that started the run"
            )
        self._measurer = Measurer(study, Bench(model.model, run, targets, Clock()))
        self._prepare: Preparer[Any] = Preparer(study, open_item, model.preprocessing, repaint)
        self._run = RunFolder(Folder(out))
        self._manifest = Manifest(Folder(out))
        self._threads = min(8, os.cpu_count() or 1)
        self._openers = ThreadPoolExecutor(self._threads)
        self._check_reach(machine)

    def __call__(self, part: int) -> dict[str, int]:
        """Measure a part, put its rows in place, and return how many photos there were and failed."""
        # The first photos are measured while the next ones are opened; never all of them, which might be a thousand.
        photos = ahead(self._openers, self._prepare, self._manifest.part(part), _AHEAD * self._threads)
        outcome = self._measurer.measure(photos)
        self._run.commit(part, outcome.rows)
        return {"photos": outcome.photos, "failed": outcome.failed}

    def _check_reach(self, machine: str) -> None:
        """Refuse to go on where no photo opens: such a machine would soon have failed every photo of the run."""
        step = max(1, self._manifest.parts // _TRIED)
        tried = [self._manifest.part(part)[0] for part in range(0, self._manifest.parts, step)][:_TRIED]
        found = list(self._openers.map(self._prepare, tried))
        errors = [item.error for item in found if isinstance(item, Failed)]
        if len(errors) == len(found):
            raise FinercamError(
                f"none of {len(tried)} photos that were tried can be opened on {machine}: {errors[0]}. "
                "Photos must be reachable from every machine"
            )


def ahead(threads: Executor, function: Callable[[Entry], T], entries: Iterable[Entry], most: int) -> Iterator[T]:
    """Yield what a function makes of each entry, in order, while threads work on up to ``most`` of the next ones."""
    waiting: deque[Future[T]] = deque()
    for entry in entries:
        waiting.append(threads.submit(function, entry))
        if len(waiting) > most:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
