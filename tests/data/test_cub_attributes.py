"""CUB-200-2011's attributes: the places where they are seen, and their words."""

import os
from pathlib import Path

import pytest

from finercam.data.formats.cub_attributes import CUB_PARTS, CUB_PLACES, cub_attribute
from finercam.data.reading import read_dataset
from finercam.errors import FinercamError

REAL = Path(os.environ.get("FINERCAM_SHARED", "")) / "data" / "cub10"
needs_real = pytest.mark.skipif(
    not os.environ.get("FINERCAM_SHARED") or not REAL.is_dir(), reason="FINERCAM_SHARED has no data/cub10"
)


def test_every_part_point_of_cub_is_at_one_place_and_every_group_at_known_places():
    parts = [part for own in CUB_PARTS.values() for part in own]
    assert len(parts) == len(set(parts)) == 15
    assert {place for places in CUB_PLACES.values() for place in places} == set(CUB_PARTS)
    assert [group for group, places in CUB_PLACES.items() if not places] == [
        "has_size",
        "has_shape",
        "has_primary_color",
    ]


@needs_real
def test_every_published_attribute_is_tied_to_places_or_listed_as_the_whole_birds():
    table = read_dataset(f"cub:{REAL}").attributes()
    assert len(table.attributes) == 312
    for one in table.attributes:
        group = one.name.split("::")[0]
        assert (one.places == ()) == (CUB_PLACES[group] == ())
        assert (one.phrase is None) == (one.places == ())
        assert set(one.places) <= set(CUB_PARTS)
    phrases = [one.phrase for one in table.attributes if one.phrase]
    assert not [phrase for phrase in phrases if "_" in phrase or "(" in phrase or "has" in phrase.split()]
    red_winged, brewer = (
        next(index for index, name in enumerate(table.class_names) if bird in name)
        for bird in ("Red_winged_Blackbird", "Brewer_Blackbird")
    )
    assert [one.phrase for one, _ in table.listed(red_winged, brewer)] == [
        "multi-colored wings",
        "red wings",
        "orange wings",
    ]


@pytest.mark.parametrize(
    ("name", "places", "phrase"),
    [
        ("has_wing_color::red", ("wing",), "red wings"),
        ("has_underparts_color::white", ("breast", "belly"), "white underparts"),
        ("has_tail_shape::forked_tail", ("tail",), "forked tail"),
        ("has_wing_shape::rounded-wings", ("wing",), "rounded wings"),
        ("has_under_tail_color::buff", ("tail",), "buff under tail"),
        ("has_head_pattern::eyering", ("eye",), "eye ring"),
        ("has_head_pattern::plain", ("crown", "forehead", "eye"), "plain head"),
        ("has_bill_length::longer_than_head", ("beak",), "bill longer than the head"),
        ("has_shape::duck-like", (), None),
    ],
)
def test_attributes_in_places_and_words(name, places, phrase):
    one = cub_attribute(name)
    assert (one.places, one.phrase) == (places, phrase)


def test_an_unknown_attribute_is_refused():
    with pytest.raises(FinercamError, match="'has_antlers::big' is not an attribute of CUB"):
        cub_attribute("has_antlers::big")
