"""Regions as Label Studio's predictions: https://labelstud.io/guide/predictions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np
from jaxtyping import Bool
from numpy.typing import NDArray

from finercam.data.regions import Region
from finercam.explanations.outlining import Outlined
from finercam.report.regions.writing import RegionFile, Shape, region_file
from finercam.texts import printable

#: What Label Studio calls each shape.
_TYPES = {"mask": "BrushLabels", "polygon": "PolygonLabels", "box": "RectangleLabels"}
#: How many values one run of Label Studio's masks may have: its length is written with 16 bits.
_LONGEST = 1 << 16


@region_file("label-studio")
class LabelStudio(RegionFile):
    """``label-studio.json``: a task for each photo, a prediction for each explanation; and its labelling set-up.

    A prediction's score is that of its first region. ``label-studio.xml`` is what to paste in under Settings, Labeling
    Interface, Code.

    Args:
        folder: that it is in.
        shape: ``mask`` (brush), ``polygon`` (its outer outline) or ``box`` (rectangle).
    """

    def __init__(self, folder: Path, *, shape: Shape = "mask") -> None:
        super().__init__(folder)
        self._shape = shape
        self._tasks: dict[str, dict[str, Any]] = {}
        self._labels: dict[str, None] = {}

    def add(self, outlined: Outlined) -> None:
        """Take the regions of one explanation."""
        record = outlined.record
        task = self._tasks.setdefault(record["image"], {"data": {"image": record["image"]}, "predictions": []})
        number = len(task["predictions"])
        task["predictions"].append(
            {
                "model_version": f"{record['model']}, {record['method']}",
                "score": max((region.score for region in outlined.regions), default=0.0),
                "result": [self._result(region, f"{number}-{place}") for place, region in enumerate(outlined.regions)],
            }
        )

    def close(self) -> Path:
        """Write both files."""
        kind = _TYPES[self._shape]
        labels = "".join(f"    <Label value={quoteattr(printable(name))}/>\n" for name in self._labels)
        self._write(
            "label-studio.xml",
            f'<View>\n  <Image name="image" value="$image"/>\n  <{kind} name="label" toName="image">\n{labels}'
            f"  </{kind}>\n</View>\n",
        )
        return self._write("label-studio.json", json.dumps(list(self._tasks.values()), ensure_ascii=False, indent=1))

    def _result(self, region: Region, name: str) -> dict[str, Any]:
        target, kind = region.classes[0], _TYPES[self._shape].lower()
        self._labels.setdefault(target)
        width, height = region.photo
        return {
            "id": name,
            "type": kind,
            "from_name": "label",
            "to_name": "image",
            "original_width": width,
            "original_height": height,
            "image_rotation": 0,
            "score": region.score,
            "value": {**self._value(region), kind: [printable(target)]},
        }

    def _value(self, region: Region) -> dict[str, Any]:
        # Per cent of the photo's width and height.
        across, down = (100 / size for size in region.photo)
        if self._shape == "mask":
            return {"format": "rle", "rle": packed_mask(region.mask)}
        if self._shape == "polygon":
            return {"points": [[x * across, y * down] for x, y in region.polygon], "closed": True}
        x0, y0, x1, y1 = region.box
        return {
            "x": x0 * across,
            "y": y0 * down,
            "width": (x1 - x0) * across,
            "height": (y1 - y0) * down,
            "rotation": 0,
        }


def packed_mask(mask: Bool[NDArray[Any], "H W"]) -> list[int]:
    """Return a mask as the bytes of Label Studio's brush: red, green, blue and alpha of each pixel, 0 or 255, in runs.

    In bits: how many values (32), bits of a value less 1 (5), of each of four kinds of run lengths less 1 (4 each);
    then for each run a 1, the kind of its length (2), its length less 1, and its value. (thi.ng/rle-pack, which Label
    Studio uses.)
    """
    flat = mask.ravel()
    turns = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1, [len(flat)]])
    bits = [f"{4 * len(flat):032b}", f"{7:05b}", *(f"{size - 1:04b}" for size in (3, 4, 8, 16))]
    for start, stop in zip(turns[:-1].tolist(), turns[1:].tolist(), strict=True):
        value = "11111111" if flat[start] else "00000000"
        left = 4 * (stop - start)
        while left:
            length = min(left, _LONGEST)
            bits.append(f"1{3:02b}{length - 1:016b}{value}")
            left -= length
    text = "".join(bits)
    text += "0" * (-len(text) % 8)
    return [int(text[at : at + 8], 2) for at in range(0, len(text), 8)]
