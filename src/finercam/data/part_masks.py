"""Masks of parts: which pixels of a photo show which part of the object, in files that people or segmenters made.

A photo's mask is one picture of its size whose values number the parts (indices of a palette, or grey values; 0 is no
part), or a folder with a picture for each part, called after it, in which all but 0 is the part.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from hashlib import blake2b
from heapq import nsmallest
from pathlib import Path

import numpy as np
from jaxtyping import Bool, UInt16
from PIL import Image

from finercam.data.dataset import Example, Item, check_size, open_files, open_mask, read_picture
from finercam.data.photos import suffix_of
from finercam.data.storage import Listing, below, listing, read_bytes
from finercam.errors import FinercamError
from finercam.texts import shortened, whole_number

#: The file that names the parts, in a folder of masks.
NAMES = "parts.json"
#: What masks are: without losses.
SUFFIX = ".png"
#: How many masks are looked at where nothing says what the parts are called.
LOOKED = 200
#: The largest number of a part: what the pixels of a 16-bit picture hold.
MOST = 65_535


@dataclass(frozen=True)
class PartNames:
    """What the parts in masks are called.

    Attributes:
        numbered: number and name of each part, by number; several numbers may have one name (left and right wings).
        filed: names of parts that have pictures of their own and no number.
        source: the file that says so, or that would: without it names were taken from some of the masks.
        stated: whether that file is there.
    """

    numbered: tuple[tuple[int, str], ...] = ()
    filed: tuple[str, ...] = ()
    source: str = NAMES
    stated: bool = True

    @property
    def names(self) -> tuple[str, ...]:
        """Each name once, in the order of the numbers."""
        return tuple(dict.fromkeys((*(name for _, name in self.numbered), *self.filed)))

    def of(self, number: int, mask: str) -> str:
        """Return the name of a number.

        Raises:
            FinercamError: it has none; the error names the mask.
        """
        names = dict(self.numbered)
        if number not in names:
            raise FinercamError(f"mask {mask!r} has the value {number}, {self._unlike(map(str, names))}")
        return names[number]

    def checked(self, name: str, mask: str) -> str:
        """Return the name of a part, checked to be known.

        Raises:
            FinercamError: it is not; the error names the mask.
        """
        if name not in self.names:
            raise FinercamError(f"mask {mask!r} is of the part {name!r}, {self._unlike(self.names)}")
        return name

    def _unlike(self, known: Iterable[str]) -> str:
        if self.stated:
            return f"which {self.source!r} does not name; it names {shortened(', '.join(known))}"
        return f"which none of {LOOKED} masks that were looked at has; say in {self.source!r} what the parts are called"


def read_part_names(path: str) -> PartNames:
    """Read what the parts in masks are called: ``{"1": "head", "2": "eye"}``. What 0 is called does not matter.

    The numbers may stand without quotes, which is no JSON, but how Fish-Vista's are published.

    Raises:
        FinercamError: the file cannot be read, or is not that.
    """
    content = read_bytes(path).strip()
    try:
        given = json.loads(_BARE.sub(rb'\1"\2"\3', content) if _BARE.match(content) else content)
    except (ValueError, RecursionError) as error:
        raise FinercamError(f"{path!r} is not JSON ({shortened(str(error))}); {_EXPECTED}") from None
    if not isinstance(given, dict):
        raise FinercamError(f"{path!r} is not a mapping; {_EXPECTED}")
    numbered = {}
    for key, name in given.items():
        number = whole_number(key)
        if number is None or number > MOST:
            raise FinercamError(f"{path!r}: {shortened(key)!r} is not a value that a mask may have; {_EXPECTED}")
        if not isinstance(name, str) or not name.strip():
            raise FinercamError(f"{path!r}: the part {number} is called {shortened(repr(name))}; {_EXPECTED}")
        numbered[number] = name.strip()
    numbered.pop(0, None)
    if not numbered:
        raise FinercamError(f"{path!r} names no part; {_EXPECTED}")
    return PartNames(tuple(sorted(numbered.items())), source=path)


#: A number as a key without quotes.
_BARE = re.compile(rb"([{,]\s*)([0-9]+)(\s*:)")
_EXPECTED = 'give the number and the name of each part, as {"1": "head", "2": "eye"}'


def open_with_parts(item: Item, names: PartNames) -> Example:
    """Open an item whose picture and masks are files, with the pixels of each part and a point in it.

    The point is the middle of the part's pixel nearest to its centroid. Parts of which no pixel is there are not in
    sight.

    Raises:
        FinercamError: as for ``open_files``; a mask and the photo differ in size, a mask is in colours, or it has a
            part of which it is not known what it is called.
    """
    example = open_files(item)
    if item.part_mask is None:
        return example
    size = example.photo.size
    masks = (_of_folder if _is_folder(item.part_mask) else _of_picture)(item.part_mask, item.uri, size, names)
    points = tuple(_point(masks[name]) if name in masks else None for name in names.names)
    return replace(example, part_masks=masks, parts=item.parts or points)


def _of_picture(
    place: str, photo: str, size: tuple[int, int], names: PartNames
) -> Mapping[str, Bool[np.ndarray, "H W"]]:
    values = read_picture(place, partial(_numbers, place))
    check_size(values, place, photo, size)
    masks: dict[str, Bool[np.ndarray, "H W"]] = {}
    for number in _present(values):
        name, mask = names.of(number, place), values == number
        masks[name] = masks[name] | mask if name in masks else mask
    return masks


def _of_folder(
    place: str, photo: str, size: tuple[int, int], names: PartNames
) -> Mapping[str, Bool[np.ndarray, "H W"]]:
    masks = {}
    for file in mask_files(place):
        mask = open_mask(file)
        check_size(mask, file, photo, size)
        if mask.any():
            masks[names.checked(_stem(file.rpartition("/")[2]), file)] = mask
    return masks


def mask_files(place: str) -> list[str]:
    """Return the files of a photo's mask: itself, or where it is a folder, the pictures in it."""
    if not _is_folder(place):
        return [place]
    return [below(place, name) for name in listing(place).files if suffix_of(name) == SUFFIX]


def _is_folder(place: str) -> bool:
    return place.endswith("/")


def _stem(name: str) -> str:
    return name.removesuffix(name[len(name) - len(suffix_of(name)) :])


def _present(values: UInt16[np.ndarray, "H W"]) -> list[int]:
    """Return the numbers of the parts that a mask shows."""
    return [number for number in np.flatnonzero(np.bincount(values.ravel())).tolist() if number]


def _numbers(place: str, picture: Image.Image) -> UInt16[np.ndarray, "H W"]:
    values = np.asarray(picture)
    if values.ndim != 2 or values.dtype.kind not in "bui" or values.min() < 0 or values.max() > MOST:
        raise FinercamError(
            f"mask {place!r} is of the mode {picture.mode}; the values of a mask number the parts: save it with a "
            "palette (P) or in grey (L, or 16 bits)"
        )
    return values.astype(np.uint16)


def middle(mask: Bool[np.ndarray, "H W"]) -> tuple[int, int]:
    """Return the pixel (x, y) of the mask nearest to its centroid, which itself may lie outside (a ring's does)."""
    ys, xs = np.nonzero(mask)
    near = int(np.argmin((ys - ys.mean()) ** 2 + (xs - xs.mean()) ** 2))
    return int(xs[near]), int(ys[near])


def _point(mask: Bool[np.ndarray, "H W"]) -> tuple[float, float]:
    x, y = middle(mask)
    return x + 0.5, y + 0.5


@dataclass(frozen=True)
class MaskFolder:
    """A folder of masks that mirrors one of photos: ``CLASS/photo.png``, or ``CLASS/photo/PART.png``, for each.

    Attributes:
        root: the folder.
    """

    root: str

    @classmethod
    def of(cls, root: str, photos: str) -> MaskFolder:
        """Return a folder of masks on this machine.

        Args:
            root: the folder.
            photos: that of the photos.

        Raises:
            FinercamError: there is no such folder, or it lies among the photos.
        """
        root = os.path.expanduser(root)
        if not os.path.isdir(root):
            raise FinercamError(f"there is no folder of masks {shortened(root)!r}")
        if Path(os.path.realpath(root)).is_relative_to(os.path.realpath(photos)):
            raise FinercamError(
                f"the masks of {root!r} lie among the photos of {photos!r} and would be taken for some; put them beside"
            )
        return cls(root)

    def names(self, masks: Iterable[str]) -> PartNames:
        """Return what the parts are called: as ``parts.json`` says, or without it as they are in some of the masks.

        Args:
            masks: all that photos have; gone through only if there is no ``parts.json``.

        Raises:
            FinercamError: ``parts.json`` is malformed; or there is none, and no part in any mask that was looked at.
        """
        where = below(self.root, NAMES)
        if os.path.exists(where):
            return read_part_names(where)
        some = nsmallest(LOOKED, masks, key=lambda mask: blake2b(os.fsencode(mask), digest_size=16).digest())
        numbers, files, failed = set[int](), set[str](), list[FinercamError]()
        for mask in some:
            try:
                if _is_folder(mask):
                    files.update(_stem(file.rpartition("/")[2]) for file in mask_files(mask))
                else:
                    numbers.update(_present(read_picture(mask, partial(_numbers, mask))))
            except FinercamError as error:
                # It will be its photo's failure; the others tell the parts.
                failed.append(error)
        if not numbers and not files:
            said = f"; {failed[0]}" if failed else ""
            raise FinercamError(
                f"there is no part in {len(some)} masks of {self.root!r}; masks are PNGs that lie and are called as "
                f"their photos, with a value above 0 for each part{said}"
            )
        numbered = tuple((number, f"part {number}") for number in sorted(numbers))
        return PartNames(numbered, tuple(sorted(files)), where, stated=False)


class Beside:
    """Finds the mask of each photo of a pass, with one listing of each folder, and counts those that have none.

    Args:
        folder: of the masks.
    """

    def __init__(self, folder: MaskFolder) -> None:
        self._root = folder.root
        self._at: tuple[str, ...] | None = None
        self._files, self._folders = frozenset[str](), frozenset[str]()
        self._photos = self._without = 0
        self._first = ""

    def of(self, names: Sequence[str]) -> str | None:
        """Return the mask of a photo, given the path of the photo: a picture, or a folder (which ends in ``/``)."""
        at, stem = tuple(names[:-1]), _stem(names[-1])
        if at != self._at:
            place = below(self._root, *at)
            there = listing(place) if os.path.isdir(place) else Listing((), ())
            self._at, self._files, self._folders = at, frozenset(there.files), frozenset(there.folders)
        self._photos += 1
        if stem + SUFFIX in self._files:
            return below(self._root, *at, stem + SUFFIX)
        if stem in self._folders:
            return below(self._root, *at, stem) + "/"
        self._without += 1
        self._first = self._first or "/".join([*at, stem + SUFFIX])
        return None

    def sentences(self) -> tuple[str, ...]:
        """Return how many photos have no mask, if any."""
        if not self._without:
            return ()
        return (f"{self._without} of {self._photos} photos have no mask in {self._root!r}, such as {self._first!r}",)
