"""What is done to one part of a data set, on any engine: prepared items in, rows out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic

import pyarrow as pa
import torch

from finercam.errors import FinercamError
from finercam.models.altering import OutOfMemory
from finercam.runs.manifest import Entry
from finercam.runs.preparing import Failed
from finercam.runs.run_folder import WITHOUT_ROWS
from finercam.runs.study import Bench, Model, Ready, Row, Study
from finercam.texts import storable

#: Of the columns of rows; raised when one goes or changes its meaning. docs/fields.md is their dictionary.
SCHEMA = 1
#: The engine's columns, before and behind the study's own.
_BEFORE = (("id", pa.int64()), ("key", pa.string()), ("label", pa.int32()), ("target", pa.int32()))
_BEHIND = (("error", pa.string()),)


@dataclass(frozen=True)
class Outcome:
    """A part's rows, how many items it had, and how many of them failed."""

    rows: pa.Table
    photos: int
    failed: int


class Measurer(Generic[Model, Ready]):
    """Measures parts of a data set with one model.

    Args:
        study: says what is measured.
        bench: the model and how it is run.
    """

    def __init__(self, study: Study[Model, Ready], bench: Bench[Model]) -> None:
        self._bench = bench
        self._schema = schema(study)
        self._measure = study.start(bench)

    def measure(self, items: Iterable[Ready | Failed]) -> Outcome:
        """Return the rows of a part's items, in their order."""
        rows: list[Row] = []
        without: list[int] = []
        count = failed = 0
        for batch in _batches(self._awaited(items), self._bench.run.images):
            for entry, own in self._rows(batch):
                rows += own
                count += 1
                failed += any("error" in row for row in own)
                if not own:
                    without.append(entry.id)
        with self._bench.clock("rows"):
            table = pa.Table.from_pylist(rows, self._schema)
            if without:
                # A part says of which items it has no row, so that none is ever lost without a word.
                table = table.replace_schema_metadata(
                    {**(table.schema.metadata or {}), WITHOUT_ROWS: json.dumps(without)}
                )
            return Outcome(table, count, failed)

    def _awaited(self, items: Iterable[Ready | Failed]) -> Iterator[Ready | Failed]:
        stream = iter(items)
        while True:
            with self._bench.clock("photos"):
                item = next(stream, None)
            if item is None:
                return
            yield item

    def _rows(self, batch: Sequence[Ready | Failed]) -> list[tuple[Entry, list[Row]]]:
        """Return each item's rows. What stops one item of a batch does not stop the others."""
        ready = [item for item in batch if not isinstance(item, Failed)]
        if len(ready) < len(batch):
            return [(item.entry, [_of_failure(item)]) for item in batch if isinstance(item, Failed)]
        try:
            found = self._measure(ready)
        except (FinercamError, torch.OutOfMemoryError) as error:
            if isinstance(error, OutOfMemory) or (isinstance(error, torch.OutOfMemoryError) and len(ready) == 1):
                # No fault of the item's: the run stops here and can go on elsewhere, or with other options.
                hint = "with a smaller --copies or --batch-size the same command resumes"
                raise OutOfMemory(f"{error}; {hint}") from error
            if len(ready) == 1:
                return [(ready[0].entry, [_of_failure(Failed(ready[0].entry, str(error)))])]
            return [self._rows([item])[0] for item in ready]
        return [
            (item.entry, [{**_of_item(item.entry), **row} for row in own])
            for item, own in zip(ready, found, strict=True)
        ]


def schema(study: Study[Any, Any]) -> pa.Schema:
    """Return all columns of a study's rows.

    Raises:
        FinercamError: the study has a column of the engine's.
    """
    own = study.schema()
    taken = {name for name, _ in (*_BEFORE, *_BEHIND)} & set(own.names)
    if taken:
        raise FinercamError(f"the study {study.name!r} has the column {min(taken)!r}, which every run has already")
    return pa.schema([*_BEFORE, *own, *_BEHIND], metadata={"schema": str(SCHEMA)})


def _of_item(entry: Entry) -> dict[str, Any]:
    target = entry.target if entry.target >= 0 else None
    return {"id": entry.id, "key": storable(entry.item.key), "label": entry.item.label, "target": target}


def _of_failure(failed: Failed) -> dict[str, Any]:
    return {**_of_item(failed.entry), "target": None, "error": storable(failed.error)}


def _batches(items: Iterable[Ready | Failed], size: int) -> Iterator[list[Ready | Failed]]:
    """Yield runs of items of one shape, or of failed ones, at most ``size`` long."""
    batch: list[Ready | Failed] = []
    for item in items:
        if batch and (len(batch) == size or _shape(item) != _shape(batch[0])):
            yield batch
            batch = []
        batch.append(item)
    if batch:
        yield batch


def _shape(item: Any) -> tuple[int, ...] | None:
    return None if isinstance(item, Failed) else tuple(item.image.shape)
