"""Do maps of one class point at the same parts from photo to photo? Agreement in part coordinates.

A bird sits elsewhere in every photo, so maps cannot be compared pixel by pixel. Each becomes a vector instead: the
share of its saliency near each part (``share_near_parts``), wherever in the photo that part is. Two photos agree as the
cosine of their vectors over the parts visible in both: 1 where saliency is spread over the parts in the
same proportions. The cosine, and not a correlation of ranks, because few parts are visible in both photos and most
shares are near 0: the order of those is noise. All shares being 0 or more, two maps that have nothing to do with each
other still agree somewhat (any map covers the body); so agreement inside classes is held against that between them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from finercam.errors import FinercamError

#: Photos compared with all others at once; bounds the memory for a data set of thousands.
_ROWS = 512


@dataclass(frozen=True)
class Consistency:
    """Agreement of each photo's map with the maps of others, 0 to 1.

    Photos share pairs, so an interval over them is somewhat too narrow.

    Attributes:
        within: mean agreement with the other photos of its class; NaN where there is none to compare with.
        between: mean agreement with the photos of other classes; NaN likewise.
    """

    within: Float[Tensor, " n"]
    between: Float[Tensor, " n"]

    @property
    def gain(self) -> Float[Tensor, " n"]:
        """By how much a photo agrees better with its class than with others."""
        return self.within - self.between


def agreement(first: Float[Tensor, "n P"], second: Float[Tensor, "m P"], least_parts: int = 3) -> Float[Tensor, "n m"]:
    """Return the cosine, 0 to 1, of every pair of part vectors over the parts visible in both.

    Args:
        first, second: shares of saliency near each part, NaN where the part is not visible.
        least_parts: a pair with fewer parts visible in both is not compared (over a single part any two agree): NaN.
            So is one where either has no saliency near any of them.
    """
    if least_parts < 2:
        raise FinercamError(f"least_parts is {least_parts}; a comparison needs at least 2 parts")
    # In float64, which a caller's autocast leaves alone.
    seen_a, seen_b = (~first.isnan()).double(), (~second.isnan()).double()
    a, b = first.double().nan_to_num(0.0), second.double().nan_to_num(0.0)
    # Each vector's length counts the parts that the other photo shows too.
    lengths = (a.square() @ seen_b.T).sqrt() * (seen_a @ b.square().T).sqrt()
    compared = (seen_a @ seen_b.T >= least_parts) & (lengths > 0)
    cosine = (a @ b.T / torch.where(lengths > 0, lengths, 1)).clamp(max=1)
    return cosine.masked_fill(~compared, torch.nan).to(first.dtype)


def consistency(shares: Float[Tensor, "n P"], classes: Int[Tensor, " n"], least_parts: int = 3) -> Consistency:
    """Return how well each photo's map agrees with those of its class, and with those of all others.

    Args:
        shares: of saliency near each part, NaN where the part is not visible; see ``share_near_parts``. A photo
            whose map is empty takes no part.
        classes: of each photo.
        least_parts: parts that must be visible in both photos of a pair; see ``agreement``.
    """
    within, between = [], []
    photo = torch.arange(len(shares), device=shares.device)
    for some in photo.split(_ROWS):
        pairs = agreement(shares[some], shares, least_parts)
        same = classes[some, None] == classes
        itself = some[:, None] == photo
        within.append(pairs.masked_fill(~same | itself, torch.nan).nanmean(1))
        between.append(pairs.masked_fill(same, torch.nan).nanmean(1))
    return Consistency(torch.cat(within), torch.cat(between))
