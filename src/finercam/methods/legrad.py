"""LeGrad: how sensitive the answer is to where the blocks of a vision transformer look (Bousselham et al., ICCV 2025).

Attention's output is ``O = A V``, head by head, so the gradient with respect to the attention map A is the product of
two small tensors, ``dD/dA = (dD/dO) V^T``. These are what is gathered and kept; no attention map is ever made, and the
network may compute attention in whichever way is fastest.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from finercam.methods.evidence import Evidence
from finercam.methods.method import explainer
from finercam.methods.span import mix, mixture_of
from finercam.models.attending import Attention
from finercam.models.blocks import find_blocks, run_through
from finercam.models.checks import read_checked_logits
from finercam.models.look import Look
from finercam.models.products import products

#: How a block's tokens are read: their mean, as the authors' code does, or as the network reads its last block's.
Readout = Literal["mean", "own"]


@dataclass(frozen=True, eq=False)
class AttentionEvidence(Evidence):
    """What LeGrad needs, for a batch; n tokens, of which P are patches.

    It answers every question in the span of the rows that were collected.

    Attributes:
        values: V of the patches, one per block.
        rows: what was collected.
        gradients: of the rows with respect to O, one per block.
        cells: height and width of the grid of patches.
    """

    values: tuple[Float[Tensor, "b _heads P _d"], ...]
    rows: Float[Tensor, "b m C"]
    gradients: tuple[Float[Tensor, "b m _heads _n _d"], ...]
    cells: tuple[int, int]

    def maps(self, rows: Float[Tensor, "b r C"]) -> Float[Tensor, "b r h w"]:
        """Return the mean over blocks, heads and queries of ``ReLU(dD/dA)``, patch by patch; it is never negative."""
        mixture = mixture_of(self.rows, rows.to(self.rows), self.labels)
        maps = rows.new_zeros(*rows.shape[:2], *self.cells, dtype=self.logits.dtype)
        for values, gradients in zip(self.values, self.gradients, strict=True):
            keys = values.to(maps).mT
            for row, gradient in enumerate(mix(mixture, gradients.to(maps)).unbind(1)):
                maps[:, row] += (gradient @ keys).relu().mean((1, 2)).unflatten(1, self.cells)
        return maps / len(self.values)

    def of(self, images: slice | Int[Tensor, " n"]) -> AttentionEvidence:
        """Return the evidence of some images of the batch."""
        return replace(
            self,
            logits=self.logits[images],
            values=tuple(values[images] for values in self.values),
            rows=self.rows[images],
            gradients=tuple(gradients[images] for gradients in self.gradients),
        )

    def classes(self) -> list[int] | None:
        """Return the classes whose gradients were collected."""
        return self.rows.abs().amax((0, 1)).nonzero().flatten().tolist()


@explainer("legrad", title="LeGrad", source="arXiv 2404.03214")
def legrad(
    look: Look, rows: Float[Tensor, "b m C"], *, blocks: int | None = None, readout: Readout = "mean"
) -> AttentionEvidence:
    """Return what ``mean over l, h, i of ReLU(d(row . y_l) / dA_lhij)`` needs, for each patch j.

    ``A_l`` is the attention map of block l (heads h, queries i, keys j), and ``y_l`` the logits that the network's own
    last norm, pooling and head make of the tokens that this very block puts out: each block has a score of its own, and
    only its own attention is asked. One run of the model does for all blocks. The maps are not scaled.

    For vision transformers from timm, torchvision, transformers and OpenCLIP, and most that are written by hand.

    Args:
        look: at the model.
        rows: of coefficients.
        blocks: the last how many; all if left out.
        readout: ``mean`` gives the head the mean of a block's tokens, class token included, as the authors' released
            code does for CLIP; ``own`` reads them as the network does, for many a class token alone.

    Raises:
        FinercamError: the model is not a plain vision transformer, or has fewer blocks.
    """
    found = find_blocks(look.classifier)
    wanted = found.last(blocks, len(found), "legrad")
    v = rows.to(look.logits)
    values: list[Tensor] = []
    outputs: list[Tensor] = []
    read: list[Tensor] = []

    def attended(place: int, attention: Attention) -> Tensor | None:
        if place not in wanted:
            return None
        values.append(attention.value.detach()[:, :, found.grid.prefix :])
        outputs.append(attention.output.detach().requires_grad_())
        torch.set_grad_enabled(True)
        return outputs[-1].clone()

    def left(place: int, tokens: Tensor) -> Tensor | None:
        if place not in wanted:
            return None
        # Where all tokens are the mean, that is what the head reads, be it of a class token or of a mean.
        read.append(tokens.mean(1, keepdim=True).expand_as(tokens) if readout == "mean" else tokens)
        if place == wanted[-1]:
            return torch.cat(read)
        torch.set_grad_enabled(False)
        return tokens.detach().clone()

    output = run_through(look, found, attended=attended, left=left)
    with torch.enable_grad():
        logits = read_checked_logits(look.classifier.read, output, look.run.precision)
    taps = {found.each[place].name: output for place, output in zip(wanted, outputs, strict=True)}
    per_row = products(logits, taps, v.repeat(len(wanted), 1, 1))
    gradients = tuple(torch.stack([one[block] for one in per_row], 1) for block in range(len(wanted)))
    h, w = found.grid.maps(found.in_order(read[0].detach()), look.image_size).shape[2:]
    return AttentionEvidence(look.logits, look.image_size, tuple(values), v, gradients, (h, w))
