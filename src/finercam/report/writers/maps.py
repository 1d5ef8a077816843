"""An explanation as tensors, with its record as metadata and the evidence that was kept."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from finercam.explanations import stored
from finercam.explanations.writers import writer

if TYPE_CHECKING:
    from finercam.explanations.explanation import Explanation


@writer(".safetensors")
def write_maps(explanation: Explanation, path: Path) -> None:
    """Write ``saliency``, ``map``, ``plain`` and ``logits`` in float32, and the kept evidence as it is."""
    stored.write(explanation, path)
