"""Text that does no harm where it goes: terminals, JSON lines, CSV, Markdown, LaTeX.

Names of photos, classes and models come from files that others made. What a name would do to a terminal, a spreadsheet
or a table is taken out here, and nowhere else.
"""

from __future__ import annotations

import csv
import io
import json
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

#: Categories of Unicode: control characters, halves of characters, ends of lines and paragraphs.
_HARMFUL = frozenset({"Cc", "Cs", "Zl", "Zp"})
#: Characters that turn the direction of what follows, and so show a name as another.
_TURNS = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
#: What LaTeX takes for more than a letter.
_TEX = str.maketrans(
    {c: f"\\{c}" for c in "&%$#_{}"}
    | {"\\": "\\textbackslash{}", "^": "\\textasciicircum{}", "~": "\\textasciitilde{}"}
)


@dataclass(frozen=True)
class Cell:
    """A cell of a table: a text that may stand out, and what follows it.

    Attributes:
        text: a number, say.
        rest: its interval, say.
        strong: whether the text stands out.
    """

    text: str
    rest: str = ""
    strong: bool = False


def printable(text: str) -> str:
    """Return text as one line: control characters, line breaks and what is not Unicode become escapes (``\\x1b``)."""
    return "".join(_escaped(c) if unicodedata.category(c) in _HARMFUL or c in _TURNS else c for c in text)


def shortened(text: str, most: int = 200) -> str:
    """Return text of at most so many characters; what is longer loses its middle."""
    return text if len(text) <= most else f"{text[: most // 2]} ... {text[-(most // 2) :]}"


def said_of(name: str, error: object) -> str:
    """Return a line about what went wrong with a file, which names the file once: most errors name it already."""
    said = str(error)
    return said if f"{name}'" in said else f"{name}: {said}"


def encoded(text: str) -> bytes:
    """Return text in UTF-8. A byte of a file's name that is not becomes an escape, which JSON reads back."""
    return text.encode("utf-8", "backslashreplace")


def storable(text: str) -> str:
    """Return text as it can be stored in UTF-8: a byte of a file's name that is not becomes an escape."""
    return encoded(text).decode("utf-8")


def json_line(record: Any) -> str:
    """Return a record as one line of JSON in UTF-8, without the line's end."""
    return storable(json.dumps(record, ensure_ascii=False))


def whole_number(text: str) -> int | None:
    """Return the number that a text is if it is written in the digits 0 to 9 alone, and no longer than any index."""
    found = re.fullmatch(r"\s*([0-9]{1,18})\s*", text)
    return None if found is None else int(found[1])


def csv_text(rows: Iterable[Sequence[Any]]) -> str:
    """Return rows as CSV. A cell that a spreadsheet would compute (``=1+1``) begins with an apostrophe instead."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows([_cell(cell) for cell in row] for row in rows)
    return text.getvalue()


def markdown(text: str) -> str:
    """Return text as it reads in Markdown, also in a table's cell."""
    text = re.sub(r"([\\`*|\[\]])", r"\\\1", printable(text)).replace("<", "&lt;")
    # Inside of a word an underscore is just that.
    return re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", text)


def tex(text: str) -> str:
    """Return text as it reads in LaTeX."""
    return printable(text).translate(_TEX)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


def _cell(cell: Any) -> Any:
    if not isinstance(cell, str):
        return cell
    # A row is one line, and a name that would end it (a carriage return, which csv leaves bare) does not.
    cell = printable(cell)
    if cell[:1] not in ("=", "+", "-", "@"):
        return cell
    try:
        float(cell)
    except ValueError:
        return f"'{cell}"
    return cell
