"""The gradient of a network that ends in global average pooling and one linear layer, without a backward pass.

It holds where the last layer is the plain one, computes what its weight and bias say, and is given the mean of the
map's cells. That is seen on noise when a classifier is made, and on every batch again. Deviations are measured against
the spread of the logits: a constant that is added to all of them changes no difference of two.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

#: How far logits may be off, as a share of their spread; in half precision they are rounded more than that.
_OFF, _OFF_HALF = 1e-3, 0.03


def is_plain(layer: nn.Module) -> bool:
    """Whether a module is a linear layer as PyTorch has it: no subclass, no hooks, no forward of its own.

    timm's subclass is one as well: it differs where it is scripted only.
    """
    kind = type(layer)
    return (
        (kind is nn.Linear or (kind.__module__, kind.__qualname__) == ("timm.layers.linear", "Linear"))
        and type(layer.weight) is nn.Parameter
        and "forward" not in vars(layer)
        and not (layer._forward_hooks or layer._forward_pre_hooks)
    )


def does_what_it_says(head: nn.Linear, given: Float[Tensor, "b K"], logits: Float[Tensor, "b C"]) -> bool:
    """Whether logits are what the layer's weight and bias make of what it was given, up to rounding.

    A subclass may add to it (an adapter), scale it, or keep its weight elsewhere.
    """
    if not isinstance(head.weight, Tensor) or head.weight.shape != (logits.shape[1], given.shape[1]):
        return False
    half = torch.bfloat16 in (given.dtype, logits.dtype) or torch.float16 in (given.dtype, logits.dtype)
    exact = torch.promote_types(logits.dtype, torch.float32)
    return _near(linear(head, given.to(exact)), logits.to(exact), coarse=half)


def closed_form_rows(
    head: nn.Linear, logits: Float[Tensor, "b C"], activations: Float[Tensor, "b K h w"], *, coarse: bool
) -> Float[Tensor, "C K"] | None:
    """Return the layer's rows, having seen that pooling and it still make these logits; ``None`` if they do not.

    Args:
        head: the last layer.
        logits: in float32 or better.
        activations: of the target layer.
        coarse: whether the logits were rounded to half precision.
    """
    if not is_plain(head) or head.in_features != activations.shape[1] or head.out_features != logits.shape[1]:
        return None
    pooled = activations.to(logits).mean((2, 3))
    return head.weight.detach().to(logits) if _near(linear(head, pooled), logits, coarse=coarse) else None


def linear(head: nn.Linear, given: Float[Tensor, "b K"]) -> Float[Tensor, "b C"]:
    """Return what a layer's weight and bias make of this, in its precision."""
    bias = None if head.bias is None else head.bias.detach().to(given)
    return nn.functional.linear(given, head.weight.detach().to(given), bias)


def _near(expected: Float[Tensor, "b C"], found: Float[Tensor, "b C"], *, coarse: bool) -> bool:
    known: Bool[Tensor, "b C"] = found.isfinite() & expected.isfinite()
    # A class that is ruled out by a bias of -inf is so in both.
    if not bool((known | (expected == found)).all()):
        return False
    off = torch.where(known, expected - found, 0.0).abs().amax(1)
    high, low = (torch.where(known, found, end) for end in (-torch.inf, torch.inf))
    spread = (high.amax(1) - low.amin(1)).clamp(min=0)
    return bool((off <= (_OFF_HALF if coarse else _OFF) * spread).all())
