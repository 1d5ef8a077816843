"""What the text-image model is trained on: pictures with the facts that sentences can be held against.

In the 32 species traits go together: every bird with a grey breast has an azure back, so nobody could tell from
captions which of the two is meant. Among the training pictures are therefore *crossbreeds*, whose traits are mixed.
Pictures come in pairs, two scenes with birds that differ in one trait.

Many pictures show no bird but coloured things: a scarlet ball is not a bird with scarlet wings, if only because it is
not a bird. Things lie beside birds, too.
"""

from __future__ import annotations

import math
from types import MappingProxyType

import numpy as np
from jaxtyping import Float32, UInt8

from finercam.aviary import bird as birds
from finercam.aviary.anatomy import FORMS, build
from finercam.aviary.draws import Draws
from finercam.aviary.layers import Layer
from finercam.aviary.palette import COLOURS
from finercam.aviary.perches import PERCHES
from finercam.aviary.props import THINGS, thing
from finercam.aviary.samples import background_at
from finercam.aviary.scene import BACKGROUNDS, Scene, develop, draw_scene, hidden_by
from finercam.aviary.shapes import lay_picture
from finercam.aviary.species import ATTRIBUTES, FAMILIES, SPECIES, Species, label_names
from finercam.aviary.torso import build_torso

Image = UInt8[np.ndarray, "size size 3"]
Facts = dict[str, str]

FACTS: dict[str, tuple[str, ...]] = {
    "bird": ("yes", "no"),
    "species": label_names,
    "family": tuple(family.name for family in FAMILIES),
    **ATTRIBUTES,
    **dict.fromkeys(THINGS, tuple(COLOURS)),
    "perch": tuple(dict.fromkeys(perch for perches in PERCHES.values() for perch in perches)),
    "background": BACKGROUNDS,
}
"""What is known of a picture, and the values it can take. A picture may lack a fact: a crossbreed has no species."""

EMPTY, CROSSBREEDS = 0.45, 0.3
"""Share of pairs of training pictures that show no bird, and crossbreeds; the others show a species and a bird like it
but for one trait."""

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


def sport(bird: Species, draws: Draws) -> Species:
    """Return a bird without a name that differs from another in one trait."""
    key = draws.pick(tuple(ATTRIBUTES))
    value = draws.pick([value for value in ATTRIBUTES[key] if value != bird.attributes[key]])
    return Species("", bird.family, MappingProxyType({**bird.attributes, key: value}))


def bird_at(split: str, index: int, seed: int) -> Species | None:
    """Return the bird of a training picture, or ``None`` where it shows none.

    Of the pictures 2 k and 2 k + 1 neither shows a bird, or the second shows a ``sport`` of the first one's, which is
    a crossbreed or one of the species.
    """
    draws = Draws(split, index // 2, seed, "clip-bird")
    kind = draws.unit()
    if kind < EMPTY:
        return None
    first = crossbreed(draws) if kind < EMPTY + CROSSBREEDS else draws.pick(SPECIES)
    return sport(first, draws) if index % 2 else first


def picture_of(bird: Species | None, split: str, index: int, seed: int, size: int = 128) -> tuple[Image, Facts]:
    """Draw a bird, or no bird, and things in the scene of a sample, and say what is true of the picture.

    The small things that are strewn over every scene are not among the facts; these things are larger.
    """
    scene = draw_scene(split, index, seed, size, background_at(split, index, seed))
    picture = scene.behind.copy()
    facts: Facts = {"bird": "no", "perch": scene.perch, "background": scene.background}
    layers: list[Layer] = []
    if bird is not None:
        anatomy = build(FORMS[bird.family], scene.pose, scene.light, size)
        layers = [layer for part in birds.draw_parts(anatomy, build_torso(anatomy), bird).values() for layer in part]
        facts |= {"bird": "yes", "family": bird.family, **bird.attributes}
        if bird.name:
            facts["species"] = bird.name
    draws = Draws(split, index, seed, "clip-things")
    count = draws.count(1, 4) if bird is None else max(0, draws.count(-1, 2))
    hidden = hidden_by(layers + scene.front, size)
    for kind in [THINGS[i] for i in draws.order(len(THINGS))[:count]]:
        facts |= _lay(picture, draws, kind, hidden, scene, (4.5, 13.0) if bird is None else (3.5, 8.0))
    for layer in layers:
        lay_picture(picture, layer.window, layer.alpha, layer.paint)
    return develop(picture, scene), facts


_TRIES, _SEEN = 6, 0.75


def _lay(
    picture: Float32[np.ndarray, "3 size size"],
    draws: Draws,
    kind: str,
    hidden: Float32[np.ndarray, "size size"],
    scene: Scene,
    radii: tuple[float, float],
) -> Facts:
    """Lay a thing over the picture where three quarters of it will be seen, and say so; or find no place for it."""
    size, name = scene.size, draws.pick(tuple(COLOURS))
    for _ in range(_TRIES):
        at = draws.between(0.08, 0.92) * size, draws.between(0.08, 0.92) * size
        r, angle = draws.between(*radii) * size / 128, draws.between(0, 2 * math.pi)
        layers = thing(draws, kind, name, at, r, angle, scene.light, size)
        covers, seen = 0.0, 0.0
        for layer in layers:
            covers += float(layer.alpha.sum())
            seen += float((layer.alpha * (1.0 - hidden[layer.window.slices])).sum())
        # What hangs over the edge of the picture is not among its pixels: so little of a leaf is not one.
        if covers >= 2.0 * r * r and seen >= _SEEN * covers:
            for layer in layers:
                lay_picture(picture, layer.window, layer.alpha, layer.paint)
                under = hidden[layer.window.slices]
                under += layer.alpha * (1.0 - under)
            return {kind: name}
    return {}
