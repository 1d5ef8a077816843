"""Attributes of classes: how strongly each class has them, where on the object they are seen, what they are in words.

Each attribute (``has_wing_color::red``) is tied to a *place* of the object. Some are tied to several (the underparts
are breast and belly), and some to none: those of the object as a whole, such as its size. A data set that knows the
attributes of its classes offers them as ``Dataset.attributes``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float64

SAME = 30.0
"""Classes are taken to agree in an attribute if their strengths are no further apart, in percentage points.

Between each of CUB's classes and the one most like it, 97 % of the attributes are closer than that.
"""
SEEN = 50.0
"""An attribute is named to a text model as one that the class has from this strength on, in percent."""


@dataclass(frozen=True)
class Attribute:
    """One attribute.

    Attributes:
        name: as published, ``has_wing_color::red``.
        places: where on the object it is seen; empty if it belongs to the object as a whole.
        phrase: in words; ``None`` where words cannot point at it ("no crest", "perching-like").
    """

    name: str
    places: tuple[str, ...]
    phrase: str | None

    @property
    def words(self) -> str:
        """The phrase, or the name made readable."""
        return self.phrase or self.name.replace("::", ": ").replace("_", " ")


@dataclass(frozen=True, eq=False)
class Attributes:
    """What is known of the classes of a data set.

    Attributes:
        attributes: all of them.
        strengths: how strongly each class has each, 0 to 100 (of CUB: the percentage of answers that saw it).
        class_names: of the rows of ``strengths``, in the order of the data set's labels.
        alike: for each class, the labels of those that it may be compared with.
        parts: the parts of a photo (``Dataset.part_names``) that make up a place; a place that is not named here is
            the part of the same name.
    """

    attributes: tuple[Attribute, ...]
    strengths: Float64[np.ndarray, "classes attributes"]
    class_names: tuple[str, ...]
    alike: tuple[tuple[int, ...], ...]
    parts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def places(self) -> tuple[str, ...]:
        """All places, in the order of the attributes."""
        return tuple(dict.fromkeys(place for one in self.attributes for place in one.places))

    def difference(self, target: int, other: int) -> Float64[np.ndarray, " attributes"]:
        """Return strengths of the target minus those of the other class, in percentage points."""
        return self.strengths[target] - self.strengths[other]

    def listed(self, target: int, other: int, count: int = 3, in_words: bool = False) -> list[tuple[Attribute, float]]:
        """Return the attributes in which the target leads the other class most, with the difference.

        The paper's choice (arXiv 2501.11309, A.2): the largest of target minus similar class. Attributes without a
        place are passed over; and, from the second on, those in which the classes agree (``SAME``).

        Args:
            target, other: rows of ``strengths``.
            count: how many at most.
            in_words: pass over those that words cannot point at, too.
        """
        difference = self.difference(target, other)
        found: list[tuple[Attribute, float]] = []
        for index in np.argsort(-difference, kind="stable").tolist():
            one = self.attributes[index]
            ahead = difference[index] > (SAME if found else 0)
            if ahead and one.places and (one.phrase or not in_words):
                found.append((one, float(difference[index])))
        return found[:count]

    def largest(self, target: int, other: int) -> dict[str, float]:
        """Return, for each place, the largest difference of an attribute seen there and nowhere else, in points."""
        difference = np.abs(self.difference(target, other))
        found = dict.fromkeys(self.places, 0.0)
        for one, size in zip(self.attributes, difference.tolist(), strict=True):
            if len(one.places) == 1:
                found[one.places[0]] = max(found[one.places[0]], size)
        return found

    def shared(self, target: int, other: int, count: int = 6) -> list[tuple[Attribute, float]]:
        """Return attributes in words that both classes share, with the difference; a chance level is taken from them.

        One for each place, the strongest, and the strongest first; none from a place in which the classes differ.
        """
        largest = self.largest(target, other)
        difference, strength = self.difference(target, other), self.strengths[[target, other]].min(0)
        found: dict[str, tuple[Attribute, float]] = {}
        for index in np.argsort(-strength, kind="stable").tolist():
            one = self.attributes[index]
            alike = all(largest[place] <= SAME for place in one.places)
            if one.phrase and len(one.places) == 1 and strength[index] >= SEEN and alike:
                found.setdefault(one.places[0], (one, float(difference[index])))
        return list(found.values())[:count]
