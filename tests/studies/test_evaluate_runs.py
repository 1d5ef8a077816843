"""Runs of an evaluation: what fails, what is left out, what is gone on with, and how often the model runs."""

from __future__ import annotations

import json
import os
import random
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from finercam.data.dataset import Dataset, Item
from finercam.errors import FinercamError
from finercam.models import Classifier
from finercam.models.run import Run
from finercam.runs import manifest as manifests
from finercam.runs.engine import Progress
from finercam.runs.manifest import Manifest
from finercam.runs.storage import Folder
from finercam.studies.evaluate.evaluation import Evaluation
from support import evaluations
from support.evaluations import NAMES, TARGETS, evaluate, rows_of, same

STUDY = Evaluation(metrics=("deletion", "relative-drop@0.1", "localization", "parts@0.2"), steps=5)
FOURS = Run(images=4)


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


def test_photos_of_classes_that_the_model_has_not_are_left_out(data, tmp_path):
    study = Evaluation(metrics=("relative-drop@0.1",))
    evaluate(evaluations.classifier(), data, study, tmp_path / "run", (4, -1, 6, -1))
    assert {row["key"] for row in rows_of(tmp_path / "run")} == {"0.png", "2.png", "3.png", "5.png"}
    with pytest.raises(FinercamError, match="no photo"):
        evaluate(evaluations.classifier(), data, study, tmp_path / "none", (-1,) * 4)
    assert not (tmp_path / "none").exists()


def test_a_photo_that_cannot_be_read_is_a_row_and_the_rest_is_as_without_it(tmp_path, rows):
    broken = evaluations.photos(tmp_path / "photos", broken=(1, 4))
    seen = []
    evaluate(evaluations.classifier(), broken, STUDY, tmp_path / "run", run=FOURS, workers=1, advance=seen.append)
    found = rows_of(tmp_path / "run")
    failed = [row for row in found if row["error"]]
    assert [row["key"] for row in failed] == ["1.png", "4.png"]
    for row in failed:
        assert "not a picture" in row["error"]
        assert {name for name, value in row.items() if value is not None} == {"id", "key", "label", "error"}
    fine = [[row for row in given if row["id"] not in (1, 4)] for given in (found, rows)]
    for row in (*fine[0], *fine[1]):
        row["parts@0.2 shares"] = [share for share in row["parts@0.2 shares"] if share is not None]
    same(*fine, 1e-6)
    assert seen == [Progress(6, 0, 0), Progress(6, 6, 2)]


def test_failed_photos_are_tried_again_only_when_asked(tmp_path):
    data = evaluations.photos(tmp_path / "photos", 20, broken=(18,))
    study, run = Evaluation(metrics=("relative-drop@0.1",)), tmp_path / "run"
    model = evaluations.classifier()
    assert evaluate(model, data, study, run).measured == 20
    evaluations.photos(tmp_path / "photos", 20)
    again = evaluate(model, data, study, run)
    assert (again.measured, again.resumed) == (0, True)
    assert sum(row["error"] is not None for row in rows_of(run)) == 1
    # The part of the failed photo alone: 16 to 19.
    assert evaluate(model, data, study, run, retry_failed=True).measured == 4
    assert sum(row["error"] is not None for row in rows_of(run)) == 0


def test_any_error_of_the_preprocessing_is_the_photos(data, tmp_path):
    def fussy(photo):
        if photo.getpixel((0, 0)) == list_of[3].getpixel((0, 0)):
            raise ValueError("I do not like this one")
        return evaluations.preprocess(photo)

    list_of = [data.open(item).photo for item in data.items()]
    model = evaluations.classifier()
    fussy_one = Classifier.of(model.module, "stem", preprocess=fussy, image_size=model.image_size)
    evaluate(fussy_one, data, Evaluation(metrics=("relative-drop@0.1",)), tmp_path / "run")
    failed = [row for row in rows_of(tmp_path / "run") if row["error"]]
    assert [(row["key"], row["error"]) for row in failed] == [("3.png", "ValueError: I do not like this one")]


def test_photos_of_several_sizes_are_measured_in_their_own(tmp_path):
    folder = tmp_path / "photos"
    evaluations.photos(folder)
    for number in (1, 2, 4):
        with Image.open(folder / f"{number}.png") as photo:
            photo.resize((40, 28)).save(folder / f"{number}.png")
    items = [Item(f"{n}.png", str(folder / f"{n}.png"), n % 3, (4.0, 2.0, 20.0, 16.0)) for n in range(6)]
    data = Dataset("photos", NAMES, lambda: iter(items), regions=("box",))
    study, model = Evaluation(metrics=("relative-drop@0.1", "localization")), evaluations.classifier()
    evaluate(model, data, study, tmp_path / "run")
    evaluate(model, data, study, tmp_path / "one", run=Run(images=1))
    assert [row["error"] for row in rows_of(tmp_path / "run") if row["error"]] == []
    same(rows_of(tmp_path / "run"), rows_of(tmp_path / "one"), 1e-6)


@pytest.mark.parametrize(
    ("metrics", "expected"),
    [
        # The look; 2 maps, their 3 controls (the cubed map masks what its base does) and 3 of no method, with 5 % and
        # with 10 % of the pixels masked.
        (("relative-drop@0.05", "relative-drop@0.1"), 1 + 8 * 2),
        # The same with a second fill: as many copies again.
        (("relative-drop@0.05", "relative-drop@0.05@fill=blur"), 1 + 8 * 2),
        # 9 steps between nothing and all; all of it removed, once for every map; 10 % is one of the steps.
        (("deletion", "relative-drop@0.05", "relative-drop@0.1"), 1 + 8 * (9 + 1) + 1),
        (("deletion", "insertion"), 1 + 8 * (9 + 9) + 2),
        (("localization", "average-precision"), 1),
    ],
)
def test_the_model_runs_as_often_as_the_documentation_says(tmp_path, metrics, expected):
    runs = []
    for count in (4, 12):
        model, seen = evaluations.classifier(), []
        # The folded copy has the same hook.
        model.module.register_forward_hook(lambda module, images, output, seen=seen: seen.append(len(images[0])))
        data = evaluations.photos(tmp_path / "photos", count)
        study = Evaluation(metrics=metrics, steps=10)
        evaluate(model, data, study, tmp_path / str(count), run=FOURS)
        runs.append(sum(seen))
    assert runs[1] - runs[0] == 8 * expected


def test_a_run_stopped_anywhere_goes_on_to_the_same_rows(tmp_path):
    data = evaluations.photos(tmp_path / "photos", 70)
    study, model = Evaluation(metrics=("relative-drop@0.1", "deletion"), steps=5), evaluations.classifier()
    evaluate(model, data, study, tmp_path / "whole")

    class Stopped(Exception):
        pass

    def stop_after(parts):
        def advance(progress):
            if progress.done >= 16 * parts:
                raise Stopped

        return advance

    for parts in (0, 1, 3, 3):
        with pytest.raises(Stopped):
            evaluate(model, data, study, tmp_path / "run", advance=stop_after(parts))
    assert len(list((tmp_path / "run" / "rows").iterdir())) == 3
    (tmp_path / "run" / "rows" / "part-00001.parquet").write_bytes(b"PAR1")
    (tmp_path / "run" / "manifest.parquet").unlink()
    finished = evaluate(model, data, study, tmp_path / "run", workers=1)
    assert (finished.resumed, finished.measured) == (True, 70 - 32)
    assert rows_of(tmp_path / "run") == rows_of(tmp_path / "whole")


def test_metrics_use_the_classifiers_own_probabilities(data, tmp_path):
    """Of several classes at once each has one by itself; of masked copies, too."""
    study = Evaluation(metrics=("deletion", "relative-drop@0.1"), steps=1)
    model = replace(evaluations.classifier(), probabilities="sigmoid")
    evaluate(model, data, study, tmp_path / "run")
    nothing = model.module(torch.zeros(1, 3, *model.image_size, dtype=torch.float64)).sigmoid()[0]
    images = [model.preprocessing(Image.open(item.uri)) for item in data.items()]
    logits = model.module(torch.stack(images)).detach()
    for row in rows_of(tmp_path / "run"):
        own, other = (float(logits[row["id"], row[name]].sigmoid()) for name in ("target", "other"))
        assert (row["confidence"], row["other confidence"]) == pytest.approx((own, other), abs=1e-6)
        assert row["deletion curve"] == pytest.approx([own, float(nothing[row["target"]])], abs=1e-5)
        assert row["deletion curve of other"] == pytest.approx([other, float(nothing[row["other"]])], abs=1e-5)
    with pytest.raises(FinercamError, match="differs in: model probabilities"):
        evaluate(evaluations.classifier(), data, study, tmp_path / "run")


def test_a_manifest_of_other_photos_is_found_out(data, tmp_path):
    study, run = Evaluation(metrics=("relative-drop@0.1",)), tmp_path / "run"
    evaluate(evaluations.classifier(), data, study, run)
    fewer = evaluations.photos(tmp_path / "photos", 3)
    evaluate(evaluations.classifier(), fewer, study, tmp_path / "other")
    (run / "manifest.parquet").write_bytes((tmp_path / "other" / "manifest.parquet").read_bytes())
    with pytest.raises(FinercamError, match=r"does not list the run's photos .*3 there, 6 in the run"):
        evaluate(evaluations.classifier(), data, study, run)


@pytest.mark.parametrize("column", ["target", "label", "uri", "id"])
def test_a_manifest_that_was_edited_is_found_out(data, tmp_path, column):
    study, run = Evaluation(metrics=("relative-drop@0.1",)), tmp_path / "run"
    evaluate(evaluations.classifier(), data, study, run)
    listed = pq.read_table(run / "manifest.parquet")
    other = listed[column].to_pylist()[::-1]
    place = listed.column_names.index(column)
    edited = listed.set_column(place, listed.schema.field(column), pa.array(other, listed.schema.field(column).type))
    pq.write_table(edited, run / "manifest.parquet")
    with pytest.raises(FinercamError, match=r"manifest\.parquet does not list .* edited or is damaged; remove it"):
        evaluate(evaluations.classifier(), data, study, run)
    (run / "manifest.parquet").unlink()
    assert evaluate(evaluations.classifier(), data, study, run).measured == 0


@pytest.mark.parametrize("seed", range(3))
def test_a_manifest_with_a_flipped_bit_lists_the_same_or_is_refused(data, tmp_path, seed):
    folder = Folder(str(tmp_path))
    summary = manifests.write(folder, data.items(), TARGETS, 2)
    content, generator = (tmp_path / manifests.NAME).read_bytes(), random.Random(seed)
    for place in generator.sample(range(8 * len(content)), 200):
        damaged = bytearray(content)
        damaged[place // 8] ^= 1 << place % 8
        (tmp_path / manifests.NAME).write_bytes(damaged)
        try:
            found = Manifest(folder)
            same = found.summary() == summary
        except FinercamError:
            continue
        entries = [entry for part in range(found.parts) for entry in found.part(part)] if same else []
        assert not same or [entry.item for entry in entries] == list(data.items())


@pytest.mark.parametrize("change", ["photo", "preprocessing"])
def test_rows_of_other_photos_or_of_other_inputs_are_never_mixed(tmp_path, change):
    """The photo keeps its name, size and time; the preprocessing's numbers are nowhere to be read."""
    data = evaluations.photos(tmp_path / "photos", 34)
    study, model = Evaluation(metrics=("relative-drop@0.1",)), evaluations.classifier()
    evaluate(model, data, study, tmp_path / "run")
    (tmp_path / "run" / "rows" / "part-00000.parquet").unlink()
    path = tmp_path / "photos" / "20.png"
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    if change == "photo":
        content = bytearray(path.read_bytes())
        content[-20] ^= 1
        path.write_bytes(content)
        os.utime(path, ns=times)
        said = r"20\.png has changed since this run began, and .*run already has rows of it"
    else:
        changed = replace(model.preprocessing, transform=lambda photo: evaluations.preprocess(photo) * 1.001)
        model = replace(model, preprocessing=changed)
        said = "holds a run that differs in: model preprocessed"
    for _ in range(2):
        with pytest.raises(FinercamError, match=said):
            evaluate(model, data, study, tmp_path / "run")
    assert len(list((tmp_path / "run" / "rows").iterdir())) == 2


def test_a_photo_that_is_yet_to_be_measured_may_be_any(tmp_path):
    """Its rows are of what it is then, and from then on it is that."""
    data = evaluations.photos(tmp_path / "photos", 20)
    study, model = Evaluation(metrics=("relative-drop@0.1",)), evaluations.classifier()
    evaluate(model, data, study, tmp_path / "run")
    (tmp_path / "run" / "rows" / "part-00001.parquet").unlink()
    path = tmp_path / "photos" / "18.png"
    before = path.read_bytes()
    path.write_bytes((tmp_path / "photos" / "3.png").read_bytes())
    assert evaluate(model, data, study, tmp_path / "run").measured == 4
    assert evaluate(model, data, study, tmp_path / "run").measured == 0
    path.write_bytes(before)
    with pytest.raises(FinercamError, match=r"18\.png has changed since this run began"):
        evaluate(model, data, study, tmp_path / "run")


@pytest.mark.parametrize("change", ["weights", "data", "plan", "targets", "preprocessing"])
def test_another_run_never_goes_on_in_the_folder(data, out, change):
    model, given, study, targets = evaluations.classifier(), data, STUDY, TARGETS
    if change == "weights":
        with torch.no_grad():
            model.module.head.bias[0] += 1e-6
    elif change == "data":
        given = replace(data, items=lambda: iter(list(data.items())[1:]))
    elif change == "plan":
        study = replace(STUDY, fill="blur")
    elif change == "targets":
        targets = (4, 1, 6, -1)
    else:
        model = Classifier.of(
            model.module,
            "stem",
            preprocess=torch.nn.Identity(),
            image_size=model.image_size,
            name="tiny",
            class_names=model.labels.names,
        )
    with pytest.raises(FinercamError, match="differs in: ") as found:
        evaluate(model, given, study, out, targets, run=FOURS)
    assert {"weights": "weights", "data": "manifest", "plan": "fill", "targets": "manifest"}.get(change, change) in str(
        found.value
    )


def test_the_description_holds_no_option_that_changes_nothing(out):
    with open(f"{out}/run.json") as file:
        described = json.load(file)
    assert described["classes"] == list(NAMES)
    assert described["data"]["photos"] == 6
    assert not {"batch_size", "copies", "workers"} & set(described["plan"])
