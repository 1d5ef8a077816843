"""The folder of a run: what decides its numbers, its manifest, and its rows in parts.

    run.json             the fingerprint: everything that decides the numbers
    manifest.parquet     the photos; one row group per part
    rows/part-00000.parquet ...

A part is written aside and renamed, so it is there whole or not at all; running a part again writes the same file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from finercam.engine.manifest import Manifest, to_bytes
from finercam.engine.storage import Folder
from finercam.errors import FinercamError

RUN = "run.json"
ROWS = "rows"


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
        except ValueError as error:
            raise FinercamError(f"{self.folder.uri}/{RUN} cannot be read: {error}; give another folder") from error
        if not isinstance(found, dict):
            raise FinercamError(f"{self.folder.uri}/{RUN} is no run's description; give another folder")
        return found

    def claim(self, fingerprint: Mapping[str, Any]) -> bool:
        """Take the folder for a run, and return whether it was begun before.

        Raises:
            FinercamError: the folder holds another run; the message lists what differs. Or files that are no run's.
        """
        before = self.fingerprint
        wanted = json.loads(json.dumps(fingerprint))
        if before is None:
            strange = [name for name in self.folder.names() if name != "manifest.parquet"]
            if strange:
                raise FinercamError(
                    f"{self.folder.uri} holds files that are no run's ({', '.join(strange[:3])}); give another folder"
                )
            self.folder.write(RUN, json.dumps(wanted, indent=2, ensure_ascii=False).encode())
            return False
        if before != wanted:
            differs = "; ".join(_differences(before, wanted))
            raise FinercamError(
                f"{self.folder.uri} holds a run that differs in: {differs}. Repeat its command, or give another --out"
            )
        return True

    def commit(self, part: int, rows: pa.Table) -> None:
        """Put a part's rows in place.

        Raises:
            FinercamError: there is no room, or no leave, to write; nothing half-written is left.
        """
        try:
            self.folder.write(f"{ROWS}/{part_name(part)}", to_bytes(rows))
        except OSError as error:
            raise FinercamError(
                f"rows cannot be written to {self.folder.uri}: {error}; what was written before is kept, and the same "
                "command goes on from there"
            ) from error

    def done(self) -> set[int]:
        """Return the parts that are there and readable; what cannot be read is removed, to be made again."""
        found = set()
        for name in self.folder.names(ROWS):
            path = f"{ROWS}/{name}"
            try:
                with self.folder.open(path) as file:
                    pq.ParquetFile(file).metadata  # noqa: B018
            except (pa.ArrowInvalid, OSError):
                self.folder.remove(path)
                continue
            found.add(part_of(name))
        return found

    def drop_failed(self) -> int:
        """Remove the parts in which a photo failed, and return how many there were."""
        dropped = 0
        for part in sorted(self.done()):
            path = f"{ROWS}/{part_name(part)}"
            with self.folder.open(path) as file:
                errors = pq.read_table(file, columns=["error"])["error"]
            if errors.null_count < len(errors):
                self.folder.remove(path)
                dropped += 1
        return dropped

    def check(self, manifest: Manifest) -> None:
        """Raise unless every photo of the manifest is in the rows, in its own part only.

        Raises:
            FinercamError: photos are missing or are there twice.
        """
        done = self.done()
        for part in range(manifest.parts):
            if part not in done:
                raise FinercamError(f"part {part} of {self.folder.uri} is missing; run the same command again")
            with self.folder.open(f"{ROWS}/{part_name(part)}") as file:
                table = pq.read_table(file, columns=["id", "method", "contrast"])
            ids = [entry.id for entry in manifest.part(part)]
            lines = list(zip(*(table[name].to_pylist() for name in ("id", "method", "contrast")), strict=True))
            if set(table["id"].to_pylist()) != set(ids) or len(set(lines)) != len(lines):
                raise FinercamError(
                    f"part {part} of {self.folder.uri} does not hold each of its photos once; remove "
                    f"{ROWS}/{part_name(part)} and run the same command again"
                )
        strange = done - set(range(manifest.parts))
        if strange:
            raise FinercamError(f"{self.folder.uri}/{ROWS} holds parts that are none of this run's: {sorted(strange)}")


def part_name(part: int) -> str:
    """Return the name of a part's file."""
    return f"part-{part:05d}.parquet"


def part_of(name: str) -> int:
    """Return the part a file is of; -1 for a file that is none."""
    number = name.removeprefix("part-").removesuffix(".parquet")
    return int(number) if number.isdigit() else -1


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
