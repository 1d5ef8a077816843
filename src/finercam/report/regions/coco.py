"""Regions as COCO's annotations: https://cocodataset.org/#format-data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool
from numpy.typing import NDArray

from finercam.data.regions import Region
from finercam.explanations.outlining import Outlined
from finercam.report.regions.writing import RegionFile, Shape, region_file


@region_file("coco")
class Coco(RegionFile):
    """``coco.json``: photos, an annotation for each region, and a category for each class that was explained.

    An annotation's ``score`` is the share of the evidence in the region; ``against`` and ``explanation`` say what the
    class was compared with, and in which file the maps are.

    Args:
        folder: that it is in.
        shape: of ``segmentation``: ``mask`` (run lengths), ``polygon`` (its outer outline), or ``box`` (none at all).
    """

    def __init__(self, folder: Path, *, shape: Shape = "mask") -> None:
        super().__init__(folder)
        self._shape = shape
        self._images: dict[str, dict[str, Any]] = {}
        self._categories: dict[str, int] = {}
        self._annotations: list[dict[str, Any]] = []

    def add(self, outlined: Outlined) -> None:
        """Take the regions of one explanation."""
        name, (width, height) = outlined.record["image"], outlined.size
        entry = {"id": len(self._images) + 1, "file_name": name, "width": width, "height": height}
        image = self._images.setdefault(name, entry)
        for region in outlined.regions:
            target, *against = region.classes
            x0, y0, x1, y1 = region.box
            self._annotations.append(
                {
                    "id": len(self._annotations) + 1,
                    "image_id": image["id"],
                    "category_id": self._categories.setdefault(target, len(self._categories) + 1),
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "area": (x1 - x0) * (y1 - y0) if self._shape == "box" else region.area,
                    "segmentation": self._segmentation(region),
                    "iscrowd": 0,
                    "score": region.score,
                    "against": against,
                    "explanation": outlined.record["files"]["maps"],
                }
            )

    def close(self) -> Path:
        """Write the file."""
        content = {
            "info": {"description": "regions of explanations by finercam"},
            "images": list(self._images.values()),
            "categories": [{"id": number, "name": name} for name, number in self._categories.items()],
            "annotations": self._annotations,
        }
        return self._write("coco.json", json.dumps(content, ensure_ascii=False, indent=1))

    def _segmentation(self, region: Region) -> Any:
        if self._shape == "mask":
            width, height = region.photo
            return {"size": [height, width], "counts": counted(run_lengths(region.mask))}
        return [] if self._shape == "box" else [[at for point in region.polygon for at in point]]


def run_lengths(mask: Bool[NDArray[Any], "H W"]) -> list[int]:
    """Return how many pixels without and with the region follow one another, column by column, those without first."""
    flat = mask.T.ravel()
    turns = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    first = [0] if len(flat) and flat[0] else []
    return [*first, *np.diff(np.concatenate([[0], turns, [len(flat)]])).tolist()]


def counted(lengths: list[int]) -> str:
    """Return run lengths as COCO's text: from the fourth on less the one before the last, five bits a character."""
    text = []
    for number, length in enumerate(lengths):
        value = length - lengths[number - 2] if number > 2 else length
        more = True
        while more:
            bits, value = value & 0x1F, value >> 5
            # The last character's highest bit is the sign.
            more = value != (-1 if bits & 0x10 else 0)
            text.append(chr(48 + (bits | (0x20 if more else 0))))
    return "".join(text)
