"""The sharpest map in at most 30 forward passes' time: sharp's, its early layers calmed, with integrated gradients."""

from __future__ import annotations

from dataclasses import dataclass, replace

from jaxtyping import Float, Int
from torch import Tensor

from finercam.methods.bounds import refuse_outside
from finercam.methods.evidence import Evidence
from finercam.methods.gradients import gradient_taps
from finercam.methods.integrated import integrated_gradients
from finercam.methods.maps import geometric_mean
from finercam.methods.method import explainer, find_method
from finercam.methods.pixels import noisy_copies, refuse_noise, refuse_smooth
from finercam.methods.sharp import contributions, early_layers
from finercam.methods.span import picked
from finercam.models.look import Look


@dataclass(frozen=True, eq=False)
class SharpestEvidence(Evidence):
    """Finished maps of the rows that were asked. It answers these only: the ReLU stands inside a mean over copies.

    What answers mixtures would be ``B_k dD/dB_k`` of each copy: for a ResNet-50 20 MB for each image and row.

    Attributes:
        rows: what was asked.
        row_maps: one for each row; never negative.
    """

    rows: Float[Tensor, "b m C"]
    row_maps: Float[Tensor, "b m h w"]

    def maps(self, rows: Float[Tensor, "b r C"]) -> Float[Tensor, "b r h w"]:
        """Return the map of each row, at the images' resolution; it is never negative.

        Raises:
            NotGathered: one of them was not asked.
        """
        return picked(self.rows, rows, self.row_maps)

    def of(self, images: slice | Int[Tensor, " n"]) -> SharpestEvidence:
        """Return the evidence of some images of the batch."""
        return replace(self, logits=self.logits[images], rows=self.rows[images], row_maps=self.row_maps[images])


@explainer("sharpest", title="Sharpest", taps=gradient_taps, spans=False)
def sharpest(
    look: Look,
    rows: Float[Tensor, "b m C"],
    *,
    copies: int = 4,
    noise: float = 0.08,
    steps: int = 3,
    offset: float = 0.05,
    smooth: float = 0.075,
    seed: int = 0,
) -> SharpestEvidence:
    """Return the weighted geometric mean of three kinds of maps, as ``sharp`` takes it (``maps.geometric_mean``).

    They are the Grad-CAM of the target layer (ReLU); for each early layer B the mean over noisy copies of the photo of
    ``sum_k relu(B_k dD/dB_k)``, with D the question; and the integrated gradients from the mean colour and from the
    blurred photo (ReLU after smoothing), which count half: of all maps they are the finest, and the least sure. The map
    is as fine as the image, and empty where one of them is.

    The early layers are those of ``sharp`` (see ``sharp.early_layers``).

    One run of the model with a backward pass for each copy and each step: 10 with the defaults, and the first look.
    On a CPU that takes as long as 22 to 28 forward passes, for one question.

    Args:
        look: at the model.
        rows: of coefficients.
        copies: how many noisy copies.
        noise: standard deviation, as a share of the image's range.
        steps: of the integrated gradients, from each of the two baselines.
        offset: e; see ``sharp``.
        smooth: side of the box that smooths the integrated gradients, a share of the image's larger side.
        seed: of the noise, which is the same for every image but for its scale.

    Raises:
        FinercamError: a parameter is out of range, or there is no earlier layer to draw with.
    """
    refuse_noise("sharpest", copies, noise, seed)
    refuse_outside("sharpest", "steps", steps, 1, 10_000)
    refuse_outside("sharpest", "offset", offset, 0.0, 1.0)
    refuse_smooth("sharpest", smooth)
    v, early = rows.to(look.logits), early_layers(look.classifier)
    late = find_method("gradcam").gather(look, v).maps(v)
    totals: list[Tensor] = []
    for noisy in noisy_copies(look.images, copies, noise, seed):
        with look.beside(noisy, at=early) as beside:
            drawn = [one.relu().sum(2) for one in contributions(beside, early, beside.gradients(v, early))]
        totals = [total + one for total, one in zip(totals, drawn, strict=True)] if totals else drawn
    paths = integrated_gradients(look, v, steps=steps, smooth=smooth).row_maps
    layers = [late.relu(), *(total / copies for total in totals)]
    # Twice the layers: the paths count half.
    maps = geometric_mean([*layers, *layers, paths.relu()], offset)
    return SharpestEvidence(look.logits, look.image_size, v, maps)
