"""Integrated gradients: what each pixel adds on the way from an image without content to the photo."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from finercam.errors import FinercamError
from finercam.methods.linear import LinearEvidence
from finercam.methods.method import explainer
from finercam.models.look import INPUT, Look

#: Where the way begins: the mean colour, the photo blurred beyond recognition, or both, whose maps are averaged.
Baseline = Literal["mean", "blur", "both"]
#: Sigma of the blurred baseline, as a share of the larger side.
_BLUR = 0.14


@explainer("integrated-gradients", title="Integrated gradients", source="arXiv 1703.01365")
def integrated_gradients(
    look: Look,
    rows: Float[Tensor, "b m C"],
    *,
    steps: int = 8,
    baseline: Baseline = "both",
    smooth: float = 0.075,
) -> LinearEvidence:
    """Return ``sum_channels (x - x0) * mean_k grad D(x0 + (k + 1/2)/n (x - x0))`` for each row D (Eq. 1 and 3).

    Linear in the row. The sum over all pixels approaches ``D(x) - D(x0)`` with the number of steps. Gradients with
    respect to pixels are rough: the map is smoothed by a box, twice.

    Args:
        look: at the model.
        rows: of coefficients.
        steps: n, on the way from each baseline; taken in the middle of each of n equal pieces.
        baseline: x0.
        smooth: side of the box, as a share of the image's larger side; 0 leaves the map as it is.

    Raises:
        FinercamError: a parameter is out of range.
    """
    if not 1 <= steps <= 10_000:
        raise FinercamError(f"steps is {steps}; integrated gradients take from 1 to 10000")
    if not 0 <= smooth < 1:
        raise FinercamError(f"smooth is {smooth}; it is a share of the image's side, from 0 up to 1")
    v = rows.to(look.logits)
    starts = [_baseline(look.images, one) for one in (("mean", "blur") if baseline == "both" else (baseline,))]
    total = look.logits.new_zeros(*rows.shape[:2], *look.image_size)
    for start in starts:
        way = look.images - start
        for step in range(steps):
            with look.beside(start + (step + 0.5) / steps * way, at=(INPUT,)) as beside:
                (gradients,) = beside.gradients(v, (INPUT,))
            total += (gradients * way[:, None]).sum(2).to(total)
    maps = total / (steps * len(starts))
    return LinearEvidence(look.logits, look.image_size, v, box_smoothed(maps, round(smooth * max(look.image_size))))


def box_smoothed(maps: Float[Tensor, "b m H W"], side: int) -> Float[Tensor, "b m H W"]:
    """Return maps averaged over a box of an odd number of pixels a side, twice; their sum stays, but at the border."""
    reach = side // 2
    for _ in range(2 if reach else 0):
        maps = torch.nn.functional.avg_pool2d(maps, 2 * reach + 1, stride=1, padding=reach)
    return maps


def _baseline(images: Tensor, name: str) -> Tensor:
    if name == "mean":
        return torch.zeros_like(images)
    side = round(_BLUR * max(images.shape[-2:])) | 1
    blurred = images
    for _ in range(3):
        padded = torch.nn.functional.pad(blurred, (side // 2,) * 4, mode="replicate")
        blurred = torch.nn.functional.avg_pool2d(padded, side, stride=1)
    return blurred
