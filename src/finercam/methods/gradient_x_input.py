"""Gradient x input: what each pixel adds if the model were linear (Shrikumar et al., 2016)."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from finercam.methods.linear import LinearEvidence
from finercam.methods.method import explainer
from finercam.methods.pixels import box_smoothed, refuse_smooth
from finercam.models.classifier import Classifier
from finercam.models.look import INPUT, Look


def taps(classifier: Classifier) -> tuple[str, ...]:
    """Return the images: the first run already records what their gradient needs."""
    return (INPUT,)


@explainer("gradient-x-input", title="Gradient x input", source="arXiv 1605.01713", taps=taps)
def gradient_x_input(look: Look, rows: Float[Tensor, "b m C"], *, smooth: float = 0.075) -> LinearEvidence:
    """Return ``sum_channels x * grad D(x)`` for each row D (arXiv 1605.01713, Section 3.2).

    ``x`` is the input as the model takes it, so a pixel of the mean colour (0 after normalisation) adds nothing. Linear
    in the row.

    Args:
        look: at the model.
        rows: of coefficients.
        smooth: side of the box that smooths the map, a share of the image's larger side; see ``pixels.box_smoothed``.

    Raises:
        FinercamError: ``smooth`` is out of range.
    """
    refuse_smooth("gradient-x-input", smooth)
    v = rows.to(look.logits)
    (gradients,) = look.gradients(v, (INPUT,))
    maps = (gradients * look.images[:, None]).sum(2).to(look.logits)
    return LinearEvidence(look.logits, look.image_size, v, box_smoothed(maps, smooth))
