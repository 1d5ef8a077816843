"""The list of photos a run goes through, as a Parquet file whose row groups are the run's parts.

Written item by item and read part by part, so that its length does not matter to memory.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from finercam.data.dataset import Item
from finercam.errors import FinercamError
from finercam.runs.storage import Folder

NAME = "manifest.parquet"
_NUMBER = pa.float64()
SCHEMA = pa.schema(
    [
        ("id", pa.int64()),
        ("key", pa.string()),
        ("uri", pa.string()),
        ("label", pa.int32()),
        ("target", pa.int32()),
        ("box", pa.list_(_NUMBER)),
        ("mask", pa.string()),
        ("parts", pa.list_(pa.list_(_NUMBER))),
    ]
)


@dataclass(frozen=True)
class Entry:
    """One line: an item, its number in the run, and the model's class for its label (-1 if there is none)."""

    id: int
    item: Item
    target: int


@dataclass(frozen=True)
class Summary:
    """What was written."""

    items: int
    sha256: str


def part_size_for(items: int, least: int = 16) -> int:
    """Return how many photos make a part: little is lost when a run is stopped, and files stay fewer than 10,000."""
    return max(least, min(1024, -(-items // 10_000)))


def write(folder: Folder, items: Iterable[Item], targets: Sequence[int], part_size: int) -> Summary:
    """Write the manifest and return how many items it has and the hash of what it says of them.

    Args:
        folder: the run's.
        items: each with its label.
        targets: by label, the model's class, or -1; of no length where nothing is known of classes.
        part_size: photos per part.

    Raises:
        FinercamError: it cannot be written, here or there; or a file's name is not UTF-8.
    """
    digest = hashlib.sha256()
    count = 0
    with folder.writing(NAME) as aside, pq.ParquetWriter(aside, SCHEMA) as writer:
        for start, lines in _groups(items, targets, part_size):
            digest.update(json.dumps(lines, sort_keys=True).encode())
            rows = [{"id": start + i, **line} for i, line in enumerate(lines)]
            writer.write_table(_table(rows), row_group_size=part_size)
            count += len(rows)
    return Summary(count, digest.hexdigest())


def digest(items: Iterable[Item], targets: Sequence[int], part_size: int) -> Summary:
    """Return what ``write`` would, without writing."""
    found = hashlib.sha256()
    count = 0
    for _, lines in _groups(items, targets, part_size):
        found.update(json.dumps(lines, sort_keys=True).encode())
        count += len(lines)
    return Summary(count, found.hexdigest())


def _groups(
    items: Iterable[Item], targets: Sequence[int], part_size: int
) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    start, lines = 0, list[dict[str, Any]]()
    for item in items:
        lines.append(_line(item, targets[item.label] if targets else -1))
        if len(lines) == part_size:
            yield start, lines
            start, lines = start + len(lines), []
    if lines:
        yield start, lines


def _line(item: Item, target: int) -> dict[str, Any]:
    return {
        "key": item.key,
        "uri": item.uri,
        "label": item.label,
        "target": target,
        "box": None if item.box is None else list(item.box),
        "mask": item.mask,
        "parts": [[] if point is None else list(point) for point in item.parts],
    }


def _table(rows: list[dict[str, Any]]) -> pa.Table:
    try:
        return pa.Table.from_pylist(rows, SCHEMA)
    except UnicodeEncodeError as error:
        raise FinercamError(f"a file's name is not UTF-8: {error.object!r}; rename it") from error


class Manifest:
    """Reads a manifest part by part.

    Raises:
        FinercamError: there is none, or it cannot be read.
    """

    def __init__(self, folder: Folder) -> None:
        # The whole of a local file is mapped, a remote one read where it is asked for.
        source: Any = folder.path(NAME) if folder.local else folder.open(NAME)
        try:
            self._file = pq.ParquetFile(source, memory_map=folder.local)
        except (pa.ArrowInvalid, OSError) as error:
            raise FinercamError(
                f"{folder.uri}/{NAME} cannot be read: {error}; remove it and run the same command again"
            ) from error

    def __len__(self) -> int:
        return self._file.metadata.num_rows

    @property
    def parts(self) -> int:
        """How many parts there are."""
        return self._file.num_row_groups

    def size(self, part: int) -> int:
        """Return how many items a part has."""
        return self._file.metadata.row_group(part).num_rows

    def part(self, part: int) -> list[Entry]:
        """Return a part's entries."""
        return [
            Entry(
                row["id"],
                Item(
                    row["key"],
                    row["uri"],
                    row["label"],
                    None if row["box"] is None else tuple(row["box"]),
                    row["mask"],
                    tuple(tuple(point) if point else None for point in row["parts"]),
                ),
                row["target"],
            )
            for row in self._file.read_row_group(part).to_pylist()
        ]


def to_bytes(table: pa.Table) -> bytes:
    """Return a table as the content of a Parquet file."""
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()
