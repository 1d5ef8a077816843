"""Photos as people have them: any file Pillow reads, arrays, pictures in memory."""

from __future__ import annotations

import functools
import importlib
import io
import os
import stat
from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from finercam.errors import FinercamError

Result = TypeVar("Result")
#: A path, a picture, or an array H W, H W 1, H W 3 or H W 4 (uint8, uint16, or float in 0..1).
Photo: TypeAlias = "str | os.PathLike[str] | Image.Image | NDArray[Any]"

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm", ".avif"})
#: What telephones write; read where this package is installed.
HEIF, HEIF_PACKAGE = frozenset({".heic", ".heif", ".hif"}), "pillow-heif"
#: What cameras write, and nothing here reads.
CONVERTED = frozenset({".arw", ".cr2", ".cr3", ".dng", ".nef", ".orf", ".raf", ".rw2"})
#: How many times longer than wide a photo may be: a model's preprocessing would make a longer one larger than memory.
MOST_LONG = 500


def open_photo(photo: Photo, about: int | None = None, *, name: str | None = None) -> Image.Image:
    """Return the photo as an upright RGB picture, 8 bits per channel.

    EXIF orientation is applied; transparency is laid over white; 16-bit values are scaled, not cut off.

    Args:
        photo: a path, picture or array.
        about: the longer side in pixels at which it will be shown: a JPEG twice as large or more is decoded smaller,
            which is faster.
        name: what messages call a file; its path if left out.

    Raises:
        FinercamError: the file is missing or is not a picture, or the array is not one.
    """
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
