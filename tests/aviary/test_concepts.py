"""The study of whether concepts in words are found on the part they are seen on."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from finercam import explain, load
from finercam._torchvision import import_torchvision
from finercam.aviary import ATTRIBUTES, PART_OF, SPECIES, Aviary
from finercam.aviary.studies.concepts import (
    ALONE,
    BASE,
    Row,
    concept_classifier,
    concepts,
    measure,
    summarise,
    zero_shot,
)
from finercam.contrast.contrast import Contrast
from finercam.errors import FinercamError
from finercam.metrics.localization import average_precision, energy_inside

import_torchvision()
pytest.importorskip("open_clip")

BIRDS = Aviary(split="test", n=12, seed=5, size=96)


@pytest.fixture(scope="module")
def classifier():
    return concept_classifier("aviary-clip", device="cpu")


@pytest.fixture(scope="module")
def rows(classifier):
    return measure(classifier, BIRDS, gammas=[0.6, 1.0], batch_size=5)


def test_every_trait_that_can_be_seen_has_one_prompt():
    prompts = concepts()
    assert len(set(prompts.values())) == len(prompts)
    for species in SPECIES:
        for key, value in species.attributes.items():
            assert ((key, value) in prompts) == (value != "none")
    assert prompts["wing_bar", "white"] == "a white wing bar"


def test_every_trait_in_sight_has_a_row_for_every_map(rows):
    for index in range(len(BIRDS)):
        sample = BIRDS[index]
        expected = {
            (key, what)
            for key in ATTRIBUTES
            for what in (ALONE, "gamma 0.6", "gamma 1")
            if sample.attributes[key] != "none"
            and PART_OF[key] in sample.masks
            and sample.masks[PART_OF[key]].sum() >= 9
        }
        own = [row for row in rows if row.index == index]
        assert len(own) == len(expected)
        assert {(row.attribute, row.contrast) for row in own} == expected
        for row in own:
            assert row.value == sample.attributes[row.attribute]
            assert row.part == PART_OF[row.attribute]
            assert row.area == pytest.approx(sample.masks[row.part].mean())


@pytest.mark.parametrize(("title", "gamma"), [(ALONE, 0.0), ("gamma 0.6", 0.6), ("gamma 1", 1.0)])
def test_a_row_is_the_explanation_of_that_prompt_held_against_the_part(classifier, rows, title, gamma):
    row = [row for row in rows if row.contrast == title][7]
    sample = BIRDS[row.index]
    prompt = concepts()[row.attribute, row.value]
    found = explain(classifier, sample.image, prompt, contrast=Contrast(against=[BASE], gamma=gamma))
    mask = torch.from_numpy(sample.masks[row.part])[None]
    assert row.energy == pytest.approx(float(energy_inside(found.saliency[None], mask)), abs=1e-4)
    assert row.precision == pytest.approx(float(average_precision(found.saliency[None], mask)), abs=1e-3)


def test_concepts_are_found_better_than_by_chance(rows):
    """The shipped model grounds words: more than what a map would score that knows nothing, most of all the wings."""
    own = [row for row in rows if row.contrast == ALONE]
    wings = [row for row in own if row.attribute == "wing_colour"]
    assert np.mean([row.energy for row in own]) > 1.8 * np.mean([row.area for row in own])
    assert np.mean([row.precision for row in own]) > 4 * np.mean([row.area for row in own])
    assert np.mean([row.precision for row in wings]) > 0.25


def test_a_classifier_of_something_else_is_refused():
    with pytest.raises(FinercamError, match="concept_classifier"):
        measure(load("aviary", device="cpu"), BIRDS)


def test_a_summary_is_over_birds_and_paired():
    row = Row(0, "eye_ring", "white", "eye_ring", ALONE, 0.2, 0.3, 0.01, False)
    rows = [
        row,
        replace(row, attribute="wing_bar", part="wing_bar", energy=0.4, area=0.03),
        replace(row, index=1, energy=0.8, empty=True),
        replace(row, contrast="gamma 1", energy=0.3),
        replace(row, attribute="wing_bar", part="wing_bar", contrast="gamma 1", energy=0.5),
        # Another order of birds must not pair them wrongly.
        replace(row, index=1, contrast="gamma 1", energy=0.9),
    ]
    alone, finer = summarise([*rows[:3], rows[5], rows[3], rows[4]])
    assert (alone.of, alone.contrast, finer.contrast) == ("all", ALONE, "gamma 1")
    # The first bird's two traits count as one bird.
    assert alone.energy.mean == pytest.approx((0.3 + 0.8) / 2)
    assert alone.energy.n == 2
    assert alone.area == pytest.approx((0.01 + 0.03 + 0.01) / 3)
    assert alone.empty == pytest.approx(1 / 3)
    assert alone.energy_gain is None
    assert finer.energy_gain is not None
    assert (finer.energy_gain.mean, finer.energy_gain.low, finer.energy_gain.high) == pytest.approx((0.1, 0.1, 0.1))
    by_attribute = {(line.of, line.contrast): line for line in summarise(rows, "attribute")}
    assert by_attribute["eye_ring", ALONE].energy.mean == pytest.approx(0.5)
    assert by_attribute["wing_bar", "gamma 1"].energy.n == 1
    assert {line.of for line in summarise(rows, "trait")} == {"eye_ring=white", "wing_bar=white"}
    with pytest.raises(FinercamError, match="attribute"):
        summarise(rows, "part")


def test_accuracy_counts_the_nearest_prompt():
    found = zero_shot("aviary-clip", BIRDS, batch_size=5, device="cpu")
    one = [zero_shot("aviary-clip", _Only(BIRDS, index), device="cpu").traits for index in range(3)]
    three = zero_shot("aviary-clip", Aviary(split="test", n=3, seed=5, size=96), device="cpu")
    assert set(found.traits) == set(ATTRIBUTES)
    for key in ATTRIBUTES:
        assert three.traits[key] == pytest.approx(np.mean([each[key] for each in one]))
        assert all(each[key] in (0.0, 1.0) for each in one)
    assert found.trait == pytest.approx(np.mean(list(found.traits.values())))


class _Only(Aviary):
    """An aviary of one bird of another."""

    def __init__(self, birds: Aviary, index: int):
        super().__init__(birds.split, 1, birds.seed, size=birds.size)
        object.__setattr__(self, "_sample", birds[index])

    def __getitem__(self, index):
        return self._sample
