"""The folder of a run: what decides its numbers, its manifest, and its rows in parts.

    run.json             the fingerprint: everything that decides the numbers
    manifest.parquet     the photos; one row group per part
    rows/part-00000.parquet ...

A part is written aside and renamed, so it is there whole or not at all; running a part again writes the same file. It
is sealed (``finercam.runs.sealing``): bits that change later, and parts of other runs, are found.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from finercam.errors import FinercamError
from finercam.runs.manifest import NAME, Manifest
from finercam.runs.sealing import seal, unseal
from finercam.runs.storage import Folder
from finercam.texts import encoded

RUN = "run.json"
ROWS = "rows"
#: What a part's file says of itself: the numbers of the items that have no row, in JSON.
WITHOUT_ROWS = b"finercam.without_rows"
#: Parts looked into at once: an object store takes a tenth of a second for each, whatever its size.
_AT_ONCE = 16


@dataclass(frozen=True)
class RunFolder:
    """A run's folder.

    Args:
        folder: where it is.
    """

    folder: Folder

    @property
    def fingerprint(self) -> dict[str, Any] | None:
        """What decides the numbers of the run that is in the folder, if there is one."""
        content = self.folder.read(RUN)
        if content is None:
            return None
        try:
            found = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise FinercamError(f"{self.folder.uri}/{RUN} cannot be read: {error}; give another folder") from error
        if not isinstance(found, dict):
            raise FinercamError(f"{self.folder.uri}/{RUN} does not describe a run; give another folder")
        return found

    @property
    def has_manifest(self) -> bool:
        """Whether the photos are listed already."""
        return NAME in self.folder.names()

    def claim(self, fingerprint: Mapping[str, Any], *, replace: bool = False) -> bool:
        """Take the folder for a run, and return whether it was begun before.

        Args:
            fingerprint: what decides the run's numbers.
            replace: take it from another run, too. What that one has left there stays.

        Raises:
            FinercamError: the folder holds another run; the message lists what differs. Or it holds anything else:
                rows that nothing is known of must not be taken for this run's.
        """
        before = self.fingerprint
        wanted = json.loads(json.dumps(fingerprint))
        if before == wanted:
            return True
        if before is None and not self.folder.empty():
            raise FinercamError(
                f"{self.folder.uri} holds something already, and no {RUN} that says of which run; give another folder"
            )
        if before is not None and not replace:
            differs = "; ".join(_differences(before, wanted))
            raise FinercamError(
                f"{self.folder.uri} holds a run that differs in: {differs}. Repeat its command, or give another --out"
            )
        self.folder.write(RUN, encoded(json.dumps(wanted, indent=2, ensure_ascii=False)))
        return False

    def commit(self, part: int, rows: pa.Table) -> None:
        """Put a part's rows in place.

        Raises:
            FinercamError: there is no room, or no leave, to write; nothing half-written is left.
        """
        try:
            self.folder.write(_path(part), seal(rows, self._run(), part))
        except FinercamError as error:
            raise FinercamError(
                f"{error}; what was written before is kept, and the same command resumes from there"
            ) from error

    def parts(self) -> list[int]:
        """Return the parts that are there, readable or not."""
        numbers = {name: part_of(name) for name in self.folder.names(ROWS)}
        return sorted(part for name, part in numbers.items() if name == part_name(part))

    def done(self) -> set[int]:
        """Return the parts that are there and whole; one that is damaged is yet to be done, and then replaced.

        Raises:
            FinercamError: a part is another run's, or lies in another's place.
        """
        return {part for part, found in self._tables([]) if found is not None}

    def measured(self, part: int) -> set[int]:
        """Return the numbers of a part's items that were measured, those that failed left out."""
        ((_, table),) = self._tables(["id", "error"], [part])
        if table is None:
            return set()
        fine = table.filter(pc.is_null(table["error"]))["id"].to_pylist()
        return {*fine, *json.loads((table.schema.metadata or {}).get(WITHOUT_ROWS, b"[]"))}

    def drop_failed(self) -> int:
        """Remove the parts in which a photo failed, and return how many there were."""
        errors = [(part, found["error"]) for part, found in self._tables(["error"]) if found is not None]
        failed = [part for part, column in errors if column.null_count < len(column)]
        for part in failed:
            self.folder.remove(_path(part))
        return len(failed)

    def check(self, manifest: Manifest, row_key: Sequence[str] = ()) -> None:
        """Raise unless every item of the manifest is accounted for, once and in its own part only.

        Args:
            manifest: the run's.
            row_key: columns that tell an item's rows from each other.

        Raises:
            FinercamError: items are missing or are there twice; a part is damaged, or another run's.
        """
        there = set(self.parts())
        missing = sorted(set(range(manifest.parts)) - there)
        if missing:
            raise FinercamError(
                f"{len(missing)} of {manifest.parts} parts of {self.folder.uri} are missing, the first is "
                f"{missing[0]}; run the same command again"
            )
        strange = sorted(there - set(range(manifest.parts)))
        if strange:
            raise FinercamError(f"{self.folder.uri}/{ROWS} holds parts that do not belong to this run: {strange[:5]}")
        columns = ["id", *row_key]
        # An item's number is its place in the manifest, so a part's are known without reading that.
        start = 0
        for part, table in self._tables(columns):
            if table is None:
                raise FinercamError(f"{self.folder.uri}/{_path(part)} is damaged; run the same command again")
            size = manifest.size(part)
            without = json.loads((table.schema.metadata or {}).get(WITHOUT_ROWS, b"[]"))
            ids = [*set(table["id"].to_pylist()), *without]
            distinct = table.group_by(columns).aggregate([]).num_rows
            if sorted(ids) != list(range(start, start + size)) or distinct != table.num_rows:
                raise FinercamError(
                    f"part {part} of {self.folder.uri} does not hold each of its photos once; remove "
                    f"{_path(part)} and run the same command again"
                )
            start += size

    def _tables(self, columns: list[str], parts: Sequence[int] | None = None) -> Iterator[tuple[int, pa.Table | None]]:
        """Yield parts (all that are there) and some columns of each, or ``None`` where one is damaged."""
        run = self._run()
        parts = self.parts() if parts is None else parts
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            # Not all at once: a run may have ten thousand, and each is read whole.
            for start in range(0, len(parts), _AT_ONCE):
                some = parts[start : start + _AT_ONCE]
                found = threads.map(lambda part: unseal(self.folder.read(_path(part)) or b"", columns), some)
                for part, sealed in zip(some, found, strict=True):
                    if sealed is not None and (sealed.run, sealed.part) != (run, part):
                        whose = f"part {sealed.part} of this run" if sealed.run == run else "a part of another run"
                        raise FinercamError(
                            f"{self.folder.uri}/{_path(part)} is {whose}, by what it says of itself; either it was "
                            f"copied there (remove it and run the same command again), or {RUN} was edited"
                        )
                    yield part, None if sealed is None else sealed.table

    def _run(self) -> str:
        """Return the hash of what decides the run's numbers."""
        return hashlib.sha256(json.dumps(self.fingerprint, sort_keys=True).encode()).hexdigest()


def part_name(part: int) -> str:
    """Return the name of a part's file."""
    return f"part-{part:05d}.parquet"


def part_of(name: str) -> int:
    """Return the part a file is of; -1 for a file that is none."""
    number = name.removeprefix("part-").removesuffix(".parquet")
    return int(number) if number.isdecimal() else -1


def _path(part: int) -> str:
    return f"{ROWS}/{part_name(part)}"


def _differences(before: Mapping[str, Any], now: Mapping[str, Any], path: str = "") -> list[str]:
    found = []
    for key in dict.fromkeys([*before, *now]):
        a, b = before.get(key), now.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            found += _differences(a, b, f"{path}{key} ")
        elif a != b:
            found.append(f"{path}{key} ({_shown(a)} there, {_shown(b)} now)")
    return found


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value[:8])) + (" ..." if len(value) > 8 else "")
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 60 else text[:12] + "..."
