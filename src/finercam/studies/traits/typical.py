"""Which photos are typical of what a model sees in those of a class, and which are not."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from finercam.studies.traits.rows import Carried

#: Of fewer photos none is typical.
FEWEST = 4


def by_typicality(rows: Sequence[Carried]) -> list[tuple[Carried, float]]:
    """Return photos and how typical each is, the most typical first; none of fewer than ``FEWEST`` with saliency.

    How typical is the cosine between what the layer shows where a photo's saliency lies (``features``) and the mean of
    the same of all other photos, -1 to 1. Photos without saliency show nothing, and are left out.

    Args:
        rows: photos that were asked the same question.
    """
    known = [one for one in rows if not one.empty and len(one.features)]
    if len(known) < FEWEST:
        return []
    features = torch.tensor([list(one.features) for one in known], dtype=torch.float64)
    likeness = torch.nn.functional.cosine_similarity(features, features.sum(0) - features)
    order = likeness.argsort(descending=True, stable=True)
    return [(known[at], float(likeness[at])) for at in order.tolist()]
