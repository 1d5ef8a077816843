"""Grad-CAM at several input sizes, joined: finer maps from a network that is run on enlarged photos."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from finercam.errors import FinercamError
from finercam.methods.bounds import refuse_outside
from finercam.methods.evidence import Evidence
from finercam.methods.gradients import gradient_taps
from finercam.methods.maps import resize
from finercam.methods.method import explainer, find_method
from finercam.methods.span import mix, mixture_of
from finercam.models.look import Look

Join = Literal["product", "mean", "geometric"]


@dataclass(frozen=True, eq=False)
class ScalesEvidence(Evidence):
    """What ``multiscale`` needs, for a batch.

    It answers every question in the span of the rows that were collected.

    Attributes:
        rows: what was collected.
        scales: Grad-CAM's signed maps of these rows, one tensor for each input size.
        join: how the scales' maps become one.
    """

    rows: Float[Tensor, "b m C"]
    scales: tuple[Float[Tensor, "b m _h _w"], ...]
    join: str

    def maps(self, rows: Float[Tensor, "b r C"]) -> Float[Tensor, "b r h w"]:
        """Return the joined map of each row, at the finest scale's resolution; it is never negative."""
        mixture = mixture_of(self.rows, rows.to(self.rows), self.labels)
        maps = [mix(mixture, one).relu() for one in self.scales]
        size = max(one.shape[-2:] for one in maps)
        parts = torch.stack([resize(one, (size[0], size[1])) for one in maps])
        peaks = parts.amax((3, 4), keepdim=True)
        scaled = parts / peaks.clamp(min=torch.finfo(parts.dtype).tiny)
        if self.join == "mean":
            joined = scaled.mean(0)
        else:
            joined = scaled.prod(0)
            if self.join == "geometric":
                joined = joined ** (1 / len(scaled))
        # Unscaled again, so that a question's strength stays visible.
        return joined * peaks.mean(0)

    def of(self, images: slice | Int[Tensor, " n"]) -> ScalesEvidence:
        """Return the evidence of some images of the batch."""
        scales = tuple(maps[images] for maps in self.scales)
        return replace(self, logits=self.logits[images], rows=self.rows[images], scales=scales)

    def classes(self) -> list[int] | None:
        """Return the classes that were collected."""
        return self.rows.abs().amax((0, 1)).nonzero().flatten().tolist()


@explainer("multiscale", title="Multi-scale Grad-CAM", source="after CAMERAS, CVPR 2021", taps=gradient_taps)
def multiscale(
    look: Look, rows: Float[Tensor, "b m C"], *, sizes: str = "1+2+3", join: Join = "product"
) -> ScalesEvidence:
    """Return Grad-CAM's maps at several input sizes; with ``N_s = relu(M_s) / max relu(M_s)`` the map is their
    ``product``, ``mean`` or ``geometric`` mean, times the mean of the maxima.

    The idea is that of CAMERAS (Jalwana et al., CVPR 2021), which averages. The photo is enlarged bilinearly; it gains
    no detail, but a cell of the last layer sees less of it.

    Nothing to use unseen: a network that is not robust to the size of what it sees is *hurt*. The aviary's
    classifier, whose accuracy falls from 1.00 to 0.52 at twice its size, finds the true difference less often this
    way. And the cost grows with the area: 1 + 4 + 9 runs for the default.

    Args:
        look: at the model.
        rows: of coefficients.
        sizes: factors of the image's height and width, joined by ``+``.
        join: how the maps become one.

    Raises:
        FinercamError: a parameter is out of range, or the model does not take images of one of these sizes, as most
            vision transformers do not.
    """
    factors = _factors(sizes)
    v, gradcam = rows.to(look.logits), find_method("gradcam")
    scales = []
    for factor in factors:
        if factor == 1:
            scales.append(gradcam.gather(look, v).maps(v))
            continue
        height, width = (round(factor * length) for length in look.image_size)
        with look.at((height, width), at=gradient_taps(look.classifier)) as other:
            scales.append(gradcam.gather(other, v).maps(v))
    return ScalesEvidence(look.logits, look.image_size, v, tuple(scales), join)


def _factors(sizes: str) -> list[float]:
    try:
        factors = [float(factor) for factor in sizes.split("+")]
    except ValueError:
        raise FinercamError(f"multiscale: sizes is {sizes!r}; give factors such as 1+2+3") from None
    for factor in factors:
        refuse_outside("multiscale", "one of sizes", factor, 0.25, 8.0, " times the classifier's own size")
    if len(set(factors)) < len(factors):
        raise FinercamError(f"multiscale: sizes is {sizes!r}; give each factor once")
    return factors
