"""CUB-200-2011 (Wah, Branson, Welinder, Perona, Belongie, Caltech CNS-TR-2011-001): 200 birds of North America."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float64, UInt8

from finercam.data.annotations import (
    Publication,
    Row,
    by_id,
    check_listed,
    checked_box,
    read_lines,
    read_rows,
    row_of,
)
from finercam.data.attributes import Attributes
from finercam.data.dataset import Box, Dataset, Item, Point
from finercam.data.format import data_format
from finercam.data.formats.cub_attributes import CUB_PARTS, cub_attribute
from finercam.data.layout import Layout, Part, Root
from finercam.errors import FinercamError

PUBLICATION = Publication(
    "CUB-200-2011",
    "Wah et al., Caltech CNS-TR-2011-001",
    "https://www.vision.caltech.edu/datasets/cub_200_2011/",
)


#: ``CUB_200_2011.tgz`` has that folder and, beside it, ``attributes.txt``; ``segmentations.tgz`` a folder of its own.
LAYOUT = Layout(
    PUBLICATION,
    (
        Part(("images.txt",), "names of the photos"),
        Part(("images",), "photos"),
        Part(("classes.txt",), "names of the classes"),
        Part(("image_class_labels.txt",), "labels"),
        Part(("train_test_split.txt",), "splits"),
        Part(("bounding_boxes.txt",), "boxes"),
        Part(("parts/parts.txt",), "names of the parts"),
        Part(("parts/part_locs.txt",), "part points"),
        Part(("segmentations", "../segmentations"), "masks", optional=True),
        Part(
            ("attributes/attributes.txt", "../attributes.txt", "attributes.txt"), "names of attributes", optional=True
        ),
        Part(("attributes/class_attribute_labels_continuous.txt",), "attributes of classes", optional=True),
        Part(("attributes/image_attribute_labels.txt",), "attributes of photos", optional=True),
    ),
    inside=("CUB_200_2011",),
    classes=200,
    photos=11_788,
)


@data_format(
    "cub",
    "CUB-200-2011: 200 birds of North America",
    knows=("box", "mask", "parts", "attributes"),
    source=PUBLICATION.source,
    layout=lambda place: LAYOUT,
)
def read(place: str, split: str) -> Dataset:
    """Read CUB-200-2011, or a folder with annotations in the same files.

    Boxes and parts are in pixels of the picture as stored. Boxes are published as x, y, width, height, counted
    from 0. Part locations are used as published. Segmentations are a separate archive; they are looked for in
    ``segmentations`` in the folder and beside it. If they are there, every picture must have one; whatever is not 0
    in it is the bird.

    Args:
        place: the folder ``CUB_200_2011``, or its parent.
        split: ``train``, ``test`` or ``all``.

    Raises:
        FinercamError: a file, a line or pictures are missing, or a line is malformed.
    """
    root = LAYOUT.root(place)
    names, position = _numbered(root.at("classes.txt"))
    part_names, part_position = _numbered(root.at("parts/parts.txt"))
    images = by_id(read_rows(root.at("images.txt"), PUBLICATION, 2))
    if not images:
        raise PUBLICATION.missing(f"images.txt in {str(root.path)!r} lists no picture")
    photos = root.at("images")
    check_listed((row.fields[1] for row in images.values()), photos, PUBLICATION)
    label_table, split_table = root.at("image_class_labels.txt"), root.at("train_test_split.txt")
    box_table, part_table = root.at("bounding_boxes.txt"), root.at("parts/part_locs.txt")
    labels = by_id(read_rows(label_table, PUBLICATION, 2))
    training = by_id(read_rows(split_table, PUBLICATION, 2))
    boxes = by_id(read_rows(box_table, PUBLICATION, 5))
    places = _parts(part_table, part_position)
    masks = _segmentations(root, [row.fields[1] for row in images.values()])
    items = []
    for number, row in images.items():
        # Every picture is looked up in every file, so that a bad line is found whatever the split.
        label_row = row_of(number, labels, label_table, row.path)
        if label_row.fields[1] not in position:
            raise label_row.wrong(f"class {label_row.fields[1]!r} is not in classes.txt, which has {len(names)}")
        in_training = row_of(number, training, split_table, row.path).flag(1, "is_training_image")
        box = _box(row_of(number, boxes, box_table, row.path))
        if number not in places:
            raise FinercamError(f"{part_table} has no line for id {number!r}")
        if split == "all" or in_training == (split == "train"):
            name = row.fields[1]
            items.append(
                Item(
                    key=name,
                    uri=str(photos / name),
                    label=position[label_row.fields[1]],
                    box=box,
                    mask=None if masks is None else str((masks / name).with_suffix(".png")),
                    parts=tuple(places[number].get(part) for part in range(len(part_names))),
                )
            )
    regions = ("box", "parts") if masks is None else ("box", "mask", "parts")
    return Dataset(
        name=f"cub:{place}",
        class_names=names,
        items=partial(iter, tuple(items)),
        part_names=part_names,
        regions=regions,
        attributes=partial(read_attributes, place),
    )


def read_attributes(place: str) -> Attributes:
    """Return the attributes of the classes; any class may be compared with any other.

    Args:
        place: as for ``read``.

    Raises:
        FinercamError: a file is missing or malformed.
    """
    names, strengths, classes = class_attributes(place)
    every = range(len(classes))
    alike = tuple(tuple(other for other in every if other != label) for label in every)
    return Attributes(tuple(map(cub_attribute, names)), strengths, classes, alike, CUB_PARTS)


def class_attributes(place: str) -> tuple[tuple[str, ...], Float64[np.ndarray, "classes attributes"], tuple[str, ...]]:
    """Return what people said of each class.

    Args:
        place: as for ``read``.

    Returns:
        The names of the attributes (``has_bill_shape::dagger``); the percentage of answers, 0 to 100, that saw the
        attribute in the class; the names of the classes.

    Raises:
        FinercamError: a file is missing or malformed.
    """
    root = LAYOUT.root(place)
    names, _ = _numbered(root.at("classes.txt"))
    attributes, _ = _numbered(root.at("attributes/attributes.txt"))
    path = root.at("attributes/class_attribute_labels_continuous.txt")
    strengths = []
    for line, text in read_lines(path, PUBLICATION):
        row = Row(path, line, tuple(text.split()))
        if len(row.fields) != len(attributes):
            raise row.wrong(f"{len(row.fields)} numbers for {len(attributes)} attributes")
        values = row.reals(0, len(attributes), "the line")
        if not 0 <= min(values) <= max(values) <= 100:
            raise row.wrong(f"values from {min(values):g} to {max(values):g}, not percentages")
        strengths.append(values)
    if len(strengths) != len(names):
        raise FinercamError(f"{path} has {len(strengths)} lines for {len(names)} classes")
    return attributes, np.array(strengths), names


def image_attributes(
    place: str,
) -> tuple[tuple[str, ...], Bool[np.ndarray, "images attributes"], UInt8[np.ndarray, "images attributes"]]:
    """Return what one person said of each picture.

    Args:
        place: as for ``read``.

    Returns:
        The pictures' keys; whether the attribute was seen; how certain that is: 1 not visible, 2 guessing,
        3 probably, 4 definitely, 0 where nobody was asked.

    Raises:
        FinercamError: a file is missing or malformed.
    """
    root = LAYOUT.root(place)
    attributes, _ = _numbered(root.at("attributes/attributes.txt"))
    images = by_id(read_rows(root.at("images.txt"), PUBLICATION, 2))
    path = root.at("attributes/image_attribute_labels.txt")
    try:
        # A few published lines have more columns than the documented five: the first four are sound in all.
        table = np.loadtxt(path, dtype=np.int64, usecols=(0, 1, 2, 3), ndmin=2, comments=None)
    except ValueError as error:
        raise FinercamError(f"{path} is not a table of whole numbers: {error}") from error
    places = {row.integer(0, "the id"): index for index, row in enumerate(images.values())}
    rows = np.array([places.get(number, -1) for number in table[:, 0].tolist()], np.int64)
    columns, present, certainty = table[:, 1] - 1, table[:, 2], table[:, 3]
    fine = (columns >= 0) & (columns < len(attributes)) & (present >= 0) & (present <= 1)
    fine &= (certainty >= 1) & (certainty <= 4)
    if not fine.all():
        at = int(np.argmin(fine))
        raise FinercamError(f"{path}: row {at + 1}, {table[at].tolist()}, is out of range")
    known = rows >= 0
    seen = np.zeros((len(images), len(attributes)), np.bool_)
    sure = np.zeros((len(images), len(attributes)), np.uint8)
    seen[rows[known], columns[known]] = present[known] == 1
    sure[rows[known], columns[known]] = certainty[known]
    return tuple(row.fields[1] for row in images.values()), seen, sure


def _numbered(path: Path) -> tuple[tuple[str, ...], dict[str, int]]:
    """Return the names in a table of ids and names, and the position of each id."""
    table = by_id(read_rows(path, PUBLICATION, 2))
    if not table:
        raise PUBLICATION.missing(f"{path} is empty")
    return tuple(row.fields[1] for row in table.values()), {number: at for at, number in enumerate(table)}


def _box(row: Row) -> Box:
    x, y, width, height = row.reals(1, 5, "the box")
    return checked_box(x, y, x + width, y + height, row.wrong)


def _parts(path: Path, position: dict[str, int]) -> dict[str, dict[int, Point | None]]:
    """Return, for each picture, the location of each part that it has a line for."""
    places: dict[str, dict[int, Point | None]] = {}
    for row in read_rows(path, PUBLICATION, 5):
        number, part = row.fields[:2]
        if part not in position:
            raise row.wrong(f"part {part!r} is not in parts.txt, which has {len(position)}")
        of_image = places.setdefault(number, {})
        if position[part] in of_image:
            raise row.wrong(f"part {part!r} of id {number!r} is listed twice")
        x, y = row.reals(2, 4, "the place")
        of_image[position[part]] = (x, y) if row.flag(4, "visible") else None
    return places


def _segmentations(root: Root, names: list[str]) -> Path | None:
    folder = root.find("segmentations")
    # A folder beside may belong to another data set.
    if folder is None or not (folder / names[0]).parent.is_dir():
        return None
    check_listed((Path(name).with_suffix(".png").as_posix() for name in names), folder, PUBLICATION, "segmentations")
    return folder
