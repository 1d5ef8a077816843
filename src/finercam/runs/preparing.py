"""From an entry of a manifest to what a study measures, where photos are opened and no model is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic

from finercam.data.dataset import Example, Item, Repaint
from finercam.data.placement import Placer
from finercam.errors import FinercamError
from finercam.models.preprocessing import Preprocessing
from finercam.runs.manifest import Entry
from finercam.runs.study import Opened, Ready, Study


@dataclass(frozen=True)
class Failed:
    """An item that cannot be measured.

    Attributes:
        entry: its line of the manifest.
        error: why.
    """

    entry: Entry
    error: str


class Preparer(Generic[Ready]):
    """Opens and prepares entries; can be sent to another process.

    Args:
        study: says what is prepared.
        open_item: a data set's ``open``.
        preprocessing: the model's.
        repaint: the data set's ``repaint``.
    """

    def __init__(
        self,
        study: Study[Any, Ready],
        open_item: Callable[[Item], Example],
        preprocessing: Preprocessing,
        repaint: Repaint | None = None,
    ) -> None:
        self._study, self._open, self._preprocessing, self._repaint = study, open_item, preprocessing, repaint
        self._placer = Placer(preprocessing)

    def __call__(self, entry: Entry) -> Ready | Failed:
        """Return what is measured of an entry; an error of the item's is returned, not raised."""
        try:
            opened = Opened(entry, self._open(entry.item), self._preprocessing, self._placer, self._repaint)
            return self._study.prepare(opened)
        except FinercamError as error:
            return Failed(entry, str(error))
        except Exception as error:
            # Any preprocessing may be used, and what it makes of an odd photo must not end a run of millions.
            return Failed(entry, f"{type(error).__name__}: {error}")
