"""Fish-Vista (Mehrab et al., CVPR 2025, arXiv 2407.08027): museum photos of fish, some with their traits outlined."""

from __future__ import annotations

from functools import partial
from pathlib import Path, PurePosixPath
from typing import Literal, TypeAlias

from finercam.data.annotations import Publication, Row, read_columns
from finercam.data.dataset import Dataset, Item
from finercam.data.format import data_format
from finercam.data.layout import Layout, Part, Root
from finercam.data.part_masks import PartNames, open_with_parts, read_part_names
from finercam.data.storage import listing

PUBLICATION = Publication(
    "Fish-Vista",
    "Mehrab et al., CVPR 2025, arXiv 2407.08027",
    "https://huggingface.co/datasets/imageomics/fish-vista",
)

#: Masks, and the file that names their values.
MASKS, TRAITS = "segmentation_masks/images", "segmentation_masks/seg_id_trait_map.json"
#: The traits as published, from 1.
NAMES = (
    *("Head", "Eye", "Dorsal fin", "Pectoral fin", "Pelvic fin", "Anal fin", "Caudal fin", "Adipose fin", "Barbel"),
)

PARTS = {"train": ("train",), "test": ("test",), "all": ("train", "val", "test")}


Task: TypeAlias = Literal["classification", "segmentation"]


def layout(place: str, *, task: Task = "classification") -> Layout:
    """Return what a download holds: the repository of the data set; the photos lie in ``Images``, in chunks."""
    return Layout(
        PUBLICATION,
        (
            *(Part((f"{task}_{part}.csv",), f"photos and species of {part}") for part in PARTS["all"]),
            Part(("Images",), "photos"),
            Part((MASKS,), "masks of nine traits", optional=task == "classification"),
            Part((TRAITS,), "names of the traits, which are known without it", optional=True),
        ),
        inside=("fish-vista",),
        classes=419 if task == "classification" else None,
        photos=2_427 if task == "segmentation" else None,
    )


@data_format(
    "fishvista", "Fish-Vista: 419 species of fish", knows=("mask", "parts"), source=PUBLICATION.source, layout=layout
)
def read(place: str, split: str, *, task: Task = "classification") -> Dataset:
    """Read one of Fish-Vista's tasks from ``TASK_train.csv``, ``TASK_val.csv`` and ``TASK_test.csv``.

    Classes are the species (column ``standardized_species``) of the three files, sorted by name, so that labels do
    not depend on the split. Photos are found by their ``filename`` in ``Images`` or in its chunks, however they
    were downloaded. About a thousand are only available from their owners: the publisher's
    ``download_and_process_nd_images.py`` fetches them.

    The masks, if they are there (``segmentation_masks/images``), outline nine traits (head, eye, fins, barbels) and
    leave out the rest of the body: a mask says where these traits are, not where the fish is. The traits are the parts,
    each with its pixels and a point in their middle; ``segmentation_masks/seg_id_trait_map.json`` names them.

    Args:
        place: the folder of the download.
        split: ``train``, ``test`` or ``all`` (with the validation photos).
        task: ``classification`` (419 species) or ``segmentation`` (the 2,427 photos with masks).

    Raises:
        FinercamError: a file or photos are missing, or a line is malformed.
    """
    found = layout(place, task=task).root(place)
    root = found.path
    rows = {part: _table(found.at(f"{task}_{part}.csv")) for part in PARTS["all"]}
    names = tuple(sorted({row.fields[1] for part in rows.values() for row in part}))
    labels = {name: label for label, name in enumerate(names)}
    photos, masks = _photos(found.at("Images")), _masks(found)
    traits = _traits(found)
    items: dict[str, Item] = {}
    absent = []
    for part in PARTS[split]:
        for row in rows[part]:
            name, species = row.fields
            if name in items:
                raise row.wrong(f"photo {name!r} is listed twice")
            mask = f"{PurePosixPath(name).stem}.png"
            if name not in photos or (task == "segmentation" and mask not in masks):
                absent.append(name if name not in photos else f"{MASKS}/{mask}")
            where = None if mask not in masks else str(root / MASKS / mask)
            place = str(root / photos.get(name, name))
            items[name] = Item(name, place, labels[species], mask=where, part_mask=where)
    if absent:
        raise PUBLICATION.missing(
            f"{len(absent)} of {len(items)} pictures are missing from {str(root)!r}: {', '.join(absent[:3])}"
            f"{', ...' if len(absent) > 3 else ''} (download_and_process_nd_images.py fetches those that may not be "
            "redistributed)"
        )
    each = tuple(items.values())
    masked = any(item.mask for item in each)
    return Dataset(
        f"fishvista@{task}:{place}",
        names,
        partial(iter, each),
        partial(open_with_parts, names=traits),
        part_names=traits.names if masked else (),
        regions=("mask", "parts") if masked else (),
    )


@data_format(
    "fishvista-segmentation",
    "Fish-Vista: the photos with masks of nine traits",
    knows=("mask", "parts"),
    source=PUBLICATION.source,
    layout=lambda place: layout(place, task="segmentation"),
)
def read_segmentation(place: str, split: str) -> Dataset:
    """Read Fish-Vista's segmentation task: short for ``fishvista@segmentation:DIR``."""
    return read(place, split, task="segmentation")


def _table(path: Path) -> list[Row]:
    """Return file name and species of each line."""
    wanted = ("filename", "standardized_species")
    rows = list(read_columns(path, PUBLICATION, wanted))
    for row in rows:
        for name, value in zip(wanted, row.fields, strict=True):
            if not value:
                raise row.wrong(f"{name} is empty")
    return rows


def _photos(folder: Path) -> dict[str, str]:
    """Return where each photo is below the root, from one listing of ``Images`` and one of each chunk."""
    top = listing(str(folder))
    found = {name: f"Images/{name}" for name in top.files}
    for chunk in top.folders:
        found |= {name: f"Images/{chunk}/{name}" for name in listing(str(folder / chunk)).files}
    return found


def _masks(root: Root) -> frozenset[str]:
    folder = root.find(MASKS)
    return frozenset() if folder is None else frozenset(listing(str(folder)).files)


def _traits(root: Root) -> PartNames:
    named = root.find(TRAITS)
    return PartNames(tuple(enumerate(NAMES, 1)), source=TRAITS) if named is None else read_part_names(str(named))
