"""``finercam probe`` and ``finercam similarity`` as a user runs them."""

from __future__ import annotations

import csv
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import finercam
from finercam.cli.main import main

CLASSES = ("Blue Grosbeak", "Grandala", "Indigo Bunting")
COLOURS = ((40, 60, 200), (200, 160, 40), (60, 190, 80))


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the command in this process; return (exit code, stdout, stderr)."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["finercam", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        captured = capsys.readouterr()
        return stop.value.code or 0, captured.out, captured.err

    return call


@pytest.fixture(scope="module")
def birds(tmp_path_factory) -> Path:
    """Photos of three classes in folders, told apart by their colour, with a split."""
    root = tmp_path_factory.mktemp("birds")
    rng = np.random.default_rng(0)
    for split, count in (("train", 6), ("test", 3)):
        for name, colour in zip(CLASSES, COLOURS, strict=True):
            (root / split / name).mkdir(parents=True)
            for number in range(count):
                noise = rng.integers(-40, 40, (96, 96, 3)) + colour
                Image.fromarray(noise.clip(0, 255).astype(np.uint8)).save(root / split / name / f"{number}.png")
    return root


@pytest.fixture(scope="module")
def probe(birds, model_folder, tmp_path_factory):
    """A trained probe, and what was printed while it was trained."""
    out = tmp_path_factory.mktemp("probes") / "birds"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [str(part) for part in command(birds, model_folder, out)])
        with pytest.raises(SystemExit) as stop:
            main()
    assert not stop.value.code
    return out


def command(birds, model_folder, out, *more):
    options = ("--backbone", model_folder, "--out", out, "--epochs", 20, "--lr", 0.01, "--minibatch", 6)
    return ["finercam", "probe", f"folder:{birds}", *options, *more]


def test_a_probe_is_trained_and_is_a_model_like_any_other(run, birds, probe, model_folder, tmp_path):
    record = json.loads((probe / "probe.json").read_text())
    assert record["labels"] == list(CLASSES)
    known = (Path(__file__).parents[2] / "docs" / "fields.md").read_text().split("\n## probe.json")[1].split("\n## ")[0]
    assert all(f"`{name}`" in known for name in record)
    assert record["accuracy"] == 1.0
    assert record["photos"] == {"train": 18, "test": 9}
    assert record["dataset"] == f"folder:{birds}"
    assert (record["training"]["learning_rate"], record["training"]["epochs"]) == (0.01, 20)
    assert len((probe / "epochs.csv").read_text().splitlines()) == 21
    classifier = finercam.load(probe)
    # The backbone ends in the mean of its last map: the closed form applies.
    assert (classifier.pooled, classifier.layers) == (True, ("backbone.layer4",))
    right = 0
    for name in CLASSES:
        for photo in sorted((birds / "test" / name).iterdir()):
            right += finercam.explain(classifier, photo).target_name == name
    assert right == record["accuracy"] * 9
    photo = birds / "test" / "Grandala" / "0.png"
    code, out, _ = run("explain", photo, "--model", probe, "--against", "blue grosbeak", "--out", tmp_path)
    assert code == 0
    assert "Grandala" in out
    assert "Blue Grosbeak" in out


def test_the_same_command_again_trains_nothing(run, birds, probe, model_folder):
    stamps = {path: path.stat().st_mtime_ns for path in probe.rglob("*") if path.is_file()}
    code, out, err = run(*command(birds, model_folder, probe)[1:])
    assert code == 0
    assert "100.0 % of 9 test photos correctly classified after epoch 20 (100.0 % of the 18 trained on)" in out
    assert f"--model {probe}" in err
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    code, _, err = run(*command(birds, model_folder, probe, "--seed", 3)[1:])
    assert code == 2
    assert "differs in: seed (0 there, 3 now)" in err


def test_options_reach_the_training(run, birds, model_folder, tmp_path):
    out = tmp_path / "probe"
    more = ("--early-stopping", 2, "--seed", 5, "--precision", "bfloat16", "--batch-size", 4, "--images", 16)
    code, printed, _ = run(*command(birds, model_folder, out, *more, "--pool", "mean")[1:])
    assert code == 0
    record = json.loads((out / "probe.json").read_text())
    training = record["training"]
    assert (training["patience"], training["seed"], training["precision"], training["batch_size"]) == (
        2,
        5,
        "bfloat16",
        4,
    )
    assert record["photos"] == {"train": 16, "test": 9}
    assert record["pool"] == "mean"
    assert record["epoch"] < 20
    assert f"after epoch {record['epoch']} " in printed


def test_a_finished_head_makes_a_probe(run, model_folder, tmp_path):
    torch.manual_seed(0)
    linear = torch.nn.Linear(512, 2)
    torch.save(linear.state_dict(), tmp_path / "head.pth")
    names = tmp_path / "names.txt"
    names.write_text("Grandala\nBlue Grosbeak\n\n")
    options = ("--head", tmp_path / "head.pth", "--backbone", model_folder, "--classes", names)
    code, out, _ = run("probe", *options, "--out", tmp_path / "probe")
    assert code == 0
    assert "2 classes" in out
    classifier = finercam.load(tmp_path / "probe")
    torch.testing.assert_close(classifier.rows.cpu(), linear.weight.detach())
    assert classifier.labels.names == ("Grandala", "Blue Grosbeak")
    (tmp_path / "names.json").write_text('["a", "b"]')
    options = ("--head", tmp_path / "head.pth", "--backbone", model_folder, "--classes", tmp_path / "names.json")
    assert run("probe", *options, "--out", tmp_path / "json")[0] == 0
    assert finercam.load(tmp_path / "json").labels.names == ("a", "b")
    code, _, err = run("probe", *options, "--out", tmp_path / "json")
    assert (code, "holds something else" in err) == (2, True)
    code, _, err = run("probe", "--compare", tmp_path / "probe")
    assert (code, "has no accuracy to compare" in err) == (2, True)


def test_probes_are_compared(run, probe, birds, tmp_path):
    code, out, _ = run("probe", "--compare", probe, "--out", tmp_path / "table.csv")
    assert code == 0
    assert "100.0" in out
    with (tmp_path / "table.csv").open() as file:
        assert list(csv.reader(file))[1] == [f"folder:{birds}", "100.0"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["aviary"], "give --backbone"),
        (["aviary", "--backbone", "aviary"], "and --out"),
        (["--backbone", "aviary", "--out", "x"], "give one data set to train on, not 0"),
        (["a", "b", "--backbone", "aviary", "--out", "x"], "give one data set to train on, not 2"),
        (["--head", "x.pth", "--backbone", "aviary", "--out", "x"], "--head takes --classes"),
        (["aviary", "--backbone", "aviary", "--out", "x", "--epochs", "0"], "epochs is 0"),
        (
            ["aviary", "--backbone", "aviary", "--images", "9", "--out", "x", "--precision", "int4"],
            "precision is 'int4'",
        ),
        (["aviary", "--backbone", "aviary", "--out", "x", "--batch-size", "0"], "images per pass is 0"),
        (["aviary", "--backbone", "nowhere", "--out", "x"], "neither a folder nor a model's name"),
        (["aviary", "--backbone", "timm/resnet5O", "--out", "x"], "did you mean"),
        (["--compare"], "nothing to compare"),
    ],
)
def test_what_cannot_be_done_is_said(run, monkeypatch, tmp_path, arguments, says):
    monkeypatch.chdir(tmp_path)
    code, _, err = run("probe", *arguments)
    assert code == 2
    assert says in err
    assert list(tmp_path.iterdir()) == []


def test_similar_classes_are_listed_and_drawn(run, probe, model_folder, tmp_path):
    code, out, _ = run("similarity", probe, model_folder, "--top", 2, "--pairs", 3, "--out", tmp_path)
    assert code == 0
    models = {"birds": finercam.load(probe), model_folder.name: finercam.load(model_folder)}
    with (tmp_path / "pairs.csv").open() as file:
        lines = list(csv.DictReader(file))
    with (tmp_path / "curve.csv").open() as file:
        curves = list(csv.DictReader(file))
    for name, model in models.items():
        cosines = torch.nn.functional.cosine_similarity(model.rows[:, None], model.rows[None], dim=2)
        own = [line for line in lines if line["model"] == name]
        assert len(own) == 2 * model.classes
        for line in own:
            index, other = int(line["index"]), int(line["other index"])
            assert index != other
            assert (line["class"], line["other class"]) == (model.class_name(index), model.class_name(other))
            assert float(line["cosine"]) == pytest.approx(float(cosines[index, other]), abs=1e-5)
        off = cosines - torch.eye(model.classes)
        means = [float(line["mean"]) for line in curves if line["model"] == name]
        assert means == pytest.approx(off.sort(1, descending=True).values.mean(0).tolist(), abs=1e-5)
        top = (cosines - 2 * torch.eye(model.classes)).max()
        assert f"{float(top):.3f}" in out
    assert Image.open(tmp_path / "similarity.png").width > 800
    assert run("similarity", probe, "--top", 0, "--out", tmp_path)[0] == 2


@pytest.mark.slow
@pytest.mark.skipif("FINERCAM_SHARED" not in os.environ, reason="FINERCAM_SHARED does not say where the photos are")
def test_ten_species_of_cub_are_told_apart(run, tmp_path):
    shared = Path(os.environ["FINERCAM_SHARED"])
    options = ("--backbone", shared / "models" / "inat_birds", "--out", tmp_path / "probe")
    code, _, err = run("probe", f"cub:{shared / 'data' / 'cub10'}", *options)
    assert code == 0
    record = json.loads((tmp_path / "probe" / "probe.json").read_text())
    assert record["photos"]["train"] == 300
    assert len(record["labels"]) == 10
    assert "190 classes without photos are left out" in err
    assert record["accuracy"] > 0.85
