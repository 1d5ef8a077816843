"""Stanford Cars (Krause, Stark, Deng, Fei-Fei, 3dRR 2013): 196 makes, models and years."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finercam.data.annotations import Publication, check_listed, checked_box
from finercam.data.dataset import Dataset, Item
from finercam.data.format import data_format
from finercam.errors import FinercamError

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
    root = Path(place).expanduser()
    if not root.is_dir():
        raise PUBLICATION.missing(f"there is no folder {place!r}")
    root = root / "stanford_cars" if (root / "stanford_cars").is_dir() else root
    names, items = _in_one(root, split) if (root / "cars_annos.mat").is_file() else _in_two(root, split)
    return Dataset(f"cars:{place}", names, partial(iter, tuple(items)), regions=("box",))


def _in_one(root: Path, split: str) -> tuple[tuple[str, ...], list[Item]]:
    """Read the form with one file of annotations."""
    path = root / "cars_annos.mat"
    names = _class_names(path)
    entries = list(_entries(path, "relative_im_path", names))
    tests = [int(value) for value in _field(path, "test")]
    items = [_item(root, item.key, item) for item in entries]
    check_listed((item.key for item in items), root, PUBLICATION)
    return names, [item for item, test in zip(items, tests, strict=True) if split == "all" or test == (split == "test")]


def _in_two(root: Path, split: str) -> tuple[tuple[str, ...], list[Item]]:
    """Read the form with a file of annotations for each split."""
    names = _class_names(_find(root, ("devkit/cars_meta.mat", "cars_meta.mat")))
    items = []
    for part in ("train", "test") if split == "all" else (split,):
        entries = list(_entries(_find(root, ANNOTATIONS[part]), "fname", names))
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


def _entries(path: Path, picture: str, names: tuple[str, ...]) -> Iterator[Item]:
    """Yield key, label and box of each annotation."""
    fields = [_field(path, name) for name in (picture, "class", "bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2")]
    seen = set()
    for number, (name, label, x1, y1, x2, y2) in enumerate(zip(*fields, strict=True), 1):

        def wrong(message: str, number: int = number) -> FinercamError:
            return FinercamError(f"{path}, annotation {number}: {message}")

        try:
            label, box = int(label), [float(int(value)) for value in (x1, y1, x2, y2)]
        except (TypeError, ValueError):
            raise wrong(f"class and box are {label!r} {x1!r} {y1!r} {x2!r} {y2!r}, not whole numbers") from None
        if not 1 <= label <= len(names):
            raise wrong(f"class {label} is out of range: there are {len(names)}, from 1")
        if name in seen:
            raise wrong(f"picture {str(name)!r} is annotated twice")
        seen.add(name)
        yield Item(str(name), "", label - 1, checked_box(box[0] - 1, box[1] - 1, box[2], box[3], wrong))


def _class_names(path: Path) -> tuple[str, ...]:
    return tuple(str(name) for name in _variable(path, "class_names"))


def _field(path: Path, name: str) -> NDArray[Any]:
    annotations = _variable(path, "annotations")
    if name not in (annotations.dtype.names or ()):
        raise FinercamError(f"{path}: the annotations have no field {name!r}; they have {annotations.dtype.names}")
    return annotations[name]


def _variable(path: Path, name: str) -> NDArray[Any]:
    try:
        from scipy.io import loadmat  # type: ignore[import-untyped,unused-ignore]
    except ImportError as error:
        raise FinercamError("Stanford Cars is annotated in .mat files; pip install scipy") from error
    try:
        content = loadmat(path, squeeze_me=True, variable_names=[name])
    except Exception as error:
        # What scipy raises depends on which bytes are damaged.
        raise FinercamError(f"{path} cannot be read: {type(error).__name__}: {error}") from error
    if name not in content:
        raise FinercamError(f"{path} has no variable {name!r}")
    return np.atleast_1d(content[name])
