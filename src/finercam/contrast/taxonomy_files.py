"""Taxonomies from files: a table of ranks (CSV), a TreeOfLife JSON, or the categories of an iNaturalist JSON."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finercam.contrast.labels import Labels
from finercam.contrast.taxa import RANKS, Taxon, taxon, taxon_named
from finercam.contrast.taxonomy import Taxonomy
from finercam.errors import FinercamError

_COMMON = ("common_name", "common name", "common")
#: Columns that have a class as the model calls it. ``class`` is a rank.
_NAMES = ("name", "label", "class_name", "class name", "scientific_name")


@dataclass(frozen=True)
class Entry:
    """One line: a taxon, and what a class of it is called where that is said by itself."""

    taxon: Taxon
    name: str = ""


def taxonomy_of(labels: Labels, file: str | os.PathLike[str]) -> Taxonomy:
    """Return where a model's classes are in the taxonomy of a file.

    A class is found by the name that the file has for it, by its scientific name, or by its common name. One that is
    found in no way, or in several places, has the ranks that its own name tells; where it tells a genus that the file
    has, also those above.

    Args:
        labels: the classes' names.
        file: ``.csv`` with a header of ranks (``kingdom`` ... ``species``), ``common_name`` and ``name`` (the class),
            as far as they are known; or JSON: a list of ``[[seven ranks], common name]`` as TreeOfLife's embeddings
            have it beside them, or of mappings with ranks as keys, by itself or as ``categories``.

    Raises:
        FinercamError: the file cannot be read, or has none of the classes.
    """
    path = Path(file)
    places: list[dict[int, list[Taxon]]] = [{}, {}, {}]
    genera: dict[str, set[tuple[str, ...]]] = {}
    first = ""
    for entry in read_entries(path):
        first = first or entry.name or entry.taxon.label
        for by, name in zip(places, (entry.name, entry.taxon.scientific, entry.taxon.common), strict=True):
            for index in labels.spelled(name) if name else ():
                by.setdefault(index, []).append(entry.taxon)
        if entry.taxon.ranks[5]:
            genera.setdefault(entry.taxon.ranks[5].casefold(), set()).add(entry.taxon.ranks[:5])
    found = [_place(index, labels[index], places, genera) for index in range(len(labels))]
    if not any(found):
        raise FinercamError(
            f"{str(path)!r} has none of the model's {len(labels)} classes (the first is {labels[0]!r}, and of the file "
            f"{first!r}); add a column 'name' with the classes as the model has them"
        )
    return Taxonomy.of(found)


def _place(
    index: int, name: str, places: list[dict[int, list[Taxon]]], genera: Mapping[str, set[tuple[str, ...]]]
) -> Taxon | None:
    for by in places:
        # The same under two common names is one place.
        if len({one.ranks for one in by.get(index, ())}) == 1:
            return by[index][0]
    own = taxon_named(name)
    above = genera.get(own.ranks[5].casefold(), set()) if own is not None else set()
    if own is None or len(above) != 1:
        return own
    (wider,) = above
    return Taxon((*wider, *own.ranks[5:]), own.common)


def read_entries(path: Path) -> Iterator[Entry]:
    """Yield the lines of a file of taxa; see ``taxonomy_of``.

    Raises:
        FinercamError: the file cannot be read, or is of another format.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise FinercamError(f"there is no file {str(path)!r}; give a taxonomy as .csv or .json") from None
    except (OSError, UnicodeDecodeError) as error:
        raise FinercamError(f"{str(path)!r} cannot be read as UTF-8 text: {error}") from error
    if path.suffix.lower() == ".json":
        try:
            yield from _from_json(json.loads(text))
        except (ValueError, RecursionError, TypeError, AttributeError) as error:
            raise FinercamError(
                f"{str(path)!r} is not a taxonomy in JSON: a list of [[seven ranks], common name], or of mappings with "
                f"{', '.join(RANKS)} ({error})"
            ) from error
    else:
        yield from _from_csv(path, text)


def tree_of_life(found: Any) -> Iterator[Taxon]:
    """Yield the taxa of a TreeOfLife JSON: ``[[kingdom, ..., genus, epithet], common name]`` each.

    Raises:
        ValueError: it is another list.
    """
    if not isinstance(found, list):
        raise ValueError("it is not a list")
    for number, one in enumerate(found):
        ranks, common = one if isinstance(one, list) and len(one) == 2 else (one, "")
        if not isinstance(ranks, list) or len(ranks) != len(RANKS):
            raise ValueError(f"entry {number} does not have seven ranks")
        yield taxon(ranks, common)


def _from_json(found: Any) -> Iterator[Entry]:
    if isinstance(found, dict):
        found = found["categories"] if "categories" in found else list(found.values())
    if found and isinstance(found[0], dict):
        yield from map(_entry, found)
    else:
        yield from map(Entry, tree_of_life(found))


def _from_csv(path: Path, text: str) -> Iterator[Entry]:
    rows = csv.DictReader(io.StringIO(text, newline=""))
    header = [(name or "").strip().casefold() for name in rows.fieldnames or ()]
    if not set(header) & set(RANKS):
        raise FinercamError(
            f"{str(path)!r} has the columns {', '.join(header) or 'none'}; a taxonomy has {', '.join(RANKS)}, "
            "as far as they are known, and name or common_name"
        )
    rows.fieldnames = header
    yield from map(_entry, rows)


def _entry(row: Mapping[str, Any]) -> Entry:
    def first(keys: Iterable[str]) -> str:
        return next((str(row[key]) for key in keys if row.get(key)), "")

    ranks = [str(row.get(rank) or "") for rank in RANKS]
    return Entry(taxon(ranks, first(_COMMON)), " ".join(first(_NAMES).split()))
