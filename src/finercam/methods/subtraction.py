"""The difference of two finished maps: what Finer-CAM is not, to compare it with."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from finercam.methods.evidence import Evidence
from finercam.methods.gradients import gradient_taps
from finercam.methods.method import explainer, find_method
from finercam.methods.span import mix, mixture_of
from finercam.models.look import Look


@dataclass(frozen=True, eq=False)
class SubtractionEvidence(Evidence):
    """What ``subtraction`` needs, for a batch: Grad-CAM's maps of the rows' two signs.

    It answers every question both of whose signs lie in the span of what was collected.

    Attributes:
        rows: what was collected: the positive and the negative parts of the rows asked about, each positive.
        row_maps: Grad-CAM's signed map of each.
    """

    rows: Float[Tensor, "b m C"]
    row_maps: Float[Tensor, "b m h w"]

    def maps(self, rows: Float[Tensor, "b r C"]) -> Float[Tensor, "b r h w"]:
        """Return the signed difference for each row; see ``subtraction``."""
        v = rows.to(self.rows)
        (own, peak), (other, _) = self._finished(v.relu()), self._finished((-v).relu())
        strength = (-v).relu().sum(2) / v.relu().sum(2).clamp(min=torch.finfo(v.dtype).tiny)
        # A row without a positive part has nothing to argue for.
        return peak * (own - strength[..., None, None] * other)

    def of(self, images: slice | Int[Tensor, " n"]) -> SubtractionEvidence:
        """Return the evidence of some images of the batch."""
        return replace(self, logits=self.logits[images], rows=self.rows[images], row_maps=self.row_maps[images])

    def classes(self) -> list[int] | None:
        """Return the classes that were collected."""
        return self.rows.abs().amax((0, 1)).nonzero().flatten().tolist()

    def _finished(self, part: Tensor) -> tuple[Tensor, Tensor]:
        """Return the rectified map of each row, divided by its maximum, and that maximum."""
        maps = mix(mixture_of(self.rows, part, self.labels), self.row_maps).relu()
        peak = maps.amax((2, 3), keepdim=True)
        return maps / peak.clamp(min=torch.finfo(maps.dtype).tiny), peak


@explainer("subtraction", title="Subtracted CAMs", source="arXiv 2501.11309, Fig. 9b", taps=gradient_taps)
def subtraction(look: Look, rows: Float[Tensor, "b m C"]) -> SubtractionEvidence:
    """Return the maps for ``max M+ (M+ / max M+ - s M- / max M-)``, for comparison with Finer-CAM only.

    For a row v, ``M+`` is the ReLU of Grad-CAM's map of its positive part (a contrast's target), ``M-`` that of its
    negative part, taken positive (the references, weighted as they are), and ``s = sum v- / sum v+``, which is a
    contrast's gamma. So each map is finished, rectified and normalised, before they are subtracted (arXiv 2501.11309,
    Fig. 9b), where Finer-CAM subtracts the logits and draws one map. With gamma 0 both are Grad-CAM.

    Args:
        look: at the model.
        rows: of coefficients.
    """
    v = rows.to(look.logits)
    parts = torch.cat([v.relu(), (-v).relu()], 1)
    # Rows for single classes have no negative part.
    parts = parts[:, parts.amax((0, 2)) > 0]
    row_maps = find_method("gradcam").gather(look, parts).maps(parts)
    return SubtractionEvidence(look.logits, look.image_size, parts, row_maps)
