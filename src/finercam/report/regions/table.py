"""Regions as a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from finercam.explanations.outlining import Outlined
from finercam.report.regions.writing import RegionFile, region_file
from finercam.texts import csv_text

COLUMNS = (
    *("image", "explanation", "region", "class", "against", "score", "area"),
    *("x0", "y0", "x1", "y1", "width", "height"),
)


@region_file("csv")
class Table(RegionFile):
    """``regions.csv``: a line for each region; ``docs/regions.md`` says what its columns are.

    Args:
        folder: that it is in.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._rows: list[tuple[Any, ...]] = []

    def add(self, outlined: Outlined) -> None:
        """Take the regions of one explanation."""
        record = outlined.record
        for number, region in enumerate(outlined.regions, 1):
            target, *against = region.classes
            what = (record["image"], record["files"]["maps"], number, target, "; ".join(against))
            self._rows.append((*what, region.score, region.area, *region.box, *outlined.size))

    def close(self) -> Path:
        """Write the file."""
        return self._write("regions.csv", csv_text([COLUMNS, *self._rows]))
