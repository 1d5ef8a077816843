"""Text in pictures: measured, wrapped, and in a font that has its characters."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import cache
from itertools import groupby
from pathlib import Path

from PIL import ImageFont

#: Where a line may end: a no-break space is none of these.
_SPACES = re.compile(r"[ \t\r\n\f\v]+")
_PARTED = re.compile("\xa0(?!%)")
#: Unicode's classes of letters that are written from right to left, and of all that has a direction or is a number.
_FROM_RIGHT = ("R", "AL")
_STRONG = ("L", "EN", "AN", *_FROM_RIGHT)
_LEFT_TO_RIGHT = "\u200e"


@cache
def font(size: int, bold: bool = False, file: str | None = None) -> ImageFont.FreeTypeFont:
    """Return a font: DejaVu Sans as it comes with matplotlib, or the one of a file."""
    return ImageFont.truetype(file or font_file(bold), size)


def font_file(bold: bool = False) -> str:
    """Return the file of the pictures' own font."""
    import matplotlib

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return str(Path(matplotlib.get_data_path(), "fonts", "ttf", name))


def in_fonts(text: str, bold: bool = False) -> list[tuple[str, str]]:
    """Return the parts of a line and the file of the font that has the characters of each.

    Where the pictures' own font lacks a character, the fonts of this machine are searched. A character that none of
    them has is written as its escape (``\\u9e1f``), and so is one that cannot be seen.
    """
    parts = [(character, file) for one in _in_order(text) for character, file in _drawn(one, bold)]
    return [("".join(c for c, _ in run), file) for file, run in groupby(parts, key=lambda part: part[1])]


def _in_order(text: str) -> Iterator[str]:
    """Return a line's characters, with a mark after each stretch that is written from right to left.

    Without it a number after an Arabic or Hebrew name is taken for a part of the name, and drawn before it.
    """
    ahead = ""
    kept: list[str] = []
    for character in reversed(text):
        kind = unicodedata.bidirectional(character)
        if kind in _FROM_RIGHT and ahead not in _FROM_RIGHT:
            kept.append(_LEFT_TO_RIGHT)
        if kind in _STRONG:
            ahead = kind
        kept.append(character)
    return reversed(kept)


def undrawable(text: str) -> str:
    """Return the characters of a text that no font of this machine has, each once."""
    return "".join(dict.fromkeys(one for one in text if one.isprintable() and _file_with(one, False) is None))


def lost(text: str) -> str:
    """Return a sentence that says which characters of a text pictures show as escapes; empty if none."""
    characters = undrawable(text)
    if not characters:
        return ""
    return (
        f"no font on this machine has the characters {characters!r}, so pictures show their escapes; install one that "
        "has them, such as Noto Sans CJK"
    )


def length(text: str, size: int, bold: bool = False) -> float:
    """Return how wide a line is, in pixels."""
    return float(sum(font(size, bold, file).getlength(part) for part, file in in_fonts(text, bold)))


def wrapped(text: str, size: int, width: float | int, bold: bool = False, most: int = 6) -> list[str]:
    """Return a text in lines no wider than ``width`` pixels.

    Lines end between words, and inside of a word only where it is too long for a line. Of a text longer than
    ``most`` lines the middle is left out: its end, where the number stands, is kept.
    """
    # More cannot be shown, and to measure it takes time.
    limit = int(4 * most * width / size)
    if len(text) > 2 * limit:
        text = f"{text[:limit]} {text[-limit:]}"
    lines, line = [], ""
    for word in _SPACES.split(text.strip()):
        joined = f"{line} {word}" if line else word
        if length(joined, size, bold) <= width:
            line = joined
            continue
        if line:
            lines.append(line)
        *full, line = _cut(word, size, width, bold)
        lines += full
    lines.append(line)
    if len(lines) <= most:
        return lines
    tail = "… " + " ".join(lines[-2:])
    while len(tail) > 3 and length(tail, size, bold) > width:
        tail = "… " + tail[3:].lstrip()
    return [*lines[: most - 1], tail]


def _cut(word: str, size: int, width: float | int, bold: bool) -> list[str]:
    if length(word, size, bold) <= width:
        return [word]
    # Words that were to stay together are parted before one is broken; a number keeps its unit.
    parts = _PARTED.split(word)
    for count in range(len(parts) - 1, 0, -1):
        head = "\xa0".join(parts[:count])
        if length(head, size, bold) <= width:
            return [head, *_cut("\xa0".join(parts[count:]), size, width, bold)]
    pieces, piece = [], ""
    for character in word:
        if piece and length(piece + character, size, bold) > width:
            pieces.append(piece)
            piece = ""
        piece += character
    return [*pieces, piece]


def _drawn(character: str, bold: bool) -> Iterator[tuple[str, str]]:
    seen = character.isprintable() or character in ("\xa0", _LEFT_TO_RIGHT)
    file = _file_with(character, bold) if seen else None
    if file is not None:
        yield character, file
    else:
        for one in character.encode("unicode_escape").decode():
            yield one, font_file(bold)


@cache
def _file_with(character: str, bold: bool) -> str | None:
    code = ord(character)
    own = font_file(bold)
    # A mark belongs to the letter before it.
    if code in _characters(own) or unicodedata.category(character).startswith("M"):
        return own
    return next((file for file in system_fonts() if code in _characters(file)), None)


@cache
def _characters(file: str) -> frozenset[int]:
    """Return the characters a font can draw at any size; none for one that cannot be used."""
    from matplotlib.ft2font import FT2Font

    try:
        opened = FT2Font(file)
        return frozenset(opened.get_charmap()) if opened.scalable else frozenset()
    except (RuntimeError, OSError):
        return frozenset()


@cache
def system_fonts() -> tuple[str, ...]:
    """Return the font files of this machine, upright and regular ones first."""
    from matplotlib.font_manager import findSystemFonts

    def rank(file: str) -> tuple[bool, bool, str]:
        name = Path(file).stem.casefold()
        special = any(word in name for word in ("italic", "oblique", "bold", "black", "thin", "light", "mono", "serif"))
        return special, "sans" not in name, file

    return tuple(sorted(findSystemFonts(), key=rank))
