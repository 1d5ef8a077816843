"""A report: one page on any mix of folders that finercam's commands have written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import pyarrow as pa

from finercam.errors import FinercamError
from finercam.report.folder import KINDS, Kind, kind_of
from finercam.report.pages import Section, write_report
from finercam.report.parts import Facts, Paragraph, Points

#: What reading a file may raise that somebody has edited, or in which a bit was flipped.
_DAMAGED = (LookupError, TypeError, ValueError, AttributeError, RuntimeError, ArithmeticError, pa.ArrowException)
TITLE = "Why this class, and not its look-alike?"
_QUESTION = (
    "A class activation map (CAM) shows which pixels raise a classifier's logit of a class. Look-alikes share most of "
    "what raises it, so the map covers what they have in common. Finer-CAM asks for the difference instead: why this "
    "class, and not its look-alikes? The strength of that comparison is called gamma; at 0 it is the plain CAM."
)
_READING = (
    "Numbers in brackets are 95 % intervals: other photos of the same kind would give means within them in about 19 of "
    "20 such studies. Differences are paired: both maps are of the same photo.",
    "A difference is told from nothing only where its interval leaves out 0.",
    "Every measure can be raised without showing more. The controls say by how much: maps that know nothing of the "
    "network, the plain map sharpened or with noise, and the same question asked about another class. A gain counts "
    "beyond its controls only.",
)


def write_document(folders: Sequence[str], out: Path, title: str = TITLE) -> Path:
    """Write a report on folders, whole or not at all, and return its path.

    Args:
        folders: what ``compare``, ``evaluate``, ``explain``, ``faithfulness``, ``probe``, ``sanity``, ``similarity``
            and ``traits`` wrote.
        out: the page.
        title: of the page.

    Raises:
        FinercamError: there is no folder, one of them is not what it should be, or the page cannot be written.
    """
    given = list(dict.fromkeys(one.rstrip("/") or one for one in folders))
    if not given:
        raise FinercamError("a report is made of folders; give the --out folders of evaluate, explain and others")
    lead = f"A report on {_counted(len(given), 'folder')}."
    return write_report(out, title, lead, list(_sections(given)))


def _sections(folders: Sequence[str]) -> Iterator[Section]:
    from finercam import __version__

    # All are looked at before the first is read, which may take long.
    kinds = {folder: kind_of(folder) for folder in folders}
    yield Section("The question, and how to read the answers", [Paragraph(_QUESTION), Points(_READING)])
    for kind in KINDS.values():
        own = [folder for folder in folders if kinds[folder] is kind]
        if own:
            yield from _told(kind, own)
    # Where they lie is nobody's business that the page is sent to.
    named = [f"{PurePosixPath(folder).name} ({kind.name})" for folder, kind in kinds.items()]
    yield Section("How this page was made", [Facts({"finercam": __version__, "folders": ", ".join(named)})])


def _told(kind: Kind, folders: Sequence[str]) -> list[Section]:
    """Return what is to be told of folders of a kind.

    Raises:
        FinercamError: one of them is not as it was written.
    """
    try:
        return list(kind.tell(folders))
    except (
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
        RuntimeError,
        ArithmeticError,
        pa.ArrowException,
    ) as error:
        if isinstance(error, FinercamError):
            raise
        # Somebody has edited what is in the folder, or damaged it.
        first = next(iter(str(error).splitlines()), "")
        raise FinercamError(
            f"{', '.join(map(repr, folders))}: not what finercam wrote as {kind.name} ({type(error).__name__}: "
            f"{first}); put back what was changed, or make it again in another folder"
        ) from error


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
