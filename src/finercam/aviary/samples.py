"""One sample: a bird in a scene with everything that is known about it, and the same scene with a trait repainted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float32, Int8, UInt8

from finercam.aviary import bird as birds
from finercam.aviary.anatomy import FORMS, Anatomy, build
from finercam.aviary.captions import caption
from finercam.aviary.draws import Draws
from finercam.aviary.layers import Layer
from finercam.aviary.scene import BACKGROUNDS, Scene, develop, draw_scene, hidden_by
from finercam.aviary.species import (
    FAMILIES,
    PART_OF,
    PARTS,
    SPECIES,
    Species,
    differing,
    family_of,
    find_species,
    label_of,
    look_alikes,
)
from finercam.aviary.torso import Torso, build_torso
from finercam.errors import FinercamError, nearest

BIAS = 0.9
"""In the biased variant, how often a species is put before the background that goes with it."""

Parts = dict[str, list[Layer]]
Image = UInt8[np.ndarray, "size size 3"]
Mask = Bool[np.ndarray, "size size"]


@dataclass(frozen=True, eq=False)
class Sample:
    """One picture and what is true of it.

    Attributes:
        image: (size, size, 3) uint8, sRGB.
        label: place of the species in ``SPECIES``.
        species: its English name.
        family: the name of its family of look-alikes.
        attributes: a value for every attribute of ``ATTRIBUTES``.
        caption: a sentence that names the traits.
        box: x0, y0, x1, y1 in pixels, half-open: the smallest box around all that is seen of the bird.
        masks: for every part of which something is seen, (size, size): the pixels where the part is in front and
            covers at least half of the pixel, before the photo's blur. Masks of different parts never overlap.
        differences: for every other species of the family, by name, (size, size): the pixels where the parts
            that tell the two apart are seen, in this picture or in the same scene with the other species (where
            only one of them has the part, or where its form differs, that is where the part is or would be).
            It is therefore the same for both, and it is never larger than what the twigs in front leave open.
        background: the kind of background.
    """

    image: Image
    label: int
    species: str
    family: str
    attributes: Mapping[str, str]
    caption: str
    box: tuple[int, int, int, int]
    masks: Mapping[str, Mask]
    differences: Mapping[str, Mask]
    background: str


@dataclass(frozen=True, eq=False)
class Repainted:
    """A sample whose discriminating traits were drawn as a look-alike's; all else is the same.

    Attributes:
        image: (size, size, 3) uint8. Outside ``mask`` it equals the original pixel by pixel.
        label: label of the look-alike.
        species: name of the look-alike.
        mask: (size, size), every pixel that may have changed: all that the two drawings of the traits touch,
            however little, unless something before it hides it, and the reach of the photo's blur around it.
            ``Sample.differences`` is its core: the pixels covered at least half.
    """

    image: Image
    label: int
    species: str
    mask: Mask


@dataclass(frozen=True)
class _Drawn:
    """A scene with the bird drawn into layers, before the photo is taken."""

    species: Species
    scene: Scene
    anatomy: Anatomy
    torso: Torso
    parts: Parts
    hidden: Float32[np.ndarray, "size size"]


def check(split: str, index: int, seed: int, size: int) -> None:
    """Raise a FinercamError unless the arguments name a picture."""
    if not split:
        raise FinercamError("the split's name is empty; give it one, such as 'train' or 'test'")
    for name, value in (("index", index), ("seed", seed)):
        if value < 0:
            raise FinercamError(f"{name} is {value}; give a whole number from 0 upwards")
    if not 32 <= size <= 1024:
        raise FinercamError(f"size is {size} pixels; birds can be drawn from 32 to 1024")


@lru_cache(maxsize=256)
def _order(split: str, block: int, seed: int) -> tuple[int, ...]:
    return tuple(Draws(split, block, seed, "labels").order(len(SPECIES)))


def label_at(split: str, index: int, seed: int = 0) -> int:
    """Return the label of a sample. Every run of ``len(SPECIES)`` samples holds each species once, shuffled."""
    check(split, index, seed, 128)
    return _order(split, index // len(SPECIES), seed)[index % len(SPECIES)]


def favourite(species: Species) -> str:
    """Return the background that goes with a species in the biased variant: look-alikes have different ones."""
    family = family_of(species)
    return BACKGROUNDS[(family.species.index(species) + FAMILIES.index(family)) % len(BACKGROUNDS)]


def background_at(split: str, index: int, seed: int = 0, *, biased: bool = False) -> str:
    """Return the kind of background of a sample.

    It is drawn without regard to the species, each kind as likely. In the biased variant it is the species' own
    (see ``favourite``) 9 times in 10, and drawn otherwise.
    """
    check(split, index, seed, 128)
    draws = Draws(split, index, seed, "background")
    drawn = draws.pick(BACKGROUNDS)
    if biased and draws.chance(BIAS):
        return favourite(SPECIES[label_at(split, index, seed)])
    return drawn


def _scene(split: str, index: int, seed: int, biased: bool, size: int) -> tuple[Species, Scene]:
    check(split, index, seed, size)
    kind = background_at(split, index, seed, biased=biased)
    return SPECIES[label_at(split, index, seed)], draw_scene(split, index, seed, size, kind)


def _draw(species: Species, scene: Scene) -> _Drawn:
    anatomy = build(FORMS[species.family], scene.pose, scene.light, scene.size)
    torso = build_torso(anatomy)
    parts = birds.draw_parts(anatomy, torso, species)
    return _Drawn(species, scene, anatomy, torso, parts, hidden_by(scene.front, scene.size))


def _photo(scene: Scene, parts: Parts) -> Image:
    picture = scene.behind.copy()
    birds.paint(picture, parts)
    return develop(picture, scene)


def _told_apart(a: Species, b: Species) -> tuple[str, ...]:
    """Return the parts on which two species differ, in painting order."""
    parts = {PART_OF[key] for key in differing(a, b)}
    return tuple(part for part in PARTS if part in parts)


def _as(drawn: _Drawn, other: Species) -> Parts:
    """Return the drawn parts with those that tell the two apart drawn as the other's."""
    swap = _told_apart(drawn.species, other)
    return drawn.parts | {part: birds.draw_part(drawn.anatomy, drawn.torso, other, part) for part in swap}


def _difference(drawn: _Drawn, other: Species, which: Int8[np.ndarray, "size size"]) -> Mask:
    numbers = [PARTS.index(part) for part in _told_apart(drawn.species, other)]
    also = birds.seen(_as(drawn, other), drawn.scene.size)
    mask = np.zeros(which.shape, np.bool_)
    for number in numbers:
        mask |= which == number
        mask |= also == number
    mask &= drawn.hidden < 0.5
    return mask


def _box(mask: Mask) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def sample(split: str, index: int, seed: int = 0, *, biased: bool = False, size: int = 128) -> Sample:
    """Draw one sample with all that is known about it.

    Args:
        split: any name; different names give different pictures.
        index: from 0 upwards.
        seed: from 0 upwards.
        biased: let the background go with the species.
        size: side of the picture in pixels, 32 to 1024. It changes the resolution, not the scene.

    Returns:
        The same sample for the same arguments, in every process.

    Raises:
        FinercamError: an argument is out of range.
    """
    species, scene = _scene(split, index, seed, biased, size)
    drawn = _draw(species, scene)
    which = birds.seen(drawn.parts, size)
    visible = np.where(drawn.hidden < 0.5, which, np.int8(-1))
    found = np.bincount(visible.ravel() + 1, minlength=len(PARTS) + 1)[1:]
    return Sample(
        image=_photo(scene, drawn.parts),
        label=label_of(species),
        species=species.name,
        family=species.family,
        attributes=dict(species.attributes),
        caption=caption(species, Draws(split, index, seed, "words"), scene.perch, scene.background),
        box=_box(visible >= 0),
        masks={part: visible == number for number, part in enumerate(PARTS) if found[number]},
        differences={other.name: _difference(drawn, other, which) for other in look_alikes(species)},
        background=scene.background,
    )


def picture(split: str, index: int, seed: int = 0, *, biased: bool = False, size: int = 128) -> tuple[Image, int]:
    """Draw only the image and the label of a sample, for training: less work than ``sample``."""
    species, scene = _scene(split, index, seed, biased, size)
    anatomy = build(FORMS[species.family], scene.pose, scene.light, scene.size)
    return _photo(scene, birds.draw_parts(anatomy, build_torso(anatomy), species)), label_of(species)


def empty_scene(split: str, index: int, seed: int = 0, *, biased: bool = False, size: int = 128) -> Image:
    """Draw the scene of a sample without its bird."""
    _, scene = _scene(split, index, seed, biased, size)
    return _photo(scene, {})


def repaint(
    split: str, index: int, seed: int, other_species: str, *, biased: bool = False, size: int = 128
) -> Repainted:
    """Draw a sample again with the traits that tell it from a look-alike drawn as the look-alike's.

    Scene, pose, light, noise and every other part stay the same: what a classifier's margin between the two
    loses is what it had read from the traits.

    Raises:
        FinercamError: ``other_species`` is not a look-alike of the sample's species, or an argument is out of range.
    """
    species, scene = _scene(split, index, seed, biased, size)
    other = find_species(other_species)
    if other not in look_alikes(species):
        names = [alike.name for alike in look_alikes(species)]
        raise FinercamError(
            f"{other.name!r} is not a look-alike of {species.name!r}, which sample {index} shows; "
            + nearest(other_species, names)
        )
    drawn = _draw(species, scene)
    parts = _as(drawn, other)
    swap = _told_apart(species, other)
    mask = birds.touched(drawn.parts, swap, scene.front, size) | birds.touched(parts, swap, scene.front, size)
    for _ in range(scene.photo.passes):
        mask = _grown(mask)
    return Repainted(_photo(scene, parts), label_of(other), other.name, mask)


def _grown(mask: Mask) -> Mask:
    """Return the mask and all eight neighbours of its pixels."""
    out = mask.copy()
    out[1:] |= mask[:-1]
    out[:-1] |= mask[1:]
    tall = out.copy()
    out[:, 1:] |= tall[:, :-1]
    out[:, :-1] |= tall[:, 1:]
    return out
