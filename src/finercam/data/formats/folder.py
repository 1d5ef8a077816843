"""Photos sorted into folders, one for each class: on disk, or behind a URI that fsspec opens."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial

from finercam.data.dataset import Dataset, Item
from finercam.data.finding import PassedOver, holds_results
from finercam.data.format import data_format
from finercam.data.part_masks import Beside, MaskFolder, open_with_parts
from finercam.data.photos import SUFFIXES, is_photo_name
from finercam.data.storage import Listing, below, is_uri, listing
from finercam.errors import FinercamError

#: Names of folders that hold a split.
TRAIN, TESTS = "train", ("test", "val", "valid", "validation")

#: Split folder ("" for the root), class folder ("" for all that is there), label.
Place = tuple[str, str, int]


@data_format(
    "folder",
    "Photos sorted into folders, one for each class",
    specs=("folder:DIR", "folder:URI"),
    knows=("parts",),
)
def read(place: str, split: str, *, masks: str | None = None) -> Dataset:
    """Read a folder of class folders: ``DIR/CLASS/.../photo.jpg``, or ``DIR/SPLIT/CLASS/.../photo.jpg``.

    A folder that contains ``train`` and one of ``test``, ``val``, ``valid`` and ``validation``, or nothing but such
    folders, is split: ``test`` is the first of these that is there, ``all`` is all of them, and whatever else is
    beside them is ignored. Any other folder is not split and is read whole, whatever ``split`` says. Classes are
    named after their folders, sorted by name, and are the same for every split. Folders are listed while the items
    are read, so that millions of photos never have to be in memory; those that hold results are not searched. A
    warning at the end of a pass counts the files that would be photos if a package were installed, or if they were
    converted (HEIC, raw files), and those that have no mask.

    Args:
        place: a folder, or a URI that fsspec opens (``s3://bucket/photos``, ``zip://::photos.zip``).
        split: ``train``, ``test`` or ``all``.
        masks: a folder of masks of parts (``finercam.data.part_masks``) that mirrors that of the photos.

    Raises:
        FinercamError: there is no such folder or split, no photo, or a photo outside the class folders; or there is no
            such folder of masks, or its ``parts.json`` is malformed.
    """
    root = place if is_uri(place) else os.path.expanduser(place)
    splits = find_splits(root)
    chosen = choose_split(splits, split, root) if splits else ("",)
    classes = class_folders(root, splits or ("",))
    names = sorted({name for folders in classes.values() for name in folders})
    labels = {name: label for label, name in enumerate(names)}
    places = [(part, name, labels[name]) for part in chosen for name in classes[part]]
    return dataset(f"folder:{place}", root, names, places, masks)


def dataset(
    name: str, root: str, class_names: Iterable[str], places: Sequence[Place], masks: str | None = None
) -> Dataset:
    """Return the data set of all photos in class folders.

    Args:
        name, class_names: of the data set.
        root: the folder that all lie in.
        places: the class folders.
        masks: a folder of masks of parts.

    Raises:
        FinercamError: there is no photo, no such folder of masks, or it is not known what the parts in it are called.
    """
    beside = None if masks is None else MaskFolder.of(masks, root)
    passed = PassedOver()
    if next(_photos(root, places, passed, None), None) is None:
        raise FinercamError(
            f"there is no photo in {root!r}; the names of photos end in {', '.join(sorted(SUFFIXES))}"
            + "".join(f"; {sentence}" for sentence in passed.sentences())
        )
    whole = Dataset(name, tuple(class_names), partial(_items, root, tuple(places), beside))
    if beside is None:
        return whole
    with_masks = _photos(root, places, PassedOver(), Beside(beside))
    names = beside.names(item.part_mask for item in with_masks if item.part_mask is not None)
    return replace(whole, open=partial(open_with_parts, names=names), part_names=names.names, regions=("parts",))


def find_splits(root: str) -> tuple[str, ...]:
    """Return the folders that hold the splits of a folder, training first; none if it is not split."""
    there = _folders(root, listing(root))
    splits = tuple(name for name in (TRAIN, *TESTS) if name in there)
    return splits if len(splits) == len(there) or (TRAIN in splits and len(splits) > 1) else ()


def choose_split(splits: Sequence[str], split: str, root: str) -> tuple[str, ...]:
    """Return the folders that make up a split.

    Raises:
        FinercamError: there is none.
    """
    if split == "all":
        return tuple(splits)
    found = next((name for name in ((TRAIN,) if split == "train" else TESTS) if name in splits), None)
    if found is None:
        raise FinercamError(f"{root!r} has no folder for the split {split!r}, only {', '.join(splits)}; choose another")
    return (found,)


def class_folders(root: str, splits: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return the class folders of each split.

    Raises:
        FinercamError: there is none, or there are photos beside them.
    """
    found = {}
    for split in splits:
        where = below(root, split) if split else root
        there = listing(where)
        stray = [name for name in there.files if is_photo_name(name)]
        if stray:
            raise FinercamError(
                f"{len(stray)} photos are not in a class folder, such as {below(where, stray[0])!r}; "
                "put each into a folder named after its class"
            )
        found[split] = _folders(where, there)
    if not any(found.values()):
        raise FinercamError(f"{root!r} has no class folders; sort the photos into folders named after their classes")
    return found


def _folders(place: str, there: Listing, passed: PassedOver | None = None) -> tuple[str, ...]:
    """Return the folders in a folder, without those that hold results: their pictures are not photos."""
    if is_uri(place):
        return there.folders
    results = [name for name in there.folders if holds_results(below(place, name))]
    if passed is not None:
        for name in results:
            passed.note_results(below(place, name))
    return tuple(name for name in there.folders if name not in results)


def _items(root: str, places: Sequence[Place], masks: MaskFolder | None) -> Iterator[Item]:
    """Yield all items; what was passed over is known at the end, and said once however many passes there are."""
    passed, beside = PassedOver(), None if masks is None else Beside(masks)
    yield from _photos(root, places, passed, beside)
    for sentence in (*passed.sentences(), *(() if beside is None else beside.sentences())):
        warnings.warn(sentence, stacklevel=1)


def _photos(root: str, places: Sequence[Place], passed: PassedOver, beside: Beside | None) -> Iterator[Item]:
    for split, folder, label in places:
        parts = tuple(filter(None, (split, folder)))
        for path in _walk(below(root, *parts), passed):
            names = (*parts, *path)
            mask = None if beside is None else beside.of(names)
            yield Item("/".join(names), below(root, *names), label, part_mask=mask)


def _walk(folder: str, passed: PassedOver) -> Iterator[tuple[str, ...]]:
    """Yield the paths of all photos in a folder, those directly in it first."""
    there = listing(folder)
    for name in there.files:
        if passed.takes(name):
            yield (name,)
    for name in _folders(folder, there, passed):
        for path in _walk(below(folder, name), passed):
            yield (name, *path)
