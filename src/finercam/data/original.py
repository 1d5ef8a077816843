"""The photo behind a model's input: as it was given, and how it lies in the input."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from finercam.data.photos import Crop, Photo, open_photo
from finercam.data.placement import Placement

#: Longer side in pixels of the copy that is kept in a file, for showing only.
KEPT = 1024


class Original:
    """A photo as it was given. It is opened, and placed in the input, when somebody asks: neither is for free.

    Args:
        given: the photo: a path is read again each time. Of a crop it is the whole photo that the crop is of.
        place: gives the placement of photos of a size (width, height).
        size: of the photo, where ``given`` is a smaller copy of it.
        box: what ``box`` is to say, where ``given`` is not a crop itself.
    """

    def __init__(
        self,
        given: Photo,
        place: Callable[[tuple[int, int]], Placement],
        size: tuple[int, int] | None = None,
        box: dict[str, Any] | None = None,
    ) -> None:
        self._crop = given if isinstance(given, Crop) else None
        self._given, self._place = given.photo if isinstance(given, Crop) else given, place
        if size is not None:
            self.size = size
        if self._crop is None:
            self.box = box

    def open(self, about: int | None = None) -> Image.Image:
        """Return the upright photo.

        Args:
            about: longer side in pixels at which it is wanted: a large file is then not decoded in full.

        Raises:
            FinercamError: it can no longer be read.
        """
        return open_photo(self._given, about)

    @cached_property
    def size(self) -> tuple[int, int]:
        """Width and height of the upright photo."""
        return self.open().size

    @cached_property
    def placement(self) -> Placement:
        """How it lies in the input.

        Raises:
            FinercamError: the photo can no longer be read, or the preprocessing does more than resize, crop and pad.
        """
        if self._crop is None:
            return self._place(self.size)
        x0, y0, x1, y1 = square = self._crop.square(self.size)
        return self._place((x1 - x0, y1 - y0)).within(square, self.size)

    @cached_property
    def box(self) -> dict[str, Any] | None:
        """The box that the model was shown: its number, place and what the detector said of it; ``None`` if all.

        Raises:
            FinercamError: the photo can no longer be read.
        """
        if self._crop is None:
            return None
        names = ("number", "x0", "y0", "x1", "y1", "category", "confidence")
        values = (self._crop.number, *self._crop.pixels(self.size), self._crop.category, self._crop.confidence)
        return {name: value for name, value in zip(names, values, strict=True) if value is not None}

    def packed(self) -> UInt8[Tensor, " bytes"]:
        """Return a copy of at most ``KEPT`` pixels a side as the bytes of a JPEG."""
        picture, buffer = self.open(KEPT), io.BytesIO()
        picture.thumbnail((KEPT, KEPT))
        picture.save(buffer, "jpeg", quality=90)
        return torch.from_numpy(np.frombuffer(buffer.getvalue(), np.uint8).copy())


def unpacked(kept: UInt8[Tensor, " bytes"], placement: Placement, box: dict[str, Any] | None = None) -> Original:
    """Return what ``packed`` gave as an original; its size, place and box are those of the photo itself."""
    picture = Image.open(io.BytesIO(kept.numpy().tobytes()))
    return Original(picture, placement.resized, (placement.x.photo, placement.y.photo), box)
