"""An output format: a function of an explanation and a path."""

from __future__ import annotations

from pathlib import Path

import finercam
from finercam import Explanation


@finercam.writer(".txt")
def write_text(explanation: Explanation, path: Path, *, digits: int = 3) -> None:
    """Write the question and the target's probability; ``digits`` is an option of ``explanation.save``."""
    probability = float(explanation.probabilities[explanation.target])
    path.write_text(f"{explanation}: {probability:.{digits}f}\n", encoding="utf-8")
