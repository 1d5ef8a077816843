"""Parts of photos painted over with what surrounds them, as if they were not there."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import interpolate

#: Places that are tried for a part of the same shape elsewhere.
_TRIES = 20


def painted_over(images: Float[Tensor, "n c H W"], masks: Bool[Tensor, "n H W"]) -> Float[Tensor, "n c H W"]:
    """Return images whose masked pixels have the colours around them, blurred the more the farther from the edge.

    A pyramid of the means of the pixels that are left fills what is missing from the next coarser level (Gortler et
    al., "The lumigraph", SIGGRAPH 1996). What is masked altogether becomes 0, the mean colour.
    """
    known = (~masks)[:, None].to(images)
    levels = [(images * known, known)]
    while max(levels[-1][1].shape[-2:]) > 1:
        size = [(length + 1) // 2 for length in levels[-1][1].shape[-2:]]
        values, weight = (interpolate(one, size, mode="area") for one in levels[-1])
        levels.append((values, weight))
    # The one mean of all that is left; where nothing is, 0.
    values, weight = levels.pop()
    filled = torch.where(weight > 0, values / weight, values)
    for values, weight in reversed(levels):
        coarser = interpolate(filled, values.shape[-2:], mode="bilinear", align_corners=False)
        filled = values + (1 - weight) * coarser
    return filled


def elsewhere(mask: Bool[Tensor, "H W"], within: Bool[Tensor, "H W"], seed: int) -> Bool[Tensor, "H W"]:
    """Return a mask of the same shape moved to another place within an object, overlapping itself the least.

    Args:
        mask: of a part.
        within: the object; the middle of the moved mask lies on it.
        seed: of the places that are tried.
    """
    ys, xs = mask.nonzero(as_tuple=True)
    height, width = mask.shape
    middle = (int(ys.double().mean()), int(xs.double().mean()))
    on = within.nonzero()
    if not len(on):
        on = torch.ones_like(within).nonzero()
    picked = on[torch.randint(len(on), (_TRIES,), generator=torch.Generator().manual_seed(seed))].tolist()
    best, least = mask, float("inf")
    for y, x in picked:
        down, across = y - middle[0], x - middle[1]
        inside = (ys + down >= 0) & (ys + down < height) & (xs + across >= 0) & (xs + across < width)
        moved = torch.zeros_like(mask)
        moved[ys[inside] + down, xs[inside] + across] = True
        # Pixels that fell off the image are as bad as those that stayed where they were.
        bad = int((moved & mask).sum()) + int((~inside).sum())
        if bad < least:
            best, least = moved, bad
    return best
