"""What carries the difference between two classes: against the literal numbers, on birds of which all is known."""

import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

import finercam
from finercam import Contrast, FinercamError, explain
from finercam.aviary import Aviary, label_names
from finercam.aviary.format import as_dataset
from finercam.models.run import Run
from finercam.runs.engine import run_study
from finercam.runs.loaded import loaded_classifier
from finercam.runs.local import Local
from finercam.studies.places import evenly, groups_of
from finercam.studies.traits.findings import ANY, directions_of, strongest
from finercam.studies.traits.measuring import PATCHES, SIDE, patches
from finercam.studies.traits.painting import painted_over
from finercam.studies.traits.rows import HEAT, read_carried
from finercam.studies.traits.study import Traits
from finercam.studies.traits.writing import sentence, sentences, traits_csv

FORK, FAN = (label_names.index(name) for name in ("Fork-tailed Wagtail", "Fan-tailed Wagtail"))
NAMES = dict(enumerate(label_names))


@pytest.fixture(scope="module")
def classifier():
    return finercam.load("aviary")


@pytest.fixture(scope="module")
def wagtails():
    every = as_dataset(Aviary("test", 400, 5))
    own = [item for item in every.items() if item.label in (FORK, FAN)]
    return replace(every, items=partial(iter, own[:9]))


def measured(classifier, data, out, batch=4, **given):
    study = Traits(NAMES, groups_of(data), data.part_names, **given)
    targets = list(range(len(label_names)))
    run = Run(images=batch)
    return study, run_study(
        study, loaded_classifier(classifier), data, str(out), targets, run=run, engine=Local(1)
    ).rows


@pytest.fixture(scope="module")
def rows(classifier, wagtails, tmp_path_factory):
    return measured(classifier, wagtails, tmp_path_factory.mktemp("traits"), pair=(FORK, FAN))[1]


def test_shares_are_those_of_the_map_that_explain_gives(classifier, wagtails, rows):
    for one, item in zip(read_carried(rows), wagtails.items(), strict=True):
        example = wagtails.open(item)
        assert one.key == item.key
        assert {one.target, one.other} == {FORK, FAN}
        assert one.target == item.label
        why = explain(classifier, example.photo, one.target, contrast=Contrast(against=[one.other], gamma=1))
        saliency, plain = (each.double().cpu() for each in (why.saliency, why.plain))
        even = evenly(torch.from_numpy(example.mask), tuple(why.map.shape)).double()
        assert one.margin == pytest.approx(float(why.logits[one.target] - why.logits[one.other]), abs=1e-3)
        assert one.confidence == pytest.approx(float(why.probabilities[one.target]), abs=1e-4)
        assert set(one.places) == {place for place, mask in example.part_masks.items() if mask.any()}
        for place, share, of_plain, of_even in zip(one.places, one.shares, one.plain, one.even, strict=True):
            mask = torch.from_numpy(example.part_masks[place])
            assert share == pytest.approx(float(saliency[mask].sum() / saliency.sum()), abs=1e-4)
            assert of_plain == pytest.approx(float(plain[mask].sum() / plain.sum()), abs=1e-4)
            assert of_even == pytest.approx(float(even[mask].sum() / even.sum()), abs=1e-4)
        heat = torch.tensor(one.heat).view(HEAT, HEAT)
        assert float(heat.sum()) == pytest.approx(1, abs=1e-4)
        assert float(np.linalg.norm(one.features)) == pytest.approx(1, abs=1e-4)
        middle = (np.array(example.parts[wagtails.part_names.index("tail")]) / example.photo.width).tolist()
        at = 2 * wagtails.part_names.index("tail")
        assert one.points[at : at + 2] == pytest.approx(middle, abs=1e-3)
        assert one.box == pytest.approx([edge / example.photo.width for edge in example.box], abs=1e-3)


def test_falls_are_what_painting_over_does_to_the_margin(classifier, wagtails, rows):
    one, item = read_carried(rows)[2], list(wagtails.items())[2]
    example = wagtails.open(item)
    image = classifier.preprocessing(example.photo)[None]
    with torch.no_grad():
        before = classifier.module(image)[0]
        for place, fall in zip(one.places, one.falls, strict=True):
            mask = torch.from_numpy(example.part_masks[place])
            after = classifier.module(painted_over(image, mask[None]))[0]
            gone = (before - after)[one.target] - (before - after)[one.other]
            assert fall == pytest.approx(float(gone), abs=2e-2)


def test_a_batch_gives_what_single_photos_do(classifier, wagtails, rows, tmp_path):
    single = measured(classifier, wagtails, tmp_path / "one", batch=1, pair=(FORK, FAN))[1]
    for one, other in zip(read_carried(rows), read_carried(single), strict=True):
        assert one.key == other.key
        for name in ("shares", "plain", "even", "falls", "elsewhere", "heat", "features"):
            assert getattr(one, name) == pytest.approx(getattr(other, name), abs=2e-3, nan_ok=True)
        assert [patch["box"] for patch in one.patches] == [patch["box"] for patch in other.patches]


def test_the_tail_tells_fork_tailed_from_fan_tailed(rows):
    both = directions_of(rows.table().to_pylist())
    assert {(one.target, one.other) for one in both} == {(FORK, FAN), (FAN, FORK)}
    for one in both:
        assert one.carriers[0].place == "tail"
        assert one.carriers[0].fall.mean > 2 > one.carriers[0].elsewhere.mean
        # Of so few photos nothing is claimed.
        assert one.carrier is None
    assert strongest(both) == []
    assert "too few" in sentence(both, NAMES)


def test_photos_of_other_classes_are_left_out_and_predicted_ones_are_found(classifier, tmp_path):
    every = as_dataset(Aviary("test", 64, 6))
    _, rows = measured(classifier, every, tmp_path / "label", pair=(FORK, FAN))
    assert {one.target for one in read_carried(rows)} <= {FORK, FAN}
    labelled = [item.key for item in every.items() if item.label in (FORK, FAN)]
    assert [one.key for one in read_carried(rows)] == labelled
    _, found = measured(classifier, every, tmp_path / "predicted", pair=(FORK, FAN), predicted=True)
    assert found.photos == 64
    # The classifier is right about nearly all birds.
    assert len(set(labelled) ^ {one.key for one in read_carried(found)}) <= 1


def test_without_a_pair_each_photo_is_compared_with_the_nearest_class(classifier, tmp_path):
    every = as_dataset(Aviary("test", 6, 7))
    _, rows = measured(classifier, every, tmp_path)
    for one, item in zip(read_carried(rows), every.items(), strict=True):
        logits = explain(classifier, every.open(item).photo, item.label).logits
        away = (logits - logits[item.label]).abs()
        away[item.label] = math.inf
        assert one.other == int(away.argmin())


def test_patches_hold_the_most_one_after_the_other():
    saliency = torch.zeros(64, 48)
    side = round(SIDE * 48)
    for (y, x), of in {(5, 5): 6.0, (40, 20): 3.0, (50, 44): 1.0}.items():
        saliency[y : y + 2, x : x + 2] = of / 4
    found = patches(saliency)
    assert len(found) == PATCHES
    assert [share for _, share in found] == pytest.approx([0.6, 0.3, 0.1])
    for ((x0, y0, x1, y1), _), (y, x) in zip(found, [(5, 5), (40, 20), (50, 44)], strict=True):
        assert (x1 - x0, y1 - y0) == (side, side)
        assert x0 <= x
        assert x + 2 <= x1
        assert y0 <= y
        assert y + 2 <= y1
    assert patches(torch.zeros(8, 8)) == []


def rows_by_hand(target, other, n, falls, elsewhere=0.0, places=("wing", "tail")):
    """Return rows in which every photo is alike but for a little noise."""
    noise = np.random.default_rng(target).normal(0, 0.05, (n, len(places)))
    return [
        {
            "target": target,
            "other": other,
            "correct": True,
            "margin": 5.0,
            "empty": False,
            "off": math.nan,
            "off_even": math.nan,
            "places": list(places),
            "shares": [0.5 + e for e in own],
            "plain": [0.4] * len(places),
            "even": [0.3] * len(places),
            "falls": [fall + e for fall, e in zip(falls, own, strict=True)],
            "elsewhere": [elsewhere] * len(places),
        }
        for own in noise
    ]


def test_each_class_is_named_by_what_costs_most_and_the_stronger_comes_first():
    both = directions_of(rows_by_hand(0, 1, 20, [1.0, 0.2]) + rows_by_hand(1, 0, 30, [0.1, 2.0]))
    found = [(NAMES[direction.target], carrier.place) for direction, carrier in strongest(both)]
    assert found == [(NAMES[1], "tail"), (NAMES[0], "wing")]
    said = sentence(both, {0: "Anis", 1: "Bnis"})
    assert said.startswith("Bnis and Anis are told apart by the tail of Bnis")
    assert "by the wing of Anis" in said
    assert "falls by 2.0" in said


def test_what_painting_over_anything_costs_is_no_finding():
    both = directions_of(rows_by_hand(0, 1, 20, [1.0, 0.2], elsewhere=1.0))
    assert strongest(both) == []
    assert "no part costs more" in sentence(both, {0: "Anis", 1: "Bnis"})


def test_a_class_has_no_rival_in_itself():
    with pytest.raises(FinercamError, match="one class only"):
        Traits({3: "a"}, {})
    with pytest.raises(FinercamError, match="one class only"):
        Traits({3: "a"}, {}, pair=(3, 3))


def test_some_photos_of_each_direction_are_read_spread_over_the_run(rows):
    every = read_carried(rows)
    some = read_carried(rows, 2)
    for target in (FORK, FAN):
        own = [one.id for one in every if one.target == target]
        assert [one.id for one in some if one.target == target] == [own[0], own[len(own) // 2]]
    assert [one.id for one in read_carried(rows, 100)] == [one.id for one in every]


def test_over_all_that_it_was_compared_with_a_class_has_its_own_line():
    rows = rows_by_hand(0, 1, 8, [1.0, 0.2]) + rows_by_hand(0, 2, 8, [1.2, 0.2])
    every = directions_of([row | {"other": ANY} for row in rows])
    names = {0: "Anis", 1: "Bnis", 2: "Cnis"}
    assert [one.photos for one in every] == [16]
    (told,) = sentences([every], names)
    assert told.startswith("Anis and its look-alikes are told apart by the wing of Anis")
    # Of each pair there are too few photos, and that is said once.
    assert sentences([[one] for one in directions_of(rows)], names) == [
        "2 more with fewer than 12 photos are in traits.csv"
    ]
    assert traits_csv(every, names).splitlines()[1].startswith("Anis,its look-alikes,16,16,0,5.0,wing,16,")


def test_the_probability_is_the_models_own_kind(classifier, wagtails, tmp_path):
    own = replace(wagtails, items=partial(iter, list(wagtails.items())[:2]))
    multi = replace(classifier, probabilities="sigmoid")
    for one, item in zip(read_carried(measured(multi, own, tmp_path, pair=(FORK, FAN))[1]), own.items(), strict=True):
        why = explain(multi, own.open(item).photo, one.target)
        assert one.confidence == pytest.approx(float(why.logits[one.target].sigmoid()), abs=1e-4)
