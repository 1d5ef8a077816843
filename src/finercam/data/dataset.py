"""What a data set is to all other code: class names, a stream of items, and a way to open one."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Bool
from PIL import ExifTags, Image

from finercam.data.attributes import Attributes
from finercam.data.photos import open_photo, read_photo
from finercam.data.storage import read_bytes
from finercam.errors import FinercamError

#: x0, y0, x1, y1 in pixels of the photo as stored, half-open, y downwards; fractions of pixels are allowed.
Box = tuple[float, float, float, float]
#: x, y in the same pixels: (0.5, 0.5) is the middle of the first one.
Point = tuple[float, float]

SPLITS = ("train", "test", "all")

#: The class of photos of which it is not known what they are of; no class of a model is matched to it by its name.
UNKNOWN = "class not known"


@dataclass(frozen=True)
class Item:
    """One photo of a data set: where it is and what is known about it. Small, so that millions can be listed.

    Attributes:
        key: identifies the photo in its data set; as a rule its path below the root.
        uri: where the picture is: a path, or a URI that fsspec opens.
        label: index into the data set's class names.
        box: around the object, if known.
        mask: path or URI of its segmentation (any value but 0 is the object), if there is one.
        parts: one point per part name of the data set, ``None`` where the part is not visible.
        part_mask: path or URI of the mask of its parts (``finercam.data.part_masks``), if there is one.
    """

    key: str
    uri: str
    label: int
    box: Box | None = None
    mask: str | None = None
    parts: tuple[Point | None, ...] = ()
    part_mask: str | None = None

    @property
    def measured(self) -> bool:
        """Whether anything is known of it that was measured in pixels of the photo as stored."""
        masked = self.mask is not None or self.part_mask is not None
        return masked or self.box is not None or any(part is not None for part in self.parts)


@dataclass(frozen=True, eq=False)
class Example:
    """An opened item.

    Attributes:
        photo: RGB.
        mask: of the object, in the photo's pixels, if the data set has masks.
        differences: for other classes, by label, the pixels that tell the item's class from that one, where that is
            known.
        absent: those of these labels where what tells the two apart is only in the other class's photos: there is
            nothing in this one that evidence for its class could point at.
        box, parts: as the item's; only here where they are not known before the photo is opened (a drawn one).
        part_masks: the pixels of each part in sight, by its name, where they are known.
    """

    photo: Image.Image
    mask: Bool[np.ndarray, "H W"] | None = None
    differences: Mapping[int, Bool[np.ndarray, "H W"]] = field(default_factory=dict)
    box: Box | None = None
    parts: tuple[Point | None, ...] = ()
    part_masks: Mapping[str, Bool[np.ndarray, "H W"]] = field(default_factory=dict)
    absent: frozenset[int] = frozenset()


def open_files(item: Item) -> Example:
    """Open an item whose picture and mask are files.

    EXIF rotation is not applied if there is a box, a mask or a part: those were measured in pixels as stored. Masks of
    parts are left to ``finercam.data.part_masks.open_with_parts``.

    Raises:
        FinercamError: a file is missing or cannot be read, the mask and the photo differ in size, or the box
            lies outside the photo.
    """
    photo = read_picture(item.uri, _as_stored if item.measured else open_photo)
    width, height = photo.size
    mask = None if item.mask is None else open_mask(item.mask)
    if mask is not None and item.mask is not None:
        check_size(mask, item.mask, item.uri, photo.size)
    if item.box is not None and (item.box[0] >= width or item.box[1] >= height):
        raise FinercamError(f"box {item.box} of {item.key!r} lies outside its photo of {width} x {height} pixels")
    return Example(photo, mask, box=item.box, parts=item.parts)


def check_size(mask: np.ndarray, uri: str, photo: str, size: tuple[int, int]) -> None:
    """Check that a mask is as large as its photo.

    Args:
        mask: H W.
        uri, photo: where both are, for the error.
        size: the photo's width and height.

    Raises:
        FinercamError: it is not.
    """
    if mask.shape != size[::-1]:
        given = f"{mask.shape[1]} x {mask.shape[0]}"
        raise FinercamError(f"mask {uri!r} has {given} pixels, its photo {photo!r} {size[0]} x {size[1]}")


def open_mask(uri: str) -> Bool[np.ndarray, "H W"]:
    """Return which pixels of a segmentation are not 0: the index of a picture with a palette, else its brightness.

    In a picture with colours, that is every pixel that is neither black nor fully transparent.

    Raises:
        FinercamError: the file is missing, or is not a picture.
    """
    return read_picture(uri, _something)


def read_picture(uri: str, use: Callable[[Image.Image], Any]) -> Any:
    """Return what ``use`` makes of the picture at a path or URI.

    Raises:
        FinercamError: the file is missing, or is not a picture; and what ``use`` raises.
    """

    def loaded(picture: Image.Image) -> Any:
        picture.load()
        return use(picture)

    return read_photo(io.BytesIO(read_bytes(uri)), uri, loaded)


def _as_stored(picture: Image.Image) -> Image.Image:
    picture.getexif()[ExifTags.Base.Orientation] = 1
    return open_photo(picture)


def _something(picture: Image.Image) -> Bool[np.ndarray, "H W"]:
    values = np.asarray(picture)
    if values.ndim == 2:
        return values != 0
    if picture.mode in ("LA", "RGBA"):
        return (values[:, :, :-1] != 0).any(2) & (values[:, :, -1] != 0)
    return (values != 0).any(2)


#: See ``Dataset.repaint``.
Repaint: TypeAlias = Callable[[Item, int], Image.Image | None]


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set, or one split of it.

    Attributes:
        name: as the user wrote it, for tables and records.
        class_names: what ``Item.label`` counts through, in the publisher's order and spelling.
        items: starts a fresh pass over the items, in an order that is always the same.
        open: opens one; can be sent to another process, and does not hold the list of items.
        part_names: what ``Item.parts`` counts through.
        regions: what is known of where things are: some of ``box``, ``mask``, ``parts``, ``difference``; and of
            differences, ``present`` and ``absent`` where it is known which of the two classes has the trait.
        attributes: reads those of its classes, where they are known; raises FinercamError if that fails.
        repaint: returns an item's photo as one of another class, given that class's label: what tells the two apart
            is painted as the other's, and all else stays. ``None`` where the photo cannot be made one of that class.
            Can be sent to another process. Left out where no photo can be repainted.
        sample: what it is a sample of, if it was drawn.
    """

    name: str
    class_names: tuple[str, ...]
    items: Callable[[], Iterator[Item]]
    open: Callable[[Item], Example] = open_files
    part_names: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    attributes: Callable[[], Attributes] | None = None
    repaint: Repaint | None = None
    sample: Sample | None = None


@dataclass(frozen=True, eq=False)
class Sample:
    """A draw of photos, so that it can be made again among some of them.

    Attributes:
        whole: what was drawn from.
        images: how many were to be drawn.
        seed: of the draw.
    """

    whole: Dataset
    images: int
    seed: int
