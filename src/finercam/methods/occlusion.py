"""Occlusion: how much a class's logit falls where a part of the photo is covered (Zeiler and Fergus, ECCV 2014)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from finercam.methods.bounds import refuse_outside
from finercam.methods.evidence import Evidence
from finercam.methods.method import explainer
from finercam.methods.pixels import blurred
from finercam.methods.scores import ruled_in
from finercam.models.checks import refuse_not_numbers
from finercam.models.look import Look

#: What a window is filled with: the photo blurred beyond recognition, or the mean colour.
Fill = Literal["blur", "mean"]
_FILLS: dict[str, Callable[[Tensor], Tensor]] = {"blur": blurred, "mean": torch.zeros_like}


@dataclass(frozen=True, eq=False)
class OcclusionEvidence(Evidence):
    """What occlusion needs, for a batch: what the model makes of each image with each window covered.

    Every class may be asked about. The table is h w C numbers per image: 2.4 MB for 25 x 25 windows and 965 classes.

    Attributes:
        table: the logits with a window covered, windows from left to right and from top to bottom.
        down, across: where the windows begin: rows and columns of pixels, the same for all images.
        side: height and width of a window in pixels.
    """

    table: Float[Tensor, "b h w C"]
    down: Int[Tensor, " h"]
    across: Int[Tensor, " w"]
    side: tuple[int, int]

    def maps(self, rows: Float[Tensor, "b r C"]) -> Float[Tensor, "b r H W"]:
        """Return, for each row D and pixel, the mean of ``D(x) - D(x covered)`` over the windows that cover it."""
        v = rows.to(self.table)
        whole = torch.einsum("bc,brc->br", ruled_in(self.logits).to(v), v)
        falls = whole[..., None, None] - torch.einsum("bhwc,brc->brhw", self.table, v)
        height, width = self.image_size
        down, across = covers(self.down, self.side[0], height).to(v), covers(self.across, self.side[1], width).to(v)
        return (down @ falls @ across.mT) / (down.sum(1)[:, None] * across.sum(1))

    def of(self, images: slice | Int[Tensor, " n"]) -> OcclusionEvidence:
        """Return the evidence of some images of the batch; the windows are the same for all."""
        return replace(self, logits=self.logits[images], table=self.table[images])


@explainer("occlusion", title="Occlusion", source="arXiv 1311.2901")
def occlusion(
    look: Look,
    rows: Float[Tensor, "b m C"],
    *,
    size: float = 0.125,
    stride: float = 0.0625,
    fill: Fill = "blur",
) -> OcclusionEvidence:
    """Return the logits of the images with a window covered, at every place of it (arXiv 1311.2901, Section 4.2).

    What is run depends on no class: one run for each window, whatever the rows.

    Args:
        look: at the model.
        rows: not needed; the table answers all.
        size: side of the window, as a share of each of the image's sides.
        stride: from one window to the next at most, as a share of each side. The windows are spread evenly, the first
            and the last one at the border.
        fill: what covers the window.

    Raises:
        FinercamError: a parameter is out of range, or too little memory for a single copy.
    """
    refuse_outside("occlusion", "size", size, 0.01, 1.0, " of the image's side")
    refuse_outside("occlusion", "stride", stride, 0.005, size, " of the image's side (a window's own, to leave no gap)")
    images, (height, width) = look.images, look.image_size
    side = (max(round(size * height), 1), max(round(size * width), 1))
    down, across = (
        window_starts(length, own, stride * length).to(images.device)
        for length, own in zip(look.image_size, side, strict=True)
    )
    filled = _FILLS[fill](images)
    rows_covered = covers(down, side[0], height).mT
    columns_covered = covers(across, side[1], width).mT

    def covered(image: Tensor, window: Tensor) -> Tensor:
        row, column = window // len(across), window % len(across)
        hidden = rows_covered[row][:, None, :, None] & columns_covered[column][:, None, None, :]
        return torch.where(hidden, filled[image], images[image])

    every = torch.ones(len(images), len(down) * len(across), dtype=torch.bool, device=images.device)
    table = look.logits.new_zeros(*every.shape, look.logits.shape[1])
    for image, window, logits in look.rerun(covered, every):
        table[image, window] = logits.to(table)
    refuse_not_numbers(table.flatten(1), look.run.precision)
    grid = ruled_in(table).unflatten(1, (len(down), len(across)))
    return OcclusionEvidence(look.logits, look.image_size, grid, down, across, side)


def window_starts(length: int, side: int, stride: float | int) -> Int[Tensor, " n"]:
    """Return where windows begin that cover a length, spread evenly and no more than a stride apart."""
    count = 1 + math.ceil((length - side) / max(stride, 1))
    return torch.linspace(0, length - side, count, dtype=torch.float64).round().long()


def covers(starts: Int[Tensor, " n"], side: int, length: int) -> Bool[Tensor, "length n"]:
    """Return which pixels along a length each window covers."""
    pixels = torch.arange(length, device=starts.device)[:, None]
    return (starts <= pixels) & (pixels < starts + side)
