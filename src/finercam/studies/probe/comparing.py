"""Several probes side by side, as in the paper's Table 3: data sets down, backbones across."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from finercam.errors import FinercamError
from finercam.files import whole
from finercam.models.sources.probe import read_record
from finercam.texts import csv_text, encoded, markdown


@dataclass(frozen=True)
class Comparison:
    """Accuracies, 0 to 1, by data set (rows) and backbone (columns); ``None`` where there is no such probe."""

    datasets: tuple[str, ...]
    backbones: tuple[str, ...]
    accuracies: tuple[tuple[float | None, ...], ...]

    def table(self) -> list[list[str]]:
        """Return the table as text, the heading first, in per cent as the paper has it."""
        rows = [
            [name, *("" if value is None else f"{100 * value:.1f}" for value in line)]
            for name, line in zip(self.datasets, self.accuracies, strict=True)
        ]
        return [["data set", *self.backbones], *rows]


def compare(folders: Sequence[str | os.PathLike[str]]) -> Comparison:
    """Return the accuracies of probes, in the order they are given.

    A backbone is named by its spec, or its folder, and by its pooling where that was asked for.

    Raises:
        FinercamError: a folder holds no probe, or one that was never measured, or two are of the same data set and
            backbone.
    """
    if not folders:
        raise FinercamError("there is nothing to compare; name the folders of probes")
    cells: dict[tuple[str, str], tuple[str, float]] = {}
    for folder in [os.fspath(given) for given in folders]:
        record = read_record(folder)
        if record.get("accuracy") is None:
            raise FinercamError(f"the probe {folder!r} was made from a finished head and has no accuracy to compare")
        where = str(record["dataset"]), backbone_title(record["backbone"], record["pool"])
        if where in cells:
            raise FinercamError(f"{cells[where][0]!r} and {folder!r} are both probes of {where[1]} on {where[0]}")
        cells[where] = folder, float(record["accuracy"])
    datasets, backbones = (tuple(dict.fromkeys(key[side] for key in cells)) for side in (0, 1))
    found = {where: value for where, (_, value) in cells.items()}
    return Comparison(
        datasets, backbones, tuple(tuple(found.get((name, column)) for column in backbones) for name in datasets)
    )


def backbone_title(spec: str, pool: str) -> str:
    """Return a backbone's name for a table."""
    folder = Path(spec.partition("local-dir:")[2] or spec.partition("/")[2])
    name = folder.name if folder.is_absolute() else spec
    return name if pool == "auto" else f"{name}, {pool}"


def write_comparison(comparison: Comparison, path: str | os.PathLike[str]) -> Path:
    """Write the table as Markdown (``.md``) or ``.csv`` and return the path.

    Raises:
        FinercamError: another suffix.
    """
    path = Path(path)
    table = comparison.table()
    if path.suffix not in (".md", ".csv"):
        raise FinercamError(f"{str(path)!r} cannot be a table: --out must end in .md or .csv")
    if path.suffix == ".csv":
        text = csv_text(table)
    else:
        heading, *rows = [[markdown(cell) for cell in line] for line in table]
        lines = [heading, ["---", *["---:"] * len(comparison.backbones)], *rows]
        text = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    with whole(path) as aside:
        aside.write_bytes(encoded(text))
    return path
