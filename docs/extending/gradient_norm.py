"""A class activation map: a function of a layer's activations and the question's gradient."""

from __future__ import annotations

from torch import Tensor

import finercam


@finercam.method("gradient-norm", title="Gradient norm")
def gradient_norm(activations: Tensor, gradients: Tensor) -> Tensor:
    """Return ``|A * G|`` over the channels: b K h w each, to b h w."""
    return (activations * gradients).norm(dim=1)
