"""The aviary: an endless, procedurally drawn fine-grained world of birds where every answer is known.

Thirty-two species in families of look-alikes, which differ in one or two named traits. Every sample comes with its
attributes, a caption, a box, a mask for each part, and for each look-alike the mask of what tells the two apart;
``repaint`` draws the same scene with exactly those traits changed. All of it follows from (split, index, seed).
"""

from pathlib import Path

from finercam.aviary.cub_export import export
from finercam.aviary.dataset import Aviary
from finercam.aviary.samples import (
    Repainted,
    Sample,
    background_at,
    empty_scene,
    favourite,
    label_at,
    picture,
    repaint,
    sample,
)
from finercam.aviary.scene import BACKGROUNDS
from finercam.aviary.species import (
    ATTRIBUTES,
    FAMILIES,
    PART_OF,
    PARTS,
    SPECIES,
    Family,
    Species,
    differing,
    family_of,
    find_species,
    label_names,
    look_alikes,
)

#: Folder of the embedded classifier, in timm's format.
MODEL = Path(__file__).parent / "model"

__all__ = [
    "ATTRIBUTES",
    "BACKGROUNDS",
    "FAMILIES",
    "MODEL",
    "PARTS",
    "PART_OF",
    "SPECIES",
    "Aviary",
    "Family",
    "Repainted",
    "Sample",
    "Species",
    "background_at",
    "differing",
    "empty_scene",
    "export",
    "family_of",
    "favourite",
    "find_species",
    "label_at",
    "label_names",
    "look_alikes",
    "picture",
    "repaint",
    "sample",
]
