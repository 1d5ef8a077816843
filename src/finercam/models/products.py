"""Vector-Jacobian products: gradients of rows of coefficients, without touching any parameter's ``.grad``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor

from finercam.errors import FinercamError

#: Gradients in float16 fall below its smallest numbers; the product is linear, so it is scaled up and back.
_FLOAT16_SCALE = 1024.0


@contextmanager
def differentiating() -> Iterator[None]:
    """Turn what stands in the way of a backward pass into one line.

    Raises:
        FinercamError: the model cannot be differentiated.
    """
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, TypeError, NotImplementedError) as error:
        first = next(iter(str(error).splitlines()), type(error).__name__)
        advice = "turn it off, or use_reentrant=False" if "heckpointing" in first else "choose a later layer"
        raise FinercamError(
            f"the logits cannot be differentiated ({first}); {advice}, or give layer= and use a method that needs no "
            "gradients (scorecam, ablationcam)"
        ) from error


def products(logits: Tensor, taps: Sequence[Tensor], rows: Float[Tensor, "b m C"]) -> list[tuple[Tensor, ...]]:
    """Return, for each row, the gradients of ``row . logits`` with respect to the taps. The graph is kept.

    Raises:
        FinercamError: the logits do not depend on the taps, or a gradient is not finite.
    """
    if not logits.requires_grad:
        raise FinercamError(
            "the logits do not depend on the target layer by way of differentiable operations (does the model's "
            "forward turn gradients off?); choose another layer, or a method that needs no gradients (scorecam, "
            "ablationcam)"
        )
    scale = _FLOAT16_SCALE if any(tap.dtype == torch.float16 for tap in taps) else 1.0
    collected = []
    for row in rows.unbind(1):
        with differentiating():
            gradients = torch.autograd.grad(logits, taps, row * scale, retain_graph=True, materialize_grads=True)
        if scale != 1.0:
            gradients = tuple(gradient.float() / scale for gradient in gradients)
        collected.append(gradients)
    if not all(bool(gradient.isfinite().all()) for gradients in collected for gradient in gradients):
        raise FinercamError(
            "the gradient at the target layer is not finite: "
            + (
                "it overflowed in float16; use precision bfloat16 or float32"
                if scale != 1.0
                else "an operation behind that layer has no derivative there; choose a later layer with layer="
            )
        )
    return collected
