"""Stanford Cars (Krause, Stark, Deng, Fei-Fei, 3dRR 2013): 196 makes, models and years."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from finercam.data.annotations import Publication, check_listed, checked_box
from finercam.data.dataset import Dataset, Item
from finercam.data.format import data_format
from finercam.data.matlab import read_variables
from finercam.errors import FinercamError
from finercam.texts import shortened

PUBLICATION = Publication(
    "Stanford Cars", "Krause et al., 3dRR 2013", "https://ai.stanford.edu/~jkrause/cars/car_dataset.html"
)

#: Split -> where its annotations and its pictures may be: archives unpack beside or into one another.
ANNOTATIONS = {
    "train": ("devkit/cars_train_annos.mat", "cars_train_annos.mat"),
    "test": ("cars_test_annos_withlabels.mat", "devkit/cars_test_annos_withlabels.mat"),
}
PICTURES = {"train": ("cars_train/cars_train", "cars_train"), "test": ("cars_test/cars_test", "cars_test")}


@data_format("cars", "Stanford Cars: 196 makes, models and years", knows=("box",), source=PUBLICATION.source)
def read(place: str, split: str) -> Dataset:
    """Read Stanford Cars in either of the two forms in which it was published.

    One has ``devkit/cars_meta.mat``, ``devkit/cars_train_annos.mat``, ``cars_test_annos_withlabels.mat`` and
    the pictures in ``cars_train`` and ``cars_test``; the other ``cars_annos.mat`` and the pictures in ``car_ims``.
    Boxes are published as the smallest and largest pixel, counted from 1; here they are half-open, from 0.

    Args:
        place: the folder with these files.
        split: ``train``, ``test`` or ``all``.

    Raises:
        FinercamError: a file or pictures are missing, an annotation is malformed, or scipy, which reads the
            annotations, is not installed.
    """
    root = Path(os.path.expanduser(place))
    if not os.path.isdir(root):
        raise PUBLICATION.missing(f"there is no folder {shortened(place)!r}")
    root = root / "stanford_cars" if (root / "stanford_cars").is_dir() else root
    names, items = _in_one(root, split) if (root / "cars_annos.mat").is_file() else _in_two(root, split)
    return Dataset(f"cars:{place}", names, partial(iter, tuple(items)), regions=("box",))


def _in_one(root: Path, split: str) -> tuple[tuple[str, ...], list[Item]]:
    """Read the form with one file of annotations."""
    path = root / "cars_annos.mat"
    content = read_variables(path)
    names = _class_names(path, content)
    tests = [value == 1 for value in _field(path, content, "test")]
    items = [_item(root, item.key, item) for item in _entries(path, content, "relative_im_path", names)]
    check_listed((item.key for item in items), root, PUBLICATION)
    return names, [item for item, test in zip(items, tests, strict=True) if split == "all" or test == (split == "test")]


def _in_two(root: Path, split: str) -> tuple[tuple[str, ...], list[Item]]:
    """Read the form with a file of annotations for each split."""
    meta = _find(root, ("devkit/cars_meta.mat", "cars_meta.mat"))
    names = _class_names(meta, read_variables(meta))
    items = []
    for part in ("train", "test") if split == "all" else (split,):
        path = _find(root, ANNOTATIONS[part])
        entries = list(_entries(path, read_variables(path), "fname", names))
        folder = _find(root, PICTURES[part])
        check_listed((item.key for item in entries), folder, PUBLICATION)
        items += [_item(root, f"{folder.relative_to(root).as_posix()}/{item.key}", item) for item in entries]
    return names, items


def _item(root: Path, key: str, entry: Item) -> Item:
    return Item(key, str(root / key), entry.label, entry.box)


def _find(root: Path, places: Iterable[str]) -> Path:
    """Return the first of these places that exists."""
    places = list(places)
    for place in places:
        if (root / place).exists():
            return root / place
    unlabelled = root / "devkit" / "cars_test_annos.mat"
    also = "; cars_test_annos.mat alone has no labels" if "withlabels" in places[0] and unlabelled.exists() else ""
    raise PUBLICATION.missing(f"{' or '.join(places)} is missing from {str(root)!r}{also}")


def _entries(path: Path, content: Mapping[str, Any], picture: str, names: tuple[str, ...]) -> Iterator[Item]:
    """Yield key, label and box of each annotation."""
    fields = [_field(path, content, name) for name in (picture, "class", "bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2")]
    seen = set()
    for number, (name, label, x1, y1, x2, y2) in enumerate(zip(*fields, strict=True), 1):

        def wrong(message: str, number: int = number) -> FinercamError:
            return FinercamError(f"{path}, annotation {number}: {message}")

        try:
            label, box = int(label), [float(int(value)) for value in (x1, y1, x2, y2)]
        except (TypeError, ValueError, OverflowError):
            raise wrong(f"class and box are {label!r} {x1!r} {y1!r} {x2!r} {y2!r}, not whole numbers") from None
        if not 1 <= label <= len(names):
            raise wrong(f"class {label} is out of range: there are {len(names)}, from 1")
        if not isinstance(name, str):
            raise wrong(f"the picture is {shortened(str(name))!r}, not the name of a file")
        if name in seen:
            raise wrong(f"picture {name!r} is annotated twice")
        seen.add(name)
        yield Item(name, "", label - 1, checked_box(box[0] - 1, box[1] - 1, box[2], box[3], wrong))


def _class_names(path: Path, content: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(name) for name in _variable(path, content, "class_names"))


def _field(path: Path, content: Mapping[str, Any], name: str) -> list[Any]:
    annotations = _variable(path, content, "annotations")
    if not isinstance(annotations, dict) or name not in annotations:
        there = ", ".join(annotations) if isinstance(annotations, dict) else "none"
        raise FinercamError(f"{path}: the annotations have no field {name!r}; they have {there}")
    return list(annotations[name])


def _variable(path: Path, content: Mapping[str, Any], name: str) -> Any:
    if not isinstance(content.get(name), (list, dict)):
        raise FinercamError(f"{path} has no variable {name!r}")
    return content[name]
