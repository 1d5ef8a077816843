"""How much of the saliency lies near each annotated part of an object, and whether that is so from photo to photo."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from finercam.metrics.consistency import consistency
from finercam.metrics.localization import average_precision, energy_inside
from finercam.metrics.masking import check_fraction
from finercam.metrics.metric import Summary, metric
from finercam.metrics.view import Needs, View


def _near(radius: float) -> Needs:
    check_fraction(radius)
    return Needs(parts=True)


def _gain(shares: Float[Tensor, "n P"], labels: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
    return consistency(shares, labels).gain


@metric(
    "parts",
    title=lambda radius: f"Parts@{radius:g}",
    better="higher",
    needs=_near,
    lists=("shares",),
    summaries=(Summary("consistency", "Consistency", "higher", ("shares",), _gain),),
)
def _parts(view: View, *, radius: float = 0.1) -> dict[str, Tensor]:
    """Return the share near any part, and that near each; ``radius`` is a fraction of the box's larger side."""
    discs = view.discs(radius)
    return {"": share_near_any(view.saliency, discs), "shares": share_near_parts(view.saliency, discs)}


@metric("parts-precision", title=lambda radius: f"AP (parts@{radius:g})", better="higher", needs=_near)
def _parts_precision(view: View, *, radius: float = 0.1) -> Float[Tensor, " b"]:
    """Return the average precision of the map as a ranking of the pixels near any part; ``radius`` as for ``parts``."""
    return average_precision(view.saliency, view.discs(radius).any(1))


def share_near_parts(saliency: Float[Tensor, "b H W"], discs: Bool[Tensor, "b P H W"]) -> Float[Tensor, "b P"]:
    """Return the share of saliency, 0 to 1, within each part's disc; NaN where a part has no pixel.

    Discs may overlap, so that shares may add up to more than 1; ``share_near_any`` counts nothing twice. An empty map
    has shares of 0, one with a NaN in it of NaN.
    """
    shares = [energy_inside(saliency, disc) for disc in discs.unbind(1)]
    return torch.stack(shares, 1) if shares else saliency.new_empty(len(saliency), 0)


def share_near_any(
    saliency: Float[Tensor, "b H W"], discs: Bool[Tensor, "b P H W"], chosen: Bool[Tensor, "b P"] | None = None
) -> Float[Tensor, " b"]:
    """Return the share of saliency, 0 to 1, within the union of some parts' discs.

    NaN where none of them has a pixel. An empty map has a share of 0.

    Args:
        saliency: not negative.
        discs: see ``near_parts``.
        chosen: which parts, per image (those that tell two classes apart, say); all if left out.
    """
    union = (discs if chosen is None else discs & chosen[..., None, None]).any(1)
    return energy_inside(saliency, union)
