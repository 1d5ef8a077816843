"""The study of whether maps show the true difference."""

import math
from dataclasses import replace

import pytest
import torch

from finercam import explain, load
from finercam.aviary import SPECIES, Aviary, look_alikes
from finercam.aviary.studies.difference import ALONE, Row, intervention, measure, summarise
from finercam.metrics.controls import CONTROLS
from finercam.metrics.localization import average_precision, energy_inside
from support.studies import runs_of


@pytest.fixture(scope="module")
def rows():
    return measure(load("aviary"), Aviary(split="test", n=24, seed=5), methods=["gradcam", "layercam"], batch_size=10)


def test_every_bird_has_a_row_for_every_map(rows):
    maps = {(row.method, row.contrast) for row in rows}
    assert maps == {
        *((name, "") for name in CONTROLS),
        *((method, what) for method in ("Grad-CAM", "Layer-CAM") for what in (ALONE, "gamma 0.6", "gamma 1")),
    }
    assert len(rows) == len({row.id for row in rows}) * len(maps)
    for row in rows:
        assert SPECIES[row.other] in look_alikes(SPECIES[row.target])
        assert 0 <= row.energy <= 1
        assert 0 < row.precision <= 1
        assert 0 < row.area < 0.3


def test_a_random_map_finds_the_difference_by_its_area(rows):
    own = [row for row in rows if row.method == "random"]
    assert sum(row.energy for row in own) == pytest.approx(sum(row.area for row in own), rel=0.15)


def test_batches_do_not_change_the_rows(rows):
    again = measure(load("aviary"), Aviary(split="test", n=4, seed=5), methods=["layercam"], batch_size=1)
    known = {(row.id, row.method, row.contrast): row for row in rows}
    for row in again:
        other = known[row.id, row.method, row.contrast]
        assert row.energy == pytest.approx(other.energy, abs=1e-4)
        assert row.margin == pytest.approx(other.margin, abs=1e-3)
        assert row.repainted == pytest.approx(other.repainted, abs=1e-3)


def test_the_model_is_run_once_per_batch_and_once_on_the_repainted_birds():
    classifier = load("aviary")
    with runs_of(classifier.module) as runs:
        measure(classifier, Aviary(split="test", n=7, seed=5), methods=["gradcam", "layercam"], batch_size=4, workers=0)
    assert runs == [4, 4, 3, 3]


def test_methods_of_one_kind_share_the_altered_copies():
    classifier, birds = load("aviary"), Aviary(split="test", n=2, seed=5)
    counts = []
    for methods in (["scorecam"], ["scorecam", "scorecam-consistent", "gradcam"]):
        with runs_of(classifier.module) as runs:
            measure(classifier, birds, methods=methods, gammas=[0.6], workers=0)
        counts.append(runs)
    assert counts[0] == counts[1]


def test_a_row_is_the_explanation_against_the_nearest_look_alike(rows):
    classifier, birds = load("aviary", device="cpu"), Aviary(split="test", n=24, seed=5)
    for row in [row for row in rows if (row.method, row.contrast) == ("Layer-CAM", "gamma 1")][:5]:
        sample = birds[row.id]
        other = SPECIES[row.other].name
        found = explain(classifier, sample.image, row.target, against=[row.other], gamma=1.0, method="layercam")
        truth = torch.from_numpy(sample.differences[other])[None]
        assert row.energy == pytest.approx(float(energy_inside(found.saliency[None], truth)), abs=1e-4)
        assert row.precision == pytest.approx(float(average_precision(found.saliency[None], truth)), abs=1e-3)
        assert row.area == pytest.approx(float(truth.double().mean()))
        repainted = explain(classifier, birds.repaint(row.id, other).image).logits
        for margin, logits in ((row.margin, found.logits), (row.repainted, repainted)):
            assert margin == pytest.approx(float(logits[row.target] - logits[row.other]), abs=1e-3)


def test_a_summary_is_the_mean_and_the_gain_is_paired():
    row = Row(0, 1, 2, True, "Grad-CAM", ALONE, 0.2, 0.3, 0.1, False, 2.0, -1.0)
    rows = [
        row,
        replace(row, contrast="gamma 1", energy=0.5),
        replace(row, id=1, energy=0.4, margin=1.0, repainted=0.5),
        replace(row, id=1, contrast="gamma 1", energy=0.7, margin=1.0, repainted=0.5),
        replace(row, id=2, correct=False, energy=1.0, margin=-1.0, repainted=-2.0),
    ]
    alone, finer = summarise(rows)
    assert alone.energy.mean == pytest.approx(0.3)
    assert alone.energy.n == 2
    assert alone.energy_gain is None
    assert finer.energy_gain is not None
    assert (finer.energy_gain.mean, finer.energy_gain.low, finer.energy_gain.high) == pytest.approx((0.3, 0.3, 0.3))
    found = intervention(rows)
    assert found.before.mean == pytest.approx(1.5)
    assert found.fall.mean == pytest.approx((3.0 + 0.5) / 2)
    assert found.changed_sides.mean == pytest.approx(0.5)
    assert intervention(rows, only_correct=False).fall.n == 3
    assert math.isnan(intervention([]).fall.mean)
