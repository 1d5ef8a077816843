"""Which class of the model each class of a data set is."""

from __future__ import annotations

import csv
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from finercam.contrast.labels import Labels, find_class
from finercam.data.dataset import UNKNOWN
from finercam.errors import FinercamError
from finercam.texts import whole_number

#: Data class -> model class by name or index; ``None`` or nothing leaves the class out.
Given = Mapping[str, "str | int | None"]

#: How many unmatched classes an error names.
SHOWN = 10


@dataclass(frozen=True)
class Unmatched:
    """A data class for which the model's class was not found.

    Attributes:
        label: of the data class.
        name: of the data class.
        several: the model classes of that name, if there is more than one; else empty.
    """

    label: int
    name: str
    several: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Matching:
    """Which class of the model each class of a data set is.

    Attributes:
        indices: for each data label the model's class index, or -1.
        unmatched: classes that were not found, or found more than once; their index is -1.
        skipped: labels that a mapping leaves out on purpose; their index is -1.
        shared: model classes that several data classes are matched to, each with their labels. That is allowed (the
            model may know a species where the data distinguishes subspecies), but the user should be told.
    """

    indices: Int64[np.ndarray, " classes"]
    unmatched: tuple[Unmatched, ...] = ()
    skipped: tuple[int, ...] = ()
    shared: Mapping[int, tuple[int, ...]] | None = None


def match_classes(
    data_names: Sequence[str],
    labels: Labels | None,
    mapping: Given | str | os.PathLike[str] | None = None,
    skip_unmatched: bool = False,
    only: Collection[int] | None = None,
    classes: int | None = None,
) -> Matching:
    """Find the model's class for each class of a data set.

    A class is matched by its name (``Labels.called``): ``001.Black_footed_Albatross`` is ``Phoebastria nigripes
    (Black-footed Albatross)``. Classes that the mapping names are taken from it. Photos whose class is not known have
    no match, and are no complaint where classes without one may be skipped.

    Args:
        data_names: the data set's classes.
        labels: the model's classes; ``None`` if it has no names, and then every class has to be mapped to an index.
        mapping: a CSV file with two columns, data class and model class (name or index; nothing leaves the class
            out), with or without a header; or the same as a mapping.
        skip_unmatched: do not raise for classes without a match.
        only: the labels to match, such as those that have pictures; by default all.
        classes: how many classes the model has, where ``labels`` is ``None``.

    Raises:
        FinercamError: a class has no match or more than one (unless ``skip_unmatched``), no class at all has one, the
            photos' class is not known (unless ``skip_unmatched``), or the mapping names an unknown class, or one class
            twice.
    """
    indices = np.full(len(data_names), -1, np.int64)
    mapped = {} if mapping is None else _mapped(mapping, data_names, labels, classes)
    wanted = range(len(data_names)) if only is None else sorted(only)
    unmatched = []
    for label in wanted:
        name = data_names[label]
        if label in mapped:
            indices[label] = mapped[label]
            continue
        if name == UNKNOWN and skip_unmatched:
            continue
        if name == UNKNOWN:
            raise FinercamError(
                "the photos are not sorted by class, so it is not known which class of the model each is of; ask about "
                "predicted classes (--target predicted), or sort them into folders named after their classes "
                "(folder:DIR)"
            )
        found = [] if labels is None else labels.called(name)
        if len(found) == 1:
            indices[label] = found[0]
        else:
            several = () if labels is None else tuple(f"{labels[index]} ({index})" for index in found)
            unmatched.append(Unmatched(label, name, several))
    skipped = tuple(label for label in wanted if mapped.get(label) == -1)
    if unmatched and (not skip_unmatched or not (indices >= 0).any()):
        raise FinercamError(_complaint(unmatched, len(wanted), labels))
    shared: dict[int, list[int]] = {}
    for label in np.flatnonzero(indices >= 0).tolist():
        shared.setdefault(int(indices[label]), []).append(label)
    several_of = {index: tuple(of) for index, of in shared.items() if len(of) > 1}
    return Matching(indices, tuple(unmatched), skipped, several_of)


def describe(unmatched: Sequence[Unmatched], labels: Labels | None, most: int = SHOWN) -> list[str]:
    """Return a line for each of the first unmatched classes, with the classes of the model that it may be."""
    lines = []
    for one in unmatched[:most]:
        if one.several:
            hint = "may be any of " + ", ".join(one.several)
        else:
            hint = "the model has no class names" if labels is None else labels.nearest(one.name)
            # All names of the model, for every class again, would help nobody.
            hint = "the model has nothing like it" if hint.startswith("choose from") else hint
        lines.append(f"{one.name}: {hint}")
    return lines + ([f"... and {len(unmatched) - most} more"] if len(unmatched) > most else [])


def _complaint(unmatched: Sequence[Unmatched], wanted: int, labels: Labels | None) -> str:
    lines = "; ".join(describe(unmatched, labels))
    lines += "" if lines.endswith("?") else "."
    none_left = len(unmatched) == wanted
    skip = "" if none_left else ", or skip their photos with --skip-unmatched"
    return (
        f"{len(unmatched)} of the data set's {wanted} classes match no class of the model, or more than one: {lines} "
        "Name their matches with --match FILE.csv (a class of the data and one of the model on each line; without the "
        f"second a class is skipped){skip}"
    )


def _mapped(
    mapping: Given | str | os.PathLike[str], data_names: Sequence[str], labels: Labels | None, classes: int | None
) -> dict[int, int]:
    """Return the model class, or -1, of each data class that the mapping names."""
    data = Labels(data_names)
    count = len(labels) if labels is not None else classes or 0
    found: dict[int, int] = {}
    first: dict[int, str] = {}
    for where, name, target in _rows(mapping, data, labels):
        side = "data"
        try:
            label = data.index(name)
            side = "model"
            index = -1 if target is None else find_class(target, count, labels)
        except FinercamError as error:
            raise FinercamError(f"{where}, {side} class: {error}") from None
        if label in found:
            raise FinercamError(f"{where}: {data[label]!r} is already mapped in {first[label]}")
        found[label], first[label] = index, where
    return found


def _rows(
    mapping: Given | str | os.PathLike[str], data: Labels, labels: Labels | None
) -> Iterator[tuple[str, str, str | int | None]]:
    """Yield (where it is written, data class, model class or ``None``)."""
    if isinstance(mapping, Mapping):
        for name, target in mapping.items():
            yield f"mapping[{name!r}]", name, None if target == "" else target
        return
    path = Path(mapping)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, skipinitialspace=True)
            for number, cells in enumerate(reader):
                where = f"{path}, line {reader.line_num}"
                cells = [cell.strip() for cell in cells]
                if not any(cells):
                    continue
                if len(cells) != 2:
                    raise FinercamError(
                        f"{where}: {len(cells)} columns; give two, data class and model class, separated by a comma "
                        "(put a name with a comma in double quotes)"
                    )
                if number == 0 and not _is_class(cells[0], data) and cells[1] and not _is_class(cells[1], labels):
                    continue  # the header
                yield where, cells[0], cells[1] or None
    except FileNotFoundError:
        raise FinercamError(f"there is no file {str(path)!r}") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FinercamError(f"{path} cannot be read as a table of text: {error}") from error


def _is_class(cell: str, labels: Labels | None) -> bool:
    return whole_number(cell) is not None or (labels is not None and bool(labels.called(cell)))
