"""The aviary as a data format: pictures are drawn when they are opened, and everything about them is known."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
from PIL import Image

from finercam.aviary import PARTS, SPECIES, Aviary, Sample, label_names, look_alikes
from finercam.aviary.attributes import aviary_attributes
from finercam.data.dataset import Dataset, Example, Item, Point
from finercam.data.format import data_format
from finercam.data.part_masks import middle
from finercam.errors import FinercamError

#: How many pictures there are by default.
IMAGES = 640
REGIONS = ("box", "mask", "parts", "difference", "present", "absent")
#: Values of attributes that are the lack of a trait.
_LACKS = ("none", "plain")


@data_format(
    "aviary",
    "Drawn birds: 32 species in families of look-alikes; needs no data",
    specs=("aviary", "aviary:biased"),
    knows=(*REGIONS, "attributes"),
)
def read(place: str, split: str, images: int | None = None, seed: int = 0) -> Dataset:
    """Draw pictures of the aviary, with boxes, masks, parts, differences and the attributes of the species.

    Args:
        place: empty, or ``biased``: the background then goes with the species.
        split: ``train``, ``test``, or ``all``: half of them from each, the larger half from ``train``.
        images: how many; 640 by default.
        seed: of the pictures; another seed gives other pictures.

    Raises:
        FinercamError: an argument is out of range.
    """
    if place not in ("", "biased"):
        raise FinercamError(f"'aviary:{place}' is not a data set: write aviary:biased, or aviary alone")
    biased = place == "biased"
    n = IMAGES if images is None else images
    shares = (("train", n - n // 2), ("test", n // 2)) if split == "all" else ((split, n),)
    return as_dataset(*(Aviary(name, share, seed, biased) for name, share in shares))


def as_dataset(*aviaries: Aviary) -> Dataset:
    """Return aviaries of different splits, one after another, as a data set."""
    return Dataset(
        name="aviary:biased" if aviaries[0].biased else "aviary",
        class_names=label_names,
        items=partial(_items, aviaries),
        open=partial(_open, aviaries),
        part_names=PARTS,
        regions=REGIONS,
        attributes=aviary_attributes,
        repaint=partial(_repaint, aviaries),
    )


def _items(aviaries: tuple[Aviary, ...]) -> Iterator[Item]:
    for aviary in aviaries:
        for index in range(len(aviary)):
            # Another seed gives other pictures, so it is part of their keys.
            key = f"{aviary.split}/{aviary.seed}/{index}"
            yield Item(key, f"aviary:{key}", aviary.label(index))


def _open(aviaries: tuple[Aviary, ...], item: Item) -> Example:
    aviary, index = _place(aviaries, item)
    sample = aviary[index]
    x0, y0, x1, y1 = map(float, sample.box)
    return Example(
        photo=Image.fromarray(sample.image),
        mask=np.logical_or.reduce(list(sample.masks.values())),
        differences={label_names.index(name): mask for name, mask in sample.differences.items()},
        box=(x0, y0, x1, y1),
        parts=tuple(_point(sample, part) for part in PARTS),
        part_masks=sample.masks,
        absent=frozenset(label_names.index(name) for name in sample.differences if _lacks(item.label, name)),
    )


def _place(aviaries: tuple[Aviary, ...], item: Item) -> tuple[Aviary, int]:
    split, _, index = item.key.rsplit("/", 2)
    return next(aviary for aviary in aviaries if aviary.split == split), int(index)


def _lacks(label: int, other: str) -> bool:
    """Return whether a species has none of the traits that tell it from another: no wing bar, a plain breast."""
    own, theirs = SPECIES[label].attributes, SPECIES[label_names.index(other)].attributes
    return all(value in _LACKS for name, value in own.items() if value != theirs[name])


def _repaint(aviaries: tuple[Aviary, ...], item: Item, label: int) -> Image.Image | None:
    """Return a sample with its traits drawn as a look-alike's; ``None`` for a species of another family."""
    if SPECIES[label] not in look_alikes(SPECIES[item.label]):
        return None
    aviary, index = _place(aviaries, item)
    return Image.fromarray(aviary.repaint(index, label_names[label]).image)


def _point(sample: Sample, part: str) -> Point | None:
    """Return the middle of the part's pixel nearest to its centroid, as the aviary's export does."""
    if part not in sample.masks:
        return None
    x, y = middle(sample.masks[part])
    return x + 0.5, y + 0.5
