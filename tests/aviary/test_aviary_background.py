import numpy as np
import pytest

from finercam import aviary
from finercam.aviary import BACKGROUNDS, FAMILIES, SPECIES


def surprise(biased, of):
    """How far a contingency table of labels and backgrounds is from independence, in standard deviations of chi2."""
    labels = [of(aviary.label_at("leak", index)) for index in range(6400)]
    kinds = [BACKGROUNDS.index(aviary.background_at("leak", index, biased=biased)) for index in range(6400)]
    table = np.zeros((max(labels) + 1, len(BACKGROUNDS)))
    np.add.at(table, (labels, kinds), 1)
    expected = table.sum(1, keepdims=True) * table.sum(0) / table.sum()
    freedom = (len(table) - 1) * (len(BACKGROUNDS) - 1)
    return (((table - expected) ** 2 / expected).sum() - freedom) / np.sqrt(2 * freedom)


def family(label):
    return [family.name for family in FAMILIES].index(SPECIES[label].family)


def test_background_and_species_are_independent():
    assert surprise(False, int) < 4
    assert surprise(False, family) < 4


def test_background_and_species_go_together_where_that_is_asked_for():
    assert surprise(True, int) > 100
    shares = [
        aviary.background_at("leak", index, biased=True) == aviary.favourite(SPECIES[aviary.label_at("leak", index)])
        for index in range(2000)
    ]
    # 9 in 10, and a quarter of the rest.
    assert np.mean(shares) == pytest.approx(0.925, abs=0.03)


def test_look_alikes_have_different_favourites():
    for members in FAMILIES:
        assert len({aviary.favourite(species) for species in members.species}) == len(members.species)


def test_each_background_is_as_likely():
    counts = [aviary.background_at("even", index) for index in range(4000)]
    for kind in BACKGROUNDS:
        assert counts.count(kind) / 4000 == pytest.approx(0.25, abs=0.03)


def guess(biased):
    """Accuracy of naming the species among its look-alikes from the scene without the bird, by nearest means."""
    n = 12 * len(SPECIES)
    scenes = np.stack([aviary.empty_scene("guess", index, biased=biased, size=32) for index in range(n)])
    features = scenes.reshape(n, 4, 8, 4, 8, 3).mean((2, 4)).reshape(n, -1)
    labels = np.array([aviary.label_at("guess", index) for index in range(n)])
    half = n // 2
    means = np.stack([features[:half][labels[:half] == label].mean(0) for label in range(len(SPECIES))])
    right = []
    for feature, label in zip(features[half:], labels[half:], strict=True):
        alike = [other for other, species in enumerate(SPECIES) if species.family == SPECIES[label].family]
        right.append(alike[int(((means[alike] - feature) ** 2).sum(1).argmin())] == label)
    return np.mean(right)


def test_scenes_without_birds_tell_nothing_unless_biased():
    # Chance is 9 families in 32 species; the deviation of 192 guesses is 0.033.
    chance = len(FAMILIES) / len(SPECIES)
    assert guess(biased=False) == pytest.approx(chance, abs=0.13)
    assert guess(biased=True) > 0.55
