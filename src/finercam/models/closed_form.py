"""The gradient of a network that ends in global average pooling and one linear layer, without a backward pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from finercam.errors import FinercamError

if TYPE_CHECKING:
    from finercam.models.classifier import Classifier


def closed_form_rows(
    classifier: Classifier, logits: Float[Tensor, "b C"], activations: Float[Tensor, "b K h w"], precision: str
) -> Float[Tensor, "C K"]:
    """Return the classifier's rows, having seen that pooling and that layer still make these logits."""
    head = classifier.head
    assert head is not None
    weight = head.weight.detach().to(logits)
    expected = activations.to(logits).mean((2, 3)) @ weight.T
    if head.bias is not None:
        expected = expected + head.bias.detach().to(logits)
    coarse = precision != "float32" or head.weight.dtype in (torch.bfloat16, torch.float16)
    if not torch.allclose(expected, logits, atol=(0.1 if coarse else 1e-3) * float(logits.abs().amax()), rtol=0):
        raise FinercamError("the model was changed since its Classifier was made; make a new one")
    return weight
