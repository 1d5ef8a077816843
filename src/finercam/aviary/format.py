"""The aviary as a data set: drawn when it is opened, with everything that is known about each picture."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
from PIL import Image

from finercam.aviary import PARTS, Aviary, Sample, label_names
from finercam.aviary.cub_export import middle
from finercam.data.dataset import Dataset, Example, Item, Point

#: How many pictures there are if nobody says.
IMAGES = 640


def read(split: str, images: int | None = None, seed: int = 0, biased: bool = False) -> Dataset:
    """Return a number of pictures of the aviary with boxes, masks, parts and differences.

    Args:
        split: ``train``, ``test``, or ``all``: as many of the one as of the other, or one more of the first.
        images: how many; 640 by default.
        seed: of the pictures: another seed gives others.
        biased: let the background go with the species.

    Raises:
        FinercamError: an argument is out of range.
    """
    n = IMAGES if images is None else images
    shares = (("train", n - n // 2), ("test", n // 2)) if split == "all" else ((split, n),)
    aviaries = tuple(Aviary(name, share, seed, biased) for name, share in shares)
    return Dataset(
        name="aviary:biased" if biased else "aviary",
        class_names=label_names,
        items=partial(_items, aviaries),
        open=partial(_open, aviaries),
        part_names=PARTS,
        regions=("box", "mask", "parts", "difference"),
    )


def _items(aviaries: tuple[Aviary, ...]) -> Iterator[Item]:
    for aviary in aviaries:
        for index in range(len(aviary)):
            # The seed makes other pictures, so it is part of their names.
            key = f"{aviary.split}/{aviary.seed}/{index}"
            yield Item(key, f"aviary:{key}", aviary.label(index))


def _open(aviaries: tuple[Aviary, ...], item: Item) -> Example:
    split, _, index = item.key.rsplit("/", 2)
    sample = next(aviary for aviary in aviaries if aviary.split == split)[int(index)]
    x0, y0, x1, y1 = map(float, sample.box)
    return Example(
        photo=Image.fromarray(sample.image),
        mask=np.logical_or.reduce(list(sample.masks.values())),
        differences={label_names.index(name): mask for name, mask in sample.differences.items()},
        box=(x0, y0, x1, y1),
        parts=tuple(_point(sample, part) for part in PARTS),
    )


def _point(sample: Sample, part: str) -> Point | None:
    """Return the middle of the part's pixel nearest to its centroid, as the aviary's export does."""
    if part not in sample.masks:
        return None
    x, y = middle(sample.masks[part])
    return x + 0.5, y + 0.5
