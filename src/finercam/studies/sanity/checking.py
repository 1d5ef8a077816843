"""Sanity checks run over a data set, and their tables: Markdown to read, CSV to compute with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from finercam.data.dataset import Dataset
from finercam.errors import FinercamError
from finercam.methods.method import find_method
from finercam.metrics.intervals import Mean
from finercam.models.classifier import Classifier
from finercam.runs.engine import run_study
from finercam.runs.loaded import Loaded
from finercam.runs.storage import Folder
from finercam.studies.sanity.classes import ClassSensitivity
from finercam.studies.sanity.likeness import LikenessSummary
from finercam.studies.sanity.randomisation import Randomisation
from finercam.texts import csv_text, encoded, markdown, said_of

_COLUMNS = {
    "ranks": "rank correlation",
    "values": "correlation",
    "signed": "rank correlation of signed maps",
}

#: What is to be said of the table, behind how many images it is over.
ABOUT = "means with 95 % intervals over those where neither map is constant. The lower, the better: 1 is the same map."


def check(
    study: ClassSensitivity | Randomisation,
    model: Loaded[Classifier],
    dataset: Dataset,
    out: str,
    targets: Sequence[int] | None = None,
    **options: Any,
) -> list[LikenessSummary]:
    """Run a sanity check over a data set; write ``table.md`` and ``table.csv`` beside its rows and return their lines.

    Args:
        study: which check.
        model, dataset, out, targets: as for ``finercam.runs.engine.run_study``.
        options: the keyword arguments of that.

    Raises:
        FinercamError: as for ``run_study``, or every photo failed.
    """
    rows = run_study(study, model, dataset, out, targets, **options).rows
    if len(rows.failed) == rows.photos:
        key, error = rows.failed[0]
        raise FinercamError(f"none of {rows.photos} photos could be measured; the first: {said_of(key, error)}")
    lines = study.summary(rows)
    heading = f"{study.title}: {dataset.name}, {model.model.name}, {find_method(study.method).full_title}"
    failed = [f"- failed: {markdown(said_of(key, error))}" for key, error in rows.failed]
    folder = Folder(out)
    folder.write("table.md", encoded("\n".join([to_markdown(lines, heading, study.of), *failed])))
    folder.write("table.csv", encoded(to_csv(lines, study.of)))
    return lines


def to_markdown(lines: Sequence[LikenessSummary], heading: str, of: str) -> str:
    """Return a table of how alike maps are, each mean with its interval and the images that it is over.

    Args:
        lines: a row each.
        heading: of the table.
        of: heading of the first column: ``layer`` or ``compared``.
    """
    said, (first, *rest) = told(lines, of)
    table = [first, ["---"] * len(first), *([markdown(named), *numbers] for named, *numbers in rest)]
    return "\n".join([f"## {markdown(heading)}", "", said, "", *("| " + " | ".join(row) + " |" for row in table), ""])


def told(lines: Sequence[LikenessSummary], of: str) -> tuple[str, list[list[str]]]:
    """Return what is told of a check: a sentence, and the table with its headings first; ``of`` is the first one."""
    return f"{lines[0].images} images; {ABOUT}", [headings(of), *map(cells, lines)]


def headings(of: str) -> list[str]:
    """Return the headings of the cells of a line; ``of`` is that of the first."""
    return [of, *_COLUMNS.values(), "empty"]


def cells(line: LikenessSummary) -> list[str]:
    """Return a line as the cells of a table."""
    means = [_shown(getattr(line, name), line.images) for name in _COLUMNS]
    return [line.of, *means, f"{100 * line.empty:.1f} %"]


def to_csv(lines: Sequence[LikenessSummary], of: str) -> str:
    """Return every number of the table, a line each."""
    columns = [f"{name}{end}" for name in _COLUMNS for end in ("", " low", " high", " n")]
    table: list[Sequence[object]] = [[of, *columns, "empty", "images"]]
    for line in lines:
        numbers = [number for name in _COLUMNS for number in _exactly(getattr(line, name))]
        table.append([line.of, *numbers, f"{line.empty:.6g}", line.images])
    return csv_text(table)


def _shown(mean: Mean, images: int) -> str:
    if not mean.n:
        return ""
    return str(mean) if mean.n == images else f"{mean} (n = {mean.n})"


def _exactly(mean: Mean) -> tuple[str, ...]:
    numbers = (mean.mean, mean.low, mean.high)
    return (*("" if math.isnan(number) else f"{number:.6g}" for number in numbers), str(mean.n))
