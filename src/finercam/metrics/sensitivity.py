"""Does a map depend on the class it is asked about?"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from finercam.metrics.correlation import rank_correlation
from finercam.metrics.metric import metric
from finercam.metrics.view import OTHER_CLASS, Needs, View


@metric("class-sensitivity", title="Same for d", better="lower", needs=Needs(maps=(OTHER_CLASS,)))
def class_sensitivity(view: View) -> Float[Tensor, " b"]:
    """Return Spearman's correlation of the map and the plain map of class d by the same method, -1 to 1.

    A map that stays the same whichever class is asked about shows the image and not the class (Adebayo et al., arXiv
    1810.03292, ask the same of what the network has learned). NaN where either map is constant, as an empty one is.
    """
    return rank_correlation(view.saliency, view.answer(OTHER_CLASS))
