"""Integrated gradients: what each pixel adds on the way from an image without content to the photo."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from finercam.methods.bounds import refuse_outside
from finercam.methods.linear import LinearEvidence
from finercam.methods.method import explainer
from finercam.methods.pixels import blurred, box_smoothed, pixel_gradients, refuse_smooth
from finercam.models.look import Look

#: Where the way begins: the mean colour, the photo blurred beyond recognition, or both, whose maps are averaged.
Baseline = Literal["mean", "blur", "both"]
_STARTS: dict[str, tuple[Callable[[Tensor], Tensor], ...]] = {
    "mean": (torch.zeros_like,),
    "blur": (blurred,),
    "both": (torch.zeros_like, blurred),
}


@explainer("integrated-gradients", title="Integrated gradients", source="arXiv 1703.01365")
def integrated_gradients(
    look: Look,
    rows: Float[Tensor, "b m C"],
    *,
    steps: int = 8,
    baseline: Baseline = "both",
    smooth: float = 0.075,
) -> LinearEvidence:
    """Return ``sum_channels (x - x0) * mean_k grad D(x0 + (k + 1/2)/n (x - x0))`` for each row D.

    That is arXiv 1703.01365, Eq. 1 and 3, with the midpoint rule. Linear in the row. Before it is smoothed, a map's
    sum over all pixels approaches ``D(x) - D(x0)`` with the number of steps (completeness).

    Args:
        look: at the model.
        rows: of coefficients.
        steps: n, on the way from each baseline; taken in the middle of each of n equal pieces. So many runs with a
            backward pass, twice as many for both baselines.
        baseline: x0.
        smooth: side of the box that smooths the map, a share of the image's larger side; see ``pixels.box_smoothed``.

    Raises:
        FinercamError: a parameter is out of range.
    """
    refuse_outside("integrated-gradients", "steps", steps, 1, 10_000)
    refuse_smooth("integrated-gradients", smooth)
    v = rows.to(look.logits)
    starts = [make(look.images) for make in _STARTS[baseline]]
    total = look.logits.new_zeros(*rows.shape[:2], *look.image_size)
    for start in starts:
        way = look.images - start
        for step in range(steps):
            gradients = pixel_gradients(look, start + (step + 0.5) / steps * way, v)
            total += (gradients * way[:, None]).sum(2).to(total)
    maps = box_smoothed(total / (steps * len(starts)), smooth)
    return LinearEvidence(look.logits, look.image_size, v, maps)
