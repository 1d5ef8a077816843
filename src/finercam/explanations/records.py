"""The records of a folder of results: a line of JSON each, added as they are made."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from finercam.data.photos import Crop
from finercam.errors import FinercamError
from finercam.files import NotWritten, append, result_path, whole
from finercam.texts import encoded, json_line

Record = dict[str, Any]


class Records:
    """A file of records, which earlier runs may have begun.

    A photo's lines are added in one piece when its results are in place, so that whatever stops a run nothing finished
    is lost. A photo that is explained again replaces its records of the same answer, and an error that it had.

    Args:
        path: of the file; the results are in its folder.

    Raises:
        FinercamError: it is not a file of records, or cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._records = self._read()
        except OSError as error:
            raise NotWritten(path, error) from error
        # Whose each result is, by its path without the suffix: another photo must not overwrite it.
        self._owners: dict[str, str] = {}
        for record in self._records:
            for file in record.get("files", {}).values():
                self._owners[_stem(file)] = _whose(record)

    def result(self, file: Path | Crop, relative: Path, answers: Sequence[str]) -> Path:
        """Return where a photo's results go, without suffix: by its own name, or one with a suffix or number added.

        Args:
            file: the photo, or the animal on one.
            relative: the path to name its results by.
            answers: what its answers are called below that; ``[""]`` for one that has the photo's name.
        """
        photo, folder = _key(file), self._path.parent
        stem, dot, suffix = relative.name.rpartition(".")
        for name in _names(stem if dot else relative.name, suffix if dot else ""):
            found = result_path(folder, *relative.parts[:-1], name)
            own = [_stem(f"{answer_path(found, answer).relative_to(folder).as_posix()}.") for answer in answers]
            if all(self._owners.get(one, photo) == photo for one in own):
                self._owners.update(dict.fromkeys(own, photo))
                return found
        raise AssertionError

    def add(self, records: Sequence[Record]) -> None:
        """Add the records of a photo.

        Raises:
            NotWritten: they cannot be written.
        """
        append(self._path, encoded("".join(f"{json_line(record)}\n" for record in records)))
        self._records += records

    def close(self) -> None:
        """Take out what was replaced.

        Raises:
            NotWritten: that cannot be written; the lines are then still all there, the newer behind the older.
        """
        merged = _merged(self._records)
        if len(merged) < len(self._records):
            self._write(merged)

    def _write(self, records: Sequence[Record]) -> None:
        with whole(self._path) as aside:
            aside.write_bytes(encoded("".join(f"{json_line(record)}\n" for record in records)))
        self._records = list(records)

    def _read(self) -> list[Record]:
        # Found now and not when the first photo is done: that nothing can be added here.
        self._path.parent.mkdir(parents=True, exist_ok=True)
        append(self._path, b"")
        *lines, last = self._path.read_bytes().split(b"\n")
        found = [_parsed(self._path, line, number) for number, line in enumerate(lines, 1) if line.strip()]
        if last:
            # What a machine that lost its power left of a line is not a record, and nothing can be added behind it.
            self._write(found)
        return found


def read_records(path: Path) -> list[Record]:
    """Return the records of a folder of results: the last of each photo and answer.

    Raises:
        FinercamError: there is no such file, or it is not one of records.
    """
    try:
        *lines, _ = path.read_bytes().split(b"\n")
    except OSError as error:
        raise FinercamError(
            f"{str(path)!r} cannot be read ({error.strerror}); give the --out folder of finercam explain"
        ) from None
    return _merged([_parsed(path, line, number) for number, line in enumerate(lines, 1) if line.strip()])


def answer_path(result: Path, answer: str) -> Path:
    """Return where one of a photo's answers goes, without suffix."""
    return result_path(result, answer) if answer else result


def _parsed(path: Path, line: bytes, number: int) -> Record:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        record = None
    if not isinstance(record, dict) or not isinstance(record.get("image"), str) or not _are_files(record):
        raise FinercamError(f"{path}, line {number}, is not a record of a photo; give another --out")
    return record


def _names(stem: str, suffix: str) -> Iterator[str]:
    # Two photos may differ in folder or suffix only.
    yield stem
    for number in itertools.count(1):
        yield f"{stem}-{suffix}" + (f"-{number}" if number > 1 else "")


def _merged(records: Sequence[Record]) -> list[Record]:
    """Return the last record of each photo and answer, where its first was; errors of photos that have an answer go."""
    last: dict[tuple[str, str | None], Record] = {}
    for record in records:
        photo, picture = _whose(record), next(iter(record.get("files", {}).values()), None)
        last[photo, picture] = record
        if picture is not None:
            last.pop((photo, None), None)
    return list(last.values())


def _are_files(record: Record) -> bool:
    files = record.get("files", {})
    return isinstance(files, dict) and all(isinstance(file, str) for file in files.values())


def _whose(record: Record) -> str:
    """Return the key of what a record is of."""
    box = record.get("box")
    number = box.get("number") if isinstance(box, dict) else None
    return _key(record["image"]) if number is None else f"{_key(record['image'])}, box {number}"


def _key(file: Any) -> str:
    if isinstance(file, Crop):
        return f"{_key(file.photo)}, box {file.number}"
    return os.path.abspath(file)


def _stem(file: str) -> str:
    # Where the case of letters does not count, two names may be one file.
    return os.path.splitext(file)[0].casefold()
