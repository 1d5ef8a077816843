"""CUB-200-2011's attributes: where on the bird each is seen, and what it is in words."""

from __future__ import annotations

from collections.abc import Mapping

from finercam.data.attributes import Attribute
from finercam.errors import FinercamError

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
"""Where each group of attributes is seen; nowhere if it is of the bird as a whole."""

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
"""The part points at each place: all fifteen."""

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


def cub_attribute(name: str) -> Attribute:
    """Return one of CUB's attributes, by its published name.

    Raises:
        FinercamError: its group is not in ``CUB_PLACES``.
    """
    group, _, value = name.partition("::")
    if group not in CUB_PLACES or not value:
        raise FinercamError(
            f"{name!r} is not an attribute of CUB-200-2011; write one like has_wing_color::red, of the groups "
            + ", ".join(CUB_PLACES)
        )
    places = CUB_PLACES[group]
    if group == "has_head_pattern":
        places = _HEAD_PLACES.get(value, places)
    return Attribute(name, places, _in_words(group, value) if places else None)


def _in_words(group: str, value: str) -> str:
    name = f"{group}::{value}"
    if name in _IN_WORDS:
        return _IN_WORDS[name]
    body, _, _ = group.removeprefix("has_").rpartition("_")
    noun = _NOUNS.get(body, body)
    # Some values already end in the noun: forked_tail, rounded-wings.
    adjective = value.replace("_", " ")
    for ending in (f" {body}", f"-{noun}"):
        adjective = adjective.removesuffix(ending)
    return f"{adjective} {noun}"
