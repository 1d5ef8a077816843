"""Photos as people have them: any file Pillow reads, arrays, pictures in memory."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from finercam.errors import FinercamError

#: A path, a picture, or an array H W, H W 1, H W 3 or H W 4 (uint8, uint16, or float in 0..1).
Photo: TypeAlias = "str | os.PathLike[str] | Image.Image | NDArray[Any]"

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm", ".avif"})


def open_photo(photo: Photo, about: int | None = None) -> Image.Image:
    """Return the photo as an upright RGB picture, 8 bits per channel.

    EXIF orientation is applied; transparency is laid over white; 16-bit values are scaled, not cut off.

    Args:
        photo: a path, picture or array.
        about: the longer side in pixels at which it will be shown: a JPEG twice as large or more is decoded smaller,
            which is faster.

    Raises:
        FinercamError: the file is missing or is not a picture, or the array is not one.
    """
    if isinstance(photo, np.ndarray):
        return _to_rgb(_from_array(photo))
    if isinstance(photo, Image.Image):
        return _to_rgb(ImageOps.exif_transpose(photo))
    try:
        with Image.open(photo) as opened:
            if about is not None:
                (width, height), longer = opened.size, max(opened.size)
                opened.draft(None, (max(1, width * about // longer), max(1, height * about // longer)))
            return _to_rgb(ImageOps.exif_transpose(opened))
    except FileNotFoundError:
        raise FinercamError(f"there is no file {os.fspath(photo)!r}") from None
    except UnidentifiedImageError:
        raise FinercamError(f"{os.fspath(photo)!r} is not a picture that can be read") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise FinercamError(f"{os.fspath(photo)!r} cannot be read: {error}") from error


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


def find_photos(given: Iterable[str]) -> Iterator[tuple[Path, Path]]:
    """Yield (file, path to name its results by) for photos, folders (with all below them) and glob patterns.

    Raises:
        FinercamError: there is no photo at one of them.
    """
    seen: set[Path] = set()
    for pattern in given:
        path = Path(pattern)
        if path.is_dir():
            files = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
            found = [(file, file.relative_to(path)) for file in files]
        elif path.exists():
            found = [(path, Path(path.name))]
        else:
            matches = [Path(match) for match in sorted(glob.glob(pattern, recursive=True))]
            found = [(file, Path(file.name)) for file in matches if file.suffix.lower() in SUFFIXES]
        if not found:
            raise FinercamError(
                f"there is no photo at {pattern!r}; give photos, a folder of photos or a pattern like 'dir/*.jpg'"
            )
        for file, relative in found:
            if file.resolve() not in seen:
                seen.add(file.resolve())
                yield file, relative
