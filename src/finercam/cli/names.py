"""Names from a file, one per line."""

from __future__ import annotations

from pathlib import Path

from finercam.errors import FinercamError


def read_names(file: Path) -> list[str]:
    """Return the lines of a text file, without spaces around them; empty lines are left out.

    Raises:
        FinercamError: there is no such file, it is not UTF-8 text, it has no names, or a name stands in it twice.
    """
    try:
        # A byte order mark, as editors on Windows write it, is no part of the first name.
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        raise FinercamError(f"there is no file {str(file)!r}; give one with a name on each line") from None
    except UnicodeDecodeError:
        raise FinercamError(f"{str(file)!r} is not UTF-8 text; give a text file with a name on each line") from None
    except OSError as error:
        raise FinercamError(f"{str(file)!r} cannot be read: {error.strerror}") from error
    first: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        name = line.strip()
        if name in first:
            raise FinercamError(f"{str(file)!r} has {name!r} twice, in lines {first[name]} and {number}")
        if name:
            first[name] = number
    if not first:
        raise FinercamError(f"{str(file)!r} has no names in it; write one on each line")
    return list(first)
