"""What was found on each photo, and how it is kept as rows of a run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import pyarrow as pa

from finercam.runs.rows import Rows
from finercam.studies.faithfulness.rows import Row

_NUMBER = pa.float64()
#: Of a photo: the same in all of its rows.
_OF_PHOTO = (
    ("other", pa.int32()),
    ("correct", pa.bool_()),
    ("off", _NUMBER),
    ("off_plain", _NUMBER),
    ("off_area", _NUMBER),
    ("on_listed", _NUMBER),
    ("empty", pa.bool_()),
)
#: Of an attribute or place; null in the one row of a photo that shows none.
_OF_ROW = (
    ("name", pa.string()),
    ("words", pa.string()),
    ("places", pa.list_(pa.string())),
    ("difference", _NUMBER),
    ("status", pa.string()),
    ("alignment", _NUMBER),
    ("chance", _NUMBER),
    ("advantage", _NUMBER),
    ("gain", _NUMBER),
    ("above", _NUMBER),
    ("plain", _NUMBER),
    ("overlap", _NUMBER),
    ("overlap_chance", _NUMBER),
    ("found", _NUMBER),
)
SCHEMA = pa.schema([*_OF_PHOTO, *_OF_ROW])


@dataclass(frozen=True, eq=False)
class Examined:
    """One photo.

    Attributes:
        key: of the photo in its data set.
        target, other: labels of its class and of the class it is compared with.
        correct: whether it was correctly classified.
        rows: of attributes and places.
        off: share of saliency off the object, 0 to 1 (see ``studies.places``); NaN where its outline is not known.
        off_plain: the same of the map without the comparison.
        off_area: share of the input that counts as off the object: what a map that knows nothing has.
        on_listed: share of saliency on all places of the listed attributes; NaN where none is in sight.
        empty: whether the map is zero.
    """

    key: str
    target: int
    other: int
    correct: bool
    rows: tuple[Row, ...]
    off: float
    off_plain: float
    off_area: float
    on_listed: float
    empty: bool


def to_rows(examined: Examined) -> list[dict[str, Any]]:
    """Return a photo's rows for the table of a run."""
    of_photo = {name: _known(getattr(examined, name)) for name, _ in _OF_PHOTO}
    found = [
        of_photo | {name: _known(getattr(row, name)) for name, _ in _OF_ROW} | {"places": list(row.places)}
        for row in examined.rows
    ]
    return found or [of_photo]


def read_examined(rows: Rows) -> list[Examined]:
    """Return the photos of a run, complete or not, in their order; those that failed are left out."""
    columns = ["id", "key", "label", *SCHEMA.names]
    lines = rows.table(columns).to_pylist()
    return [_photo(list(own)) for _, own in groupby(lines, key=lambda line: line["id"])]


def _photo(lines: list[Mapping[str, Any]]) -> Examined:
    key, target, other = lines[0]["key"], lines[0]["label"], lines[0]["other"]
    rows = []
    for line in lines:
        if line["name"] is not None:
            values: dict[str, Any] = {
                name: _number(line[name]) if kind == _NUMBER else line[name] for name, kind in _OF_ROW
            }
            rows.append(Row(key=key, target=target, other=other, **{**values, "places": tuple(line["places"])}))
    shares = {name: _number(lines[0][name]) for name, kind in _OF_PHOTO if kind == _NUMBER}
    return Examined(
        key, target, other, correct=lines[0]["correct"], rows=tuple(rows), empty=lines[0]["empty"], **shares
    )


def _known(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


def _number(value: float | None) -> float:
    return math.nan if value is None else value
