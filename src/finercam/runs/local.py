"""Running a study's parts one after another on this machine, while other processes open the photos."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import Any, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset

from finercam.errors import FinercamError
from finercam.runs.job import Done, Engine, Job
from finercam.runs.manifest import Entry, Manifest
from finercam.runs.measuring import Measurer
from finercam.runs.preparing import Preparer
from finercam.runs.run_folder import RunFolder
from finercam.runs.storage import Folder
from finercam.runs.study import Bench

T = TypeVar("T")


@dataclass(frozen=True)
class Local(Engine):
    """One part after another in this process, on the model that is here.

    Args:
        workers: processes that open photos; 0 opens them in this one. Found out from the machine if left out.

    Raises:
        FinercamError: a negative number, or more than ``most_workers()``.
    """

    workers: int | None = None

    def __post_init__(self) -> None:
        if self.workers is not None and not 0 <= self.workers <= most_workers():
            raise FinercamError(f"workers is {self.workers}; give 0 to {most_workers()} on this machine")

    def do(self, job: Job) -> Iterator[Done]:
        """Measure a job's parts in order.

        Raises:
            FinercamError: as for ``prepared_parts``, or rows cannot be written.
        """
        folder = RunFolder(Folder(job.out))
        measurer = Measurer(job.study, Bench(job.model.model, job.run, job.targets, job.clock))
        prepare = Preparer(job.study, job.open, job.model.preprocessing, job.repaint)
        workers = default_workers() if self.workers is None else self.workers
        for part, items in prepared_parts(folder.folder, job.parts, prepare, workers):
            outcome = measurer.measure(items)
            folder.commit(part, outcome.rows)
            yield Done(outcome.photos, outcome.failed)


def default_workers() -> int:
    """Return how many processes open photos where nothing is said: one for each two processors, four at most."""
    return min(4, (os.cpu_count() or 1) // 2)


def most_workers() -> int:
    """Return how many processes this machine may be asked for: four for each of its processors, and no fewer than 8."""
    return max(8, 4 * (os.cpu_count() or 1))


def prepared_parts(
    folder: Folder, parts: Sequence[int], prepare: Callable[[Entry], T], workers: int
) -> Iterator[tuple[int, Iterable[T]]]:
    """Yield each part with its entries prepared, in order; a part must be used up before the next one is taken.

    Args:
        folder: holds the manifest.
        parts: which of its parts.
        prepare: called with each entry, in another process if there are workers.
        workers: how many processes prepare; 0 prepares in this one.

    Raises:
        FinercamError: ``prepare`` cannot be sent to another process, or such a process was stopped.
    """
    manifest = Manifest(folder)
    if not workers:
        for part in parts:
            yield part, map(prepare, manifest.part(part))
        return
    entries = _Entries(folder, prepare)
    places = [(part, row) for part in parts for row in range(manifest.size(part))]
    # fork where there is one: what a user's preprocessing is made of need not be picklable then.
    method = "fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn"
    loader: DataLoader[Any] = DataLoader(
        entries,
        batch_size=None,
        sampler=places,
        num_workers=workers,
        collate_fn=_as_is,
        multiprocessing_context=method,
        prefetch_factor=8,
        worker_init_fn=_alone,
    )
    try:
        stream = iter(loader)
    except (AttributeError, TypeError) as error:
        raise FinercamError(
            f"the preprocessing cannot be sent to another process ({error}); use --workers 0"
        ) from error
    received = _received(stream)
    for part in parts:
        yield part, itertools.islice(received, manifest.size(part))


def _received(stream: Iterator[Any]) -> Iterator[Any]:
    while True:
        try:
            prepared = next(stream, None)
        except RuntimeError as error:
            raise FinercamError(
                f"a process that opens photos was stopped ({next(iter(str(error).splitlines()), '')}); if memory is "
                "short, use fewer --workers. The same command resumes from here"
            ) from error
        if prepared is None:
            return
        yield prepared


class _Entries(Dataset[Any]):
    """Prepared entries by (part, row); each process reads the manifest for itself, a part at a time."""

    def __init__(self, folder: Folder, prepare: Callable[[Entry], Any]) -> None:
        self._folder = folder
        self._prepare = prepare
        self._manifest: Manifest | None = None
        self._part: tuple[int, list[Entry]] = (-1, [])

    def __getitem__(self, place: tuple[int, int]) -> Any:
        part, row = place
        if self._manifest is None:
            self._manifest = Manifest(self._folder)
        if self._part[0] != part:
            self._part = (part, self._manifest.part(part))
        return self._prepare(self._part[1][row])


def _as_is(prepared: Any) -> Any:
    return prepared


def _alone(worker: int) -> None:
    torch.set_num_threads(1)
    # Ctrl-C is for the process that runs the model; it ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    """End this process when that of the model has ended, in whatever way.

    torch's own watch does not suffice: a worker that has photos left to hand over waits for them to be taken, and its
    siblings hold the other end open.
    """
    wait([sentinel])
    os._exit(1)
