"""FGVC-Aircraft (Maji, Kannala, Rahtu, Blaschko, Vedaldi, arXiv 1306.5151): 10,000 photos of aircraft."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from finercam.data.annotations import Publication, by_id, check_listed, checked_box, read_lines, read_rows, row_of
from finercam.data.dataset import Dataset, Example, Item, open_files
from finercam.errors import FinercamError

PUBLICATION = Publication("FGVC-Aircraft", "https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/")

#: Height in pixels of the copyright notice below each photo.
BANNER = 20

#: Level of the hierarchy -> file that names its classes.
LEVELS = {"variant": "variants.txt", "family": "families.txt"}

PARTS = {"train": ("trainval",), "test": ("test",), "all": ("trainval", "test")}


def read(place: str, split: str, level: str = "variant") -> Dataset:
    """Read FGVC-Aircraft; ``train`` is the publisher's training and validation photos together.

    A copyright notice, 20 pixels high, stands below each photo; the publisher asks for it to be removed before
    training or testing, and ``Dataset.open`` cuts it off. Boxes are published as the smallest and largest pixel,
    counted from 1; here they are half-open, from 0. What a box has of the notice lies below the opened photo.

    Args:
        place: the folder ``fgvc-aircraft-2013b``, its ``data``, or the one it lies in.
        split: ``train``, ``test`` or ``all``.
        level: ``variant`` (100 classes) or ``family`` (70, as in the paper of Finer-CAM).

    Raises:
        FinercamError: a file, a line or photos are missing, or a line is not what it should be.
    """
    inside = ("data", "fgvc-aircraft-2013b/data")
    root = PUBLICATION.root(place, LEVELS[level], inside)
    names = tuple(text for _, text in read_lines(root / LEVELS[level], PUBLICATION))
    labels = {name: label for label, name in enumerate(names)}
    boxes = by_id(read_rows(root / "images_box.txt", PUBLICATION, 5))
    items: dict[str, Item] = {}
    for part in PARTS[split]:
        for row in by_id(read_rows(root / f"images_{level}_{part}.txt", PUBLICATION, 2)).values():
            number, name = row.fields
            if name not in labels:
                raise row.wrong(f"{name!r} is not in {LEVELS[level]}")
            if number in items:
                raise row.wrong(f"photo {number} is in the other split as well")
            box_row = row_of(number, boxes, root / "images_box.txt", row.path)
            x0, y0, x1, y1 = box_row.reals(1, 5, "the box")
            box = checked_box(x0 - 1, y0 - 1, x1, y1, box_row.wrong)
            key = f"images/{number}.jpg"
            items[number] = Item(key, str(root / key), labels[name], box)
    check_listed((item.key for item in items.values()), root, PUBLICATION, "photos")
    kind = "aircraft" if level == "variant" else f"aircraft-{level}"
    return Dataset(f"{kind}:{place}", names, partial(iter, tuple(items.values())), open_photo_only, regions=("box",))


def open_photo_only(item: Item) -> Example:
    """Open a photo without the notice below it.

    Raises:
        FinercamError: the file is missing or cannot be read, or is no higher than the notice.
    """
    example = open_files(item)
    width, height = example.photo.size
    if height <= BANNER:
        raise FinercamError(f"{item.uri!r} is {height} pixels high, no more than the notice below its photo")
    return replace(example, photo=example.photo.crop((0, 0, width, height - BANNER)))
