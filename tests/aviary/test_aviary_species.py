import itertools

import pytest

from finercam import aviary
from finercam.aviary import ATTRIBUTES, FAMILIES, PART_OF, PARTS, SPECIES
from finercam.aviary.captions import phrase
from finercam.errors import FinercamError


def test_the_table_is_complete():
    assert 28 <= len(SPECIES) <= 36
    assert len(set(aviary.label_names)) == len(SPECIES)
    assert tuple(species.name for species in SPECIES) == aviary.label_names
    assert set(PART_OF) == set(ATTRIBUTES)
    assert set(PART_OF.values()) <= set(PARTS)
    for species in SPECIES:
        assert list(species.attributes) == list(ATTRIBUTES)
        for key, value in species.attributes.items():
            assert value in ATTRIBUTES[key], (species.name, key)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_a_family_differs_in_its_named_traits_and_nothing_else(family):
    assert 3 <= len(family.species) <= 5
    assert 1 <= len(family.traits) <= 2
    used = set()
    for a, b in itertools.combinations(family.species, 2):
        differing = aviary.differing(a, b)
        assert differing, (a.name, b.name)
        assert set(differing) <= set(family.traits)
        used |= set(differing)
    assert used == set(family.traits)
    for species in family.species:
        assert aviary.family_of(species) is family
        assert set(aviary.look_alikes(species)) | {species} == set(family.species)


def test_families_differ_from_each_other_in_more_than_their_traits():
    for a, b in itertools.combinations(FAMILIES, 2):
        for one, other in itertools.product(a.species, b.species):
            assert len(aviary.differing(one, other)) > 2


def test_a_species_is_found_by_name_or_the_nearest_names_are_given():
    assert aviary.find_species("frost-barred FINCH") is SPECIES[0]
    with pytest.raises(FinercamError, match="did you mean 'Ruby-throated Warbler'"):
        aviary.find_species("Ruby throated Warbler")


def test_captions_name_every_trait_in_varied_words():
    seen = set()
    for index in range(3 * len(SPECIES)):
        drawn = aviary.sample("words", index, size=32)
        species = SPECIES[drawn.label]
        assert species.name in drawn.caption
        for trait in aviary.family_of(species).traits:
            assert phrase(trait, species.attributes[trait]) in drawn.caption
        assert drawn.caption[0].isupper()
        assert drawn.caption.endswith(".")
        before, after = drawn.caption.split(species.name)
        seen.add((before, after.split()[0]))
    # "A photo of an ...", "A ... has", "A ...: look", "Seen on a rock: a ..."
    assert {("A photo of a ", "with"), ("A ", "has"), ("A ", ":"), ("An ", "has")} <= seen
    assert any(before.startswith("Seen") for before, _ in seen)
