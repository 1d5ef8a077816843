"""Sentences and bare phrases about a picture, each with what must hold for it to be true.

A sentence such as "a white eye ring" is true of many pictures of a batch, not only of the one it was said about. As
every fact of a picture is known, so is every sentence's truth: ``truth`` holds all of them against all pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32

from finercam.aviary.captions import article, caption_facts, phrase, place_phrases
from finercam.aviary.clip.pictures import FACTS, Facts
from finercam.aviary.draws import Draws
from finercam.aviary.props import THINGS
from finercam.aviary.species import ATTRIBUTES, find_species

Needs = Mapping[str, tuple[str, ...]]

WITH_TRAIT = (
    "{trait}",
    "{bare}",
    "{trait}",
    "{bare}",
    "a bird with {trait}",
    "a photo of a bird with {trait}",
    "this bird has {trait}",
    "a {family} with {trait}",
)
"""How a trait is put into words; ``bare`` is the trait without its article."""

BIRD = ("bird", "a bird", "a photo of a bird", "this is a bird")
NO_BIRD = ("no bird", "an empty scene", "a photo without a bird", "background")
WITH_THING = ("{a}", "{a}", "{bare}", "a photo of {a}")
"""How a thing is put into words, "a scarlet ball" or "scarlet berries"."""

BROAD = {
    "red": ("scarlet", "coral"),
    "blue": ("azure", "navy"),
    "yellow": ("gold",),
    "pink": ("rose",),
    "purple": ("violet",),
}
"""Everyday words for colours, and which of the palette's they mean."""

_PRESENT = {"wing_bar": "a wing bar", "eye_line": "an eye stripe", "eye_ring": "an eye ring", "crest_form": "a crest"}
_MARKS = {"breast_pattern": "a marked breast"}
_YES: Needs = {"bird": ("yes",)}


@dataclass(frozen=True)
class Statement:
    """A sentence or phrase, and for each fact that it speaks of the values with which it is true."""

    text: str
    needs: Needs

    def holds(self, facts: Facts) -> bool:
        """Whether it is true of a picture. Of a fact that a picture lacks nothing is true."""
        return all(facts.get(name) in values for name, values in self.needs.items())


def trait(attribute: str, value: str, form: str = "{trait}", family: str = "") -> Statement:
    """Return a statement of one trait: ``trait("eye_ring", "white").text`` is "a white eye ring"."""
    said = phrase(attribute, value)
    needs = {attribute: (value,)} | ({"family": (family,)} if "{family}" in form else {})
    return Statement(form.format(trait=said, bare=bare(said), family=family), needs)


def bare(noun: str) -> str:
    """Return the noun without its indefinite article."""
    first, _, rest = noun.partition(" ")
    return rest if first in ("a", "an") else noun


def say(facts: Facts, draws: Draws, beside: Facts | None = None) -> Statement:
    """Return a statement, drawn by chance, that is true of a picture with these facts.

    Args:
        facts: of the picture.
        draws: where chance comes from.
        beside: the facts of another picture. Sometimes a trait is told that only the one of the two birds has.
    """
    if facts["bird"] == "no":
        kind = draws.unit()
        if kind < 0.2:
            return _place(facts, draws)
        return Statement(draws.pick(NO_BIRD), {"bird": ("no",)}) if kind < 0.45 else _thing(facts, draws)
    if beside is not None and draws.chance(_BETWEEN):
        differing = [key for key in ATTRIBUTES if facts[key] != beside[key]]
        if differing:
            return _trait(facts, draws, draws.pick(differing))
    kind = draws.unit()
    for share, speak in _SHARES:
        kind -= share
        if kind < 0:
            return speak(facts, draws)
    return _trait(facts, draws)


_BETWEEN = 0.3


def _trait(facts: Facts, draws: Draws, attribute: str = "") -> Statement:
    attribute = attribute or draws.pick(tuple(ATTRIBUTES))
    return trait(attribute, facts[attribute], draws.pick(WITH_TRAIT), facts["family"])


def _thing(facts: Facts, draws: Draws) -> Statement:
    """Speak of something that is not the bird; of the bird, or that there is none, where nothing else is."""
    there = [kind for kind in THINGS if kind in facts]
    if not there:
        return _bird(facts, draws) if facts["bird"] == "yes" else Statement(draws.pick(NO_BIRD), {"bird": ("no",)})
    kind = draws.pick(there)
    colours: tuple[str, ...] = (facts[kind],)
    words = [(word, meant) for word, meant in BROAD.items() if facts[kind] in meant]
    word = facts[kind]
    if words and draws.chance(0.3):
        word, colours = words[0]
    said = f"{word} {kind}"
    if draws.chance(0.15):
        said, colours = kind, FACTS[kind]
    text = draws.pick(WITH_THING).format(a=said if kind == "berries" else article(said), bare=said)
    return Statement(text, {kind: colours})


def _two_traits(facts: Facts, draws: Draws) -> Statement:
    one, other = (tuple(ATTRIBUTES)[i] for i in draws.order(len(ATTRIBUTES))[:2])
    said = f"{phrase(one, facts[one])} and {phrase(other, facts[other])}"
    text = draws.pick(("a bird with {}", "{}", "a photo of a bird with {}")).format(said)
    return Statement(text, {one: (facts[one],), other: (facts[other],)})


def _broad(facts: Facts, draws: Draws) -> Statement:
    """Speak of a part's colour in an everyday word, or of a part that not every bird has."""
    options = [
        Statement(bare(phrase(attribute, word)), {attribute: meant})
        for attribute, value in facts.items()
        if attribute in ATTRIBUTES
        for word, meant in BROAD.items()
        if value in meant
    ]
    for attribute, said in (*_PRESENT.items(), *_MARKS.items()):
        others = tuple(value for value in ATTRIBUTES[attribute] if value not in ("none", "plain"))
        if facts[attribute] in others:
            options.append(Statement(draws.pick((said, bare(said), f"a bird with {said}")), {attribute: others}))
    return draws.pick(options) if options else _trait(facts, draws)


def _bird(facts: Facts, draws: Draws) -> Statement:
    return Statement(draws.pick(BIRD), _YES)


def _name(facts: Facts, draws: Draws) -> Statement:
    names = [(name, facts[name]) for name in ("species", "species", "family") if name in facts]
    name, value = draws.pick(names)
    return Statement(draws.pick(("{}", "a photo of {}", "{}")).format(article(value)), {name: (value,)})


def _place(facts: Facts, draws: Draws) -> Statement:
    text, name = draws.pick(place_phrases(facts["perch"], facts["background"]))
    needs: dict[str, tuple[str, ...]] = {name: (facts[name],)}
    if facts["bird"] == "yes" and draws.chance(0.5):
        return Statement(f"a bird {text}", {**needs, **_YES})
    return Statement(text, needs)


def _caption(facts: Facts, draws: Draws) -> Statement:
    """Say what a sample's own caption could say; of a crossbreed, which has no name, two traits."""
    if "species" not in facts:
        return _two_traits(facts, draws)
    text, named = caption_facts(find_species(facts["species"]), draws, facts["perch"], facts["background"])
    return Statement(text, {name: (facts[name],) for name in named})


_SHARES: tuple[tuple[float, Callable[[Facts, Draws], Statement]], ...] = (
    (0.10, _caption),
    (0.08, _two_traits),
    (0.10, _broad),
    (0.06, _bird),
    (0.08, _name),
    (0.03, _place),
    (0.08, _thing),
)
"""How often what is said; the rest names a single trait."""

_BIT = {
    (name, value): place for place, (name, value) in enumerate((n, v) for n, values in FACTS.items() for v in values)
}


def encode(facts: Facts) -> Bool[np.ndarray, " bits"]:
    """Return a picture's facts as bits, one for every value of every fact."""
    bits = np.zeros(len(_BIT), np.bool_)
    bits[[_BIT[pair] for pair in facts.items()]] = True
    return bits


def truth(pictures: Bool[np.ndarray, "n bits"], statements: Sequence[Statement]) -> Bool[np.ndarray, "n m"]:
    """Return which statements are true of which pictures (as ``encode`` gives them)."""
    allowed: Float32[np.ndarray, "m bits"] = np.zeros((len(statements), len(_BIT)), np.float32)
    for row, statement in zip(allowed, statements, strict=True):
        row[[_BIT[name, value] for name, values in statement.needs.items() for value in values]] = 1
    # A picture has one value of a fact at the most, so each fact that fits counts once.
    fitting = pictures.astype(np.float32) @ allowed.T
    return fitting == np.array([len(statement.needs) for statement in statements], np.float32)
