"""The aviary's traits as attributes of its classes."""

from __future__ import annotations

import numpy as np

from finercam.aviary.captions import phrase
from finercam.aviary.species import PART_OF, SPECIES, label_names, look_alikes
from finercam.data.attributes import Attribute, Attributes


def aviary_attributes() -> Attributes:
    """Return the aviary's traits, ``throat_colour::scarlet`` and the like, of strength 100 or 0.

    A species may be compared with the look-alikes of its family.
    """
    traits = dict.fromkeys((key, value) for species in SPECIES for key, value in species.attributes.items())
    attributes = tuple(
        Attribute(f"{key}::{value}", (PART_OF[key],), None if value in ("none", "plain") else phrase(key, value))
        for key, value in traits
    )
    has = [[100.0 * (species.attributes[key] == value) for key, value in traits] for species in SPECIES]
    alike = tuple(tuple(label_names.index(other.name) for other in look_alikes(species)) for species in SPECIES)
    return Attributes(attributes, np.array(has), tuple(label_names), alike)
