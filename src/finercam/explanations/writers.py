"""Formats an explanation is saved in, by the suffix of the file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from finercam.errors import FinercamError
from finercam.registry import Registry, parameters_of

#: Writes an explanation to a path, which has the suffix it is asked for; keyword-only arguments are its options.
Writer: TypeAlias = "Callable[..., None]"

WRITERS: Registry[Writer] = Registry("output format", "finercam.writers", "finercam.report.writers")


def writer(*suffixes: str) -> Callable[[Writer], Writer]:
    """Register a function that writes an explanation to a path as the format of these suffixes (``.png``).

    Raises:
        FinercamError: there is a format of that suffix already.
    """

    def register(function: Writer) -> Writer:
        for suffix in suffixes:
            WRITERS.add(suffix, function)
        return function

    return register


def writer_of(path: Path) -> Writer:
    """Return the writer for a path.

    Raises:
        FinercamError: there is none for its suffix.
    """
    suffix = path.suffix.lower()
    if suffix not in WRITERS:
        raise FinercamError(f"cannot save as {suffix or 'a file without a suffix'!r}; use {', '.join(WRITERS)}")
    return WRITERS[suffix]


def options_of(path: Path) -> list[str]:
    """Return the options that the writer for a path takes.

    Raises:
        FinercamError: there is none for its suffix.
    """
    return list(parameters_of(writer_of(path)))
