"""Does a map depend on the class it is asked about?"""

from __future__ import annotations

from typing import Literal, TypeAlias

from jaxtyping import Float
from torch import Tensor

from finercam.metrics.correlation import rank_correlation
from finercam.metrics.metric import metric
from finercam.metrics.view import OTHER_CLASS, RANDOM_CLASS, REVERSED, Needs, View

#: The plain map of class d; the same question about a class chosen at random; the question the other way round.
Other: TypeAlias = Literal["other", "random", "reversed"]
_MAPS = {"other": OTHER_CLASS, "random": RANDOM_CLASS, "reversed": REVERSED}
_TITLES = {
    "other": "Correlation with d",
    "random": "Correlation with a random class",
    "reversed": "Correlation with reversed",
}


def _needs(of: Other) -> Needs:
    return Needs(maps=(_MAPS[of],))


@metric("class-sensitivity", title=lambda of: _TITLES[of], better="lower", needs=_needs)
def class_sensitivity(view: View, *, of: Other = "other") -> Float[Tensor, " b"]:
    """Return Spearman's correlation of the map and one of another question by the same method, -1 to 1.

    A map that stays the same whichever class is asked about shows the image and not the class (Adebayo et al., arXiv
    1810.03292, ask the same of what the network has learned). NaN where either map is constant, as an empty one is.

    Args:
        view: with the other map.
        of: ``other``: the plain map of class d. ``random``: the map's own question, about a class chosen at random.
            ``reversed``: its question reversed (the plain map of class d, for a plain map).
    """
    return rank_correlation(view.saliency, view.answer(_MAPS[of]))
