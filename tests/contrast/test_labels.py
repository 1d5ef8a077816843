"""From what a person writes to a class index."""

import pytest

from finercam.contrast.labels import Labels, find_class, short_names
from finercam.errors import FinercamError

LABELS = Labels(
    [
        "Agelaius phoeniceus (Red-winged Blackbird)",
        "Euphagus cyanocephalus (Brewer's Blackbird)",
        "001.Black_footed_Albatross",
        "tench, Tinca tinca",
        "crane",
        "Crane",
        "4",
    ]
)


@pytest.mark.parametrize(
    ("given", "index"),
    [
        ("Agelaius phoeniceus (Red-winged Blackbird)", 0),
        ("red winged blackbird", 0),
        ("Agelaius phoeniceus", 0),
        ("Brewers_Blackbird", 1),
        ("Black-footed Albatross", 2),
        ("tinca tinca", 3),
        ("Tench", 3),
        ("crane", 4),
        ("Crane", 5),
        (2, 2),
        ("2", 2),
        ("4", 6),
        (4, 4),
    ],
)
def test_a_class_is_found_by_name_or_index(given, index):
    assert LABELS.index(given) == index


def test_unknown_ambiguous_and_out_of_range_classes_are_errors():
    with pytest.raises(FinercamError, match=r"no class is called 'Red-wing Blackbird'.*Red-winged Blackbird"):
        LABELS.index("Red-wing Blackbird")
    with pytest.raises(FinercamError, match=r"name of 2 classes.*give the index"):
        LABELS.index("CRANE")
    with pytest.raises(FinercamError, match=r"out of range.*0 to 6"):
        LABELS.index(7)
    with pytest.raises(FinercamError, match="out of range"):
        LABELS.index(-1)


def test_without_names_only_indices_are_understood():
    assert find_class("3", 5, None) == 3
    with pytest.raises(FinercamError, match="has no class names"):
        find_class("crane", 5, None)


def test_short_names_are_the_common_ones():
    assert short_names(LABELS.names[:4]) == [
        "Red-winged Blackbird",
        "Brewer's Blackbird",
        "Black footed Albatross",
        "tench",
    ]
