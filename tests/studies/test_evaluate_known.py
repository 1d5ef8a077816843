"""Class d among those of which the difference is known, and what hangs on it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

import finercam
from finercam.contrast.contrast import COMPARED, Contrast
from finercam.errors import FinercamError
from finercam.models.run import Run
from finercam.studies.evaluate import writing
from finercam.studies.evaluate.contrasts import contrast_name, contrasts_of
from finercam.studies.evaluate.evaluation import Evaluation
from finercam.studies.evaluate.maps import draw_classes
from finercam.studies.evaluate.tables import read_block
from support import evaluations
from support.evaluations import TARGETS, evaluate, rows_of
from support.literal_rows import Literal

METRICS = ("average-precision@difference", "average-precision@present", "average-precision@absent")
STUDY = Evaluation(contrasts=contrasts_of(gammas=[1.0], against=[COMPARED]), metrics=METRICS, other="known")
MORE = ("present", "absent")


def repaint(item, label):
    """A photo of another class is the photo upside down."""
    return ImageOps.flip(Image.open(item.uri)) if label == 0 else None


def opened(item):
    example = evaluations.open_with_differences(item)
    # Of the third photo no difference is known; the first lacks what the other class has.
    differences = {} if item.key == "2.png" else example.differences
    return replace(example, differences=differences, absent=frozenset({1} if item.key == "0.png" else ()))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    photos = evaluations.photos(tmp_path_factory.mktemp("photos"), 12)
    return replace(photos, open=opened, regions=(*photos.regions, *MORE), repaint=repaint)


@pytest.fixture(scope="module")
def out(data, tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("runs") / "run")
    evaluate(evaluations.classifier(), data, STUDY, folder, run=Run(images=5))
    return folder


def test_class_d_is_the_nearest_of_those_known_and_what_is_not_told_apart_is_left_out(data, out):
    rows = rows_of(out)
    assert [row["error"] for row in rows if row["error"]] == []
    told = {}
    for number, item in enumerate(data.items()):
        own, photo = [row for row in rows if row["id"] == number], Literal(item)
        known = [TARGETS[label] for label in opened(item).differences]
        first = own[0]
        if not known:
            assert len(own) == 1
            assert (first["other"], first["told apart"], first["margin"], first["method"]) == (None,) * 4
            continue
        other = min(known, key=lambda one: abs(float(photo.logits[one] - photo.logits[photo.target])))
        margin = float(photo.logits[photo.target] - photo.logits[other])
        assert first["other"] == other
        assert first["margin"] == pytest.approx(margin, abs=1e-9)
        assert first["told apart"] == (margin > 0)
        assert (first["method"] is None) == (len(own) == 1) == (margin <= 0)
        told[number] = margin > 0
        if other == TARGETS[0]:
            painted = evaluations.preprocess(repaint(item, 0))
            after = photo.net(painted[None])[0]
            assert first["margin repainted"] == pytest.approx(float(after[photo.target] - after[other]), abs=1e-9)
        else:
            assert first["margin repainted"] is None
    assert {True, False} == set(told.values())
    block = read_block(out)
    assert block.alike == (list(told.values()).count(False), 1)
    assert block.repainted is not None
    text = writing.to_markdown([block])
    assert f"Not explained: {block.alike[0]} that the model does not tell from class d, and 1 without a class" in text
    assert "Painting what differs as class d's lowers the margin" in text


def test_what_is_present_and_absent_is_told_apart(data, out):
    rows = [row for row in rows_of(out) if row["method"]]
    for row in rows:
        where = "absent" if row["key"] == "0.png" and row["other"] == TARGETS[1] else "present"
        assert row[f"average-precision@{where}"] == row["average-precision@difference"] is not None
        assert row["average-precision@present" if where == "absent" else "average-precision@absent"] is None


def test_the_class_compared_with_is_the_only_reference(data, out):
    rows = {(row["id"], row["contrast"]): row for row in rows_of(out) if row["method"] == "gradcam"}
    name = "finer gamma=1 against=compared"
    assert contrast_name(STUDY.contrasts[1]) == name
    for number, item in enumerate(data.items()):
        if (number, name) not in rows:
            continue
        row = rows[number, name]
        contrast = Contrast(against=[row["other"]], gamma=1)
        found = finercam.explain(evaluations.classifier(), Literal(item).image, row["target"], contrast=contrast)
        size = found.saliency.shape
        where = opened(item).differences[TARGETS.index(row["other"])][1::2, 1::2]
        assert where.shape == size
        precision = finercam.metrics.localization.average_precision(
            torch.as_tensor(found.saliency)[None], torch.from_numpy(np.ascontiguousarray(where))[None]
        )
        assert row["average-precision@difference"] == pytest.approx(float(precision), abs=1e-3)


def test_a_repainted_photo_costs_one_run_more(data, tmp_path):
    def runs(data, study):
        seen = []
        model = evaluations.classifier()
        model.module.register_forward_hook(lambda module, images, output: seen.append(len(images[0])))
        evaluate(model, data, study, tmp_path / f"{len(list(tmp_path.iterdir()))}", run=Run(images=20))
        # Making the classifier's copies runs it on noise of one image.
        return [count for count in seen if count > 1]

    study = replace(STUDY, controls=False)
    plain = runs(replace(data, repaint=None), study)
    assert plain[0] == 12
    painted = runs(data, study)
    assert painted[0] == 12
    assert sum(painted) > sum(plain)
    assert len(painted) == len(plain) + 1


def test_what_cannot_be_known_or_compared_is_refused(data, tmp_path):
    nothing = replace(data, regions=("box",))
    with pytest.raises(FinercamError, match="has no known differences; use other='similar'"):
        evaluate(evaluations.classifier(), nothing, replace(STUDY, metrics=("localization",)), tmp_path / "run")
    with pytest.raises(FinercamError, match="is for evaluations"):
        finercam.explain(evaluations.classifier(), torch.zeros(3, 12, 16).double(), 0, against=COMPARED)
    with pytest.raises(FinercamError, match="takes no rank"):
        Contrast(against="compared@2")


def test_another_target_than_the_label_has_no_known_difference(data, tmp_path):
    evaluate(evaluations.classifier(), data, replace(STUDY, target="predicted"), tmp_path / "run")
    for row in rows_of(tmp_path / "run"):
        if row["predicted"] != TARGETS[row["label"]]:
            assert row["other"] is row["method"] is None


def test_the_class_drawn_by_lot_is_no_class_of_the_question():
    targets, others = torch.tensor([0, 1, 2]), torch.tensor([3, 4, 5])
    found = draw_classes([7, 8, 9], targets, others, 8, [6])
    assert found is not None
    assert all(one not in (c, d, 6) for one, c, d in zip(found.tolist(), range(3), range(3, 6), strict=True))
    # Each image has its own lot, in whatever batch.
    assert draw_classes([8], targets[1:2], others[1:2], 8, [6]).tolist() == found[1:2].tolist()
    drawn = [int(draw_classes([n], targets[:1], others[:1], 8, [])) for n in range(60)]
    assert set(drawn) == {1, 2, 4, 5, 6, 7}
    assert draw_classes([7], targets[:1], others[:1], 2, []) is None
    assert draw_classes([7], targets[:1], others[:1], 4, [1, 2]) is None


def test_two_classes_leave_no_random_one(tmp_path):
    """A row of that control would be of a class that is asked about."""
    photos = evaluations.photos(tmp_path / "photos", 3)
    model = evaluations.classifier()
    named = Contrast(against=["bee", "x", "y", "z", "w"], gamma=1)
    study = Evaluation(contrasts=(named,), metrics=("localization", "class-sensitivity@random"))
    evaluate(model, photos, study, tmp_path / "run")
    rows = rows_of(tmp_path / "run")
    assert not any("random class" in row["contrast"] for row in rows)
    assert all(row["class-sensitivity@random"] is None for row in rows)
