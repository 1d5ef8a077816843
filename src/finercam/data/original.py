"""The photo behind a model's input: as it was given, and how it lies in the input."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import cached_property

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from finercam.data.photos import Photo, open_photo
from finercam.data.placement import Placement

#: Longer side in pixels of the copy that is kept in a file, for showing only.
KEPT = 1024


class Original:
    """A photo as it was given. It is opened, and placed in the input, when somebody asks: neither is for free.

    Args:
        given: the photo: a path is read again each time.
        place: gives the placement of photos of a size (width, height).
        size: of the photo, where ``given`` is a smaller copy of it.
    """

    def __init__(
        self, given: Photo, place: Callable[[tuple[int, int]], Placement], size: tuple[int, int] | None = None
    ) -> None:
        self._given, self._place = given, place
        if size is not None:
            self.size = size

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
        return self._place(self.size)

    def packed(self) -> UInt8[Tensor, " bytes"]:
        """Return a copy of at most ``KEPT`` pixels a side as the bytes of a JPEG."""
        picture, buffer = self.open(KEPT), io.BytesIO()
        picture.thumbnail((KEPT, KEPT))
        picture.save(buffer, "jpeg", quality=90)
        return torch.from_numpy(np.frombuffer(buffer.getvalue(), np.uint8).copy())


def unpacked(kept: UInt8[Tensor, " bytes"], placement: Placement) -> Original:
    """Return what ``packed`` gave as an original; its size and place are those of the photo itself."""
    picture = Image.open(io.BytesIO(kept.numpy().tobytes()))
    return Original(picture, placement.resized, (placement.x.photo, placement.y.photo))
