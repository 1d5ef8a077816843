"""Sentences about a bird that name its traits, in varied words."""

from __future__ import annotations

from finercam.aviary.draws import Draws
from finercam.aviary.species import Species, family_of

_TAILS = {
    "square": "a square-ended tail",
    "forked": "a forked tail",
    "fan": "a broad, fanned tail",
    "lance": "a long, pointed tail",
}
_CRESTS = {
    "none": "no crest",
    "spire": "a tall, pointed crest",
    "fan": "a fanned, black-tipped crest",
    "plume": "a long crest that sweeps back",
}
_BREASTS = {
    "plain": "an unmarked breast",
    "spotted": "a spotted breast",
    "streaked": "a streaked breast",
    "banded": "a dark band across the breast",
}
_COLOURED = {
    "back_colour": "back",
    "head_colour": "head",
    "crown_colour": "crown",
    "throat_colour": "throat",
    "breast_colour": "breast",
    "belly_colour": "belly",
    "tail_colour": "tail",
    "beak_colour": "bill",
}
_MAYBE = {"eye_line": "eye stripe", "wing_bar": "wing bar", "eye_ring": "eye ring"}
_FILLERS = ("back_colour", "head_colour", "belly_colour", "wing_colour", "beak_colour", "breast_colour")
_OPENINGS = (
    "A photo of {bird} with {traits}{place}.",
    "{Bird}{place}, with {traits}.",
    "{Bird} has {traits}; here it sits{place}.",
    "{Bird}: look for {traits}.",
    "Seen{place}: {bird}, which shows {traits}.",
)
_ON = {
    "branch": "on a branch",
    "wire": "on a wire",
    "post": "on a post",
    "rock": "on a rock",
    "ground": "on the ground",
}
_BEFORE = {"sky": "against the sky", "foliage": "among the leaves", "water": "by the water", "sand": "on the sand"}


def article(noun: str) -> str:
    """Return the noun with its indefinite article."""
    return ("an " if noun[0].lower() in "aeiou" else "a ") + noun


def phrase(attribute: str, value: str) -> str:
    """Return what an attribute's value looks like: ``("eye_ring", "white")`` is "a white eye ring"."""
    for name, forms in (("tail_form", _TAILS), ("crest_form", _CRESTS), ("breast_pattern", _BREASTS)):
        if attribute == name:
            return forms[value]
    if attribute in _MAYBE:
        thing = _MAYBE[attribute]
        return f"no {thing}" if value == "none" else article(f"{value} {thing}")
    if attribute == "leg_colour":
        return f"{value} legs"
    if attribute == "wing_colour":
        return f"{value} wings"
    return article(f"{value} {_COLOURED[attribute]}")


def caption(species: Species, draws: Draws, perch: str, background: str) -> str:
    """Write a sentence that names the traits by which the species differs from its look-alikes."""
    return caption_facts(species, draws, perch, background)[0]


def caption_facts(species: Species, draws: Draws, perch: str, background: str) -> tuple[str, tuple[str, ...]]:
    """Write a caption; return it with the names of what it tells: "species", attributes, "perch", "background"."""
    named = list(family_of(species).traits)
    filler = draws.pick([key for key in _FILLERS if key not in named])
    if draws.chance(0.6):
        named.append(filler)
    traits = [phrase(key, species.attributes[key]) for key in named]
    on, before = f" {_ON[perch]}", f" {_BEFORE[background]}"
    place, places = draws.pick(
        ((on, ("perch",)), (f"{on},{before}", ("perch", "background")), (before, ("background",)))
    )
    bird = article(species.name)
    listed = traits[0] if len(traits) == 1 else ", ".join(traits[:-1]) + " and " + traits[-1]
    opening = draws.pick(_OPENINGS)
    text = opening.format(bird=bird, Bird=bird[0].upper() + bird[1:], traits=listed, place=place)
    return text, ("species", *named, *(places if "{place}" in opening else ()))


def place_phrases(perch: str, background: str) -> tuple[tuple[str, str], tuple[str, str]]:
    """Return where the bird sits and before what, each with the name of what it tells."""
    return (_ON[perch], "perch"), (_BEFORE[background], "background")
