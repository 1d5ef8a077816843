"""Rows of an evaluation against the literal numbers."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from finercam.models.run import Run
from finercam.studies.evaluate import batches, maps
from finercam.studies.evaluate.contrasts import contrasts_of
from finercam.studies.evaluate.evaluation import Evaluation
from finercam.studies.evaluate.tables import read_block
from support import evaluations
from support.evaluations import evaluate, rows_of, same
from support.literal_rows import CONTRASTS, Literal, agree, expected_of, ordered, spearman

METRICS = (
    "deletion",
    "insertion",
    "confidence-drop@0.1",
    "relative-drop@0.1",
    "relative-drop@0.1@fill=blur",
    "relative-drop@0.1@cells=4",
    "localization",
    "localization@box",
    "localization@mask",
    "localization@difference",
    "average-precision",
    "average-precision@mask",
    "pointing@difference",
    "iou@0.2",
    "iou",
    "parts@0.2",
    "parts-precision@0.2",
    "class-sensitivity",
    "class-sensitivity@random",
    "class-sensitivity@reversed",
)
STUDY = Evaluation(
    methods=("gradcam", "layercam"),
    contrasts=contrasts_of(references=(2,), gammas=[0.6, 1.0]),
    metrics=METRICS,
    steps=10,
)
FOURS = Run(images=4)
CONTROLS = ("plain, cubed", "plain, noisy", f"{CONTRASTS[1]}, random class", f"{CONTRASTS[1]}, reversed")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return evaluations.photos(tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="module")
def out(data, tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("runs") / "run")
    assert evaluate(evaluations.classifier(), data, STUDY, folder, run=FOURS).photos == 6
    return folder


@pytest.fixture(scope="module")
def rows(out):
    return rows_of(out)


@pytest.mark.parametrize("number", range(6))
def test_every_column_is_the_literal_number(data, rows, number):
    photo = Literal(list(data.items())[number])
    own = [row for row in rows if row["id"] == number]
    assert {(row["method"], row["contrast"]) for row in own} == {
        *((method, contrast) for method in STUDY.methods for contrast in (*CONTRASTS, *CONTROLS)),
        *((name, "control") for name in ("random", "blurred random", "centre")),
    }
    assert len(own) == 17
    before = photo.probabilities(photo.image)
    for row in own:
        assert (row["key"], row["label"]) == (f"{number}.png", number % 3)
        assert (row["target"], row["other"]) == (photo.target, photo.other)
        assert row["predicted"] == int(photo.logits.argmax())
        assert row["correct"] == (row["predicted"] == photo.target)
        assert row["error"] is None
        assert row["confidence"] == pytest.approx(float(before[photo.target]), abs=1e-9)
        assert row["other confidence"] == pytest.approx(float(before[photo.other]), abs=1e-9)
        method, contrast = row["method"], row["contrast"]
        if contrast == "control":
            saliency = photo.control(method, number)
        else:
            asked, _, kind = contrast.partition(", ")
            about = photo.drawn(number) if kind == "random class" else None
            saliency = photo.saliency(method, asked, about, reverse=kind == "reversed")
            if kind == "cubed":
                saliency = saliency**3
            elif kind == "noisy":
                saliency = photo.noisy(saliency, number)
        exactly = ordered(saliency)
        for name, value in expected_of(photo, saliency).items():
            by_order = not name.startswith(("localization", "parts@"))
            # Where pixels tie here and are a last bit apart there, a share of a thousandth.
            tolerance = 1e-3 if "-precision" in name else 1e-6
            agree(row[name], value, (method, contrast, name), tolerance if exactly or not by_order else 0.1)
        for name, other in {
            "class-sensitivity": lambda: photo.saliency(method, "plain", photo.other),  # noqa: B023 - used at once
            "class-sensitivity@random": lambda: photo.saliency(method, contrast, photo.drawn(number)),  # noqa: B023
            "class-sensitivity@reversed": lambda: photo.saliency(method, contrast, reverse=True),  # noqa: B023
        }.items():
            if contrast in CONTRASTS:
                # Pixels that tie here and not there share a rank: less than a thousandth.
                agree(row[name], spearman(saliency, other()), (method, contrast, name), 1e-3)
            else:
                assert row[name] is None


def test_the_photos_try_what_matters(rows):
    """Several predictions, right and wrong; regions that are there and not; maps that differ."""
    once = {row["id"]: row for row in rows}
    assert len({row["predicted"] for row in once.values()}) > 1
    assert {row["correct"] for row in once.values()} == {True, False}
    for name in ("localization@box", "localization@mask", "localization@difference", "parts@0.2"):
        assert {row[name] is None for row in rows} == {True, False}, name
    assert len({round(row["deletion"], 6) for row in rows if row["id"] == 0}) > 5


def test_of_most_maps_the_order_is_certain(data):
    photos = [Literal(item) for item in data.items()]
    certain = [ordered(photo.saliency(m, c)) for photo in photos for m in STUDY.methods for c in CONTRASTS]
    assert sum(certain) >= 24 > 0.6 * len(certain)


def test_cubing_raises_energy_and_changes_no_ranking(rows):
    for row in rows:
        if row["contrast"] == "plain, cubed":
            base = next(r for r in rows if (r["id"], r["method"], r["contrast"]) == (row["id"], row["method"], "plain"))
            for name in ("deletion", "insertion", "relative-drop@0.1", "average-precision", "iou@0.2"):
                assert row[name] == pytest.approx(base[name], abs=1e-12)
            if not row["empty"]:
                assert row["localization"] != base["localization"]


def test_the_schema_of_the_rows(out):
    numbers = [(name, pa.float64()) for name in METRICS]
    curves = [
        (f"{name} {kind}", pa.list_(pa.float32()))
        for name, kind in (
            ("deletion", "curve"),
            ("deletion", "curve of other"),
            ("insertion", "curve"),
            ("insertion", "curve of other"),
            ("parts@0.2", "shares"),
        )
    ]
    image = [
        ("id", pa.int64()),
        ("key", pa.string()),
        ("label", pa.int32()),
        ("target", pa.int32()),
        ("other", pa.int32()),
        ("told apart", pa.bool_()),
        ("predicted", pa.int32()),
        ("correct", pa.bool_()),
        ("confidence", pa.float64()),
        ("other confidence", pa.float64()),
        ("margin", pa.float64()),
        ("margin repainted", pa.float64()),
    ]
    maps = [("method", pa.string()), ("contrast", pa.string()), ("empty", pa.bool_())]
    found = pq.read_schema(f"{out}/rows/part-00000.parquet")
    assert found.equals(pa.schema([*image, *maps, *numbers, *curves, ("error", pa.string())]))


@pytest.mark.parametrize(("batch_size", "copies", "workers"), [(1, None, 0), (3, 5, 0), (6, 1, 1)])
def test_batches_and_processes_do_not_change_the_rows(data, rows, tmp_path, batch_size, copies, workers):
    run = Run(images=batch_size, copies=copies)
    evaluate(evaluations.classifier(), data, STUDY, tmp_path / "run", run=run, workers=workers)
    found = rows_of(tmp_path / "run")
    same_whatever_the_batch(found, rows)


def same_whatever_the_batch(found, rows):
    """Assert that rows agree; those of pixels' order as far as pixels that are a last bit apart allow."""
    ranked = [name for name in METRICS if "precision" in name or "sensitivity" in name]
    for wanted, tolerance in (({*rows[0]} - {*ranked}, 1e-6), ({*ranked}, 1e-3)):
        same(*([{name: _seen(name, row[name]) for name in row if name in wanted | {"key", "method", "contrast"}}
                for row in some] for some in (found, rows)), tolerance)  # fmt: skip


def _seen(name, value):
    """A photo without parts beside one with them is given as many that are not seen."""
    return [share for share in value if share is not None] if name == "parts@0.2 shares" else value


def test_the_model_and_its_gradients_are_left_alone(data, tmp_path):
    model = evaluations.classifier()
    before = {name: tensor.clone() for name, tensor in model.module.state_dict().items()}
    model.module.train()
    evaluate(model, data, Evaluation(metrics=("relative-drop@0.1",)), tmp_path / "run")
    assert model.module.training
    assert all(parameter.grad is None for parameter in model.module.parameters())
    assert all(torch.equal(before[name], tensor) for name, tensor in model.module.state_dict().items())


def test_only_what_is_correctly_classified_is_explained(data, rows, tmp_path):
    evaluate(evaluations.classifier(), data, replace(STUDY, only_correct=True), tmp_path / "run", run=FOURS)
    found = rows_of(tmp_path / "run")
    right = {row["id"] for row in rows if row["correct"]}
    # A batch of others than before, so not to the last bit.
    own = [row for row in found if row["id"] in right]
    expected = [row for row in rows if row["id"] in right]
    same_whatever_the_batch(own, expected)
    left = [row for row in found if row["id"] not in right]
    assert len(left) == 6 - len(right) > 0
    for row in left:
        assert row["correct"] is False
        assert row["method"] is row["error"] is row["deletion"] is None
        assert row["confidence"] > 0


def test_predicted_classes_are_explained_whatever_the_label(data, tmp_path):
    study = Evaluation(metrics=("confidence-drop@0.2", "localization@difference"), target="predicted")
    evaluate(evaluations.classifier(), data, study, tmp_path / "run", (4, -1, 6, -1))
    found = rows_of(tmp_path / "run")
    assert len({row["id"] for row in found}) == 6
    for row in found:
        assert row["target"] == row["predicted"]
        assert row["correct"] == (None if row["label"] == 1 else row["predicted"] == (4, -1, 6)[row["label"]])


def test_maps_are_those_of_explain(data, tmp_path, monkeypatch):
    """Whatever the method is, with parameters of its own or without, all from the one look at a batch."""
    import finercam

    seen = []

    def noted(*arguments, **options):
        for one in maps.maps_of(*arguments, **options):
            seen.append(one)
            yield one

    monkeypatch.setattr(batches, "maps_of", noted)
    methods = ("scorecam", "gradcam", "ablationcam", "scorecam-consistent", "layercam")
    study = Evaluation(methods=methods, metrics=("localization",))
    model = evaluations.classifier()
    evaluate(model, data, study, tmp_path / "run", run=Run(images=6))
    assert {(row["method"], row["contrast"]) for row in rows_of(tmp_path / "run")} > {
        (method, contrast) for method in methods for contrast in ("plain", "finer")
    }
    finer = {one.method: one.saliency for one in seen if one.contrast == "finer"}
    assert tuple(finer) == methods
    for number, item in enumerate(data.items()):
        photo = Literal(item)
        for method in methods:
            explained = finercam.explain(model, photo.image, photo.target, method=method)
            expected = torch.as_tensor(explained.saliency)
            torch.testing.assert_close(finer[method][number], expected, rtol=1e-9, atol=1e-9)
    assert all(bool((one > 0).any()) for one in finer.values())


def test_a_methods_parameters_are_part_of_its_name(data, tmp_path):
    study = Evaluation(methods=("rise@masks=16", "RISE@16@seed=1", "rise@masks=16@seed=0"), metrics=("localization",))
    assert study.methods == ("rise@masks=16", "rise@masks=16@seed=1")
    evaluate(evaluations.classifier(), data, study, tmp_path / "run")
    found = {(row["id"], row["method"]): row["localization"] for row in rows_of(tmp_path / "run")
             if row["contrast"] == "plain"}  # fmt: skip
    assert {method for _, method in found} == set(study.methods)
    assert any(found[i, study.methods[0]] != found[i, study.methods[1]] for i in range(6))
    titles = [line.title for line in read_block(str(tmp_path / "run")).lines]
    assert titles[:7] == [
        "RISE (masks=16)",
        "+ Finer",
        "RISE (masks=16), cubed",
        "RISE (masks=16), noisy",
        "+ Finer, random class",
        "+ Finer, reversed",
        "RISE (masks=16, seed=1)",
    ]
