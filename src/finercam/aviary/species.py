"""The birds: families of look-alikes, and in each family the one or two traits that tell its species apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from finercam.aviary.palette import COLOURS
from finercam.errors import FinercamError, nearest

PARTS = (
    "tail",
    "legs",
    "body",
    "belly",
    "breast",
    "head",
    "crown",
    "eye_line",
    "throat",
    "wing",
    "wing_bar",
    "crest",
    "beak",
    "eye_ring",
    "eye",
)
"""The parts of a bird that have masks, in the order in which they are painted."""

_COLOUR = tuple(COLOURS)
_MAYBE = ("none", *COLOURS)

ATTRIBUTES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "back_colour": _COLOUR,
        "head_colour": _COLOUR,
        "crown_colour": _COLOUR,
        "eye_line": _MAYBE,
        "throat_colour": _COLOUR,
        "breast_colour": _COLOUR,
        "breast_pattern": ("plain", "spotted", "streaked", "banded"),
        "belly_colour": _COLOUR,
        "wing_colour": _COLOUR,
        "wing_bar": _MAYBE,
        "tail_form": ("square", "forked", "fan", "lance"),
        "tail_colour": _COLOUR,
        "crest_form": ("none", "spire", "fan", "plume"),
        "beak_colour": _COLOUR,
        "eye_ring": _MAYBE,
        "leg_colour": _COLOUR,
    }
)
"""What a species is described by, and the values each attribute can take."""

PART_OF: Mapping[str, str] = MappingProxyType(
    {
        "back_colour": "body",
        "head_colour": "head",
        "crown_colour": "crown",
        "eye_line": "eye_line",
        "throat_colour": "throat",
        "breast_colour": "breast",
        "breast_pattern": "breast",
        "belly_colour": "belly",
        "wing_colour": "wing",
        "wing_bar": "wing_bar",
        "tail_form": "tail",
        "tail_colour": "tail",
        "crest_form": "crest",
        "beak_colour": "beak",
        "eye_ring": "eye_ring",
        "leg_colour": "legs",
    }
)
"""The part on which an attribute is seen."""


@dataclass(frozen=True)
class Species:
    """One species: its English name, its family, and a value for every attribute."""

    name: str
    family: str
    attributes: Mapping[str, str] = field(hash=False)


@dataclass(frozen=True)
class Family:
    """Look-alikes: species that share everything but their ``traits`` (names of attributes)."""

    name: str
    traits: tuple[str, ...]
    species: tuple[Species, ...]


def _family(name: str, shared: str, traits: str, members: Mapping[str, str]) -> Family:
    """Build a family from space-separated values: the shared ones as ``attribute=value``."""
    base = dict(pair.split("=") for pair in shared.split())
    varied = tuple(traits.split())
    species = []
    for member, values in members.items():
        given = base | dict(zip(varied, values.split(), strict=True))
        species.append(Species(member, name, MappingProxyType({key: given[key] for key in ATTRIBUTES})))
    return Family(name, varied, tuple(species))


FAMILIES: tuple[Family, ...] = (
    _family(
        "finch",
        "back_colour=chestnut head_colour=rust crown_colour=slate eye_line=none throat_colour=rust "
        "breast_colour=rose breast_pattern=plain belly_colour=cream wing_colour=black tail_form=forked "
        "tail_colour=black crest_form=none beak_colour=slate eye_ring=none leg_colour=brown",
        "wing_bar",
        {
            "Frost-barred Finch": "white",
            "Ember-barred Finch": "orange",
            "Sky-barred Finch": "azure",
            "Plain-winged Finch": "none",
        },
    ),
    _family(
        "jay",
        "back_colour=azure head_colour=azure crown_colour=azure eye_line=black throat_colour=white "
        "breast_colour=grey breast_pattern=plain belly_colour=white wing_colour=navy wing_bar=white "
        "tail_form=square tail_colour=navy beak_colour=black eye_ring=none leg_colour=slate",
        "crest_form",
        {
            "Spire-crested Jay": "spire",
            "Fan-crested Jay": "fan",
            "Plume-crested Jay": "plume",
            "Smooth-headed Jay": "none",
        },
    ),
    _family(
        "warbler",
        "back_colour=olive head_colour=olive crown_colour=olive eye_line=none breast_colour=gold "
        "breast_pattern=plain belly_colour=cream wing_colour=slate wing_bar=white tail_form=forked "
        "tail_colour=slate crest_form=none beak_colour=black eye_ring=none leg_colour=brown",
        "throat_colour",
        {
            "Ruby-throated Warbler": "scarlet",
            "Ivory-throated Warbler": "white",
            "Soot-throated Warbler": "black",
            "Saffron-throated Warbler": "gold",
        },
    ),
    _family(
        "wagtail",
        "back_colour=grey head_colour=white crown_colour=black eye_line=black throat_colour=white "
        "breast_colour=white breast_pattern=plain belly_colour=white wing_colour=slate wing_bar=white "
        "tail_colour=black crest_form=none beak_colour=black eye_ring=none leg_colour=black",
        "tail_form",
        {
            "Fork-tailed Wagtail": "forked",
            "Fan-tailed Wagtail": "fan",
            "Lance-tailed Wagtail": "lance",
        },
    ),
    _family(
        "thrush",
        "back_colour=brown head_colour=brown crown_colour=brown eye_line=none throat_colour=white "
        "breast_colour=cream belly_colour=white wing_colour=chestnut wing_bar=none tail_form=square "
        "tail_colour=chestnut crest_form=none beak_colour=gold eye_ring=none leg_colour=rose",
        "breast_pattern",
        {
            "Dapple-breasted Thrush": "spotted",
            "Streak-breasted Thrush": "streaked",
            "Sash-breasted Thrush": "banded",
            "Clear-breasted Thrush": "plain",
        },
    ),
    _family(
        "plover",
        "back_colour=buff head_colour=buff crown_colour=brown eye_line=black throat_colour=white "
        "breast_colour=white belly_colour=white wing_colour=brown wing_bar=none tail_form=square "
        "tail_colour=brown crest_form=none beak_colour=black eye_ring=none",
        "leg_colour breast_pattern",
        {
            "Coral-legged Plover": "coral banded",
            "Slate-legged Plover": "slate banded",
            "Lemon-legged Plover": "gold plain",
        },
    ),
    _family(
        "kingfisher",
        "back_colour=teal head_colour=teal crown_colour=navy eye_line=none throat_colour=white "
        "breast_pattern=plain belly_colour=white wing_colour=teal wing_bar=none tail_form=square "
        "tail_colour=navy crest_form=none eye_ring=none leg_colour=coral",
        "beak_colour breast_colour",
        {
            "Coral-billed Kingfisher": "coral rust",
            "Jet-billed Kingfisher": "black rust",
            "Snow-breasted Kingfisher": "coral white",
        },
    ),
    _family(
        "vireo",
        "back_colour=slate head_colour=slate crown_colour=slate eye_line=none throat_colour=cream "
        "breast_colour=buff breast_pattern=plain belly_colour=cream wing_colour=black wing_bar=gold "
        "tail_form=square tail_colour=slate crest_form=none beak_colour=black leg_colour=slate",
        "eye_ring",
        {
            "Ivory-ringed Vireo": "white",
            "Amber-ringed Vireo": "orange",
            "Plain-eyed Vireo": "none",
        },
    ),
    _family(
        "parakeet",
        "back_colour=green head_colour=green eye_line=none throat_colour=green breast_colour=green "
        "breast_pattern=plain belly_colour=olive wing_colour=green tail_form=lance tail_colour=teal "
        "crest_form=none beak_colour=coral eye_ring=white leg_colour=grey",
        "crown_colour wing_bar",
        {
            "Rose-crowned Parakeet": "rose none",
            "Violet-crowned Parakeet": "violet none",
            "Sunlit Parakeet": "rose gold",
            "Twilight Parakeet": "violet gold",
        },
    ),
)
"""All families."""

SPECIES: tuple[Species, ...] = tuple(species for family in FAMILIES for species in family.species)
"""All species, in the order of their labels."""

label_names: tuple[str, ...] = tuple(species.name for species in SPECIES)
"""The name of each label."""

_LABEL = {name: label for label, name in enumerate(label_names)}
_FAMILY = {family.name: family for family in FAMILIES}


def find_species(name: str) -> Species:
    """Return the species of a name (upper and lower case are the same).

    Raises:
        FinercamError: no species has that name.
    """
    for species in SPECIES:
        if species.name.casefold() == name.casefold():
            return species
    raise FinercamError(f"no species is called {name!r}; {nearest(name, label_names)}")


def label_of(species: Species) -> int:
    """Return the label of a species."""
    return _LABEL[species.name]


def family_of(species: Species) -> Family:
    """Return the family of a species."""
    return _FAMILY[species.family]


def look_alikes(species: Species) -> tuple[Species, ...]:
    """Return the other species of the family."""
    return tuple(other for other in family_of(species).species if other != species)


def differing(a: Species, b: Species) -> tuple[str, ...]:
    """Return the names of the attributes in which two species differ."""
    return tuple(key for key in ATTRIBUTES if a.attributes[key] != b.attributes[key])
