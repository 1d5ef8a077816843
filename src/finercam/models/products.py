"""Vector-Jacobian products: gradients of rows of coefficients, without touching any parameter's ``.grad``."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from finercam.errors import FinercamError

#: Gradients in float16 fall below its smallest numbers; the product is linear, so it is scaled up and back.
_FLOAT16_SCALE = 1024.0


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
