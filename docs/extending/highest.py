"""A metric: a function of a view, which holds one map of each image of a batch."""

from __future__ import annotations

from torch import Tensor

import finercam
from finercam import Needs, View


@finercam.metric("highest", title="Highest", better="higher", needs=Needs(regions=("box",)))
def highest(view: View, *, scale: float = 1.0) -> Tensor:
    """Whether the peak lies in the box, times a scale: one number for each image."""
    peak = view.saliency.flatten(1).argmax(1, keepdim=True)
    return scale * view.region("box").flatten(1).gather(1, peak)[:, 0].double()
