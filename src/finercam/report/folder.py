"""Kinds of folders that a report is made of: what each is known by, and the function that tells of it.

A kind is one function, registered where it is written: in a file of ``finercam/report/folders``, in a package with an
entry point in the group ``finercam.reports``, or in any module that is imported before a report is made::

    @folder_kind("herbarium", file="herbarium.json")
    def sections(folders: Sequence[str]) -> Iterator[Section]:
        ...
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from finercam.errors import FinercamError
from finercam.registry import Registry
from finercam.report.pages import Section
from finercam.runs.run_folder import RUN, RunFolder
from finercam.runs.storage import Folder

#: Given all folders of a kind, tells of them.
Teller: TypeAlias = "Callable[[Sequence[str]], Iterable[Section]]"


@dataclass(frozen=True)
class Kind:
    """A kind of folder.

    Attributes:
        name: for people: ``evaluation``.
        studies: those whose runs it holds, by the name in their ``run.json``.
        file: or else a file that is in such a folder only; empty where there is none.
        tell: returns the sections of a report on folders of this kind.
    """

    name: str
    studies: tuple[str, ...]
    file: str
    tell: Teller


KINDS: Registry[Kind] = Registry("kind of folder", "finercam.reports", "finercam.report.folders")


def folder_kind(name: str, *, studies: Sequence[str] = (), file: str = "") -> Callable[[Teller], Teller]:
    """Register the function below as what tells of a kind of folder; the arguments are those of ``Kind``.

    Raises:
        FinercamError: the name is taken.
    """

    def register(tell: Teller) -> Teller:
        KINDS.add(name, Kind(name, tuple(studies), file, tell))
        return tell

    return register


def kind_of(folder: str) -> Kind:
    """Return what kind of folder that is.

    Raises:
        FinercamError: there is no such folder, or nothing in it that a report is made of.
    """
    place = Folder(folder)
    names = place.names()
    study = (RunFolder(place).fingerprint or {}).get("study") if RUN in names else None
    for kind in KINDS.values():
        if study in kind.studies or (kind.file and kind.file in names):
            return kind
    if place.local and not Path(folder).is_dir():
        raise FinercamError(f"there is no folder {folder!r}")
    holds = f"a run of {study!r}" if study else "nothing that a report is made of"
    raise FinercamError(f"{folder!r} holds {holds}; give the --out folders of {', '.join(KINDS)}")


def on_this_machine(folder: str) -> Path:
    """Return the path of a folder whose kind is read from files.

    Raises:
        FinercamError: it is elsewhere.
    """
    if not Folder(folder).local:
        raise FinercamError(f"{folder!r} is not on this machine; copy the folder here first")
    return Path(folder.removeprefix("file://"))


def data_name(spec: str) -> str:
    """Return a data set's name as it is shown: of its place only the last part.

    >>> data_name("planted:cub:/data/CUB_200_2011")
    'planted:cub:CUB_200_2011'
    """
    formats, rest = [], spec.split(":")
    while len(rest) > 1 and "/" not in rest[0] and not rest[1].startswith("//"):
        formats.append(rest.pop(0))
    place = ":".join(rest)
    return ":".join([*formats, place.rstrip("/").rpartition("/")[2] or place])
