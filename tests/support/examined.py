"""What tests of the examination share: attributes of two classes, and a mean with its interval."""

import numpy as np

from finercam.data.attributes import Attribute, Attributes
from finercam.metrics.intervals import Mean


def attributes_of(**strengths: tuple[float, float]) -> Attributes:
    """Return attributes of two classes, each seen at the place of its name."""
    attributes = tuple(Attribute(f"{name}::x", (name,), f"x {name}") for name in strengths)
    return Attributes(attributes, np.array(list(strengths.values()), np.float64).T.copy(), ("c", "d"), ((1,), (0,)))


def mean_between(low, high, n=20):
    return Mean((low + high) / 2, low, high, n)
