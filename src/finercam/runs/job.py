"""What an engine is given, and what it gives back for each part."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from finercam.data.dataset import Example, Item, Repaint
from finercam.models.run import Run
from finercam.runs.clock import Clock
from finercam.runs.loaded import Loaded
from finercam.runs.study import Study


@dataclass(frozen=True, eq=False)
class Job:
    """Parts of a run that are to be done.

    Attributes:
        study, model, targets, run: as for ``finercam.runs.engine.run_study``.
        open: opens an item of the data set.
        repaint: paints one as another class; ``None`` where the data set cannot.
        out: the run's folder, with its manifest in place.
        parts: which parts.
        code: the hash of the source that the numbers come from.
        clock: where this process's time went.
    """

    study: Study[Any, Any]
    model: Loaded[Any]
    targets: tuple[int, ...]
    run: Run
    open: Callable[[Item], Example]
    repaint: Repaint | None
    out: str
    parts: tuple[int, ...]
    code: str
    clock: Clock = field(default_factory=Clock)


@dataclass(frozen=True)
class Done:
    """A part whose rows are in place: how many items it had, and how many of them failed."""

    photos: int
    failed: int


class Engine(ABC):
    """Where a run's parts are measured. Engines are frozen dataclasses."""

    @abstractmethod
    def do(self, job: Job) -> Iterator[Done]:
        """Measure a job's parts, commit the rows of each, and yield it when they are in place.

        Raises:
            FinercamError: it cannot be done here, or rows cannot be written. What was committed stays.
        """
