"""What a model returns, read as logits and checked to be some."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from finercam.errors import FinercamError


def read_checked_logits(read: Callable[[Any], Tensor], output: Any, precision: str) -> Float[Tensor, "b C"]:
    """Return the logits in a model's output, in float32 or better.

    Raises:
        FinercamError: there are none, they are not numbers, or they are probabilities.
    """
    given = read(output)
    logits = given.to(torch.promote_types(given.dtype, torch.float32))
    refuse_not_numbers(logits.detach(), precision)
    refuse_probabilities(given.detach())
    return logits


def refuse_not_numbers(logits: Float[Tensor, "b C"], precision: str) -> None:
    """Raise if logits are NaN or +inf. (-inf is what a class that is ruled out has.)"""
    bad = (logits.isnan() | logits.isposinf()).any(1)
    if bool(bad.any()):
        image = int(bad.nonzero()[0])
        hint = "" if precision == "float32" else f"; {precision} may be too coarse for this model, try float32"
        raise FinercamError(f"the model's logits for image {image} are not numbers (NaN or infinite){hint}")


def refuse_probabilities(given: Float[Tensor, "b C"]) -> None:
    """Raise if what the model returned, in its own precision, are probabilities."""
    logits = given.to(torch.promote_types(given.dtype, torch.float32))
    # Logits of few classes sum to nearly 1 by chance at times, so no wider than rounding: half an eps of the sum.
    near = max(1e-5, torch.finfo(given.dtype).eps)
    if logits.shape[1] > 1 and bool(((logits >= 0).all(1) & ((logits.sum(1) - 1).abs() < near)).all()):
        raise FinercamError(
            "the model returns probabilities (every row is non-negative and sums to 1), but a contrast is a "
            "difference of logits; remove the final softmax, or give read= a function that returns the logits"
        )
