"""An explanation as a live page, which answers other questions in a browser."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from finercam.explanations.writers import writer
from finercam.report.view.page import Page

if TYPE_CHECKING:
    from finercam.explanations.explanation import Explanation


@writer(".html")
def write_live(explanation: Explanation, path: Path, *, title: str | None = None) -> None:
    """Write the live view as one HTML file."""
    with Page() as page:
        page.add([explanation])
        page.save(path, title)
