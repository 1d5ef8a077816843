"""A question put to a batch: rows of coefficients over the classes, and how their maps become one."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Question:
    """A contrast put to a batch of images: rows of coefficients, and how their maps become one.

    Attributes:
        rows: coefficients over the logits; ``r`` is 1, or T where one map per reference is combined later.
        shares: weight of each row's map where maps are averaged; sums to 1 over ``r``.
        targets: the class argued for.
        references: the classes argued against, nearest first; -1 where an image has fewer.
        aggregate: ``mean`` (r = 1), ``max`` or ``mean-after-relu``.
        by_class: whether evidence for the target's and the references' single classes answers it; an objective may
            have a coefficient for every class.
    """

    rows: Float[Tensor, "b r C"]
    shares: Float[Tensor, "b r"]
    targets: Int[Tensor, " b"]
    references: Int[Tensor, "b T"]
    aggregate: str = "mean"
    by_class: bool = True

    def combine(self, maps: Float[Tensor, "b r h w"]) -> Float[Tensor, "b h w"]:
        """Return one signed map per image (Eq. 8 for the default; the paper's Table 7 for the others)."""
        if self.aggregate == "max":
            return maps.amax(1)
        if self.aggregate == "mean-after-relu":
            maps = maps.relu()
        return torch.einsum("brhw,br->bhw", maps, self.shares.to(maps))
