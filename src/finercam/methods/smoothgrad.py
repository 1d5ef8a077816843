"""SmoothGrad: gradients averaged over noisy copies of the photo (Smilkov et al., 2017)."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from finercam.methods.linear import LinearEvidence
from finercam.methods.method import explainer
from finercam.methods.pixels import box_smoothed, noisy_copies, pixel_gradients, refuse_noise, refuse_smooth
from finercam.models.look import Look


@explainer("smoothgrad", title="SmoothGrad x input", source="arXiv 1706.03825")
def smoothgrad(
    look: Look,
    rows: Float[Tensor, "b m C"],
    *,
    copies: int = 16,
    noise: float = 0.15,
    seed: int = 0,
    smooth: float = 0.075,
) -> LinearEvidence:
    """Return ``sum_channels x * mean_k grad D(x + s e_k)`` for each row D, with ``e_k`` standard normal.

    The mean is that of arXiv 1706.03825, Section 3; ``s`` is ``noise`` times the image's range, ``max x - min x``, as
    in its Section 3.1. Linear in the row.

    Args:
        look: at the model.
        rows: of coefficients.
        copies: how many noisy copies, n: so many runs with a backward pass.
        noise: standard deviation, as a share of the image's range.
        seed: of the noise, which is the same for every image but for its scale.
        smooth: side of the box that smooths the map, a share of the image's larger side; see ``pixels.box_smoothed``.

    Raises:
        FinercamError: a parameter is out of range.
    """
    refuse_noise("smoothgrad", copies, noise, seed)
    refuse_smooth("smoothgrad", smooth)
    v, images = rows.to(look.logits), look.images
    total = look.logits.new_zeros(*rows.shape[:2], *look.image_size)
    for noisy in noisy_copies(images, copies, noise, seed):
        gradients = pixel_gradients(look, noisy, v)
        total += (gradients * images[:, None]).sum(2).to(total)
    return LinearEvidence(look.logits, look.image_size, v, box_smoothed(total / copies, smooth))
