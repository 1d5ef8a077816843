"""Two resolutions in one map: where the last layer's contrast is, drawn by what earlier layers contribute to it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor

from finercam.methods.cams import gradcam
from finercam.methods.evidence import Evidence
from finercam.methods.gradients import GradientEvidence, gather_gradients, gradient_taps
from finercam.methods.maps import resize
from finercam.methods.method import explainer
from finercam.models.look import Look
from finercam.models.stages import stages

if TYPE_CHECKING:
    from finercam.models.classifier import Classifier


#: Least number of cells a side of the early layers that are looked at; of each resolution the deepest one.
CELLS = (28, 14)


@dataclass(frozen=True, eq=False)
class SharpEvidence(Evidence):
    """What ``sharp`` needs, for a batch.

    It answers every question in the span of the rows that were collected.

    Attributes:
        late: activations and gradients of the target layers.
        early: the same of each early layer, fine to coarse.
        offset: e; see ``sharp``.
    """

    late: GradientEvidence
    early: tuple[GradientEvidence, ...]
    offset: float

    def maps(self, rows: Float[Tensor, "b r C"]) -> Float[Tensor, "b r h w"]:
        """Return the combined map of each row, at the finest layer's resolution; it is never negative."""
        maps = [late_map(self.late, rows).relu(), *(contributions(one, rows) for one in self.early)]
        size = max((one.shape[-2:] for one in maps), key=math.prod)
        parts = [resize(one, (size[0], size[1])) for one in maps]
        peaks = [one.amax((2, 3), keepdim=True) for one in parts]
        scaled = [
            one / peak.clamp(min=torch.finfo(one.dtype).tiny) + self.offset
            for one, peak in zip(parts, peaks, strict=True)
        ]
        product = torch.stack(scaled).log().mean(0).exp() - self.offset
        # Unscaled again: by the mean of the parts' peaks. Where the last layer's map is empty, nothing is found.
        return product * torch.stack(peaks).clamp(min=0).log().mean(0).exp()

    def of(self, images: slice | Int[Tensor, " n"]) -> SharpEvidence:
        """Return the evidence of some images of the batch."""
        return replace(
            self,
            logits=self.logits[images],
            late=self.late.of(images),
            early=tuple(one.of(images) for one in self.early),
        )

    def classes(self) -> list[int] | None:
        """Return the classes whose gradients were collected."""
        return self.early[0].classes()


def late_map(evidence: GradientEvidence, rows: Float[Tensor, "b r C"]) -> Float[Tensor, "b r h w"]:
    """Return Grad-CAM's signed map of each row."""
    (gradients,) = evidence.gradient(rows)
    a = evidence.activations[0].to(gradients.dtype)
    return torch.stack([gradcam(a, one) for one in gradients.unbind(1)], 1)


def contributions(evidence: GradientEvidence, rows: Float[Tensor, "b r C"]) -> Float[Tensor, "b r h w"]:
    """Return ``sum_k relu(B_k dD/dB_k)`` of each row: what speaks for it in each cell, channel by channel."""
    (gradients,) = evidence.gradient(rows)
    return (evidence.activations[0][:, None].to(gradients.dtype) * gradients).relu().sum(2)


def early_layers(classifier: Classifier, cells: Sequence[int] = CELLS) -> tuple[str, ...]:
    """Return, for each number of cells a side, the deepest layer that has as many, unless it is a target layer."""
    fine = [[stage.layer for stage in stages(classifier) if min(stage.cells) >= least] for least in cells]
    return tuple(dict.fromkeys(layers[-1] for layers in fine if layers and layers[-1] not in classifier.layers))


def taps(classifier: Classifier) -> tuple[str, ...]:
    """Return all layers whose gradients are asked for."""
    return tuple(dict.fromkeys([*early_layers(classifier), *gradient_taps(classifier)]))


@explainer("sharp", title="Sharp", taps=taps)
def sharp(look: Look, rows: Float[Tensor, "b m C"], *, offset: float = 0.05) -> SharpEvidence:
    """Return evidence of the target layer and of earlier, finer layers.

    ``map = (prod_i (M_i / max M_i + e)) ^ (1/n) - e``, times the geometric mean of the maxima, over the Grad-CAM of the
    target layer (ReLU) and, for each early layer B, ``sum_k relu(B_k dD/dB_k)``, with D the question.
    """
    late = gather_gradients(look, rows)
    early = []
    for name in early_layers(look.classifier):
        (activations,), (gradients,) = look.activations([name]), look.gradients(rows, [name])
        early.append(GradientEvidence(look.logits, look.image_size, (activations,), rows.to(look.logits), (gradients,)))
    return SharpEvidence(look.logits, look.image_size, late, tuple(early), offset)
