"""From what a person writes to a class index."""

import numpy as np
import pytest
import torch

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


@pytest.mark.parametrize("given", ["²", "٣", "9" * 5000, "1" * 19, "-1", "1.0", ""])
def test_only_plain_digits_are_a_number(given):
    for labels in (Labels(["a", "b"]), None):
        with pytest.raises(FinercamError):
            find_class(given, 2, labels)


@pytest.mark.parametrize("given", [torch.tensor(1), np.int64(1), np.array(1), torch.tensor([1])[0], "1", " 1 ", 1])
def test_an_index_may_come_out_of_an_array(given):
    assert find_class(given, 2, Labels(["a", "b"])) == find_class(given, 2, None) == 1


@pytest.mark.parametrize(
    "given", [True, 1.0, None, torch.tensor(True), torch.tensor(1.0), np.bool_(True), np.float32(1), object(), b"b"]
)
def test_what_is_neither_a_name_nor_an_index_is_refused(given):
    for labels in (Labels(["a", "b"]), None):
        with pytest.raises(FinercamError, match="is not a class; give a name or an index"):
            find_class(given, 2, labels)
