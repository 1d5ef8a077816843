"""Class names: from what a person writes to a class index, at the border and nowhere else."""

from __future__ import annotations

import operator
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial

from finercam.contrast.taxa import taxon_named
from finercam.contrast.taxonomy import Taxonomy
from finercam.errors import FinercamError, nearest
from finercam.texts import shortened, whole_number

#: Names that need no more than their case folded: most, where there are a million.
_PLAIN = re.compile("[A-Za-z]+(?: [A-Za-z]+)*")
_APOSTROPHES = "['’‘ʼ´`]"


def folded(name: str) -> str:
    """Return ``name`` without case, accents, punctuation and the number CUB-style names begin with."""
    if _PLAIN.fullmatch(name):
        return name.casefold()
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
    ``Red_winged_Blackbird``; a list of synonyms ``tench, Tinca tinca`` to each of them; and the strings of iNaturalist
    and SpeciesNet (``taxon_named``) to the scientific and the common name.

    Args:
        name: of a class.
        fold: ``folded`` or ``loosened``.
    """
    parts = {name, *name.split(",")}
    inside = re.fullmatch(r"(.*?)\s*\(([^()]*)\)\s*", name)
    if inside:
        parts |= {inside[1], inside[2]}
    taxon = taxon_named(name)
    if taxon is not None:
        parts |= {taxon.scientific, taxon.common}
    return {fold(part) for part in parts} - {""}


@dataclass(frozen=True)
class Labels:
    """Names of the classes, in the order of the logits.

    Attributes:
        names: as the model has them.
        given: the taxonomy of the classes, where it was given and is not told by their names.
    """

    names: tuple[str, ...]
    given: Taxonomy | None = field(default=None, compare=False, repr=False)

    def __init__(self, names: Iterable[str], given: Taxonomy | None = None) -> None:
        object.__setattr__(self, "names", tuple(str(name) for name in names))
        object.__setattr__(self, "given", given)
        if given is not None and len(given) != len(self.names):
            raise FinercamError(f"the taxonomy is of {len(given)} classes, and there are {len(self.names)}")

    @cached_property
    def taxonomy(self) -> Taxonomy | None:
        """The taxonomy of the classes: the one given, or what the names of at least half of them tell."""
        if self.given is not None:
            return self.given
        taxa = [taxon_named(name) for name in self.names]
        return Taxonomy.of(taxa) if 2 * sum(taxon is not None for taxon in taxa) >= len(taxa) else None

    # Each is made when it is first needed: a million names take a while.

    @cached_property
    def _exact(self) -> dict[str, list[int]]:
        return self._table(_as_it_stands)

    @cached_property
    def _whole(self) -> dict[str, list[int]]:
        return self._table(_folded_whole)

    @cached_property
    def _spelled(self) -> dict[str, list[int]]:
        return self._table(spellings)

    @cached_property
    def _loose(self) -> dict[str, list[int]]:
        return self._table(_loosely)

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
            found = self._exact.get(given) or self._spelled.get(folded(given)) or self._loose.get(loosened(given), [])
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

    def spelled(self, name: str) -> list[int]:
        """Return the classes of which a name is one of the spellings, folded."""
        return self._spelled.get(folded(name), [])

    def nearest(self, given: str) -> str:
        """Return the classes whose names look most like ``given``, as a phrase for the end of an error message."""
        called = {name: self.names[indices[0]] for name, indices in self._spelled.items()}
        return nearest(folded(given) or given, self.names, called=called)

    def called(self, name: str) -> list[int]:
        """Return the classes that another list's class of that name may be: several, one or none.

        Names are compared as they stand; if none agrees, folded; if none does, by any of the spellings of both; and
        last by any of these ``loosened``. A number is a name like any other here.
        """
        # From the strictest way of comparing names to the most lenient.
        ways: tuple[tuple[Callable[[str], set[str]], str], ...] = (
            (_as_it_stands, "_exact"),
            (_folded_whole, "_whole"),
            (spellings, "_spelled"),
            (_loosely, "_loose"),
        )
        for forms, table in ways:
            found = {index for form in forms(name) for index in getattr(self, table).get(form, ())}
            if found:
                return sorted(found)
        return []


_loosely = partial(spellings, fold=loosened)


def _as_it_stands(name: str) -> set[str]:
    return {name}


def _folded_whole(name: str) -> set[str]:
    return {folded(name)} - {""}


def check_index(index: int, classes: int) -> int:
    """Return ``index`` if it is one of ``classes`` classes."""
    if not 0 <= index < classes:
        raise FinercamError(f"class index {index} is out of range: the model has {classes} classes, 0 to {classes - 1}")
    return index


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
    taxon = None if "(" in name else taxon_named(name)
    whole = name if "(" in name else name.split(",")[0] if taxon is None else taxon.label
    return " ".join(re.sub(r"^\d+\.", "", whole).replace("_", " ").split())


def short_names(names: Sequence[str]) -> list[str]:
    """Return names fit for a picture: the common name where ``Genus species (Common Name)`` has one."""
    short = []
    for name in map(full_name, names):
        inside = re.fullmatch(r".*?\(([^()]+)\)\s*", name)
        short.append(full_name(inside[1] if inside else name))
    return short
