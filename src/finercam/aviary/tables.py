"""Tables of what was measured on the aviary, for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from finercam.cli.console import new_table

if TYPE_CHECKING:
    from rich.table import Table

    from finercam.aviary.studies import concept_rows
    from finercam.aviary.studies.difference import Row
    from finercam.metrics.intervals import Mean


def difference_table(rows: Sequence[Row], intervals: bool = True) -> Table:
    """Return the table of saliency on the true difference; without intervals it fits a narrow terminal."""
    from finercam.aviary.studies.difference import summarise

    table = new_table("map", "contrast", "on difference", "gain", "av. precision", "gain")
    for line in summarise(rows):
        table.add_row(
            line.method,
            line.contrast,
            _shown(line.energy, intervals=intervals),
            _shown(line.energy_gain, "+", intervals),
            _shown(line.precision, intervals=intervals),
            _shown(line.precision_gain, "+", intervals),
        )
    return table


def _shown(mean: Mean | None, sign: str = "", intervals: bool = True) -> str:
    if mean is None:
        return ""
    return mean.text(f"{sign}.3f") if intervals else f"{mean.mean:{sign}.3f}"


def concept_table(rows: Sequence[concept_rows.Row]) -> Table:
    """Return the table of concepts found on their part, over all traits and for each attribute."""
    from finercam.aviary.studies.concept_rows import summarise

    table = new_table("trait", "contrast", "birds", "area", "on part", "gain", "av. precision", "gain")
    for line in (*summarise(rows), *summarise(rows, "attribute")):
        table.add_row(
            line.of,
            line.contrast,
            str(line.energy.n),
            f"{line.area:.3f}",
            _shown(line.energy),
            _shown(line.energy_gain, "+"),
            _shown(line.precision),
            _shown(line.precision_gain, "+"),
        )
    return table


def trait_counts(rows: Sequence[concept_rows.Row]) -> list[str]:
    """Say for how many traits comparing with the base helps: where the whole interval of the gain lies above 0."""
    from finercam.aviary.studies.concept_rows import summarise

    by_contrast: dict[str, list[concept_rows.Summary]] = {}
    for line in summarise(rows, "trait"):
        if line.precision_gain is not None:
            by_contrast.setdefault(line.contrast, []).append(line)
    said = []
    for contrast, lines in by_contrast.items():
        counts = []
        for name, gains in (
            ("share on the part", [line.energy_gain for line in lines]),
            ("average precision", [line.precision_gain for line in lines]),
        ):
            known = [gain for gain in gains if gain is not None]
            better, worse = sum(gain.low > 0 for gain in known), sum(gain.high < 0 for gain in known)
            counts.append(f"{name} better for {better}, worse for {worse}")
        said.append(f"{contrast}, of {len(lines)} traits: {'; '.join(counts)}")
    return said
