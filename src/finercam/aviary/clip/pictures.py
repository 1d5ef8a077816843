"""What the text-image model is trained on: pictures of birds with the facts that sentences can be held against.

In the 32 species traits go together: every bird with a grey breast has an azure back, so nobody could tell from
captions which of the two is meant. Among the training pictures are therefore *crossbreeds*, whose traits are mixed,
and scenes without a bird, without which "bird" would say nothing.
"""

from __future__ import annotations

from types import MappingProxyType

import numpy as np
from jaxtyping import UInt8

from finercam.aviary import bird as birds
from finercam.aviary.anatomy import FORMS, build
from finercam.aviary.draws import Draws
from finercam.aviary.perches import PERCHES
from finercam.aviary.samples import background_at, label_at
from finercam.aviary.scene import BACKGROUNDS, develop, draw_scene
from finercam.aviary.species import ATTRIBUTES, FAMILIES, SPECIES, Species, label_names
from finercam.aviary.torso import build_torso

Image = UInt8[np.ndarray, "size size 3"]
Facts = dict[str, str]

FACTS: dict[str, tuple[str, ...]] = {
    "bird": ("yes", "no"),
    "species": label_names,
    "family": tuple(family.name for family in FAMILIES),
    **ATTRIBUTES,
    "perch": tuple(dict.fromkeys(perch for perches in PERCHES.values() for perch in perches)),
    "background": BACKGROUNDS,
}
"""What is known of a picture, and the values it can take. A picture may lack a fact: a crossbreed has no species."""

CROSSBREEDS, EMPTY = 0.5, 0.1
"""Share of training pictures that show a crossbreed, and no bird."""

_ANY = 0.3


def crossbreed(draws: Draws) -> Species:
    """Return a bird with a family's form and mixed traits.

    Each trait is one that a species drawn for it has, or, 3 times in 10, any value the attribute can take. It has no
    name.
    """
    family = draws.pick(FAMILIES).name
    traits = {
        key: draws.pick(values) if draws.chance(_ANY) else draws.pick(SPECIES).attributes[key]
        for key, values in ATTRIBUTES.items()
    }
    return Species("", family, MappingProxyType(traits))


def bird_at(split: str, index: int, seed: int) -> Species | None:
    """Return the bird of a training picture: one of the species, a crossbreed, or ``None`` for an empty scene."""
    draws = Draws(split, index, seed, "clip-bird")
    kind = draws.unit()
    if kind < EMPTY:
        return None
    if kind < EMPTY + CROSSBREEDS:
        return crossbreed(draws)
    return SPECIES[label_at(split, index, seed)]


def picture_of(bird: Species | None, split: str, index: int, seed: int, size: int = 128) -> tuple[Image, Facts]:
    """Draw a bird, or no bird, in the scene of a sample, and say what is true of the picture."""
    scene = draw_scene(split, index, seed, size, background_at(split, index, seed))
    picture = scene.behind.copy()
    facts: Facts = {"bird": "no", "perch": scene.perch, "background": scene.background}
    if bird is not None:
        anatomy = build(FORMS[bird.family], scene.pose, scene.light, size)
        birds.paint(picture, birds.draw_parts(anatomy, build_torso(anatomy), bird))
        facts |= {"bird": "yes", "family": bird.family, **bird.attributes}
        if bird.name:
            facts["species"] = bird.name
    return develop(picture, scene), facts
