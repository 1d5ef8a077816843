"""Rows of an examination: how well one photo's map agrees with one attribute, and with chance.

A map is on the bird anyway, so agreeing with an attribute proves little by itself. Chance is therefore what the same
map of the same photo gives for attributes, or places of the body, in which the two classes do *not* differ.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from finercam.data.attributes import SAME, Attribute, Attributes
from finercam.data.placement import Placement
from finercam.studies.faithfulness.aligning import agreement, in_common
from finercam.studies.places import share

#: An attribute is among those that lead most; the classes differ in it too; they do not.
LISTED, DIFFERS, ALIKE = "listed", "differs", "alike"
#: A chance level is the mean over at least this many attributes or places that are alike.
CONTROLS = 2
USES, IGNORES, UNCERTAIN = "uses", "ignores", "uncertain"

#: A map over a model's input, and how the photo lies in that.
Placed = tuple[Float[Tensor, "_h _w"], Placement]
Masks = Mapping[str, Bool[Tensor, "H W"]]


@dataclass(frozen=True)
class Row:
    """One photo and one attribute, or one place of the body.

    Attributes:
        key: of the photo in its data set.
        target, other: labels of its class and of the class it is compared with.
        name: the attribute's, or the place's.
        words: for people.
        places: where it is seen.
        difference: strength of the target minus that of the other, in points; of a place the largest, unsigned.
        status: ``listed``, ``differs`` or ``alike``.
        alignment: with a text model the rank correlation of the two maps, -1 to 1; else the share of saliency on the
            places, 0 to 1. NaN where the map is empty.
        chance: what alike attributes have: the mean of their correlations; or the share the places would have if
            they held as much as the alike places, weighed by ``evenly``. NaN where there are too few.
        advantage: correlation minus chance; or ``(share - chance) / (share + chance)``, 0 at chance, at most 1.
        gain: the same over ``plain`` in place of chance: what the comparison draws there.
        above: share of the alike ones that are below this one, 0 to 1.
        plain: alignment of the map without the comparison.
        overlap, overlap_chance: of the top fifths of the two maps, 0 to 1; NaN without a text model.
        found: whether the text model's map is where the attribute is seen: ``(share - even) / (share + even)`` of
            its share on the places and that of a map evenly over the object. NaN without a text model or places.
    """

    key: str
    target: int
    other: int
    name: str
    words: str
    places: tuple[str, ...]
    difference: float
    status: str
    alignment: float
    chance: float
    advantage: float
    gain: float
    above: float
    plain: float
    overlap: float = math.nan
    overlap_chance: float = math.nan
    found: float = math.nan

    @property
    def of_place(self) -> bool:
        """Whether it is about a place of the body, not an attribute."""
        return self.places == (self.name,)

    @property
    def verdict(self) -> str:
        """On this photo alone: ``uses`` if above all that is alike, ``ignores`` if above no more than half of it.

        ``uncertain`` between, and where the text model does not find the attribute itself.
        """
        if math.isnan(self.advantage) or 0.5 < self.above < 1 or self.found <= 0:
            return UNCERTAIN
        return USES if self.above == 1 else IGNORES


@dataclass(frozen=True)
class Pair:
    """A photo's key, the label of its class, and that of the class it is compared with."""

    key: str
    target: int
    other: int


def rows_of_places(
    pair: Pair,
    attributes: Attributes,
    places: Masks,
    saliency: Float[Tensor, "H W"],
    plain: Float[Tensor, "H W"],
    even: Float[Tensor, "H W"],
    count: int = 3,
) -> list[Row]:
    """Return a row per listed attribute in sight, and one per place of the body in sight.

    Args:
        pair: which photo and classes.
        attributes: of the classes.
        places: the pixels of each place in sight.
        saliency, plain: the contrast's map and that of the class alone.
        even: what a map evenly over the object looks like, see ``evenly``.
        count: how many attributes are listed.
    """
    listed = [
        (one, difference)
        for one, difference in attributes.listed(pair.target, pair.other, count)
        if any(place in places for place in one.places)
    ]
    taken = {place for one, _ in listed for place in one.places}
    largest = {place: size for place, size in attributes.largest(pair.target, pair.other).items() if place in places}
    alike = _alike({place: size for place, size in largest.items() if place not in taken})
    rows = []
    for one, difference in listed:
        rows.append(
            _of_place(pair, one.name, one.words, one.places, difference, LISTED, places, alike, saliency, plain, even)
        )
    for place, size in largest.items():
        status = LISTED if place in taken else ALIKE if place in alike else DIFFERS
        rows.append(_of_place(pair, place, place, (place,), size, status, places, alike, saliency, plain, even))
    return rows


def rows_of_words(
    pair: Pair,
    attributes: Attributes,
    words: Mapping[str, Placed],
    saliency: Placed,
    plain: Placed,
    count: int = 3,
) -> list[Row]:
    """Return a row per listed attribute, and one per attribute that chance is taken from.

    Args:
        pair: which photo and classes.
        attributes: of the classes.
        words: by phrase, the text model's map; of the attributes of ``asked_in_words``.
        saliency, plain: the contrast's map and that of the class alone.
        count: how many attributes are listed.
    """
    found = []
    for one, difference, status in asked_in_words(attributes, pair, count):
        maps = [in_common(*own, *words[one.phrase or ""]) for own in (saliency, plain)]
        correlation, shared = agreement(*maps[0])
        found.append((one, difference, status, correlation, shared, agreement(*maps[1])[0]))
    rows = []
    for one, difference, status, correlation, shared, of_plain in found:
        others = [(c, o) for another, _, kind, c, o, _ in found if kind == ALIKE and another is not one]
        chance, chance_overlap = (_mean([pair[k] for pair in others]) for k in (0, 1))
        rows.append(
            Row(
                pair.key,
                pair.target,
                pair.other,
                one.name,
                one.words,
                one.places,
                difference,
                status,
                correlation,
                chance,
                correlation - chance,
                correlation - of_plain,
                _above(correlation, [c for c, _ in others]),
                of_plain,
                shared,
                chance_overlap,
            )
        )
    return rows


def asked_in_words(attributes: Attributes, pair: Pair, count: int) -> list[tuple[Attribute, float, str]]:
    """Return the attributes that a text model is asked about, each with its difference and status."""
    listed = attributes.listed(pair.target, pair.other, count, in_words=True)
    places = {place for one, _ in listed for place in one.places}
    alike = [(one, d) for one, d in attributes.shared(pair.target, pair.other) if not places & set(one.places)]
    return [(one, d, LISTED) for one, d in listed] + [(one, d, ALIKE) for one, d in alike]


def found_by_words(
    saliency: Float[Tensor, "H W"], places: Sequence[Bool[Tensor, "H W"]], even: Float[Tensor, "H W"]
) -> float:
    """Return how much more of a text model's map lies on an attribute's places than of an even map: ``Row.found``."""
    if not places:
        return math.nan
    return _relative(share(saliency, places), share(even, places))


def _of_place(
    pair: Pair,
    name: str,
    words: str,
    own: Sequence[str],
    difference: float,
    status: str,
    places: Masks,
    alike: Sequence[str],
    saliency: Tensor,
    plain: Tensor,
    even: Tensor,
) -> Row:
    region = torch.stack([places[place] for place in own if place in places]).any(0)
    # Discs overlap: a pixel of the attribute's is none of the others'.
    controls = [places[place] & ~region for place in alike if place not in own]
    controls = [control for control in controls if bool(control.any())]
    alignment, chance, above = share(saliency, [region]), math.nan, math.nan
    if len(controls) >= CONTROLS and not math.isnan(alignment):
        weight = float(even[region].sum())
        chance = share(saliency, controls) * weight / float(even[torch.stack(controls).any(0)].sum())
        above = _above(alignment, [share(saliency, [one]) * weight / float(even[one].sum()) for one in controls])
    of_plain = share(plain, [region])
    return Row(
        pair.key,
        pair.target,
        pair.other,
        name,
        words,
        tuple(own),
        difference,
        status,
        alignment,
        chance,
        _relative(alignment, chance),
        _relative(alignment, of_plain),
        above,
        of_plain,
    )


def _relative(value: float, reference: float) -> float:
    """Return ``(value - reference) / (value + reference)`` of two shares, -1 to 1; 0 where both are zero."""
    both = value + reference
    return 0.0 if both == 0 else (value - reference) / both


def _alike(largest: Mapping[str, float]) -> list[str]:
    """Return the places in which two classes agree, but no fewer than the most alike that a chance level needs."""
    ordered = sorted(largest, key=lambda place: largest[place])
    agreed = sum(size <= SAME for size in largest.values())
    return ordered[: max(agreed, CONTROLS)]


def _above(value: float, others: Sequence[float]) -> float:
    """Return the share of others that are below; a tie counts half."""
    if len(others) < CONTROLS or math.isnan(value):
        return math.nan
    return sum((value > other) + 0.5 * (value == other) for other in others) / len(others)


def _mean(values: Sequence[float]) -> float:
    defined = [value for value in values if not math.isnan(value)]
    return sum(defined) / len(defined) if len(defined) >= CONTROLS else math.nan
