"""Stanford Cars (Krause, Stark, Deng, Fei-Fei, 3dRR 2013): 196 makes, models and years."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from finercam.data.annotations import Publication, check_listed, checked_box
from finercam.data.dataset import Dataset, Item
from finercam.data.format import data_format
from finercam.data.layout import Layout, Part, Root
from finercam.data.matlab import read_variables
from finercam.errors import FinercamError
from finercam.texts import shortened

PUBLICATION = Publication(
    "Stanford Cars", "Krause et al., 3dRR 2013", "https://ai.stanford.edu/~jkrause/cars/car_dataset.html"
)

#: ``car_devkit.tgz`` (``devkit``), ``cars_train.tgz``, ``cars_test.tgz`` and the labels of test by themselves; mirrors
#: have the folders of photos in folders of the same name, and often ``cars_annos.mat`` too, whose photos are others.
TWO = Layout(
    PUBLICATION,
    (
        Part(("devkit/cars_meta.mat", "cars_meta.mat"), "names of the classes"),
        Part(("devkit/cars_train_annos.mat", "cars_train_annos.mat"), "labels and boxes of train"),
        Part(
            ("cars_test_annos_withlabels.mat", "devkit/cars_test_annos_withlabels.mat"),
            "labels and boxes of test (cars_test_annos.mat alone has no labels)",
        ),
        Part(("cars_train/cars_train", "cars_train"), "photos of train"),
        Part(("cars_test/cars_test", "cars_test"), "photos of test"),
    ),
    inside=("stanford_cars",),
    classes=196,
    photos=16_185,
)
#: ``car_ims.tgz`` and ``cars_annos.mat``.
ONE = Layout(
    PUBLICATION,
    (Part(("cars_annos.mat",), "names of the classes, labels, boxes and splits"), Part(("car_ims",), "photos")),
    inside=("stanford_cars",),
    classes=196,
    photos=16_185,
)
_ANNOTATIONS = {"train": "devkit/cars_train_annos.mat", "test": "cars_test_annos_withlabels.mat"}
_PHOTOS = {"train": "cars_train/cars_train", "test": "cars_test/cars_test"}


def layout(place: str) -> Layout:
    """Return which of its two forms a download has.

    Raises:
        FinercamError: there is no such folder.
    """
    whole = any(
        root.has("car_ims") or (root.has("cars_annos.mat") and not _other(root)) for root in ONE.candidates(place)
    )
    return ONE if whole else TWO


def _other(root: Root) -> bool:
    """Return whether there is anything of the other form."""
    return any((root.path / place).exists() for part in TWO.parts for place in part.places)


@data_format(
    "cars", "Stanford Cars: 196 makes, models and years", knows=("box",), source=PUBLICATION.source, layout=layout
)
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
    form = layout(place)
    root = form.root(place)
    names, items = _in_one(root, split) if form is ONE else _in_two(root, split)
    return Dataset(f"cars:{place}", names, partial(iter, tuple(items)), regions=("box",))


def _in_one(root: Root, split: str) -> tuple[tuple[str, ...], list[Item]]:
    """Read the form with one file of annotations."""
    path = root.at("cars_annos.mat")
    root.at("car_ims")
    content = read_variables(path)
    names = _class_names(path, content)
    tests = [value == 1 for value in _field(path, content, "test")]
    items = [_item(root.path, item.key, item) for item in _entries(path, content, "relative_im_path", names)]
    check_listed((item.key for item in items), root.path, PUBLICATION)
    return names, [item for item, test in zip(items, tests, strict=True) if split == "all" or test == (split == "test")]


def _in_two(root: Root, split: str) -> tuple[tuple[str, ...], list[Item]]:
    """Read the form with a file of annotations for each split."""
    meta = root.at("devkit/cars_meta.mat")
    names = _class_names(meta, read_variables(meta))
    items = []
    for part in ("train", "test") if split == "all" else (split,):
        path = _annotations(root, part)
        entries = list(_entries(path, read_variables(path), "fname", names))
        folder = root.at(_PHOTOS[part])
        check_listed((item.key for item in entries), folder, PUBLICATION)
        below = folder.relative_to(root.path).as_posix()
        items += [_item(root.path, f"{below}/{item.key}", item) for item in entries]
    return names, items


def _annotations(root: Root, part: str) -> Path:
    name = _ANNOTATIONS[part]
    if part == "test" and not root.has(name) and (root.path / "devkit" / "cars_test_annos.mat").exists():
        raise PUBLICATION.missing(f"{name} is missing from {str(root.path)!r}; cars_test_annos.mat alone has no labels")
    return root.at(name)


def _item(root: Path, key: str, entry: Item) -> Item:
    return Item(key, str(root / key), entry.label, entry.box)


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
