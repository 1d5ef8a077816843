"""Class names: from what a person writes to a class index, at the border and nowhere else."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from finercam.errors import FinercamError, nearest


def folded(name: str) -> str:
    """Return ``name`` without case, punctuation and the number CUB-style names begin with."""
    name = re.sub(r"^\d+\.", "", name)
    return re.sub(r"[\W_]+", " ", name.replace("'", "")).strip().casefold()


def spellings(name: str) -> set[str]:
    """Return the folded forms by which a class may be asked for.

    ``Agelaius phoeniceus (Red-winged Blackbird)`` answers to the whole, to ``Agelaius phoeniceus`` and to
    ``Red_winged_Blackbird``; a list of synonyms ``tench, Tinca tinca`` to each of them.
    """
    parts = {name, *name.split(",")}
    inside = re.fullmatch(r"(.*?)\s*\(([^()]*)\)\s*", name)
    if inside:
        parts |= {inside[1], inside[2]}
    return {folded(part) for part in parts} - {""}


@dataclass(frozen=True)
class Labels:
    """Names of the classes, in the order of the logits."""

    names: tuple[str, ...]

    def __init__(self, names: Iterable[str]) -> None:
        object.__setattr__(self, "names", tuple(str(name) for name in names))

    @cached_property
    def _by_spelling(self) -> dict[str, list[int]]:
        table: dict[str, list[int]] = {}
        for index, name in enumerate(self.names):
            for spelling in spellings(name):
                table.setdefault(spelling, []).append(index)
        return table

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> str:
        return self.names[index]

    def index(self, given: str | int) -> int:
        """Return the class index for a name or an index.

        A name is looked up as it stands, then without case and punctuation, by its common or its scientific
        part, and last as a number.

        Raises:
            FinercamError: no class, or more than one, goes by that name.
        """
        if isinstance(given, str):
            if given in self.names:
                return self.names.index(given)
            found = self._by_spelling.get(folded(given), [])
            if len(found) == 1:
                return found[0]
            if found:
                several = ", ".join(f"{self.names[i]!r} ({i})" for i in found[:5])
                raise FinercamError(f"{given!r} is the name of {len(found)} classes: {several}; give the index")
            if not given.strip().isdigit():
                called = {name: self.names[indices[0]] for name, indices in self._by_spelling.items()}
                raise FinercamError(f"no class is called {given!r}; {nearest(given, self.names, called=called)}")
            given = int(given)
        return check_index(given, len(self.names))


def check_index(index: int, classes: int) -> int:
    """Return ``index`` if it is one of ``classes`` classes."""
    if not 0 <= index < classes:
        raise FinercamError(f"class index {index} is out of range: the model has {classes} classes, 0 to {classes - 1}")
    return index


def find_class(given: str | int, classes: int, labels: Labels | None) -> int:
    """Return the class index for ``given``, with or without names to look it up in."""
    if labels is not None:
        return labels.index(given)
    if isinstance(given, str) and not given.strip().isdigit():
        raise FinercamError(
            f"{given!r} is a name, but the classifier has no class names; give an index from 0 to {classes - 1}, "
            "or class_names= when you make the classifier"
        )
    return check_index(int(given), classes)


def display_name(index: int, labels: Labels | None) -> str:
    """Return the class name, or ``class 7`` where there are no names."""
    return labels[index] if labels is not None else f"class {index}"


def short_names(names: Sequence[str]) -> list[str]:
    """Return names fit for a picture: the common name where ``Genus species (Common Name)`` has one."""
    short = []
    for name in names:
        inside = re.fullmatch(r".*?\(([^()]+)\)\s*", name)
        short.append(re.sub(r"^\d+\.", "", inside[1] if inside else name.split(",")[0]).replace("_", " ").strip())
    return short
