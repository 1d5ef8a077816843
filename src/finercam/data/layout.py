"""What a download of a published data set holds, stated once: for its reader, and for a check of what is missing."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from finercam.texts import shortened

if TYPE_CHECKING:
    from finercam.data.annotations import Publication


@dataclass(frozen=True)
class Part:
    """A file or folder of a download.

    Attributes:
        places: where it may be below the root, as archives are unpacked beside or into one another; the first is what
            it is called.
        gives: what it is for.
        optional: whether the data set can be read without it.
    """

    places: tuple[str, ...]
    gives: str
    optional: bool = False

    def __str__(self) -> str:
        named = " or ".join(self.places)
        return named if Path(self.places[0]).suffix else f"the folder {named}"


@dataclass(frozen=True)
class Layout:
    """What a download holds, in one form in which it is published.

    Attributes:
        publication: of the data set.
        parts: the first one tells which folder is the root.
        inside: folders that the archives unpack into; the root is the one given, or one of these below it.
        classes, photos: how many were published; ``None`` where that is not known.
    """

    publication: Publication
    parts: tuple[Part, ...]
    inside: tuple[str, ...] = ()
    classes: int | None = None
    photos: int | None = None

    def root(self, given: str) -> Root:
        """Return the root of a download.

        Raises:
            FinercamError: there is no such folder, or none of those it may be has the first part.
        """
        found = next((root for root in self.candidates(given) if root.has(self.parts[0].places[0])), None)
        if found is None:
            raise self.publication.missing(f"{self.parts[0]} is missing from {given!r}")
        return found

    def candidates(self, given: str) -> Iterator[Root]:
        """Yield what may be the root: the folder given, and those there are of the ones that archives unpack into.

        Raises:
            FinercamError: there is no such folder.
        """
        top = Path(os.path.expanduser(given))
        # Not Path's own question, which raises where a name is too long.
        if not os.path.isdir(top):
            raise self.publication.missing(f"there is no folder {shortened(given)!r}")
        for folder in (top, *(top / name for name in self.inside)):
            if os.path.isdir(folder):
                yield Root(self, folder)


@dataclass(frozen=True)
class Root:
    """The root of a download.

    Attributes:
        layout: what it should hold.
        path: where it is.
    """

    layout: Layout
    path: Path

    def find(self, name: str) -> Path | None:
        """Return where a part is, or ``None``."""
        (part,) = (one for one in self.layout.parts if one.places[0] == name)
        return next((self.path / place for place in part.places if (self.path / place).exists()), None)

    def has(self, name: str) -> bool:
        """Return whether a part is there."""
        return self.find(name) is not None

    def at(self, name: str) -> Path:
        """Return where a part is.

        Raises:
            FinercamError: it is nowhere.
        """
        found = self.find(name)
        if found is None:
            (part,) = (one for one in self.layout.parts if one.places[0] == name)
            raise self.layout.publication.missing(f"{part} is missing from {str(self.path)!r}")
        return found


#: The layout that a folder has, among those of a format, given the folder and the format's parameters.
Choose = Callable[..., Layout]


@dataclass(frozen=True)
class Found:
    """One line of a check.

    Attributes:
        part: what was looked for.
        gives: what it is for.
        place: where it is, or ``None``.
        optional: whether the data set can be read without it.
    """

    part: str
    gives: str
    place: Path | None
    optional: bool

    @property
    def lacking(self) -> bool:
        """Whether the data set cannot be read for want of it."""
        return self.place is None and not self.optional


def check(layout: Layout, given: str) -> list[Found]:
    """Return for each part of a layout where it is; of the folders that may be the root, in the one that has most.

    Raises:
        FinercamError: there is no such folder.
    """
    every = [
        [Found(str(part), part.gives, root.find(part.places[0]), part.optional) for part in layout.parts]
        for root in layout.candidates(given)
    ]
    return max(every, key=lambda found: sum(one.place is not None for one in found))
