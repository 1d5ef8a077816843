"""Records as a table that spreadsheets open."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from finercam.files import whole
from finercam.texts import csv_text, encoded


def write_csv(records: Path) -> None:
    """Write a file of records, one line of JSON each, as CSV beside it.

    ``target.name`` is the name in ``target``; the values of a list are separated by semicolons.
    """
    lines = records.read_bytes().decode("utf-8").split("\n")
    rows = [flat(json.loads(line)) for line in lines if line]
    columns = list(dict.fromkeys(column for row in rows for column in row))
    table = csv_text([columns, *([row.get(column) for column in columns] for row in rows)])
    with whole(records.with_suffix(".csv")) as aside:
        aside.write_bytes(encoded(table))


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
