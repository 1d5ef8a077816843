"""An explainer that is not a class activation map: a function of a look and rows that returns evidence."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

import finercam
from finercam import Evidence, Look


@dataclass(frozen=True, eq=False)
class FlashEvidence(Evidence):
    """The logits of images of which one cell each was lit up, b n C: they answer every question."""

    table: Tensor
    cells: int

    def maps(self, rows: Tensor) -> Tensor:
        """Return the signed map of each row of coefficients: b r C to b r h w."""
        scores = torch.einsum("bnc,brc->brn", self.table - self.logits[:, None], rows.to(self.table))
        return scores.unflatten(2, (self.cells, self.cells))

    def of(self, images: slice | Tensor) -> FlashEvidence:
        """Return the evidence of some images of the batch."""
        return replace(self, logits=self.logits[images], table=self.table[images])


@finercam.explainer("flash", title="Flash")
def flash(look: Look, rows: Tensor, *, cells: int = 4, light: float = 1.0) -> Evidence:
    """How each logit changes when a cell of the image is lit up."""
    masks = torch.eye(cells * cells).view(-1, 1, cells, cells).to(look.images)
    masks = nn.functional.interpolate(masks, look.image_size)
    table = look.logits.new_zeros(len(look.images), len(masks), look.logits.shape[1])
    wanted = torch.ones(table.shape[:2], dtype=torch.bool)
    for image, copy, logits in look.rerun(lambda image, copy: look.images[image] + light * masks[copy], wanted):
        table[image, copy] = logits.to(table)
    return FlashEvidence(look.logits, look.image_size, table, cells)
