"""``finercam faithfulness`` as a user runs it."""

from __future__ import annotations

import csv
import sys

import pytest
from PIL import Image

import finercam.models
from finercam.cli.main import main
from models.text_models import open_clip_config, save_open_clip
from support.colour_readers import reader, write_birds
from support.pictures import save_picture


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FINERCAM_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def birds(tmp_path_factory):
    return write_birds(tmp_path_factory.mktemp("birds"))


@pytest.fixture
def run(monkeypatch, capsys, tmp_path, birds):
    """Run the command with the model that reads a place, whose name stands for its spec."""
    monkeypatch.setattr(finercam.models, "load", lambda spec, **options: reader(spec))

    def call(*arguments, dataset=f"cub:{birds}", model="left wing"):
        given = ["faithfulness", dataset, "--model", model, "--out", tmp_path / "out", "--split", "all", *arguments]
        monkeypatch.setattr(sys, "argv", ["finercam", *map(str, given)])
        with pytest.raises(SystemExit) as stop:
            main()
        captured = capsys.readouterr()
        return stop.value.code or 0, captured.out, captured.err

    return call


def test_a_verdict_a_report_a_picture_and_tables(run, tmp_path):
    code, out, _ = run()
    assert code == 0
    lines = out.splitlines()
    assert {line.partition(" (6 photos)")[0] for line in lines[:2]} == {
        "Red Bluet, not Blue Bluet",
        "Blue Bluet, not Red Bluet",
    }
    assert lines[-1].startswith("All 12 photos: uses: wing; ignores: none; looks elsewhere: no (")
    report = (tmp_path / "out" / "report.md").read_text()
    assert lines[-1].partition(": ")[2] in report
    with (tmp_path / "out" / "rows.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["verdict"] for row in rows if row["status"] == "listed"} == {"uses"}
    assert {row["target"] for row in rows} == {"001.Red_Bluet", "002.Blue_Bluet"}
    with (tmp_path / "out" / "findings.csv").open(newline="") as file:
        findings = list(csv.DictReader(file))
    assert [row["verdict"] for row in findings if row["target"] == "all" and row["attribute"] == "wing"] == ["uses"]
    with Image.open(tmp_path / "out" / "faithfulness.png") as picture:
        assert picture.height > 2 * 220  # a row for each pair
        assert picture.width > 4 * 220  # photo, similar class, map, one attribute


def test_a_background_reader_is_told_of(run):
    _, out, _ = run(model="background")
    assert "All 12 photos: uses: none; ignores: wing; looks elsewhere: the background (" in out


def test_options_reach_the_examination(run, tmp_path):
    code, out, _ = run("--against", "Blue Bluet", "--images", 8, "--pictures", 0, "--gamma", 1)
    assert code == 0
    assert "Blue Bluet, not Red Bluet" not in out
    assert not (tmp_path / "out" / "faithfulness.png").exists()
    assert "gamma 1" in (tmp_path / "out" / "report.md").read_text()


def test_a_photo_that_cannot_be_read_is_named_and_the_same_command_resumes(run, tmp_path):
    root = write_birds(tmp_path / "torn")
    (root / "images" / "001.Red_Bluet" / "0.png").write_bytes(b"no picture")
    _, out, err = run(dataset=f"cub:{root}")
    assert "All 11 photos: uses: wing;" in out
    assert "001.Red_Bluet/0.png' is not a picture that can be read" in err
    assert "001.Red_Bluet/0.png' is not a picture" in (tmp_path / "out" / "report.md").read_text()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "rows").iterdir()}
    _, again, err = run(dataset=f"cub:{root}")
    assert again == out
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "rows").iterdir()} == before
    code, _, err = run("--gamma", 1, dataset=f"cub:{root}")
    assert code == 2
    assert "differs in: " in err
    assert "gamma (0.6 there, 1.0 now)" in err


def test_with_a_text_model(run, tmp_path):
    save_open_clip(tmp_path / "clip", open_clip_config())
    code, out, _ = run("--clip", tmp_path / "clip")
    assert code == 0
    assert "All 12 photos: " in out
    with (tmp_path / "out" / "rows.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["words"] for row in rows if row["status"] == "listed"} == {"red wings", "blue wings"}
    # Random weights: a map may be empty, and then it has no numbers.
    numbers = [(float(row["alignment"]), float(row["overlap"])) for row in rows if row["alignment"]]
    assert numbers
    assert all(-1 <= correlation <= 1 and 0 <= shared <= 1 for correlation, shared in numbers)
    assert "rank correlation" in (tmp_path / "out" / "report.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--against", "Green Bluet"], "no class is called 'Green Bluet'; did you mean"),
        (["--attributes", 0], "--attributes is 0"),
        (["--clip", "CLIP", "--base", " "], "' ' is not a name or prompt; give words"),
        (["--clip", "CLIP", "--base", "red wings"], "base is 'red wings', which is an attribute itself"),
        (["--clip", "timm/resnet18"], "does not understand text"),
        (["--split", "validation"], "split is 'validation'"),
    ],
)
def test_what_cannot_be_used_is_said_in_one_line(run, tmp_path, arguments, message):
    if "CLIP" in arguments:
        save_open_clip(tmp_path / "clip", open_clip_config())
    code, out, err = run(*(tmp_path / "clip" if each == "CLIP" else each for each in arguments))
    assert code == 2
    assert message in err
    assert out == ""
    assert not (tmp_path / "out").exists()


def test_data_without_attributes_is_refused(run, tmp_path):
    save_picture(tmp_path / "photos" / "one" / "a.png")
    code, _, err = run(dataset=f"folder:{tmp_path / 'photos'}")
    assert code == 2
    assert "the attributes of the classes of 'folder:" in err


def test_a_folder_that_is_a_file_is_refused_before_anything_runs(run, tmp_path):
    (tmp_path / "out").write_text("mine")
    code, _, err = run()
    assert code == 2
    assert "is a file; give a folder" in err
    assert (tmp_path / "out").read_text() == "mine"
