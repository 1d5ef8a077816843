"""The examination on classifiers of which it is known exactly what they look at, and its numbers written out."""

from __future__ import annotations

import math
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from finercam import Classifier, FinercamError, explain, load
from finercam.aviary import SPECIES, label_names
from finercam.aviary.species import PART_OF, differing, look_alikes
from finercam.data.attributes import Attribute
from finercam.data.dataset import Dataset, Item
from finercam.data.dataset import Example as Opened
from finercam.data.format import FORMATS, data_format
from finercam.data.placement import Axis, Placement
from finercam.models.run import Run
from finercam.report.faithfulness import Example, draw_examples
from finercam.runs.engine import run_study
from finercam.runs.loaded import loaded_classifier
from finercam.runs.local import Local
from finercam.studies.faithfulness import rows as rows_module
from finercam.studies.faithfulness.examined import Examined, read_examined
from finercam.studies.faithfulness.rows import (
    ALIKE,
    IGNORES,
    LISTED,
    UNCERTAIN,
    USES,
    Pair,
    asked_in_words,
)
from finercam.studies.faithfulness.study import Faithfulness, look_again
from finercam.studies.faithfulness.subjects import Subject, read_subject
from finercam.studies.faithfulness.verdicts import Judgement, judge, judge_pairs, verdict_on
from finercam.studies.faithfulness.wording import TextMaps, Words
from finercam.studies.faithfulness.writing import findings_csv, rows_csv, to_markdown
from finercam.studies.places import evenly
from support.colour_readers import BOX, MIDDLES, NAMES, reader, write_birds
from support.examined import attributes_of, mean_between
from support.studies import measured, runs_of


@pytest.fixture(scope="module")
def birds(tmp_path_factory):
    return read_subject(f"cub:{write_birds(tmp_path_factory.mktemp('birds'))}", "all")


def examine(classifier: Classifier, subject: Subject, targets, batch: int, **options) -> list[Examined]:
    study = Faithfulness(subject.places, tuple(targets), **options)
    return measured(study, classifier, subject.dataset, read_examined, targets, batch)


def examined_by(birds, where: str, **options) -> list[Examined]:
    return examine(reader(where), birds, [0, 1], 5, **options)


def seen_by(birds, where: str, count: int = 1, **options):
    """Return the first photos with their maps."""
    study = Faithfulness(birds.places, (0, 1), **options)
    keys = [item.key for item in birds.dataset.items()][:count]
    return look_again(study, loaded_classifier(reader(where)), Run(), birds.dataset, keys)


def verdicts(judgement: Judgement) -> dict[str, tuple[str, str]]:
    return {one.name: (one.status, one.verdict) for one in judgement.findings}


# --- classifiers that read one place ---------------------------------------------------------------------------------


def test_a_classifier_that_reads_the_wing_uses_the_wing(birds):
    examined = examined_by(birds, "left wing")
    found = judge(examined)
    assert (found.photos, found.correct, found.empty) == (12, 12, 0)
    # The comparison has nothing to draw there: the plain map is on the wing already.
    assert all(abs(row.alignment - row.plain) < 1e-6 for one in examined for row in one.rows)
    assert verdicts(found)["wing"] == (LISTED, USES)
    assert {verdict for name, (_, verdict) in verdicts(found).items() if name != "wing"} == {IGNORES}
    assert found.background == "no"
    assert found.sentence() == (
        f"uses: wing; ignores: none; looks elsewhere: no (0 % of the saliency off the object, "
        f"{100 * found.on_listed.mean:.0f} % on what differs)"
    )
    assert all(row.verdict == USES for one in examined for row in one.rows if row.status == LISTED)
    pairs = {(one.target, one.other): one for one in judge_pairs(examined)}
    assert set(pairs) == {(0, 1), (1, 0)}
    assert pairs[0, 1].sentence().startswith("uses: wing (red wings);")
    assert pairs[1, 0].sentence().startswith("uses: wing (blue wings);")


def test_a_classifier_that_reads_the_background_looks_elsewhere(birds):
    found = judge(examined_by(birds, "background"))
    assert found.correct == 12
    assert verdicts(found)["wing"] == (LISTED, IGNORES)
    assert found.background == "yes"
    assert found.off.low > 0.5
    assert found.sentence().startswith("uses: none; ignores: wing; looks elsewhere: the background (")


def test_a_classifier_that_reads_what_does_not_differ_is_caught(birds):
    found = judge(examined_by(birds, "tail"))
    assert verdicts(found)["tail"] == (ALIKE, USES)
    assert verdicts(found)["wing"] == (LISTED, IGNORES)
    assert "looks elsewhere: tail (no difference)" in found.sentence()
    # The tail is red: to the second species, which blue speaks for, its contrast has nothing.
    assert found.empty == 0 or found.empty == 6


def test_batches_do_not_matter(birds):
    one = examine(reader("left wing"), birds, [0, 1], 1)
    all_at_once = examine(reader("left wing"), birds, [0, 1], 100)
    first, second = ([row for each in run for row in each.rows] for run in (one, all_at_once))
    assert [(row.key, row.name, row.verdict) for row in first] == [(row.key, row.name, row.verdict) for row in second]
    for number in ("alignment", "chance", "advantage", "gain", "above", "plain"):
        values = [[getattr(row, number) for row in rows] for rows in (first, second)]
        np.testing.assert_allclose(*values, atol=1e-6)


def test_a_method_that_answers_only_what_it_was_asked_is_asked_all(birds):
    words = TextMaps("aviary-clip", birds.attributes, device="cpu", method="mask@cells=3@steps=1")
    ((seen, _),) = seen_by(birds, "left wing", method="mask@cells=3@steps=2", words=words)
    assert seen.words
    for saliency, _ in (seen.saliency, *seen.words.values()):
        assert float(saliency.max()) > 0


def test_all_photos_are_held_against_the_class_named(birds):
    examined = examined_by(birds, "left wing", against=1)
    assert {(one.target, one.other) for one in examined} == {(0, 1)}
    assert len(examined) == 6


def test_the_most_similar_class_is_the_nearest_in_logit_among_its_look_alikes():
    subject = read_subject("aviary", images=6)
    classifier = load("aviary", device="cpu")
    items = {item.key: item for item in subject.dataset.items()}
    for one in examine(classifier, subject, range(len(SPECIES)), 4):
        photo = subject.dataset.open(items[one.key]).photo
        with torch.no_grad():
            logits = classifier.module(classifier.preprocessing(photo)[None])[0]
        family = [label_names.index(other.name) for other in look_alikes(SPECIES[one.target])]
        assert one.other == min(family, key=lambda other: abs(float(logits[other] - logits[one.target])))
        assert one.correct == (int(logits.argmax()) == one.target)


# --- the aviary ----------------------------------------------------------------------------------------------------


class _Border(nn.Module):
    """Reads the colour of the picture's border, random for each species: a background reader."""

    def __init__(self):
        super().__init__()
        keep = torch.zeros(16, 16)
        keep[0], keep[:, 0], keep[:, -1] = 1, 1, 1
        self.cells = _Kept(keep)
        self.head = nn.Linear(6, len(SPECIES))
        self.head.weight.data = torch.randn(self.head.weight.shape, generator=torch.Generator().manual_seed(0))

    def forward(self, x):
        return self.head(self.cells(x).mean((2, 3)))


class _Kept(nn.Module):
    def __init__(self, keep):
        super().__init__()
        self.register_buffer("keep", keep)

    def forward(self, x):
        cells = torch.nn.functional.adaptive_avg_pool2d(x, 16)
        return torch.cat([cells, -cells], 1).relu() * self.keep


def test_on_the_aviary_a_background_reader_is_caught_and_the_embedded_one_cleared():
    subject = read_subject("aviary", images=16)
    clean = load("aviary", device="cpu")
    targets = list(range(len(SPECIES)))
    cleared = judge(examine(clean, subject, targets, 8))
    assert cleared.background == "no"
    border = Classifier.of(
        _Border(), "cells", preprocess=clean.preprocessing, class_names=label_names, image_size=(128, 128)
    )
    caught = judge(examine(border, subject, targets, 8))
    assert caught.background == "yes"
    assert "the background (" in caught.sentence()
    assert not caught.named(USES)
    assert cleared.on_listed.low > 0.06 > 0.03 > caught.on_listed.high


def test_places_of_the_aviary_are_its_masks_and_what_differs_its_difference():
    subject = read_subject("aviary:biased", images=20)
    axis = Axis(1.0, 0.0, 128, 128)
    as_it_is = Placement(axis, axis)
    checked = 0
    for item in subject.dataset.items():
        example = subject.dataset.open(item)
        species = SPECIES[item.label]
        for other in look_alikes(species):
            label = label_names.index(other.name)
            places = subject.places.on(item.label, example, as_it_is).against(label)
            traits = {PART_OF[key] for key in differing(species, other)}
            union = np.logical_or.reduce([places[place].numpy() for place in traits if place in places])
            np.testing.assert_array_equal(union, example.differences[label])
            shown = np.logical_or.reduce([mask.numpy() for place, mask in places.items() if place not in traits])
            assert not (shown & ~example.mask).any()
            checked += len(traits) > 1
    assert checked > 2  # pairs that differ in two places


def test_a_format_from_outside_is_examined_by_the_masks_of_its_parts():
    parts = {name: np.zeros((10, 10), bool) for name in ("left wing", "right wing", "tail", "horn")}
    for row, mask in enumerate(parts.values()):
        mask[row] = True
    difference = np.zeros((10, 10), bool)
    difference[:, 5] = True
    table = replace(
        attributes_of(wing=(90, 0), tail=(80, 0), crown=(5, 5)), parts={"wing": ("left wing", "right wing")}
    )

    def opened(item):
        photo = Image.new("RGB", (10, 10))
        return Opened(photo, part_masks=parts, differences={1: difference} if item.key == "told apart" else {})

    with FORMATS.restored():

        @data_format("mine", "Mine", knows=("attributes",))
        def read(place: str, split: str) -> Dataset:
            items = (Item("told apart", "", 0), Item("alone", "", 0))
            return Dataset("mine", ("c", "d"), lambda: iter(items), opened, attributes=lambda: table)

        subject = read_subject("mine:here")
    axis = Axis(1.0, 0.0, 10, 10)
    apart, alone = (
        subject.places.on(item.label, subject.dataset.open(item), Placement(axis, axis)).against(1)
        for item in subject.dataset.items()
    )
    wings = parts["left wing"] | parts["right wing"]
    # The horn is no place of an attribute, and the crown has no mask.
    assert set(alone) == set(apart) == {"wing", "tail"}
    np.testing.assert_array_equal(alone["wing"], wings)
    np.testing.assert_array_equal(alone["tail"], parts["tail"])
    np.testing.assert_array_equal(apart["wing"], difference & ~parts["tail"])
    np.testing.assert_array_equal(apart["tail"], difference & ~wings)


# --- attributes ----------------------------------------------------------------------------------------------------


def test_listed_attributes_lead_most_and_shared_ones_do_not_differ(birds):
    table = birds.attributes
    # The tail's 5 points are no difference, and size has no place.
    assert [(one.name, size) for one, size in table.listed(0, 1)] == [("has_wing_color::red", 90.0)]
    assert [one.name for one, _ in table.listed(1, 0)] == ["has_wing_color::blue"]
    ranked = attributes_of(wing=(40, 0), tail=(5, 90), leg=(75, 10), eye=(31, 0), nape=(80, 0), beak=(30, 0))
    assert [one.name for one, _ in ranked.listed(0, 1)] == ["nape::x", "leg::x", "wing::x"]
    assert [one.name for one, _ in ranked.listed(0, 1, count=9)] == ["nape::x", "leg::x", "wing::x", "eye::x"]
    assert [one.name for one, _ in attributes_of(wing=(20, 0), tail=(10, 0)).listed(0, 1)] == ["wing::x"]
    assert table.largest(0, 1) == {"wing": 90, "tail": 5, "throat": 0, "crown": 5, "leg": 0}
    assert [one.name for one, _ in table.shared(0, 1)] == [
        "has_throat_color::red",
        "has_crown_color::red",
        "has_leg_color::red",
        "has_tail_shape::forked_tail",
    ]
    assert [(one.name, status) for one, _, status in asked_in_words(table, Pair("a", 0, 1), 1)] == [
        ("has_wing_color::red", LISTED),
        ("has_throat_color::red", ALIKE),
        ("has_crown_color::red", ALIKE),
        ("has_leg_color::red", ALIKE),
        ("has_tail_shape::forked_tail", ALIKE),
    ]


# --- words ---------------------------------------------------------------------------------------------------------


class _Words(Words):
    """A text model that is known: the map of each phrase, whatever the photo."""

    def __init__(self, map_of):
        self.map_of = map_of

    def settings(self):
        return {}

    def maps(self, photos, phrases, run):
        axis = Axis(1.0, 0.0, 96, 96)
        return [{phrase: (self.map_of(phrase), Placement(axis, axis)) for phrase in own} for own in phrases]


def test_with_words_a_wing_reader_agrees_with_red_wings(birds):
    """The text model is exact here: each phrase's map is its place."""
    places = {"wings": "left wing", "throat": "throat", "crown": "crown", "legs": "left leg", "tail": "tail"}

    def blob(phrase):
        x, y = MIDDLES[places[phrase.split()[-1]]]
        rows, columns = (torch.arange(96.0) + 0.5 for _ in range(2))
        return torch.exp(-((rows[:, None] - y) ** 2 + (columns - x) ** 2) / 100)

    words = _Words(blob)
    examined = examined_by(birds, "left wing", words=words, count=1)
    found = judge(examined)
    assert verdicts(found)["wing"] == (LISTED, USES)
    assert {verdict for name, (_, verdict) in verdicts(found).items() if name != "wing"} == {IGNORES}
    wing = found.findings[0]
    assert wing.overlap.low > wing.overlap_chance.high + 0.2
    assert found.background == "no"
    away = judge(examined_by(birds, "background", words=words, count=1))
    assert verdicts(away)["wing"] == (LISTED, IGNORES)
    assert away.background == "yes"
    ((seen, photo),) = seen_by(birds, "left wing", words=words, count=1)
    picture = draw_examples([Example(seen, photo, "Red", "Blue", draw_other())])
    alone = draw_examples([Example(seen, photo, "Red", "Blue")] * 2)
    assert picture.width > alone.width
    assert alone.height == 2 * picture.height
    assert "rank correlation" in to_markdown([found], NAMES, "x", in_words=True)


def draw_other():
    from support.colour_readers import draw

    return draw(1, 99)


# --- verdicts ------------------------------------------------------------------------------------------------------


def test_what_the_text_model_does_not_find_says_nothing_of_the_classifier(birds):
    """Its maps are all of the tail, whatever is asked for."""
    x, y = MIDDLES["tail"]
    tail = torch.zeros(96, 96)
    tail[y - 8 : y + 8, x - 8 : x + 8] = 1

    words = _Words(lambda phrase: tail)
    examined = examined_by(birds, "tail", words=words)
    found = {one.name: one for one in judge(examined).findings}
    assert found["wing"].found.mean == -1
    assert found["tail"].found.low > 0.5
    assert found["wing"].verdict == UNCERTAIN
    assert {row.verdict for one in examined for row in one.rows if row.status == LISTED} == {UNCERTAIN}
    wing = found["wing"]
    assert verdict_on(LISTED, wing.advantage, wing.gain, []) == IGNORES
    (row, *_) = [row for row in examined[0].rows if "tail" in row.places]
    ((seen, _),) = seen_by(birds, "tail", words=words)
    mask = seen.places["tail"]
    even = evenly(torch.from_numpy(np.pad(np.ones((64, 64), bool), 16)), (12, 12))
    shares = [float(each[mask].sum() / each.sum()) for each in (tail, even)]
    assert row.found == pytest.approx((shares[0] - shares[1]) / sum(shares), abs=1e-3)


@pytest.mark.parametrize(
    ("off", "excess", "expected"),
    [
        ((0.2, 0.3), (0.05, 0.1), "yes"),
        ((0.04, 0.06), (0.01, 0.02), "no"),  # more than on what differs, and hardly any
        ((0.08, 0.3), (0.01, 0.2), UNCERTAIN),
        ((0.2, 0.3), (-0.05, 0.1), UNCERTAIN),
        ((0.2, 0.3), (-0.2, -0.1), "no"),
    ],
)
def test_the_verdict_on_the_background(birds, off, excess, expected):
    found = judge(examined_by(birds, "left wing"))
    assert replace(found, off=mean_between(*off), excess=mean_between(*excess)).background == expected


def test_intervals_are_over_photos(birds):
    examined = examined_by(birds, "left wing")
    rows = list(examined[0].rows)
    # Two rows of one place on one photo count as one photo.
    doubled = [replace(row, alignment=row.alignment + 0.2) for row in rows if row.name == "wing"]
    first = replace(examined[0], rows=(*rows, *doubled))
    wing = judge([first]).findings[0]
    assert (wing.name, wing.alignment.n) == ("wing", 1)
    assert wing.alignment.mean == pytest.approx(doubled[0].alignment - 0.1)
    assert wing.verdict == UNCERTAIN
    assert judge([first]).background == UNCERTAIN


def test_tables_hold_every_row_and_finding(birds):
    examined = examined_by(birds, "left wing")
    judgements = [judge(examined), *judge_pairs(examined)]
    lines = rows_csv(examined, NAMES).splitlines()
    assert len(lines) == 1 + sum(len(one.rows) for one in examined)
    findings = findings_csv(judgements, NAMES).splitlines()
    assert len(findings) == 1 + sum(len(one.findings) for one in judgements)
    assert len({line.count(",") for line in lines}) == 1
    report = to_markdown(judgements, NAMES, "A reader", in_words=False)
    assert "## Red Bluet, not Blue Bluet" in report
    assert judgements[0].sentence() in report


# --- the run ----------------------------------------------------------------------------------------------------------


def test_each_model_is_run_once_per_batch(birds):
    words = TextMaps("aviary-clip", birds.attributes, device="cpu")
    classifier = reader("left wing")
    with runs_of(classifier.module) as own, runs_of(words.classifier.module) as texts:
        examined = examine(classifier, birds, [0, 1], 5, words=words)
    assert own == texts == [5, 5, 2]
    assert all(row.alignment == row.alignment for one in examined for row in one.rows if row.status == LISTED)


def test_maps_of_a_text_model_are_those_of_one_photo_and_phrase(birds):
    words = TextMaps("aviary-clip", birds.attributes, gamma=0.8, device="cpu")
    items = list(birds.dataset.items())[:3]
    pictures = [birds.dataset.open(item).photo for item in items]
    phrases = [["red wings", "red throat"], [], ["blue wings"]]
    found = words.maps(pictures, phrases, Run())
    assert [list(own) for own in found] == phrases
    for photo, own in zip(pictures, found, strict=True):
        for phrase, (saliency, placement) in own.items():
            alone = explain(words.classifier, photo, phrase, against=["bird"], gamma=0.8)
            torch.testing.assert_close(saliency, alone.saliency, atol=1e-4, rtol=1e-3)
            assert (placement.x.photo, placement.y.photo) == photo.size
    assert words.maps(pictures[:1], [[]], Run()) == [{}]


def test_a_study_is_sent_to_other_processes_without_the_text_model(birds):
    words = TextMaps("aviary-clip", birds.attributes, device="cpu")
    study = Faithfulness(birds.places, (0, 1), words)
    settings = study.settings()
    sent = pickle.dumps(study)
    assert len(sent) < 100_000
    again = pickle.loads(sent)
    assert "classifier" not in vars(again.words)
    assert again.settings() == settings


def test_a_photo_that_cannot_be_read_fails_alone_and_can_be_tried_again(tmp_path):
    subject = read_subject(f"cub:{write_birds(tmp_path / 'birds')}", "all")
    third = list(subject.dataset.items())[2]
    photo = Path(third.uri).read_bytes()
    Path(third.uri).write_bytes(b"no picture")
    study = Faithfulness(subject.places, (0, 1))
    model = loaded_classifier(reader("left wing"))

    def run(**options):
        arguments = (study, model, subject.dataset, str(tmp_path / "run"), [0, 1])
        with runs_of(model.model.module) as runs:
            return run_study(*arguments, run=Run(images=4), engine=Local(workers=0), **options), runs

    finished, runs = run()
    assert runs == [2, 4, 4, 1]
    assert [key for key, _ in finished.rows.failed] == [third.key]
    assert len(read_examined(finished.rows)) == 11
    assert study.summary(finished.rows)[0].photos == 11
    report = to_markdown(study.summary(finished.rows), NAMES, "x", in_words=False, failed=finished.rows.failed)
    assert f"/{third.key}' is not a picture that can be read" in report
    finished, runs = run()
    assert (finished.resumed, finished.measured, runs) == (True, 0, [])
    Path(third.uri).write_bytes(photo)
    finished, runs = run(retry_failed=True)
    assert finished.rows.failed == ()
    expected = examine(model.model, subject, [0, 1], 4)
    assert [(one.key, one.rows) for one in read_examined(finished.rows)] == [(one.key, one.rows) for one in expected]


def test_a_photo_without_any_attribute_in_sight_keeps_its_numbers(birds):
    nothing = replace(
        birds.attributes, attributes=(Attribute("has_wing_color::red", (), None),), strengths=np.ones((2, 1))
    )
    (one, *others) = examine(reader("left wing"), replace(birds, attributes=nothing), [0, 1], 5)
    assert len(others) == 11
    assert one.rows == ()
    assert 0 <= one.off <= 1
    assert math.isnan(one.on_listed)


# --- errors --------------------------------------------------------------------------------------------------------


def test_data_without_attributes_and_a_single_class_are_refused(birds, tmp_path):
    from support.pictures import save_picture

    save_picture(tmp_path / "photos" / "one" / "a.png")
    message = r"attributes of the classes of 'folder:.*' are not known.*; give (cub:DIR|aviary), .* or \S*$"
    with pytest.raises(FinercamError, match=message):
        read_subject(f"folder:{tmp_path / 'photos'}", "all")
    with pytest.raises(FinercamError, match="the classifier must know two classes"):
        examine(reader("tail"), birds, [0, -1], 5)
    with pytest.raises(FinercamError, match="no class that the classifier knows"):
        examine(reader("tail"), birds, [-1, -1], 5)
    with pytest.raises(FinercamError, match="the classifier must know two classes"):
        examine(reader("tail"), birds, [1, 1], 5)


def test_the_box_is_the_outline_where_there_is_no_mask(birds):
    ((seen, _),) = seen_by(birds, "background")
    one = seen.examined
    x0, y0, x1, y1 = BOX
    yes = np.zeros((96, 96), bool)
    # Cells of 8 pixels, one and a half of them around the box; rounded at the corners.
    ys, xs = np.mgrid[:96, :96]
    away = np.hypot(
        np.maximum(np.maximum(x0 - xs, xs - (x1 - 1)), 0), np.maximum(np.maximum(y0 - ys, ys - (y1 - 1)), 0)
    )
    yes = away > 12
    assert one.off_area == pytest.approx(yes.mean())
    saliency = seen.saliency[0].numpy()
    assert one.off == pytest.approx(saliency[yes].sum() / saliency.sum(), abs=1e-5)
    assert rows_module.CONTROLS == 2
