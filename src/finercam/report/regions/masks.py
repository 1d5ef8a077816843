"""Regions as pictures: the number of each pixel's region."""

from __future__ import annotations

import colorsys
from pathlib import Path, PurePath

import numpy as np
from PIL import Image

from finercam.explanations.outlining import Outlined
from finercam.files import result_path, whole
from finercam.report.regions.writing import RegionFile, region_file

#: The colours of regions 1 to 255, told apart by their hue; what is in none is black.
_PALETTE = [0, 0, 0] + [
    round(255 * part) for number in range(255) for part in colorsys.hsv_to_rgb(0.137 + 0.618034 * number, 0.75, 1)
]


@region_file("masks")
class Masks(RegionFile):
    """``masks``: a PNG of the photo's size for each explanation, beside the name of its maps.

    A pixel's value is the number of its region, from 1, the one with the most evidence first, and 0 in none; shown as
    a colour. With more than 255 regions it is 16 bits of grey.

    Args:
        folder: that it is in.
    """

    def add(self, outlined: Outlined) -> None:
        """Write the picture of one explanation."""
        width, height = outlined.size
        values = np.zeros((height, width), np.uint8 if len(outlined.regions) <= 255 else np.uint16)
        for number, region in enumerate(outlined.regions, 1):
            x0, y0, x1, y1 = region.box
            values[y0:y1, x0:x1][region.inside] = number
        picture = Image.fromarray(values)
        if values.dtype == np.uint8:
            picture.putpalette(_PALETTE)
        name = PurePath(outlined.record["files"]["maps"])
        with whole(result_path(self.folder / "masks", *name.parts[:-1], f"{name.stem}.png")) as aside:
            picture.save(aside, "png")

    def close(self) -> Path:
        """Return the folder."""
        return self.folder / "masks"
