"""Species and their ranks, as class names tell them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

#: From the widest to the narrowest.
RANKS = ("kingdom", "phylum", "class", "order", "family", "genus", "species")

#: Of seven words these begin the taxonomic strings of iNaturalist and BioCLIP, and no other names.
_KINGDOMS = (
    *("animalia", "archaea", "bacteria", "chromista", "eukaryota", "fungi", "metazoa", "plantae", "protista"),
    *("protozoa", "viridiplantae", "viruses"),
)


@dataclass(frozen=True)
class Taxon:
    """A class of a model in the system of living things.

    Attributes:
        ranks: its names in the order of ``RANKS``, empty where they are not known; the species with its genus,
            ``Agelaius phoeniceus``.
        common: its common name, if it has one.
    """

    ranks: tuple[str, ...]
    common: str = ""

    @property
    def scientific(self) -> str:
        """The narrowest name known."""
        return next((name for name in reversed(self.ranks) if name), "")

    @property
    def label(self) -> str:
        """The name as a class has it: ``Agelaius phoeniceus (Red-winged Blackbird)``."""
        if not self.scientific:
            return self.common
        return f"{self.scientific} ({self.common})" if self.common else self.scientific


def taxon(ranks: Sequence[str | None], common: str | None = None) -> Taxon:
    """Return a taxon from seven names, the last of which may be a species' epithet or its whole name."""
    clean = [" ".join((name or "").split()) for name in ranks]
    *above, genus, species = clean
    first, _, rest = species.partition(" ")
    # The magpie is Pica pica: an epithet may be its genus's name.
    if genus and species and not (rest and first.casefold() == genus.casefold()):
        species = f"{genus} {species}"
    if species and not genus and " " in species:
        genus = species.split()[0]
    return Taxon((*above, genus, species), " ".join((common or "").split()))


def taxon_named(name: str) -> Taxon | None:
    """Return what a class name tells of its place in the system; ``None`` where that is nothing.

    Understood are ``Agelaius phoeniceus (Red-winged Blackbird)``; iNaturalist's
    ``02912_Animalia_Chordata_Aves_Passeriformes_Icteridae_Agelaius_phoeniceus``, with spaces too, as BioCLIP has them;
    and SpeciesNet's ``uuid;class;order;family;genus;species;common name``.
    """
    parts = name.split(";")
    if len(parts) == 7:
        _, *ranks, common = (part.strip() for part in parts)
        above, species = [rank.capitalize() for rank in ranks[:4]], ranks[4]
        return taxon(["", "", *above, species], common) if any(ranks) else None
    words = re.sub(r"^\d+[._ ]", "", name).replace("_", " ").split()
    if len(words) == 7 and words[0].casefold() in _KINGDOMS:
        return taxon(words)
    found = re.fullmatch(r"([A-Z][a-z-]+) ([a-z].*?)\s*\(([^()]+)\)\s*", name)
    return None if found is None else taxon([*[""] * 5, found[1], found[2]], found[3])
