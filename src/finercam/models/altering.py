"""Many altered copies of images through a model, in full batches and never all at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from finercam.errors import FinercamError

#: Tried first where no number is given, and halved while the accelerator's memory does not suffice.
_FIRST_BATCH = {"cpu": 16, "cuda": 256, "mps": 32}


class OutOfMemory(FinercamError):
    """Copies do not fit in the accelerator's memory."""


class Altered(NamedTuple):
    """Some altered copies that were run.

    Attributes:
        image, copy: which copy of which image each is.
        logits: theirs, as the model gave them.
    """

    image: Int[Tensor, " n"]
    copy: Int[Tensor, " n"]
    logits: Float[Tensor, "n C"]


def altered_logits(
    logits: Callable[[Tensor, Tensor], Tensor], wanted: Bool[Tensor, "b m"], copies: int | None = None
) -> Iterator[Altered]:
    """Yield what ``logits`` gives for the indices (image, copy) of the wanted entries, in full batches across images.

    Raises:
        OutOfMemory: ``copies`` copies, or a single one where no number is given, do not fit in memory.
    """
    image, copy = wanted.nonzero(as_tuple=True)
    size = copies or _FIRST_BATCH.get(wanted.device.type, 32)
    start = 0
    while start < len(image):
        part = slice(start, start + size)
        try:
            found = logits(image[part], copy[part])
        except torch.OutOfMemoryError as error:
            if size == 1:
                raise OutOfMemory("not even one altered copy fits in memory; give smaller images") from error
            if copies is not None:
                raise OutOfMemory(f"{size} altered copies do not fit in memory; give fewer copies per pass") from error
            size //= 2
            continue
        yield Altered(image[part], copy[part], found)
        start += size
