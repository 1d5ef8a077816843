"""FGVC-Aircraft (Maji, Kannala, Rahtu, Blaschko, Vedaldi, arXiv 1306.5151): 10,000 photos of aircraft."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Literal, TypeAlias

from finercam.data.annotations import Publication, by_id, check_listed, checked_box, read_lines, read_rows, row_of
from finercam.data.dataset import Dataset, Example, Item, open_files
from finercam.data.format import data_format
from finercam.data.layout import Layout, Part
from finercam.errors import FinercamError

PUBLICATION = Publication(
    "FGVC-Aircraft", "Maji et al., arXiv 1306.5151", "https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/"
)

#: Height in pixels of the copyright notice below each photo.
BANNER = 20

#: Level of the hierarchy -> file that names its classes.
LEVELS = {"variant": "variants.txt", "family": "families.txt"}

PARTS = {"train": ("trainval",), "test": ("test",), "all": ("trainval", "test")}


Level: TypeAlias = Literal["variant", "family"]


def layout(place: str, *, level: Level = "variant") -> Layout:
    """Return what a download holds: ``fgvc-aircraft-2013b.tar.gz`` as it unpacks; some mirrors have one folder more."""
    splits = tuple(dict.fromkeys(part for parts in PARTS.values() for part in parts))
    return Layout(
        PUBLICATION,
        (
            Part((LEVELS[level],), "names of the classes"),
            *(Part((f"images_{level}_{split}.txt",), f"photos and labels of {split}") for split in splits),
            Part(("images_box.txt",), "boxes"),
            Part(("images",), "photos"),
        ),
        inside=("data", "fgvc-aircraft-2013b/data", "fgvc-aircraft-2013b/fgvc-aircraft-2013b/data"),
        classes={"variant": 100, "family": 70}[level],
        photos=10_000,
    )


@data_format(
    "aircraft", "FGVC-Aircraft: 100 variants of aircraft", knows=("box",), source=PUBLICATION.source, layout=layout
)
def read(place: str, split: str, *, level: Level = "variant") -> Dataset:
    """Read FGVC-Aircraft; ``train`` is the publisher's training and validation photos together.

    There is a copyright notice, 20 pixels high, below each photo; the publisher asks for it to be removed before
    training or testing, and ``Dataset.open`` cuts it off. Boxes are published as the smallest and largest pixel,
    counted from 1; here they are half-open, from 0. A box that reaches into the notice ends below the opened photo.

    Args:
        place: the folder ``fgvc-aircraft-2013b``, its ``data``, or its parent.
        split: ``train``, ``test`` or ``all``.
        level: ``variant`` (100 classes) or ``family`` (70, as in the paper of Finer-CAM).

    Raises:
        FinercamError: a file, a line or photos are missing, or a line is malformed.
    """
    root = layout(place, level=level).root(place)
    names = tuple(text for _, text in read_lines(root.at(LEVELS[level]), PUBLICATION))
    labels = {name: label for label, name in enumerate(names)}
    box_table, photos = root.at("images_box.txt"), root.at("images")
    boxes = by_id(read_rows(box_table, PUBLICATION, 5))
    items: dict[str, Item] = {}
    for part in PARTS[split]:
        for row in by_id(read_rows(root.at(f"images_{level}_{part}.txt"), PUBLICATION, 2)).values():
            number, name = row.fields
            if name not in labels:
                raise row.wrong(f"{name!r} is not in {LEVELS[level]}")
            if number in items:
                raise row.wrong(f"photo {number} is also in the other split")
            box_row = row_of(number, boxes, box_table, row.path)
            x0, y0, x1, y1 = box_row.reals(1, 5, "the box")
            box = checked_box(x0 - 1, y0 - 1, x1, y1, box_row.wrong)
            key = f"images/{number}.jpg"
            items[number] = Item(key, str(photos / f"{number}.jpg"), labels[name], box)
    check_listed((item.key for item in items.values()), root.path, PUBLICATION, "photos")
    each = partial(iter, tuple(items.values()))
    return Dataset(f"aircraft@{level}:{place}", names, each, open_photo_only, regions=("box",))


@data_format(
    "aircraft-family",
    "FGVC-Aircraft: 70 families of aircraft",
    knows=("box",),
    source=PUBLICATION.source,
    layout=lambda place: layout(place, level="family"),
)
def read_families(place: str, split: str) -> Dataset:
    """Read FGVC-Aircraft with its families as classes: short for ``aircraft@family:DIR``."""
    return read(place, split, level="family")


def open_photo_only(item: Item) -> Example:
    """Open a photo without the notice below it.

    Raises:
        FinercamError: the file is missing or cannot be read, or is not higher than the notice.
    """
    example = open_files(item)
    width, height = example.photo.size
    if height <= BANNER:
        raise FinercamError(f"{item.uri!r} is {height} pixels high, no more than the notice below its photo")
    return replace(example, photo=example.photo.crop((0, 0, width, height - BANNER)))
