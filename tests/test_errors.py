"""What a message offers in place of a name that is not there."""

import pytest

from finercam.errors import nearest

BIRDS = ("Least Tern", "Rhinoceros Auklet", "Monk Parakeet", "Red-winged Blackbird", "Brewer's Blackbird", "Jay")


@pytest.mark.parametrize(
    ("given", "offered"),
    [
        ("red-winged blackbrd", "did you mean 'Red-winged Blackbird'?"),
        ("blackbird", "did you mean 'Red-winged Blackbird', 'Brewer's Blackbird'?"),
        ("rhino", "did you mean 'Rhinoceros Auklet'?"),
        # These share a word or some letters with names that are something else.
        ("Least Auklet", "choose from: "),
        ("Parakeet Auklet", "choose from: "),
        ("e", "choose from: "),
    ],
)
def test_only_names_that_are_near_are_offered(given, offered):
    assert nearest(given, BIRDS).replace('"', "'").startswith(offered)


def test_of_many_names_a_few_are_shown():
    assert nearest("zz", map(str, range(1000))) == "choose from: 0, 1, 2, 3, 4 ... (1000 in all)"
    assert nearest("zz", "abc") == "choose from: a, b, c"
