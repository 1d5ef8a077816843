"""Photos as people have them: any file Pillow reads, arrays, pictures in memory."""

from __future__ import annotations

import functools
import importlib
import io
import math
import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from finercam.errors import FinercamError

Result = TypeVar("Result")
#: A path, a picture, or an array H W, H W 1, H W 3 or H W 4 (uint8, uint16, or float in 0..1); or a crop of one.
Photo: TypeAlias = "str | os.PathLike[str] | Image.Image | NDArray[Any] | Crop"

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm", ".avif"})
#: What telephones write; read where this package is installed.
HEIF, HEIF_PACKAGE = frozenset({".heic", ".heif", ".hif"}), "pillow-heif"
#: What cameras write, and nothing here reads.
CONVERTED = frozenset({".arw", ".cr2", ".cr3", ".dng", ".nef", ".orf", ".raf", ".rw2"})
#: How many times longer than wide a photo may be: a model's preprocessing would make a longer one larger than memory.
MOST_LONG = 500


@dataclass(frozen=True, eq=False)
class Crop:
    """An animal on a photo: the model is shown a square around its box, and its maps lie on the whole photo.

    The square is as wide as the longer side of the box and the margins, and is moved into the photo; where the photo is
    narrower than that, it is as wide as the photo.

    Attributes:
        photo: the photo.
        box: x0, y0, x1, y1 in pixels of the upright photo.
        margin: on either side of the box, as a share of its longer side.
        relative: whether the box is in shares of the photo's width and height instead, 0 to 1.
        measured: width and height of the picture that the box was measured on, if known.
        number: of the box in a list of those on the photo, from 1.
        category: what a detector said it is.
        confidence: how sure the detector was, 0 to 1.
    """

    photo: str | os.PathLike[str] | Image.Image | NDArray[Any]
    box: Sequence[float | int]
    margin: float | int = 0.1
    relative: bool = False
    measured: tuple[int, int] | None = None
    number: int = 1
    category: str | None = None
    confidence: float | int | None = None

    def __post_init__(self) -> None:
        numbers = list(self.box) if isinstance(self.box, (list, tuple)) else []
        if len(numbers) != 4 or not all(isinstance(one, (int, float)) and math.isfinite(one) for one in numbers):
            raise FinercamError(f"a box is four numbers x0, y0, x1, y1; {self.box!r} was given")

    def __str__(self) -> str:
        return f"{self.photo if isinstance(self.photo, (str, os.PathLike)) else 'photo'}, box {self.number}"

    def pixels(self, size: tuple[int, int]) -> tuple[float, float, float, float]:
        """Return the box in pixels of the photo, without what lies outside of it.

        Args:
            size: width and height of the upright photo.

        Raises:
            FinercamError: the box lies outside the photo, is empty, or was measured on another picture.
        """
        width, height = size
        if self.measured is not None and self.measured != size:
            raise FinercamError(
                f"its boxes were measured on a picture of {self.measured[0]} x {self.measured[1]} pixels; upright, the "
                f"photo has {width} x {height}"
            )
        across, down = size if self.relative else (1, 1)
        x0, y0, x1, y1 = (float(value) * by for value, by in zip(self.box, (across, down) * 2, strict=True))
        inside = max(x0, 0.0), max(y0, 0.0), min(x1, float(width)), min(y1, float(height))
        if not (inside[0] < inside[2] and inside[1] < inside[3]):
            raise FinercamError(
                f"box {self.number}, from ({x0:g}, {y0:g}) to ({x1:g}, {y1:g}), has nothing of the photo of {width} x "
                f"{height} pixels in it"
            )
        return inside

    def square(self, size: tuple[int, int]) -> tuple[int, int, int, int]:
        """Return x0, y0, x1, y1 of what the model is shown, in whole pixels of the photo.

        Raises:
            FinercamError: as for ``pixels``, or the margin is below 0.
        """
        if not 0 <= self.margin < math.inf:
            raise FinercamError(f"the margin around boxes is {self.margin}; it is a share of their size, 0 or above")
        x0, y0, x1, y1 = self.pixels(size)
        side = max(x1 - x0, y1 - y0) * (1 + 2 * self.margin)
        (left, right), (top, bottom) = (
            _moved_inside((low + high - side) / 2, side, limit)
            for low, high, limit in ((x0, x1, size[0]), (y0, y1, size[1]))
        )
        return left, top, right, bottom


def _moved_inside(start: float, side: float, limit: int) -> tuple[int, int]:
    whole = max(1, min(limit, round(side)))
    low = min(max(0, round(start)), limit - whole)
    return low, low + whole


def open_photo(photo: Photo, about: int | None = None, *, name: str | None = None) -> Image.Image:
    """Return the photo as an upright RGB picture, 8 bits per channel; of a crop its square.

    EXIF orientation is applied; transparency is laid over white; 16-bit values are scaled, not cut off.

    Args:
        photo: a path, picture or array.
        about: the longer side in pixels at which it will be shown: a JPEG twice as large or more is decoded smaller,
            which is faster.
        name: what messages call a file; its path if left out.

    Raises:
        FinercamError: the file is missing or is not a picture, the array is not one, or the crop lies outside.
    """
    if isinstance(photo, Crop):
        whole = open_photo(photo.photo, name=name)
        return whole.crop(photo.square(whole.size))
    if isinstance(photo, np.ndarray):
        return _to_rgb(_from_array(photo))
    if isinstance(photo, Image.Image):
        return _to_rgb(ImageOps.exif_transpose(photo))
    called = os.fspath(photo) if name is None else name
    # One that is no file, such as a pipe, would be waited for without end.
    if not _is_file(photo):
        raise FinercamError(f"{called!r} cannot be read: it is not a file")

    def upright(opened: Image.Image) -> Image.Image:
        if about is not None:
            (width, height), longer = opened.size, max(opened.size)
            opened.draft(None, (max(1, width * about // longer), max(1, height * about // longer)))
        return _to_rgb(ImageOps.exif_transpose(opened))

    return read_photo(photo, called, upright)


def read_photo(source: str | os.PathLike[str] | io.BytesIO, name: str, use: Callable[[Image.Image], Result]) -> Result:
    """Return what ``use`` makes of a picture that Pillow opens.

    Args:
        source: its path, or its content.
        name: what messages call it.
        use: given the picture, open.

    Raises:
        FinercamError: it is not a picture, it is damaged, or it is too large.
    """
    heif = suffix_of(name) in HEIF and not has_heif()
    try:
        with Image.open(source) as opened:
            _check_size(opened, name)
            return use(opened)
    except FileNotFoundError:
        raise FinercamError(f"there is no file {name!r}") from None
    except UnidentifiedImageError:
        advice = f"; pip install {HEIF_PACKAGE}" if heif else ""
        raise FinercamError(f"{name!r} is not a picture that can be read{advice}") from None
    except MemoryError:
        raise FinercamError(f"{name!r} is too large for the available memory") from None
    except FinercamError:
        raise
    except Exception as error:
        # What Pillow raises depends on the format, and on which bytes are damaged.
        first = next(iter(str(error).splitlines()), type(error).__name__)
        raise FinercamError(f"{name!r} cannot be read: {first}") from error


def suffix_of(name: str) -> str:
    """Return what follows the last dot of a file's name, with the dot and in lower case; nothing if there is none."""
    # Not Python's own suffix, to which "..jpg" has none.
    _, dot, suffix = name.rpartition(".")
    return f".{suffix.lower()}" if dot else ""


def is_photo_name(name: str) -> bool:
    """Return whether a file is a photo that can be read, by its name."""
    suffix = suffix_of(name)
    return suffix in SUFFIXES or (suffix in HEIF and has_heif())


@functools.cache
def has_heif() -> bool:
    """Return whether Pillow reads HEIC files here; it is made to where ``pillow-heif`` is installed."""
    try:
        importlib.import_module("pillow_heif").register_heif_opener()
    except ImportError:
        return False
    return True


def _is_file(photo: str | os.PathLike[str]) -> bool:
    """Return whether there is a file, or nothing, or what can only be told by opening it."""
    try:
        return stat.S_ISREG(os.stat(photo).st_mode)
    except (OSError, ValueError):
        return True


def _check_size(picture: Image.Image, name: str) -> None:
    short, long = sorted(picture.size)
    if long > MOST_LONG * max(short, 1):
        raise FinercamError(
            f"{name!r} is {picture.width} x {picture.height} pixels, more than {MOST_LONG} times longer than wide; "
            "cut it into pieces"
        )


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        image = _from_array(np.asarray(image))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")


def _from_array(array: NDArray[Any]) -> Image.Image:
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))) or 0 in array.shape:
        raise FinercamError(f"an array of shape {array.shape} is not a photo; give H W, H W 3 or H W 4")
    if array.dtype == np.uint8:
        return Image.fromarray(array)
    if array.dtype == bool:
        return Image.fromarray(array.astype(np.uint8) * 255)
    low, high = (float(array.min()), float(array.max())) if array.size else (0.0, 0.0)
    if array.dtype.kind == "f" and low >= 0 and high <= 1:
        return Image.fromarray(np.round(array * 255).astype(np.uint8))
    # Pillow sometimes opens 16-bit files as 32-bit integers.
    if array.dtype.kind in "iu" and low >= 0 and high <= 65535:
        return Image.fromarray(np.round(array / 257).astype(np.uint8))
    raise FinercamError(
        f"values of type {array.dtype} from {low:g} to {high:g} are not a photo; give uint8, uint16 or floats in 0..1"
    )
