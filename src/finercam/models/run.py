"""How a model is run."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from finercam.errors import FinercamError, check_between, nearest

#: Precision -> what autocast computes in; ``None`` is the model's own type.
PRECISIONS: dict[str, torch.dtype | None] = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}
#: Photos or altered copies in a pass: more are not faster anywhere, and are memory.
MOST_AT_ONCE = 16384


@dataclass(frozen=True)
class Run:
    """How a model is run: in which precision, and how much at once.

    Args:
        precision: ``float32`` (the model's own type), or autocast to ``bfloat16`` or ``float16``.
        images: photos per pass.
        copies: altered copies per pass (masked images of Score-CAM, RISE or deletion); ``None`` finds a number that
            fits in memory.

    Raises:
        FinercamError: an unknown precision, or a number below 1 or above ``MOST_AT_ONCE``.
    """

    precision: str = "float32"
    images: int = 8
    copies: int | None = None

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise FinercamError(f"precision is {self.precision!r}; {nearest(self.precision, PRECISIONS)}")
        for name, number in (("images", self.images), ("copies", self.copies)):
            if number is not None:
                check_between(f"{name} per pass", number, 1, MOST_AT_ONCE)
