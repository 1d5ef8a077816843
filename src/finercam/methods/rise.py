"""RISE: what a class's logit is where parts of the image are left to be seen (Petsiuk et al., BMVC 2018).

Each mask is a small grid of cells, kept or not at random, upsampled bilinearly to one cell more than the image and
cropped at a random offset (arXiv 1806.07421, Section 3.2, with the cell sizes of the authors' code). Only the grids and
the offsets are stored; a mask is made when it is needed. What is run depends on no class, so one table of scores
answers every contrast.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from finercam.errors import FinercamError
from finercam.methods.evidence import Evidence
from finercam.methods.method import explainer
from finercam.methods.scores import ruled_in
from finercam.models.checks import refuse_not_numbers
from finercam.models.look import Look

#: More masks than this are a slip of the keyboard: a day of runs for one photo.
_MOST_MASKS = 1_000_000


@dataclass(frozen=True, eq=False)
class Masks:
    """Random masks of one image size, 0 (hidden) to 1 (seen); the mean over many is ``keep`` at every pixel.

    Half a cell at the border of a grid has its outermost cell's value. (The authors' code mirrors the grid there.)

    Attributes:
        grids: which cells are kept.
        offsets: where the upsampled grid is cropped: pixels down and across, less than a cell.
        size: height and width of a mask.
        dtype: masks are computed in.
    """

    grids: Bool[Tensor, "N s s"]
    offsets: Int[Tensor, "N 2"]
    size: tuple[int, int]
    dtype: torch.dtype = torch.float32

    @classmethod
    def draw(cls, count: int, cells: int, keep: float, seed: int, size: tuple[int, int]) -> Masks:
        """Return masks that follow from the arguments alone: drawn on the CPU, from a generator of their own."""
        generator = torch.Generator().manual_seed(seed)
        grids = torch.rand(count, cells, cells, generator=generator) < keep
        offsets = [torch.randint(math.ceil(side / cells), (count,), generator=generator) for side in size]
        return cls(grids, torch.stack(offsets, 1), size)

    def cut(self, which: Int[Tensor, " n"]) -> Float[Tensor, "n H W"]:
        """Return some of the masks."""
        down, across = self.offsets[which].unbind(1)
        return self._down[down] @ self.grids[which].to(self.dtype) @ self._across[across].mT

    def summed(self, weights: Float[Tensor, "b r N"]) -> Float[Tensor, "b r H W"]:
        """Return the sum of all masks, each by its weight.

        Upsampling is linear: the grids that are cropped at the same row are added up as strips, already as wide as the
        image but a cell's height per cell, and then upsampled together. No mask is ever made.
        """
        flat = weights.flatten(0, 1)
        height, width = self.size
        found = flat.new_zeros(len(flat), height, width)
        for row, upsample in enumerate(self._down):
            strip = flat.new_zeros(len(flat), self.grids.shape[1] * width)
            # As many at once as take the room of one mask.
            for part in (self.offsets[:, 0] == row).nonzero()[:, 0].split(len(self._down)):
                strips = self.grids[part].to(self.dtype) @ self._across[self.offsets[part, 1]].mT
                strip += flat[:, part] @ strips.flatten(1)
            found += upsample @ strip.unflatten(1, (-1, width))
        return found.unflatten(0, weights.shape[:2])

    @cached_property
    def _down(self) -> Float[Tensor, "offsets H s"]:
        return self._upsampling(self.size[0])

    @cached_property
    def _across(self) -> Float[Tensor, "offsets W s"]:
        return self._upsampling(self.size[1])

    def _upsampling(self, side: int) -> Float[Tensor, "offsets side s"]:
        """Return, for each offset, how much of each cell there is in each pixel along one side of the image."""
        cells = self.grids.shape[1]
        cell = math.ceil(side / cells)
        each = torch.eye(cells, dtype=self.dtype, device=self.grids.device)[None]
        long = torch.nn.functional.interpolate(each, (cells + 1) * cell, mode="linear", align_corners=False)[0]
        return long.unfold(1, side, 1)[:, :cell].permute(1, 2, 0)


@dataclass(frozen=True, eq=False)
class RiseEvidence(Evidence):
    """What RISE needs, for a batch: masks, the same for all images, and what the model makes of each masked image.

    Every class may be asked about. The table is N C numbers per image: 15 MB for 4000 masks and 965 classes.

    Attributes:
        table: the logits of the image under each mask.
        grids, offsets: the masks; see ``Masks``.
        keep: with which probability a cell is kept, p.
        centred: which of the two maps is meant; see ``maps``.
    """

    table: Float[Tensor, "b N C"]
    grids: Bool[Tensor, "N s s"]
    offsets: Int[Tensor, "N 2"]
    keep: float
    centred: bool

    def maps(self, rows: Float[Tensor, "b r C"]) -> Float[Tensor, "b r H W"]:
        """Return ``1 / (N p (1 - p)) sum_i (f_i - mean f) M_i`` for each row, with ``f_i = row . table_i``.

        That is how much higher the score is where a pixel is seen than where it is hidden: the covariance of score and
        mask over the variance of a cell. Not centred it is the paper's ``1 / (N p) sum_i f_i M_i`` (Eq. 6), the score
        that is expected where the pixel is seen.
        """
        scores = torch.einsum("bnc,brc->brn", self.table, rows.to(self.table))
        scale = scores.shape[2] * self.keep
        if self.centred:
            scores = scores - scores.mean(2, keepdim=True)
            scale *= 1 - self.keep
        return Masks(self.grids, self.offsets, self.image_size, scores.dtype).summed(scores / scale)

    def of(self, images: slice | Int[Tensor, " n"]) -> RiseEvidence:
        """Return the evidence of some images of the batch; the masks are the same for all."""
        return replace(self, logits=self.logits[images], table=self.table[images])


@explainer("rise", title="RISE", source="arXiv 1806.07421")
def rise(
    look: Look,
    rows: Float[Tensor, "b m C"],
    *,
    masks: int = 4000,
    cells: int = 7,
    keep: float = 0.5,
    seed: int = 0,
    centred: bool = True,
) -> RiseEvidence:
    """Return the logits of the images under random masks, whatever the rows: so many runs for each image.

    Hidden pixels have the value 0 after normalisation, that is the mean colour.

    Args:
        look: at the model.
        rows: not needed; the table answers all.
        masks: how many, N. The map's noise falls with the square root.
        cells: of a mask's grid, in height and in width, s.
        keep: the probability that a cell is seen, p.
        seed: of the masks.
        centred: take the scores less their mean; see ``RiseEvidence.maps``. The paper, which does not, has
            probabilities. Of logits the mean score covers the whole map: it ranks the pixels as well, but its sign says
            nothing.

    Raises:
        FinercamError: a parameter is out of range, or too little memory for a single copy.
    """
    _check(masks, cells, keep, seed, look.image_size)
    images, device = look.images, look.images.device
    drawn = Masks.draw(masks, cells, keep, seed, look.image_size)
    drawn = replace(drawn, grids=drawn.grids.to(device), offsets=drawn.offsets.to(device), dtype=look.logits.dtype)

    def masked(image: Tensor, mask: Tensor) -> Tensor:
        return images[image] * drawn.cut(mask)[:, None].to(images.dtype)

    every = torch.ones(len(images), masks, dtype=torch.bool, device=device)
    table = look.logits.new_zeros(len(images), masks, look.logits.shape[1])
    for image, mask, logits in look.rerun(masked, every):
        table[image, mask] = logits.to(table)
    refuse_not_numbers(table.flatten(1), look.run.precision)
    return RiseEvidence(look.logits, look.image_size, ruled_in(table), drawn.grids, drawn.offsets, keep, centred)


def _check(masks: int, cells: int, keep: float, seed: int, size: tuple[int, int]) -> None:
    if not 1 <= masks <= _MOST_MASKS:
        raise FinercamError(f"rise: masks is {masks}; give a whole number from 1 to {_MOST_MASKS}")
    if not 1 <= cells <= min(size):
        raise FinercamError(
            f"rise: cells is {cells}; give a whole number from 1 to {min(size)}, the image's shorter side in pixels"
        )
    if not 0 < keep < 1:
        raise FinercamError(f"rise: keep is {keep}; give a probability above 0 and below 1")
    if not 0 <= seed < 2**63:
        raise FinercamError(f"rise: seed is {seed}; give a whole number from 0 to 2**63 - 1")
