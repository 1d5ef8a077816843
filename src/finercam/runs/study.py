"""What a study is: how an item is prepared, how a batch is measured, which rows that gives, and what they come to.

A study is a frozen record of what is asked; it holds no model, and is sent to other processes as it is. Everything
else is the engine's (``finercam.runs.engine.run_study``): order, batches, parts that are never lost and never counted
twice, resuming after any stop, items that fail, this machine or a cluster.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeAlias, TypeVar

import pyarrow as pa
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from PIL import Image

from finercam.data.dataset import Dataset, Example, Item, Repaint
from finercam.data.placement import Placement, Placer
from finercam.models.preprocessing import Preprocessing
from finercam.models.run import Run
from finercam.runs.clock import Clock
from finercam.runs.manifest import Entry

if TYPE_CHECKING:
    from finercam.runs.rows import Rows

Model = TypeVar("Model")
Ready = TypeVar("Ready", bound="Prepared")
#: One row: values by column, those of the engine left out (see ``Study.schema``).
Row: TypeAlias = Mapping[str, Any]
#: Given prepared items whose inputs are of one shape, the rows of each.
Measurer: TypeAlias = Callable[[Sequence[Ready]], Sequence[Sequence[Row]]]


@dataclass(frozen=True, eq=False)
class Opened:
    """An item that was just opened, where no model is.

    Attributes:
        entry: its line of the manifest: number, item, and the model's class for its label (-1 if there is none).
        example: the photo and what only opening it tells.
        preprocessing: the model's.
        placer: finds where photos lie in the model's input; one for all photos of a process.
        repaint: the data set's ``repaint``, where it has one.
    """

    entry: Entry
    example: Example
    preprocessing: Preprocessing
    placer: Placer = field(repr=False)
    repaint: Repaint | None = None

    @property
    def item(self) -> Item:
        """The item."""
        return self.entry.item

    @cached_property
    def image(self) -> Float[NDArray[Any], "3 H W"]:
        """The photo as the model takes it."""
        return self._as_taken(self.example.photo)

    def repainted(self, label: int) -> Float[NDArray[Any], "3 H W"] | None:
        """Return the photo as one of another class, as the model takes it; ``None`` where it cannot be made one.

        Args:
            label: the other class's in the data set.
        """
        other = None if self.repaint is None else self.repaint(self.item, label)
        return None if other is None else self._as_taken(other)

    def _as_taken(self, photo: Image.Image) -> Float[NDArray[Any], "3 H W"]:
        tensor = self.preprocessing(photo)
        # NumPy knows no bfloat16; the images are cast to the model's own type anyway.
        return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()

    @cached_property
    def placement(self) -> Placement:
        """Where the photo lies in the model's input.

        Raises:
            FinercamError: the preprocessing moves pixels in another way than by resizing, cropping and padding.
        """
        return self.placer(self.example.photo.size)


@dataclass(frozen=True, eq=False)
class Prepared:
    """An item ready to be measured; a study that needs more than the image adds fields.

    In arrays and not in tensors, because it comes from another process: tensors would go through shared memory, of
    which containers have little, and take an open file each.

    Attributes:
        entry: its line of the manifest.
        image: the model's input.
    """

    entry: Entry
    image: Float[NDArray[Any], "3 H W"]


@dataclass(frozen=True, eq=False)
class Bench(Generic[Model]):
    """Where a study measures: the model, and how it is to be run.

    Attributes:
        model: on its device.
        run: how it is run; a batch holds at most ``run.images`` items.
        targets: by label of the data set, the model's class, or -1.
        clock: ``with bench.clock("maps"):`` charges the time inside to that activity, in the profile of the run.
    """

    model: Model
    run: Run
    targets: tuple[int, ...]
    clock: Clock


class Study(ABC, Generic[Model, Ready]):
    """What is measured of a model over a data set. Subclasses are frozen dataclasses.

    Attributes:
        name: of the kind of study, in the folder's description.
        row_key: columns that tell an item's rows from each other; with none, an item has one row at most.
        part_size: how many items make a part at least; no batch is larger than a part.
    """

    name: ClassVar[str]
    row_key: ClassVar[tuple[str, ...]] = ()
    part_size: ClassVar[int] = 16

    def __getstate__(self) -> dict[str, Any]:
        # What was looked up by name is looked up again where the record arrives: functions do not travel.
        return {own.name: getattr(self, own.name) for own in fields(self)}  # type: ignore[arg-type]

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Return all of the record that decides the numbers, as plain data (what JSON holds), in full precision.

        ``Run.precision``, the model, the data and the code are the engine's to note.
        """

    @abstractmethod
    def schema(self) -> pa.Schema:
        """Return the study's own columns.

        The engine puts ``id``, ``key``, ``label`` and ``target`` (the model's class for the label; a row that gives
        its own says which class was asked about) in front of them, and ``error`` behind.
        """

    def uses(self) -> Iterable[Any]:
        """Return what the numbers come from besides what the study's module imports.

        Functions, classes or modules that were found by name: registered methods and metrics. The source of all of
        them, and of what they import, is part of the run's fingerprint.
        """
        return ()

    def check(self, model: Model, dataset: Dataset) -> None:
        """Raise where the model or the data set does not have what the study needs, before anything is written.

        Raises:
            FinercamError: it does not.
        """
        return None

    def takes(self, item: Item, target: int) -> bool:
        """Return whether an item is measured; those that are not are left out of the manifest.

        Args:
            item: not opened.
            target: the model's class for its label, or -1.
        """
        return True

    @abstractmethod
    def prepare(self, opened: Opened) -> Ready:
        """Return what is measured of an item; called where photos are opened, in another process as a rule.

        Raises:
            Exception: any; it becomes the item's failed row.
        """

    @abstractmethod
    def start(self, bench: Bench[Model]) -> Measurer[Ready]:
        """Return what measures batches, with all that is made once: copies of the network, text maps.

        It is called with up to ``bench.run.images`` prepared items whose images are of one shape and returns, in
        their order, each one's rows: none, one or many. A ``FinercamError`` has the items of the batch tried one by
        one, so that one of them becomes a failed row and the others are measured; a lack of memory for a single
        item ends the run.
        """

    @abstractmethod
    def summary(self, rows: Rows) -> Any:
        """Return what the rows of a run, complete or not, come to."""
