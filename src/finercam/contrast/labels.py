"""Class names: from what a person writes to a class index, at the border and nowhere else."""

from __future__ import annotations

import operator
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

from finercam.errors import FinercamError, nearest
from finercam.texts import shortened

_APOSTROPHES = "['’‘ʼ´`]"


def folded(name: str) -> str:
    """Return ``name`` without case, accents, punctuation and the number CUB-style names begin with."""
    name = re.sub(r"^\d+\.", "", name)
    # Only the accents of Latin, Greek and Cyrillic letters: in other scripts marks tell words apart.
    name = re.sub("[\u0300-\u036f]", "", unicodedata.normalize("NFKD", name))
    name = re.sub(_APOSTROPHES, "", unicodedata.normalize("NFC", name))
    return re.sub(r"[\W_]+", " ", name).strip().casefold()


def loosened(name: str) -> str:
    """Return ``name`` folded, and without what spellings of the same name differ in.

    That is the possessive (``Brewer's Blackbird``, ``Brewer_Blackbird``), American and British spelling (``Grey``,
    ``Gray``; ``coloured``, ``colored``), and whether words are joined (``Night-hawk``, ``Nighthawk``). Digits are
    never joined: ``737-200`` is not ``73-7200``. Plurals are left alone.
    """
    name = folded(re.sub(_APOSTROPHES + r"s(?![^\W_])", "", name, flags=re.IGNORECASE))
    name = re.sub(r"\bgrey", "gray", name).replace("colour", "color")
    return re.sub(r"(?<=[^\W\d]) (?=[^\W\d])", "", name)


def spellings(name: str, fold: Callable[[str], str] = folded) -> set[str]:
    """Return the folded forms by which a class may be asked for.

    ``Agelaius phoeniceus (Red-winged Blackbird)`` answers to the whole, to ``Agelaius phoeniceus`` and to
    ``Red_winged_Blackbird``; a list of synonyms ``tench, Tinca tinca`` to each of them.

    Args:
        name: of a class.
        fold: ``folded`` or ``loosened``.
    """
    parts = {name, *name.split(",")}
    inside = re.fullmatch(r"(.*?)\s*\(([^()]*)\)\s*", name)
    if inside:
        parts |= {inside[1], inside[2]}
    return {fold(part) for part in parts} - {""}


@dataclass(frozen=True)
class Labels:
    """Names of the classes, in the order of the logits."""

    names: tuple[str, ...]

    def __init__(self, names: Iterable[str]) -> None:
        object.__setattr__(self, "names", tuple(str(name) for name in names))

    @cached_property
    def _tables(self) -> list[tuple[Callable[[str], set[str]], dict[str, list[int]]]]:
        """From the strictest way of comparing names to the most lenient: forms of a name, and where each leads."""
        ways = (_as_it_stands, _folded_whole, spellings, partial(spellings, fold=loosened))
        return [(forms, self._table(forms)) for forms in ways]

    def _table(self, forms: Callable[[str], set[str]]) -> dict[str, list[int]]:
        table: dict[str, list[int]] = {}
        for index, name in enumerate(self.names):
            for form in forms(name):
                table.setdefault(form, []).append(index)
        return table

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> str:
        return self.names[index]

    def index(self, given: str | int) -> int:
        """Return the class index for a name or an index.

        A name is looked up as it stands, then without case, accents and punctuation, by its common or its scientific
        part, then ``loosened``, and last as a number.

        Raises:
            FinercamError: no class, or more than one, goes by that name.
        """
        if isinstance(given, str):
            (_, exact), _, (_, spelled), (_, loose) = self._tables
            found = exact.get(given) or spelled.get(folded(given)) or loose.get(loosened(given), [])
            if len(found) == 1:
                return found[0]
            if found:
                several = ", ".join(f"{self.names[i]!r} ({i})" for i in found[:5])
                raise FinercamError(f"{given!r} is the name of {len(found)} classes: {several}; give the index")
            number = whole_number(given)
            if number is None:
                raise FinercamError(f"no class is called {shortened(given)!r}; {self.nearest(given)}")
            given = number
        return check_index(given, len(self.names))

    def nearest(self, given: str) -> str:
        """Return the classes whose names look most like ``given``, as a phrase for the end of an error message."""
        called = {name: self.names[indices[0]] for name, indices in self._tables[2][1].items()}
        return nearest(folded(given) or given, self.names, called=called)

    def called(self, name: str) -> list[int]:
        """Return the classes that another list's class of that name may be: several, one or none.

        Names are compared as they stand; if none agrees, folded; if none does, by any of the spellings of both; and
        last by any of these ``loosened``. A number is a name like any other here.
        """
        for forms, table in self._tables:
            found = {index for form in forms(name) for index in table.get(form, ())}
            if found:
                return sorted(found)
        return []


def _as_it_stands(name: str) -> set[str]:
    return {name}


def _folded_whole(name: str) -> set[str]:
    return {folded(name)} - {""}


def check_index(index: int, classes: int) -> int:
    """Return ``index`` if it is one of ``classes`` classes."""
    if not 0 <= index < classes:
        raise FinercamError(f"class index {index} is out of range: the model has {classes} classes, 0 to {classes - 1}")
    return index


def whole_number(text: str) -> int | None:
    """Return the number that a text is if it is written in the digits 0 to 9 alone, and no longer than any index."""
    found = re.fullmatch(r"\s*([0-9]{1,18})\s*", text)
    return None if found is None else int(found[1])


def class_given(given: object) -> str | int:
    """Return a class as text or a plain number, also where it comes out of an array.

    Raises:
        FinercamError: it is neither a name nor a whole number; truth values and 1.0 are not.
    """
    if isinstance(given, str):
        return given
    try:
        if "bool" in (type(given).__name__, *str(getattr(given, "dtype", "")).split(".")):
            raise TypeError
        return operator.index(given)  # type: ignore[arg-type]
    except (TypeError, ValueError, RuntimeError):
        raise FinercamError(f"{given!r} is not a class; give a name or an index") from None


def find_class(given: object, classes: int, labels: Labels | None) -> int:
    """Return the class index for a name or an index, with or without names to look it up in.

    Raises:
        FinercamError: there is no such class, or it is neither a name nor an index.
    """
    given = class_given(given)
    if labels is not None:
        return labels.index(given)
    number = whole_number(given) if isinstance(given, str) else given
    if number is None:
        raise FinercamError(
            f"{shortened(str(given))!r} is a name, but the classifier has no class names; give an index from 0 to "
            f"{classes - 1}, or class_names= when you make the classifier"
        )
    return check_index(number, classes)


def display_name(index: int, labels: Labels | None) -> str:
    """Return the class name, or ``class 7`` where there are no names."""
    return labels[index] if labels is not None else f"class {index}"


def full_name(name: str) -> str:
    """Return a name as people write it, common and scientific: ``010.Red_winged_Blackbird`` without its number."""
    whole = name if "(" in name else name.split(",")[0]
    return " ".join(re.sub(r"^\d+\.", "", whole).replace("_", " ").split())


def short_names(names: Sequence[str]) -> list[str]:
    """Return names fit for a picture: the common name where ``Genus species (Common Name)`` has one."""
    short = []
    for name in names:
        inside = re.fullmatch(r".*?\(([^()]+)\)\s*", name)
        short.append(full_name(inside[1] if inside else name))
    return short
