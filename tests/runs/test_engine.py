"""Any study on the engine: rows of items that have none, one or several, what fails, and what ends a run."""

from __future__ import annotations

import json
import pickle
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image

from finercam.data.dataset import Dataset, Example, Item
from finercam.errors import FinercamError
from finercam.models.altering import OutOfMemory
from finercam.models.preprocessing import Preprocessing
from finercam.models.run import Run
from finercam.runs.engine import Progress, run_study
from finercam.runs.job import Done, Engine
from finercam.runs.loaded import Loaded
from finercam.runs.local import Local
from finercam.runs.study import Prepared, Study
from support.evaluations import rows_of


@dataclass(frozen=True)
class Corners(Study):
    """The brightness of as many corners as an item's label says; refuses white and black photos together."""

    scale: float = 1.0
    skipped: str = ""

    name: ClassVar[str] = "corners"
    row_key: ClassVar[tuple[str, ...]] = ("corner",)

    def settings(self):
        return {"scale": self.scale}

    def schema(self):
        return pa.schema([("corner", pa.string()), ("value", pa.float64()), ("beside", pa.int32())])

    def check(self, model, dataset):
        if not dataset.class_names:
            raise FinercamError("corners need class names")

    def takes(self, item, target):
        return item.key != self.skipped

    def prepare(self, opened):
        if opened.item.key == "3":
            raise ZeroDivisionError("three is not for me")
        assert opened.placement.x.scale == pytest.approx(1, abs=0.01)
        return Prepared(opened.entry, opened.image)

    def start(self, bench):
        def measure(batch):
            assert len({item.image.shape for item in batch}) == 1
            with bench.clock("corners"):
                images = bench.model(torch.from_numpy(np.stack([item.image for item in batch])))
            if any(item.entry.item.key == "5" for item in batch):
                raise FinercamError(f"five, with {len(batch) - 1} others, is too much")
            places = {"left": images[:, 0, 0, 0], "right": images[:, 0, 0, -1]}
            return [
                [
                    {"corner": name, "value": self.scale * float(values[i]), "beside": len(batch) - 1}
                    for name, values in list(places.items())[: item.entry.item.label]
                ]
                for i, item in enumerate(batch)
            ]

        return measure

    def summary(self, rows):
        return float(np.mean(rows.table(["value"])["value"].to_numpy()))


def open_grey(item, size=(32, 24)):
    level = int(item.key) * 10
    return Example(Image.new("RGB", size if item.key not in ("4", "6") else (16, 40), (level,) * 3))


def to_tensor(photo):
    return torch.from_numpy(np.array(photo)).permute(2, 0, 1).float()


def data(count=10):
    return Dataset("greys", ("none", "one", "two"), partial(items, count), open_grey)


def items(count):
    return iter([Item(str(number), f"grey:{number}", number % 3) for number in range(count)])


def model(weight=2.0, **options):
    scaled = torch.nn.Conv2d(3, 3, 1, bias=False)
    scaled.weight.data = weight * torch.eye(3)[:, :, None, None]
    return Loaded(scaled.requires_grad_(False), Preprocessing(to_tensor), {"name": "grey", "weight": weight}, **options)


@pytest.mark.parametrize("workers", [0, 1])
def test_every_item_has_the_rows_its_study_gives(tmp_path, workers):
    seen = []
    done = run_study(
        Corners(), model(), data(), str(tmp_path), run=Run(images=3), engine=Local(workers), advance=seen.append
    )
    found = rows_of(tmp_path)
    names = ["left", "right"]
    expected = [(i, c) for i in range(10) if i not in (3, 5) for c in names[: i % 3]]
    assert [(row["id"], row["corner"]) for row in found if row["error"] is None] == expected
    for row in found:
        assert (row["key"], row["label"], row["target"]) == (str(row["id"]), row["id"] % 3, None)
        if row["error"] is None:
            assert row["value"] == pytest.approx(2 * 10 * row["id"])
    # Items 4 and 6 are of another size; 5 alone fails, and the ones in its batch are measured by themselves.
    assert {row["id"]: row["beside"] for row in found if row["error"] is None} == {1: 2, 2: 2, 4: 0, 7: 2, 8: 2}
    assert {row["key"]: row["error"] for row in found if row["error"]} == {
        "3": "ZeroDivisionError: three is not for me",
        "5": "five, with 0 others, is too much",
    }
    assert seen == [Progress(10, 0, 0), Progress(10, 10, 2)]
    assert (done.photos, done.measured, done.resumed) == (10, 10, False)
    assert set(done.seconds) == {"photos", "corners", "rows"}
    assert done.rows.failed == (
        ("3", "ZeroDivisionError: three is not for me"),
        ("5", "five, with 0 others, is too much"),
    )
    assert Corners().summary(done.rows) == pytest.approx(np.mean([2 * 10 * i for i, _ in expected]))
    # Nothing is done twice, and items without rows are not taken for lost ones.
    again = run_study(Corners(), model(), data(), str(tmp_path))
    assert (again.measured, again.resumed) == (0, True)


def test_parts_of_other_names_are_another_run(tmp_path):
    run_study(Corners(), model(), replace(data(3), part_names=("head", "eye")), str(tmp_path))
    with pytest.raises(FinercamError, match=r"holds a run that differs in: data\W+parts"):
        run_study(Corners(), model(), replace(data(3), part_names=("eye", "head")), str(tmp_path))


def test_the_description_is_the_studys_the_models_and_the_datas(tmp_path):
    run_study(Corners(0.5), model(), data(), str(tmp_path), (5, -1, 6), run=Run("bfloat16", 2))
    described = json.loads((tmp_path / "run.json").read_text())
    assert described["study"] == "corners"
    assert described["plan"] == {"scale": 0.5, "precision": "bfloat16"}
    assert described["model"].pop("preprocessed")
    assert described["model"] == {"name": "grey", "weight": 2.0}
    assert described["data"]["photos"] == 10
    assert [row["target"] for row in rows_of(tmp_path) if row["error"] is None] == [
        {1: None, 2: 6}[row["label"]] for row in rows_of(tmp_path) if row["error"] is None
    ]


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"study": Corners(2.0)}, "plan scale"),
        ({"model": model(3.0)}, "model weight"),
        ({"dataset": data(9)}, "data manifest"),
        ({"study": Corners(skipped="7")}, "data photos"),
        ({"targets": (1, 2, 3)}, "data targets"),
        ({"run": Run("float16")}, "plan precision"),
        ({"dataset": replace(data(), open=partial(open_grey, size=(40, 40)))}, None),
        ({"dataset": replace(data(), open=lambda item: open_grey(item))}, None),
    ],
)
def test_what_decides_the_numbers_is_held_against_the_folder(tmp_path, change, what):
    given = {"study": Corners(), "model": model(), "dataset": data(), "targets": (1, 2, -1), "run": Run()}
    out = str(tmp_path)
    run_study(**given, out=out)
    assert run_study(**{**given, "run": Run(images=2, copies=3)}, out=out).measured == 0
    if what is None:
        # Code that is written in the same file is the same code.
        assert run_study(**{**given, **change}, out=out).measured == 0
        return
    with pytest.raises(FinercamError, match=f"differs in: .*{what}"):
        run_study(**{**given, **change}, out=out)


def test_what_a_study_or_a_model_lacks_is_said_before_anything_is_written(tmp_path):
    class Greedy(Corners):
        def schema(self):
            return pa.schema([("key", pa.string())])

    bare = model()
    for study, used, dataset, message in (
        (Corners(), bare, replace(data(), class_names=()), "corners need class names"),
        (Greedy(), bare, data(), "'corners' has the column 'key'"),
        (Corners(), replace(bare, preprocessing=Preprocessing()), data(), "no preprocessing"),
        (Corners(), bare, data(0), "greys has no photo"),
    ):
        with pytest.raises(FinercamError, match=message):
            run_study(study, used, dataset, str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("error", [OutOfMemory("no room"), torch.OutOfMemoryError("no room")])
def test_a_lack_of_memory_ends_the_run_and_fails_no_photo(tmp_path, error):
    class Hungry(Corners):
        def start(self, bench):
            fine = super().start(bench)

            def measure(batch):
                if len(batch) > 1 or batch[0].entry.id > 20:
                    raise error
                return fine(batch)

            return measure

    with pytest.raises(OutOfMemory, match=r"no room; with a smaller --copies or --batch-size the same command resumes"):
        run_study(Hungry(), model(), data(40), str(tmp_path), run=Run(images=1))
    assert [row["error"] for row in rows_of(tmp_path) if row["id"] not in (3, 5)] == [None] * 13
    if isinstance(error, OutOfMemory):
        return
    # A batch that does not fit is not the end: its items are tried one by one.
    with pytest.raises(OutOfMemory, match="no room"):
        run_study(Hungry(), model(), data(40), str(tmp_path / "other"), run=Run(images=4))
    assert len(rows_of(tmp_path / "other")) == len(rows_of(tmp_path))


def test_any_other_error_is_a_mistake_of_the_studys_and_ends_the_run(tmp_path):
    class Wrong(Corners):
        def start(self, bench):
            return lambda batch: [[] for _ in batch][1:]

    with pytest.raises(ValueError, match="zip"):
        run_study(Wrong(), model(), data(), str(tmp_path))


def test_rows_that_cannot_be_told_apart_are_found_out(tmp_path):
    class Same(Corners):
        row_key = ()

    with pytest.raises(FinercamError, match="does not hold each of its photos once"):
        run_study(Same(), model(), data(), str(tmp_path))


def test_an_engine_that_does_not_do_its_parts_is_found_out(tmp_path):
    class Lazy(Engine):
        def do(self, job):
            for _ in job.parts:
                yield Done(1, 0)

    with pytest.raises(FinercamError, match=r"1 of 1 parts of .* are missing"):
        run_study(Corners(), model(), data(), str(tmp_path), engine=Lazy())


def test_a_study_travels_without_what_it_looked_up():
    from finercam.studies.evaluate.evaluation import Evaluation

    study = Evaluation(methods=("gradcam", "maps:somewhere"), metrics=("deletion", "relative-drop@0.1"))
    assert (len(study.ways), len(study.measured)) == (2, 2)
    arrived = pickle.loads(pickle.dumps(study))
    assert arrived == study
    assert "measured" not in vars(arrived)
    assert [metric.spec for metric in arrived.measured] == list(study.metrics)
