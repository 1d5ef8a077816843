"""Evidence of methods whose map is linear in the row: one finished map for each row that was collected."""

from __future__ import annotations

from dataclasses import dataclass, replace

from jaxtyping import Float, Int
from torch import Tensor

from finercam.methods.evidence import Evidence
from finercam.methods.span import mix, mixture_of


@dataclass(frozen=True, eq=False)
class LinearEvidence(Evidence):
    """Finished maps of the rows that were collected.

    It answers every question in the span of these rows by mixing their maps, without the model.

    Attributes:
        rows: what was collected.
        row_maps: signed, one for each row.
    """

    rows: Float[Tensor, "b m C"]
    row_maps: Float[Tensor, "b m h w"]

    def maps(self, rows: Float[Tensor, "b r C"]) -> Float[Tensor, "b r h w"]:
        """Return the signed map of each row."""
        return mix(mixture_of(self.rows, rows.to(self.rows), self.labels), self.row_maps)

    def of(self, images: slice | Int[Tensor, " n"]) -> LinearEvidence:
        """Return the evidence of some images of the batch."""
        return replace(self, logits=self.logits[images], rows=self.rows[images], row_maps=self.row_maps[images])

    def classes(self) -> list[int] | None:
        """Return the classes that were collected."""
        return self.rows.abs().amax((0, 1)).nonzero().flatten().tolist()
