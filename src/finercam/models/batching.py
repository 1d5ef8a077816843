"""Many altered copies of images through a model, in full batches and never all at once."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool
from torch import Tensor

from finercam.errors import FinercamError

#: Tried first where no batch size is given, and halved while the accelerator's memory does not suffice.
_FIRST_BATCH = {"cpu": 16, "cuda": 256, "mps": 32}


class OutOfMemory(FinercamError):
    """Copies do not fit in the accelerator's memory."""


def in_batches(
    wanted: Bool[Tensor, "b n"], fill: Callable[[Tensor, Tensor], None], batch_size: int | None = None
) -> None:
    """Call ``fill`` with the indices (image, copy) of the wanted entries, in full batches across images.

    Raises:
        OutOfMemory: ``batch_size`` copies, or a single one where no size is given, do not fit in memory.
    """
    if batch_size is not None and batch_size < 1:
        raise FinercamError(f"batch_size is {batch_size}; it must be at least 1")
    image, copy = wanted.nonzero(as_tuple=True)
    size = batch_size or _FIRST_BATCH.get(wanted.device.type, 32)
    start = 0
    while start < len(image):
        part = slice(start, start + size)
        try:
            fill(image[part], copy[part])
        except torch.OutOfMemoryError as error:
            if batch_size is not None or size == 1:
                raise OutOfMemory(f"{size} altered copies do not fit in memory; give a smaller batch_size") from error
            size //= 2
            continue
        start += size
