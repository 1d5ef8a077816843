"""Records as a table that spreadsheets open."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from finercam.files import whole

#: What a spreadsheet would take for a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@contextmanager
def spreadsheet_of(records: Path) -> Iterator[None]:
    """Write a file of records, one line of JSON each, as CSV beside it once it is there, also when it is stopped."""
    try:
        yield
    finally:
        if records.is_file():
            write_csv(records, records.with_suffix(".csv"))


def write_csv(records: Path, path: Path) -> None:
    """Write records as CSV: ``target.name`` is the name in ``target``; values of a list are separated by semicolons."""
    rows = [flat(json.loads(line)) for line in records.read_text(encoding="utf-8").splitlines()]
    columns = list(dict.fromkeys(column for row in rows for column in row))
    with whole(path) as aside, aside.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows({column: _safe(value) for column, value in row.items()} for row in rows)


def flat(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record without mappings and lists in it.

    >>> flat({"target": {"name": "jay"}, "references": [{"name": "crow"}, {"name": "junco"}]})
    {'target.name': 'jay', 'references.name': 'crow; junco'}
    """
    found: dict[str, Any] = {}
    for name, value in record.items():
        if isinstance(value, Mapping):
            found |= {f"{name}.{inner}": one for inner, one in flat(value).items()}
        elif isinstance(value, list) and any(isinstance(one, Mapping) for one in value):
            every = [flat(one) for one in value]
            for inner in dict.fromkeys(inner for one in every for inner in one):
                found[f"{name}.{inner}"] = "; ".join(_text(one.get(inner)) for one in every)
        elif isinstance(value, list):
            found[name] = "; ".join(_text(one) for one in value)
        else:
            found[name] = value
    return found


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _safe(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
