"""A figure for print: what it is drawn from are its positional arguments, what can be set its keyword-only ones."""

from __future__ import annotations

from collections.abc import Sequence

import finercam
from finercam.report.printing import Figure, finished, page, write
from finercam.runs.rows import Rows


@finercam.figure("dots", "How many photos were measured")
def dots(runs: Sequence[str], *, mark: str = "●", width: float = 85.0) -> Figure:
    """Draw a mark for each photo of a run."""
    photos = Rows(runs[0]).photos
    drawn = page(width, 40.0)
    write(drawn, 10.0, 20.0, mark * photos)
    return finished(drawn, f"{photos} photos")
