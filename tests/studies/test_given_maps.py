"""Maps that another tool made, measured beside ours."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import finercam
from finercam.errors import FinercamError
from finercam.studies.evaluate import writing
from finercam.studies.evaluate.evaluation import Evaluation
from finercam.studies.evaluate.given import GivenMaps
from finercam.studies.evaluate.tables import read_block
from support import evaluations
from support.evaluations import TARGETS, evaluate, rows_of
from support.models import SIZE

METRICS = ("relative-drop@0.1", "localization", "average-precision", "class-sensitivity")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return evaluations.photos(tmp_path_factory.mktemp("photos"))


@pytest.fixture
def theirs(data, tmp_path):
    """Grad-CAM's plain maps as another tool would write them: alike in content, not in form."""
    folder, model = tmp_path / "Their Tool", evaluations.classifier()
    folder.mkdir()
    for number, item in enumerate(data.items()):
        image = evaluations.preprocess(data.open(item).photo)
        explained = finercam.explain(model, image, TARGETS[item.label], gamma=0.0)
        saliency = torch.as_tensor(explained.saliency)
        cells = torch.as_tensor(explained.map).relu()
        assert cells.shape != saliency.shape == SIZE
        if number == 0:
            save_file({"saliency": saliency, "else": torch.zeros(3)}, folder / "0.png.safetensors")
        elif number == 1:
            save_file({"whatever": saliency}, folder / "1.safetensors")
        elif number == 2:
            np.save(folder / "2.png.npy", saliency.numpy())
        else:
            # At the layer's resolution, to be enlarged.
            np.save(folder / f"{number}.npy", cells.numpy())
    return folder


def test_maps_of_another_tool_are_measured_like_ours(data, theirs, tmp_path):
    spec = f"maps:{theirs}"
    study = Evaluation(methods=("gradcam", spec), metrics=METRICS)
    evaluate(evaluations.classifier(), data, study, tmp_path / "run")
    found = rows_of(tmp_path / "run")
    assert {row["error"] for row in found} == {None}
    for number in range(6):
        own = [row for row in found if row["id"] == number]
        (given,) = [row for row in own if row["method"] == spec]
        (plain,) = [row for row in own if (row["method"], row["contrast"]) == ("gradcam", "plain")]
        assert given["contrast"] == "given"
        assert given["class-sensitivity"] is None
        assert plain["class-sensitivity"] is not None
        for name in ("relative-drop@0.1", "localization", "average-precision", "empty", "target", "other"):
            assert given[name] == (plain[name] if plain[name] is None else pytest.approx(plain[name], abs=1e-6)), name
    block = read_block(str(tmp_path / "run"))
    assert [(line.title, line.control) for line in block.lines] == [
        ("Grad-CAM", False),
        ("+ Finer", False),
        ("Grad-CAM, cubed", True),
        ("Grad-CAM, noisy", True),
        ("+ Finer, random class", True),
        ("+ Finer, reversed", True),
        ("Their Tool", False),
        ("Random", True),
        ("Blurred random", True),
        ("Centre", True),
    ]
    (line,) = [line for line in block.lines if line.contrast == "given"]
    assert line.differences == {}
    assert "| Their Tool | 6 |" in writing.to_markdown([block])


def test_given_maps_alone_ask_the_model_for_nothing_but_its_logits(data, theirs, tmp_path, monkeypatch):
    def refuse(*arguments, **options):
        raise AssertionError("gradients were asked for")

    monkeypatch.setattr("finercam.models.look.products", refuse)
    study = Evaluation(methods=(f"maps:{theirs}",), metrics=("localization",), controls=False)
    evaluate(evaluations.classifier(), data, study, tmp_path / "run")
    assert [(row["id"], row["contrast"]) for row in rows_of(tmp_path / "run")] == [(i, "given") for i in range(6)]


def write(folder, content):
    (folder / "3.npy").unlink()
    if content is None:
        return
    if callable(content):
        content(folder)
    else:
        np.save(folder / "3.npy", content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "has no map of '3.png'; expected "),
        (np.zeros((3, 4, 5)), "of shape (3, 4, 5); a map is of shape (h, w)"),
        (np.zeros((0, 5)), "of shape (0, 5)"),
        (np.full((4, 5), -1.0), "negative values, down to -1"),
        (np.full((4, 5), np.nan), "not finite"),
        (np.full((4, 5), 1 + 1j), "complex"),
        (np.array([[{"a": 1}]], dtype=object), "cannot be read as an array"),
        (np.array([["high", "low"]]), "cannot be read as an array"),
        (lambda folder: (folder / "3.npy").write_bytes(b""), "cannot be read as an array"),
        (lambda folder: (folder / "3.npy").write_bytes(b"\x93NUMPY\x01\x00v\x00"), "cannot be read as an array"),
        (lambda folder: np.savez((folder / "3.npy").open("wb"), np.zeros((4, 5))), "not a single array"),
        (lambda folder: (folder / "3.safetensors").write_bytes(b"mine"), "cannot be read as safetensors"),
        (
            lambda folder: save_file({"a": torch.zeros(4, 5), "b": torch.zeros(4, 5)}, folder / "3.safetensors"),
            "holds 'a', 'b'; expected a tensor 'saliency', or a single one",
        ),
    ],
)
def test_a_map_that_is_missing_or_malformed_is_that_items_failed_row(data, theirs, tmp_path, content, message):
    write(theirs, content)
    study = Evaluation(methods=(f"maps:{theirs}", "gradcam"), metrics=("localization",))
    evaluate(evaluations.classifier(), data, study, tmp_path / "run")
    found = rows_of(tmp_path / "run")
    (failed,) = [row for row in found if row["error"]]
    assert failed["key"] == "3.png"
    assert message in failed["error"]
    assert "\n" not in failed["error"]
    assert {row["id"] for row in found if row["method"] == study.methods[0]} == {0, 1, 2, 4, 5}


def test_numbers_of_any_kind_are_taken(theirs):
    given = GivenMaps(f"maps:{theirs}")
    for values in (np.eye(2) > 0, np.eye(2, dtype=np.uint8), np.eye(2, dtype=np.float16), np.eye(2, dtype=">f8")):
        np.save(theirs / "3.npy", values)
        assert given.read("3.png", (2, 2)).tolist() == [[1, 0], [0, 1]]
    save_file({"a": torch.eye(2, dtype=torch.bfloat16)}, theirs / "bf.safetensors")
    assert given.read("bf", (2, 2)).tolist() == [[1, 0], [0, 1]]
    np.save(theirs / "3.npy", np.asfortranarray(np.arange(6.0).reshape(2, 3)))
    assert given.read("3.png", (2, 3)).tolist() == [[0, 1, 2], [3, 4, 5]]
    expected = torch.nn.functional.interpolate(torch.arange(6.0).double().reshape(1, 1, 2, 3), (5, 7), mode="bilinear")
    expected = expected[0, 0]
    np.testing.assert_allclose(given.read("3.png", (5, 7)), expected)


def test_keys_with_slashes_are_folders_and_a_kept_suffix_comes_first(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    given = GivenMaps(f"maps:{tmp_path}")
    np.save(tmp_path / "a" / "b" / "1.npy", np.full((2, 2), 1.0))
    assert given.read("a/b/1.jpg", (2, 2)).max() == 1
    np.save(tmp_path / "a" / "b" / "1.jpg.npy", np.full((2, 2), 2.0))
    assert given.read("a/b/1.jpg", (2, 2)).max() == 2
    assert given.read("a/b/1.png", (2, 2)).max() == 1
    with pytest.raises(FinercamError, match=r"has no map of 'b/1\.jpg'"):
        given.read("b/1.jpg", (2, 2))


@pytest.mark.parametrize("change", ["content", "name", "more"])
def test_other_maps_are_another_run(data, theirs, tmp_path, change):
    study = Evaluation(methods=(f"maps:{theirs}",), metrics=("localization",))
    evaluate(evaluations.classifier(), data, study, tmp_path / "run")
    assert evaluate(evaluations.classifier(), data, study, tmp_path / "run").measured == 0
    if change == "content":
        np.save(theirs / "3.npy", np.load(theirs / "3.npy") * (1 + 1e-15))
    elif change == "name":
        (theirs / "3.npy").rename(theirs / "3.png.npy")
    else:
        np.save(theirs / "9.npy", np.zeros((2, 2)))
    with pytest.raises(FinercamError, match="differs in: plan given maps"):
        evaluate(evaluations.classifier(), data, study, tmp_path / "run")


def test_a_folder_that_is_none_or_holds_none_is_refused(data, tmp_path):
    (tmp_path / "empty").mkdir()
    for name, message in (("nowhere", "there is no folder"), ("empty", "there is no .safetensors or .npy file")):
        study = Evaluation(methods=(f"maps:{tmp_path / name}",), metrics=("localization",))
        with pytest.raises(FinercamError, match=message):
            evaluate(evaluations.classifier(), data, study, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_titles_are_the_folders_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for spec, title in (("maps:captum/ig", "ig"), ("maps:captum/ig/", "ig"), ("maps:.", tmp_path.name)):
        assert GivenMaps(spec).title == title
    assert replace(Evaluation(), methods=("maps:a", "maps:a", "maps:b")).methods == ("maps:a", "maps:b")
