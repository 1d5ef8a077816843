"""A data format: a function of a place and a split that returns a data set."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import finercam
from finercam.data.dataset import Dataset, Item


@finercam.data_format("squares", "Pictures named COLOUR-NUMBER.png", knows=("box",))
def read(place: str, split: str) -> Dataset:
    """Read a folder of pictures whose object is in the upper left corner. It has no splits."""
    files = sorted(Path(place).glob("*.png"))
    names = tuple(sorted({file.stem.split("-")[0] for file in files}))
    items = [
        Item(file.name, str(file), names.index(file.stem.split("-")[0]), box=(0.0, 0.0, 16.0, 16.0)) for file in files
    ]
    return Dataset("squares", names, partial(iter, items), regions=("box",))
