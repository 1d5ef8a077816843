"""An explanation as a picture: photo | plain map | finer map."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from finercam.explanations.writers import writer

if TYPE_CHECKING:
    from finercam.explanations.explanation import Explanation


@writer(".png", ".jpg", ".jpeg", ".webp")
def write_picture(explanation: Explanation, path: Path) -> None:
    """Write the figure."""
    explanation.figure().save(path)
