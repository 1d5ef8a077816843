"""What the readers of published data sets share: tables of text, boxes, and errors that say what is missing."""

from __future__ import annotations

import csv
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from finercam.data.dataset import Box
from finercam.errors import FinercamError
from finercam.texts import shortened


@dataclass(frozen=True)
class Publication:
    """A published data set: its name, the paper that introduced it, and the page where it can be had."""

    name: str
    paper: str
    page: str

    @property
    def source(self) -> str:
        """Paper and page."""
        return f"{self.paper}, {self.page}"

    def missing(self, what: str) -> FinercamError:
        """Return the error for something that a complete download contains."""
        return FinercamError(f"{self.name}: {what}; the data is published at {self.page}")


@dataclass(frozen=True)
class Row:
    """One line of a table.

    Attributes:
        path: of the table.
        line: its number, from 1.
        fields: the line's.
    """

    path: Path
    line: int
    fields: tuple[str, ...]

    def wrong(self, message: str) -> FinercamError:
        """Return the error for this line."""
        return FinercamError(f"{self.path}, line {self.line}: {message}")

    def integer(self, at: int, what: str) -> int:
        """Return a field as a whole number.

        Raises:
            FinercamError: it is not one.
        """
        try:
            return int(self.fields[at])
        except ValueError:
            raise self.wrong(f"{what} is {self.fields[at]!r}, not a whole number") from None

    def flag(self, at: int, what: str) -> bool:
        """Return a field that is 0 or 1.

        Raises:
            FinercamError: it is neither.
        """
        if self.fields[at] not in ("0", "1"):
            raise self.wrong(f"{what} is {self.fields[at]!r}, not 0 or 1")
        return self.fields[at] == "1"

    def reals(self, start: int, stop: int, what: str) -> list[float]:
        """Return neighbouring fields as finite numbers.

        Raises:
            FinercamError: one of them is not.
        """
        try:
            numbers = [float(field) for field in self.fields[start:stop]]
        except ValueError:
            numbers = [math.nan]
        if not all(map(math.isfinite, numbers)):
            raise self.wrong(f"{what} is {' '.join(self.fields[start:stop])!r}, not {stop - start} numbers")
        return numbers


def read_lines(path: Path, publication: Publication) -> Iterator[tuple[int, str]]:
    """Yield (number, text) of each line of a file that is not empty.

    Raises:
        FinercamError: the file is missing or is not text.
    """
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, 1):
                if text := line.strip():
                    yield number, text
    except FileNotFoundError:
        raise publication.missing(f"{path.name} is missing from {str(path.parent)!r}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise FinercamError(f"{path} cannot be read: {error}") from error


def read_rows(path: Path, publication: Publication, fields: int) -> Iterator[Row]:
    """Yield the lines of a table whose fields are separated by spaces; the last one may hold spaces itself.

    Raises:
        FinercamError: the file is missing or is not text, or a line has fewer fields.
    """
    for number, text in read_lines(path, publication):
        row = Row(path, number, tuple(text.split(maxsplit=fields - 1)))
        if len(row.fields) < fields:
            raise row.wrong(f"{text!r} has {len(row.fields)} of {fields} fields")
        yield row


def read_columns(path: Path, publication: Publication, columns: Sequence[str]) -> Iterator[Row]:
    """Yield these columns of a table with a heading, separated by commas; what is not there is empty.

    Raises:
        FinercamError: the file is missing, is not such a table, or lacks a column.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            there = reader.fieldnames or ()
            absent = [name for name in columns if name not in there]
            if absent:
                named = shortened(", ".join(there) or "none")
                raise FinercamError(f"{path} has no column {absent[0]!r}; its columns are {named}")
            for line in reader:
                yield Row(path, reader.line_num, tuple((line[name] or "").strip() for name in columns))
    except FileNotFoundError:
        raise publication.missing(f"{path.name} is missing from {str(path.parent)!r}") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FinercamError(f"{path} cannot be read: {error}") from error


def by_id(rows: Iterable[Row]) -> dict[str, Row]:
    """Return rows by their first field, in the order given.

    Raises:
        FinercamError: two rows have the same one.
    """
    table: dict[str, Row] = {}
    for row in rows:
        first = table.setdefault(row.fields[0], row)
        if first is not row:
            raise row.wrong(f"id {row.fields[0]!r} is already in line {first.line}")
    return table


def row_of(number: str, table: Mapping[str, Row], path: Path, listed: Path) -> Row:
    """Return the row of an id.

    Raises:
        FinercamError: there is none.
    """
    if number not in table:
        raise FinercamError(f"{path} has no line for id {number!r}, which {listed.name} lists")
    return table[number]


def check_listed(names: Iterable[str], folder: Path, publication: Publication, what: str = "pictures") -> None:
    """Check that all files are there, with one listing per folder.

    Args:
        names: paths below ``folder``, separated by ``/``. They come from files that others wrote.
        folder: where they should be.
        publication: for the error.
        what: what they are, for the error.

    Raises:
        FinercamError: some are missing; it counts them and names three. Or one leads out of the folder.
    """
    wanted: dict[str, list[str]] = {}
    for name in names:
        if _leaves(name):
            raise FinercamError(
                f"{publication.name}: {shortened(name)!r} does not lie below {str(folder)!r}, where {what} are"
            )
        wanted.setdefault(name.rpartition("/")[0], []).append(name)
    absent = []
    for parent, inside in wanted.items():
        try:
            there = set(os.listdir(folder / parent))
        except OSError:
            there = set()
        absent += [name for name in inside if name.rpartition("/")[2] not in there]
    if absent:
        total = sum(map(len, wanted.values()))
        examples = ", ".join(absent[:3]) + (", ..." if len(absent) > 3 else "")
        raise publication.missing(f"{len(absent)} of {total} {what} are missing from {str(folder)!r}: {examples}")


def _leaves(name: str) -> bool:
    return name.startswith(("/", "\\")) or ":" in name[1:3] or "\0" in name or ".." in re.split(r"[/\\]", name)


def checked_box(x0: float, y0: float, x1: float, y1: float, wrong: Callable[[str], FinercamError]) -> Box:
    """Return a box, checked not to be empty and not to begin outside the picture.

    One pixel outside is tolerated and cut off: the difference between counting from 0 and from 1.

    Args:
        x0, y0, x1, y1: half-open, in pixels from 0.
        wrong: makes the error from a message.

    Raises:
        FinercamError: it is empty, or begins more than one pixel to the left of the picture or above it.
    """
    if not (x1 > max(x0, 0) and y1 > max(y0, 0)):
        raise wrong(f"the box from ({x0:g}, {y0:g}) to ({x1:g}, {y1:g}) is empty")
    if x0 < -1 or y0 < -1:
        raise wrong(f"the box from ({x0:g}, {y0:g}) to ({x1:g}, {y1:g}) begins outside the picture")
    return max(x0, 0.0), max(y0, 0.0), x1, y1
