"""The list of photos a run goes through, as a Parquet file whose row groups are the run's parts.

Written item by item and read part by part, so that its length does not matter to memory.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from finercam.data.dataset import Item
from finercam.errors import FinercamError
from finercam.runs.storage import Folder
from finercam.texts import storable

NAME = "manifest.parquet"
_NUMBER = pa.float64()
#: What stands in the list for a byte that is not UTF-8, or for the backslash of a name that has such a text itself.
_ESCAPE = r"\\(u(?:dc[89a-f][0-9a-f]|005c))"
#: What reading a file may raise in which a bit was flipped: it may have become anything, the name of a column too.
_DAMAGED = (pa.ArrowException, OSError, ValueError, KeyError, TypeError)
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
        ("part_mask", pa.string()),
        ("content", pa.string()),
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


def write(
    folder: Folder,
    items: Iterable[Item],
    targets: Sequence[int],
    part_size: int,
    tell: Callable[[Sequence[Item]], Sequence[str]] | None = None,
) -> Summary:
    """Write the manifest and return how many items it has and the hash of what it says of them.

    Args:
        folder: the run's.
        items: each with its label.
        targets: by label, the model's class, or -1; of no length where nothing is known of classes.
        part_size: photos per part.
        tell: given items, a text for each that tells its content (``finercam.runs.contents``); it is no part of the
            hash, for a photo that failed may be mended.

    Raises:
        FinercamError: it cannot be written, here or there.
    """
    digest = hashlib.sha256()
    count = 0
    with folder.writing(NAME) as aside, pq.ParquetWriter(aside, SCHEMA) as writer:
        for start, some, lines in _groups(items, targets, part_size):
            digest.update(json.dumps(lines, sort_keys=True).encode())
            told = [""] * len(some) if tell is None else tell(some)
            rows = [{"id": start + i, **line, "content": told[i]} for i, line in enumerate(lines)]
            writer.write_table(pa.Table.from_pylist(rows, SCHEMA), row_group_size=part_size)
            count += len(rows)
    return Summary(count, digest.hexdigest())


def digest(items: Iterable[Item], targets: Sequence[int], part_size: int) -> Summary:
    """Return what ``write`` would, without writing."""
    found = hashlib.sha256()
    count = 0
    for _, _, lines in _groups(items, targets, part_size):
        found.update(json.dumps(lines, sort_keys=True).encode())
        count += len(lines)
    return Summary(count, found.hexdigest())


def _groups(
    items: Iterable[Item], targets: Sequence[int], part_size: int
) -> Iterator[tuple[int, list[Item], list[dict[str, Any]]]]:
    start, some = 0, list[Item]()
    for item in items:
        some.append(item)
        if len(some) == part_size:
            yield start, some, [_line(one, targets) for one in some]
            start, some = start + len(some), []
    if some:
        yield start, some, [_line(one, targets) for one in some]


def _line(item: Item, targets: Sequence[int]) -> dict[str, Any]:
    return _told(item, targets[item.label] if targets else -1)


def _told(item: Item, target: int) -> dict[str, Any]:
    return {
        "key": _escaped(item.key),
        "uri": _escaped(item.uri),
        "label": item.label,
        "target": target,
        "box": None if item.box is None else list(item.box),
        "mask": None if item.mask is None else _escaped(item.mask),
        "parts": [[] if point is None else list(point) for point in item.parts],
        "part_mask": None if item.part_mask is None else _escaped(item.part_mask),
    }


def _escaped(name: str) -> str:
    """Return a name as UTF-8 can hold it, such that ``_as_named`` gives it back."""
    return storable(re.sub(_ESCAPE, r"\\u005c\1", name))


def _as_named(escaped: str) -> str:
    """Return the name that ``_escaped`` made this of."""
    return re.sub(_ESCAPE, lambda found: chr(int(found[1][1:], 16)), escaped)


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
        except _DAMAGED as error:
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
                    _as_named(row["key"]),
                    _as_named(row["uri"]),
                    row["label"],
                    None if row["box"] is None else tuple(row["box"]),
                    None if row["mask"] is None else _as_named(row["mask"]),
                    tuple(tuple(point) if point else None for point in row["parts"]),
                    None if (part_mask := row.get("part_mask")) is None else _as_named(part_mask),
                ),
                row["target"],
            )
            for row in self._file.read_row_group(part).to_pylist()
        ]

    def contents(self, part: int) -> list[str]:
        """Return what was told of the contents of a part's items when the run was begun."""
        return self._file.read_row_group(part, columns=["content"])["content"].to_pylist()

    def summary(self) -> Summary:
        """Return how many items there are and the hash of what is said of them, as ``write`` did.

        Raises:
            FinercamError: it is damaged.
        """
        found = hashlib.sha256()
        count = 0
        for part in range(self.parts):
            try:
                entries = self.part(part)
            except _DAMAGED as error:
                raise FinercamError(
                    f"{NAME} is damaged ({type(error).__name__}: {error}); remove it and run the same command again"
                ) from error
            if [entry.id for entry in entries] != list(range(count, count + len(entries))):
                return Summary(len(self), "items that are not counted through")
            lines = [_told(entry.item, entry.target) for entry in entries]
            found.update(json.dumps(lines, sort_keys=True).encode())
            count += len(entries)
        return Summary(count, found.hexdigest())
