"""Similarities of classes in a report: which classes a model's last layer holds to be alike."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from finercam.errors import FinercamError
from finercam.report.charts import Curve, chart
from finercam.report.folder import folder_kind, on_this_machine
from finercam.report.pages import Section
from finercam.report.parts import Charts, Paragraph, Part, Table

#: Pairs listed for each model, and ranks drawn.
_PAIRS, _RANKS = 10, 50


@folder_kind("similarity", file="curve.csv")
def sections(folders: Sequence[str]) -> Iterator[Section]:
    """Yield a section for each folder."""
    for given in folders:
        folder = on_this_machine(given)
        yield Section(f"Similar classes: {folder.resolve().name}", list(_parts(folder)))


def _parts(folder: Path) -> Iterator[Part]:
    yield Paragraph(
        "Cosines of the rows of a model's last layer: the nearer to 1, the less tells two classes apart. Curves are "
        "means over classes of each class's similarities, sorted."
    )
    curves: dict[str, list[tuple[float, float]]] = {}
    pairs: dict[str, dict[tuple[str, ...], tuple[float, str, str]]] = {}
    try:
        for row in _rows(folder / "curve.csv"):
            curves.setdefault(row["model"], []).append((float(row["rank"]), float(row["mean"])))
        for row in _rows(folder / "pairs.csv"):
            # Both classes of a pair may name each other.
            both = tuple(sorted((row["index"], row["other index"])))
            pairs.setdefault(row["model"], {})[both] = float(row["cosine"]), row["class"], row["other class"]
    except (KeyError, TypeError, ValueError) as error:
        raise FinercamError(
            f"{str(folder)!r} does not hold curve.csv and pairs.csv as finercam similarity writes them ({error!r})"
        ) from error
    drawn = [
        Curve(name, [rank for rank, _ in points[:_RANKS]], [mean for _, mean in points[:_RANKS]])
        for name, points in curves.items()
    ]
    yield Charts([chart("Cosine", drawn, "rank of the other class")])
    for name, found in pairs.items():
        most = sorted(found.values(), reverse=True)[:_PAIRS]
        rows = [[f"{cosine:.3f}", first, second] for cosine, first, second in most]
        yield Table([["cosine", "class", "and"], *rows], f"Most similar pairs, {name}")


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
