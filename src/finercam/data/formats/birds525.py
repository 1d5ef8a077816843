"""BIRDS 525 SPECIES (G. Piosenka, 2023): 525 species in folders, 5 test photos each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from finercam.data.annotations import Publication, check_listed, read_columns
from finercam.data.dataset import Dataset
from finercam.data.format import data_format
from finercam.data.formats import folder
from finercam.data.layout import Layout, Part

PUBLICATION = Publication(
    "BIRDS 525 SPECIES", "Piosenka 2023", "https://www.kaggle.com/datasets/gpiosenka/100-bird-species"
)

#: Folders of each split. The Finer-CAM paper evaluates on ``valid``; here the test split is ``test``.
SPLITS = {"train": ("train",), "test": ("test",), "all": ("train", "valid", "test")}


LAYOUT = Layout(
    PUBLICATION,
    (
        *(Part((name,), f"photos of the split {name}, a folder for each species") for name in SPLITS["all"]),
        Part(("birds.csv",), "names of all photos, to tell which are missing", optional=True),
    ),
    classes=525,
    photos=84_635 + 2_625 + 2_625,
)


@data_format(
    "birds525",
    "BIRDS 525 SPECIES: 525 species of birds",
    source=PUBLICATION.source,
    layout=lambda place: LAYOUT,
)
def read(place: str, split: str) -> Dataset:
    """Read ``train``, ``valid`` and ``test`` with a folder for each species.

    Classes are the names of the folders, sorted, which is the order of the publisher's class ids. One species is
    spelled with one space in some splits and with two in others; all spaces are made single. If the publisher's
    ``birds.csv`` is there, all photos that it lists have to be there too.

    Args:
        place: the folder that the archive unpacks into.
        split: ``train``, ``test`` or ``all``.

    Raises:
        FinercamError: a folder or photos are missing, or ``birds.csv`` is malformed.
    """
    found = LAYOUT.root(place)
    root = found.path
    for name in SPLITS["all"]:
        found.at(name)
    classes = folder.class_folders(str(root), SPLITS["all"])
    on_disk = {(part, _single(name)): name for part, names in classes.items() for name in names}
    names = sorted({name for _, name in on_disk})
    table = found.find("birds.csv")
    if table is not None:
        check_listed(_listed(table, on_disk), root, PUBLICATION)
    labels = {name: label for label, name in enumerate(names)}
    places = [(part, name, labels[_single(name)]) for part in SPLITS[split] for name in classes[part]]
    return folder.dataset(f"birds525:{place}", str(root), names, places)


def _single(name: str) -> str:
    return " ".join(name.split())


def _listed(table: Path, on_disk: dict[tuple[str, str], str]) -> Iterator[str]:
    """Yield the paths listed in ``birds.csv``, spelled as the folders are."""
    for row in read_columns(table, PUBLICATION, ("filepaths",)):
        (path,) = row.fields
        if path.count("/") != 2:
            raise row.wrong(f"{path!r} is not SPLIT/SPECIES/photo.jpg")
        part, species, photo = path.split("/")
        # The publisher's table misspells this folder.
        species = _single(species).replace("PARAKETT AKULET", "PARAKETT AUKLET")
        yield f"{part}/{on_disk.get((part, species), species)}/{photo}"
