"""Linear probes in a report: how accurate they are, and how they came to be."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from finercam.errors import FinercamError
from finercam.models.sources.probe import RECORD, read_record
from finercam.report.charts import Curve, chart
from finercam.report.folder import folder_kind, on_this_machine
from finercam.report.pages import Section
from finercam.report.parts import Charts, Facts, Heading, Paragraph, Part, Table
from finercam.studies.probe.comparing import backbone_title
from finercam.studies.probe.training import EPOCHS

_HEADINGS = ["probe", "data", "backbone", "classes", "test photos", "training photos", "guessing"]
#: What of a probe's record is told.
_TOLD = ("backbone", "revision", "weights", "pool", "image_size", "dataset", "photos", "head", "finercam")


@folder_kind("probe", file=RECORD)
def sections(folders: Sequence[str]) -> Iterator[Section]:
    """Yield one section on all probes."""
    paths = [on_this_machine(folder) for folder in folders]
    yield Section("Linear probes" if len(paths) > 1 else "Linear probe", list(_parts(paths)))


def _parts(paths: Sequence[Path]) -> Iterator[Part]:
    yield Paragraph(
        "A probe is a linear layer trained on the features of a frozen backbone: what share of photos is correctly "
        "classified, of those that were kept back and of those it was trained on. Guessing knows nothing of a photo."
    )
    records = {path: read_record(path) for path in paths}
    yield Table([_HEADINGS, *([*_row(path, record)] for path, record in records.items())])
    for path, record in records.items():
        yield Heading(path.resolve().name)
        curves = _epochs(path / EPOCHS)
        if curves:
            yield Charts([chart("Share of correctly classified photos", curves, "epoch")])
        yield Facts({name: str(record[name]) for name in _TOLD if record.get(name) is not None}, "Backbone and data")


def _row(path: Path, record: dict[str, Any]) -> Iterator[str]:
    classes = len(record["labels"])
    yield path.resolve().name
    # One that was made from a finished head was measured on nothing.
    yield str(record.get("dataset", ""))
    yield backbone_title(str(record["backbone"]), str(record["pool"]))
    yield str(classes)
    for name in ("accuracy", "train_accuracy"):
        yield "" if record.get(name) is None else f"{100 * float(record[name]):.1f} %"
    yield f"{100 / classes:.1f} %"


def _epochs(path: Path) -> list[Curve]:
    """Return the accuracy after each epoch; nothing where no epochs were kept."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    try:
        x = [float(row["number"]) for row in rows]
        found = {"test": "accuracy", "training": "train_accuracy"}
        return [Curve(name, x, [float(row[column]) for row in rows]) for name, column in found.items()] if x else []
    except (KeyError, TypeError, ValueError) as error:
        raise FinercamError(f"{str(path)!r} is not a table of epochs as finercam writes it ({error!r})") from error
