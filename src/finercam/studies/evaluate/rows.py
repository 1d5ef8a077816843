"""The rows of an evaluation: one per image, method and contrast; one for an image that failed or was left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from finercam.runs.manifest import Entry
from finercam.studies.evaluate.measures import Measure

#: What is known of an image, whatever the map.
IMAGE_COLUMNS = (
    ("id", pa.int64()),
    ("key", pa.string()),
    ("label", pa.int32()),
    ("target", pa.int32()),
    ("other", pa.int32()),
    ("predicted", pa.int32()),
    ("correct", pa.bool_()),
    ("confidence", pa.float64()),
    ("other confidence", pa.float64()),
)
MAP_COLUMNS = (
    ("method", pa.string()),
    ("contrast", pa.string()),
    ("empty", pa.bool_()),
)


def schema(measures: Sequence[Measure]) -> pa.Schema:
    """Return the columns of a run's rows: of the image, of the map, a number per measure, curves, the error."""
    numbers = [(measure.spec, pa.float64()) for measure in measures]
    curves = [(name, pa.list_(pa.float32())) for measure in measures for name in measure.curves]
    return pa.schema([*IMAGE_COLUMNS, *MAP_COLUMNS, *numbers, *curves, ("error", pa.string())])


def of_failure(entry: Entry, error: str) -> dict[str, Any]:
    """Return the one row of a photo that could not be measured."""
    return {"id": entry.id, "key": entry.item.key, "label": entry.item.label, "error": error}


def to_table(rows: Sequence[Mapping[str, Any]], measures: Sequence[Measure]) -> pa.Table:
    """Return rows as a table; what a row does not have is null."""
    return pa.Table.from_pylist(list(rows), schema(measures))
