"""Attributes of classes: how strongly each class has them, where on the object they are seen, what they are in words.

CUB's attributes (``has_wing_color::red``) and the aviary's traits (``wing_colour::navy``) are brought into one table,
each tied to a *place* of the body. Some are tied to several (the underparts are breast and belly), and some to none:
size, shape and the primary colour are the whole bird's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from finercam.errors import FinercamError

SAME = 30.0
"""Classes are taken to agree in an attribute if their strengths are no further apart, in percentage points.

Between each of CUB's classes and the one most like it, 97 % of the attributes are closer than that.
"""
SEEN = 50.0
"""An attribute is named to a text model as one that the class has from this strength on, in percent."""

CUB_PLACES: Mapping[str, tuple[str, ...]] = {
    "has_bill_shape": ("beak",),
    "has_wing_color": ("wing",),
    "has_upperparts_color": ("back", "wing"),
    "has_underparts_color": ("breast", "belly"),
    "has_breast_pattern": ("breast",),
    "has_back_color": ("back",),
    "has_tail_shape": ("tail",),
    "has_upper_tail_color": ("tail",),
    "has_head_pattern": ("crown", "forehead", "eye"),
    "has_breast_color": ("breast",),
    "has_throat_color": ("throat",),
    "has_eye_color": ("eye",),
    "has_bill_length": ("beak",),
    "has_forehead_color": ("forehead",),
    "has_under_tail_color": ("tail",),
    "has_nape_color": ("nape",),
    "has_belly_color": ("belly",),
    "has_wing_shape": ("wing",),
    "has_size": (),
    "has_shape": (),
    "has_back_pattern": ("back",),
    "has_tail_pattern": ("tail",),
    "has_belly_pattern": ("belly",),
    "has_primary_color": (),
    "has_leg_color": ("leg",),
    "has_bill_color": ("beak",),
    "has_crown_color": ("crown",),
    "has_wing_pattern": ("wing",),
}
"""Where each of CUB's groups of attributes is seen; nowhere if it is the whole bird's."""

_HEAD_PLACES: Mapping[str, tuple[str, ...]] = {
    "eyebrow": ("eye",),
    "eyering": ("eye",),
    "eyeline": ("eye",),
    "malar": ("throat",),
    "crested": ("crown",),
    "capped": ("crown",),
}
"""Patterns of the head that are seen on one place of it."""

CUB_PARTS: Mapping[str, tuple[str, ...]] = {
    "back": ("back",),
    "beak": ("beak",),
    "belly": ("belly",),
    "breast": ("breast",),
    "crown": ("crown",),
    "forehead": ("forehead",),
    "eye": ("left eye", "right eye"),
    "leg": ("left leg", "right leg"),
    "wing": ("left wing", "right wing"),
    "nape": ("nape",),
    "tail": ("tail",),
    "throat": ("throat",),
}
"""CUB's part points at each place: all fifteen."""

_NOUNS = {
    "bill": "bill",
    "upperparts": "upperparts",
    "underparts": "underparts",
    "wing": "wings",
    "eye": "eyes",
    "leg": "legs",
    "upper_tail": "upper tail",
    "under_tail": "under tail",
}
_IN_WORDS = {
    "has_head_pattern::malar": "malar stripe",
    "has_head_pattern::crested": "crest",
    "has_head_pattern::masked": "masked face",
    "has_head_pattern::unique_pattern": "patterned head",
    "has_head_pattern::eyebrow": "eyebrow stripe",
    "has_head_pattern::eyering": "eye ring",
    "has_head_pattern::eyeline": "eye line",
    "has_head_pattern::capped": "capped head",
    "has_bill_shape::curved_(up_or_down)": "curved bill",
    "has_bill_length::about_the_same_as_head": "bill as long as the head",
    "has_bill_length::longer_than_head": "bill longer than the head",
    "has_bill_length::shorter_than_head": "bill shorter than the head",
}


@dataclass(frozen=True)
class Attribute:
    """One attribute.

    Attributes:
        name: as published, ``has_wing_color::red``.
        places: of the body where it is seen; empty if it is the whole object's.
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
        class_names: of the rows of ``strengths``.
        alike: for each class, those that it may be held against.
    """

    attributes: tuple[Attribute, ...]
    strengths: Float64[np.ndarray, "classes attributes"]
    class_names: tuple[str, ...]
    alike: tuple[tuple[int, ...], ...]

    @property
    def places(self) -> tuple[str, ...]:
        """All places of the body, in the order of the attributes."""
        return tuple(dict.fromkeys(place for one in self.attributes for place in one.places))

    def difference(self, target: int, other: int) -> Float64[np.ndarray, " attributes"]:
        """Return strengths of the target minus those of the other class, in percentage points."""
        return self.strengths[target] - self.strengths[other]

    def listed(self, target: int, other: int, count: int = 3, in_words: bool = False) -> list[tuple[Attribute, float]]:
        """Return the attributes that the target has most ahead of the other class, with the difference.

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
        """Return attributes in words that both classes have alike, with the difference: what a chance level is from.

        The strongest of each place, the strongest first; none from a place in which the classes differ.
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


def cub_attribute(name: str) -> Attribute:
    """Return one of CUB's attributes, by its published name.

    Raises:
        FinercamError: its group is not in ``CUB_PLACES``.
    """
    group, _, value = name.partition("::")
    if group not in CUB_PLACES or not value:
        raise FinercamError(
            f"{name!r} is no attribute of CUB-200-2011; they read has_wing_color::red, and the groups are "
            + ", ".join(CUB_PLACES)
        )
    places = CUB_PLACES[group]
    if group == "has_head_pattern":
        places = _HEAD_PLACES.get(value, places)
    return Attribute(name, places, _in_words(group, value) if places else None)


def cub_attributes(place: str) -> Attributes:
    """Return the attributes of CUB-200-2011.

    Args:
        place: the data set's folder.

    Raises:
        FinercamError: a file is missing or not what it should be.
    """
    from finercam.data.formats.cub import class_attributes

    names, strengths, classes = class_attributes(place)
    every = range(len(classes))
    alike = tuple(tuple(other for other in every if other != label) for label in every)
    return Attributes(tuple(map(cub_attribute, names)), strengths, classes, alike)


def aviary_attributes() -> Attributes:
    """Return the aviary's traits, ``throat_colour::scarlet`` and the like, of strength 100 or 0.

    A species may be held against the look-alikes of its family.
    """
    from finercam.aviary import PART_OF, SPECIES, label_names, look_alikes
    from finercam.aviary.captions import phrase

    traits = dict.fromkeys((key, value) for species in SPECIES for key, value in species.attributes.items())
    attributes = tuple(
        Attribute(f"{key}::{value}", (PART_OF[key],), None if value in ("none", "plain") else phrase(key, value))
        for key, value in traits
    )
    has = [[100.0 * (species.attributes[key] == value) for key, value in traits] for species in SPECIES]
    alike = tuple(tuple(label_names.index(other.name) for other in look_alikes(species)) for species in SPECIES)
    return Attributes(attributes, np.array(has), tuple(label_names), alike)


def _in_words(group: str, value: str) -> str:
    name = f"{group}::{value}"
    if name in _IN_WORDS:
        return _IN_WORDS[name]
    body, _, _ = group.removeprefix("has_").rpartition("_")
    noun = _NOUNS.get(body, body)
    # Some values hold the noun already: forked_tail, rounded-wings.
    adjective = value.replace("_", " ")
    for ending in (f" {body}", f"-{noun}"):
        adjective = adjective.removesuffix(ending)
    return f"{adjective} {noun}"


def covered(places: Sequence[str], parts: Mapping[str, Sequence[str]], part_names: Sequence[str]) -> list[int]:
    """Return the indices of the parts that lie at some places of the body."""
    wanted = {part for place in places for part in parts[place]}
    return [index for index, name in enumerate(part_names) if name in wanted]
