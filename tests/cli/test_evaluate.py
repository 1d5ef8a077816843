"""``finercam evaluate`` and ``finercam table`` as a user runs them."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import warnings

import numpy as np
import pytest
from PIL import Image

from finercam import explain, load
from finercam.cli.main import main
from finercam.data import photos as opening
from finercam.data.reading import read_dataset
from finercam.metrics.metric import default_metrics
from support.evaluations import rows_of


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
def birds(tmp_path_factory):
    """Four drawn birds in folders by species."""
    root = tmp_path_factory.mktemp("birds")
    aviary = read_dataset("aviary", images=4)
    for number, item in enumerate(aviary.items()):
        path = root / aviary.class_names[item.label] / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        aviary.open(item).photo.save(path)
    return root


def command(birds, out, *more, metrics="relative-drop@0.05"):
    metric = () if metrics is None else ("--metric", metrics)
    return (
        "evaluate",
        f"folder:{birds}",
        "--model",
        "aviary",
        "--out",
        out,
        *metric,
        "--workers",
        0,
        "--device",
        "cpu",
        *more,
    )


def test_photos_that_are_not_sorted_are_asked_about_what_the_model_predicts(run, birds, tmp_path):
    unsorted = ("evaluate", f"photos:{birds}", *command(birds, tmp_path / "run")[2:])
    code, _, err = run(*unsorted)
    assert (code, err.strip().splitlines()[-1].split(",")[0]) == (2, "finercam: the photos are not sorted by class")
    code, text, err = run(*unsorted, "--target", "predicted")
    assert code == 0, err
    assert "match none of the model's" not in err
    assert "no labels" in text
    rows = rows_of(tmp_path / "run")
    assert {row["correct"] for row in rows} == {None}
    assert all(row["target"] == row["predicted"] for row in rows)


def test_questions_about_families_are_measured_by_the_families_probabilities(run, birds, tmp_path):
    names = read_dataset("aviary", images=1).class_names
    table = tmp_path / "taxonomy.csv"
    table.write_text("name,family\n" + "".join(f"{name},{name.split()[-1]}idae\n" for name in names), encoding="utf-8")
    ranked = ("--rank", "family", "--taxonomy", table)
    code, text, err = run(*command(birds, tmp_path / "run", *ranked, metrics="relative-drop@0.05,deletion"))
    assert code == 0, err
    assert "100.0 % correctly classified" in text
    described = json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))
    assert described["model"]["rank"] == "family"
    plain = [row for row in rows_of(tmp_path / "run") if row["contrast"] == "plain"]
    classes, families = load("aviary", device="cpu"), load("aviary", device="cpu", taxonomy=str(table), rank="family")
    data = read_dataset(f"folder:{birds}")
    for row, item in zip(plain, data.items(), strict=True):
        family = f"{data.class_names[item.label].split()[-1]}idae"
        assert families.class_name(row["target"]) == family
        odds = explain(classes, item.uri).probabilities
        inside = [name.endswith(family.removesuffix("idae")) for name in classes.labels.names]
        assert row["confidence"] == pytest.approx(float(odds[inside].sum()), abs=1e-5)
    first, *rest = table.read_text(encoding="utf-8").splitlines()
    of_first = data.class_names[0]
    table.write_text("\n".join([first, *(line for line in rest if not line.startswith(of_first))]), encoding="utf-8")
    code, _, err = run(*command(birds, tmp_path / "fewer", *ranked))
    assert code == 2
    assert f"the family of 1 classes with photos is not known ({of_first})" in err
    refused = ("evaluate", "aviary", "--model", "aviary", "--images", 2, *ranked, "--out", tmp_path / "not")
    for more in (("--metric", "localization@difference", "--other", "similar"), ("--other", "known")):
        code, _, err = run(*refused, *more)
        assert code == 2
        assert "differences are known of classes only" in err
    assert not (tmp_path / "not").exists()


def test_a_run_its_files_and_its_table(run, birds, tmp_path):
    out = tmp_path / "run"
    code, text, err = run(*command(birds, out))
    assert code == 0, err
    assert {path.name for path in out.iterdir()} == {
        "run.json",
        "manifest.parquet",
        "rows",
        "table.md",
        "table.csv",
        "table.tex",
    }
    assert text == (out / "table.md").read_text()
    assert f"## folder:{birds}" in text
    assert "| + Finer | 4 |" in text
    assert "4 photos measured; of the time" in err
    assert len(rows_of(out)) == 4 * 9
    tables = {name: (out / f"table.{name}").read_bytes() for name in ("md", "csv", "tex")}
    # The table of the rows, anywhere.
    code, again, _ = run("table", out, "--out", tmp_path / "tables")
    assert (code, again) == (0, text)
    assert {name: (tmp_path / "tables" / f"table.{name}").read_bytes() for name in tables} == tables
    # The same command does nothing again.
    code, again, err = run(*command(birds, out))
    assert (code, again) == (0, text)
    assert "resuming: 4 of 4 photos are done" in err
    assert "measured;" not in err
    # Nor do options that decide no number.
    assert run(*command(birds, out, "--batch-size", 2, "--copies", 3))[:2] == (0, text)


def test_another_run_in_the_same_folder_is_refused_with_what_differs(run, birds, tmp_path):
    out = tmp_path / "run"
    run(*command(birds, out))
    rows = rows_of(out)
    code, text, err = run(*command(birds, out, "--fill", "black", metrics="relative-drop@0.1"))
    assert (code, text) == (2, "")
    (line,) = err.splitlines()
    assert line.startswith("finercam: ")
    assert "plan metrics (relative-drop@0.05 there, relative-drop@0.1 now)" in line
    assert "plan fill (mean there, black now)" in line
    assert "weights" not in line
    assert rows_of(out) == rows


def test_how_logits_become_probabilities_is_part_of_a_run(run, birds, tmp_path):
    confidences = {}
    for kind in ("softmax", "sigmoid"):
        code, _, err = run(*command(birds, tmp_path / kind, "--probabilities", kind))
        assert code == 0, err
        confidences[kind] = [row["confidence"] for row in rows_of(tmp_path / kind)]
    assert json.loads((tmp_path / "sigmoid/run.json").read_text())["model"]["probabilities"] == "sigmoid"
    assert confidences["softmax"] != confidences["sigmoid"]
    code, _, err = run(*command(birds, tmp_path / "sigmoid"))
    assert (code, "probabilities (sigmoid there, softmax now)" in err) == (2, True)


def test_failed_photos_are_named_and_tried_again(run, birds, tmp_path):
    photos, out = tmp_path / "photos", tmp_path / "run"
    for path in birds.rglob("*.png"):
        copy = photos / path.relative_to(birds)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    broken = sorted(photos.rglob("*.png"))[1]
    content = broken.read_bytes()
    broken.write_bytes(content[:500])
    code, text, _ = run(*command(photos, out))
    assert code == 1
    assert "4 photos, 1 failed" in text
    (line,) = (line for line in text.splitlines() if line.startswith("- failed: "))
    assert line.count(broken.relative_to(photos).as_posix()) == 1
    assert run("table", out)[0] == 0
    assert run(*command(photos, out))[0] == 1
    broken.write_bytes(content)
    assert run(*command(photos, out))[0] == 1
    code, text, _ = run(*command(photos, out, "--retry-failed"))
    assert code == 0
    assert "1 failed" not in text


def test_several_runs_in_one_table(run, birds, tmp_path):
    for fill in ("mean", "black"):
        run(*command(birds, tmp_path / fill, "--fill", fill))
    code, text, _ = run("table", tmp_path / "mean", tmp_path / "black", "--only-correct")
    assert code == 0
    assert text.count("## folder:") == 2


def test_a_terminal_narrower_than_a_table_shows_its_columns_in_turns(run, birds, tmp_path, monkeypatch):
    _, piped, _ = run(
        *command(birds, tmp_path / "run", metrics="relative-drop@0.05,relative-drop@0.1,deletion@steps=2")
    )
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    code, text, _ = run("table", tmp_path / "run")
    assert code == 0
    lines = re.sub(r"\x1b\[[\d;]*m", "", text).splitlines()
    shown = [line for line in lines if line.startswith("+ Finer  ")]
    # Two of three columns of means fit.
    assert len(shown) == 2
    assert all(len(line) <= 80 for line in lines if "[" in line)
    (row,) = (line for line in piped.splitlines() if line.startswith("| + Finer |"))
    for cell in row.strip("| ").split(" | ")[2:]:
        assert sum(cell.replace("*", "") in line for line in shown) == 1


def test_what_is_measured_where_nothing_is_said_is_what_the_data_allows(run, birds, tmp_path):
    code, text, _ = run(*command(birds, tmp_path / "run", "--steps", 2, metrics=None))
    assert code == 0
    described = json.loads((tmp_path / "run" / "run.json").read_text())
    assert described["plan"]["metrics"] == list(default_metrics(()))
    assert "| map | n | Del. ↓ | Del. (steps=20, fill=blur) ↓ | RD@0.05 ↑ | RD@0.1 ↑ | RD@0.05 (blur) ↑ |" in text


def test_contrasts_are_crossed(run, birds, tmp_path):
    code, text, _ = run(
        *command(
            birds,
            tmp_path / "run",
            "--gamma",
            "0.6,1",
            "--references",
            "1,3",
            "--method",
            "gradcam,hirescam",
            "--images",
            1,
        )
    )
    assert code == 0
    contrasts = json.loads((tmp_path / "run" / "run.json").read_text())["plan"]["contrasts"]
    assert contrasts == ["plain", "finer references=1", "finer gamma=1 references=1", "finer", "finer gamma=1"]
    # Each with its controls: the first comparison of a random class, and reversed.
    assert text.count("| + Finer") == 2 * (4 + 2)


def test_classes_that_the_model_has_not(run, birds, tmp_path):
    photos = tmp_path / "photos"
    (photos / "Purple Unicorn").mkdir(parents=True)
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(photos / "Purple Unicorn" / "1.png")
    some = sorted(birds.rglob("*.png"))[0]
    (photos / some.parent.name).mkdir()
    (photos / some.parent.name / "2.png").write_bytes(some.read_bytes())
    code, _, err = run(*command(photos, tmp_path / "run"))
    assert code == 2
    assert "Purple Unicorn" in err
    assert not (tmp_path / "run").exists()
    code, text, err = run(*command(photos, tmp_path / "run", "--skip-unmatched"))
    assert code == 0
    assert "1 of 2 classes match none of the model's" in err
    assert "1 photos;" in text


def test_a_sample_is_of_as_many_measured_photos_as_were_asked_for(run, birds, tmp_path):
    """Eleven of fifteen photos are of a class that the model has not; a sample of three misses the others."""
    photos = tmp_path / "photos"
    for number in range(11):
        path = photos / "Purple Unicorn" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((64, 64, 3), number, np.uint8)).save(path)
    for path in birds.rglob("*.png"):
        (photos / path.parent.name).mkdir(exist_ok=True)
        (photos / path.parent.name / path.name).write_bytes(path.read_bytes())
    known = {"--images": 3, "--seed": 1}
    options = [text for pair in known.items() for text in pair]
    code, text, err = run(*command(photos, tmp_path / "run", "--skip-unmatched", *options))
    assert code == 0, err
    assert "3 photos;" in text
    keys = {row["key"] for row in rows_of(tmp_path / "run")}
    assert len(keys) == 3
    assert not any("Unicorn" in key for key in keys)
    # Those that would be drawn if there were no others.
    code, text, _ = run(*command(birds, tmp_path / "other", *options))
    assert {row["key"] for row in rows_of(tmp_path / "other")} == keys
    # A smaller sample is part of a larger one, and whoever is explained as predicted is of any class.
    code, text, _ = run(*command(photos, tmp_path / "all", "--target", "predicted", *options))
    assert any("Unicorn" in row["key"] for row in rows_of(tmp_path / "all"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--gamma", "1e39"), "gamma is 1e+39; it must be a number from -1,000,000 to 1,000,000"),
        (("--gamma", "nan"), "gamma is nan"),
        (("--method", "rise@keep=nan"), "keep is 'nan'; it must be a finite number"),
        (("--metric", "deletoin"), "'deletion'"),
        (("--metric", "localization"), "boxes or masks"),
        (("--method", "gradcma"), "'gradcam'"),
        (("--contrast", "finest"), "contrasts are plain, finer"),
        (("--gamma", "much"), "--gamma takes numbers"),
        (("--references", "1.5"), "--references takes whole numbers"),
        (("--references", "inf"), "--references takes whole numbers"),
        (("--references", "0"), "references"),
        (("--engine", "spark"), "engine is 'spark'"),
        (("--workers", "-1"), "workers is -1"),
        (("--batch-size", "0"), "--batch-size is 0"),
        (("--images", "0"), "images is 0"),
        (("--split", "tset"), "'test'"),
        (("--probabilities", "softmin"), "probabilities is 'softmin'; did you mean 'softmax'"),
        (("--against", "lookalikes"), "against is 'lookalikes'"),
    ],
)
def test_what_makes_no_sense_is_one_line(run, birds, tmp_path, options, message):
    code, text, err = run(*command(birds, tmp_path / "run"), *options)
    assert (code, text) == (2, "")
    assert err.startswith("finercam: ")
    assert len(err.strip().splitlines()) == 1
    assert message in err


def test_folders_that_are_no_runs(run, birds, tmp_path):
    code, _, err = run("table", tmp_path / "none")
    assert code == 2
    assert "holds no run of a study" in err
    (tmp_path / "notes").write_text("mine")
    code, _, err = run(*command(birds, tmp_path))
    assert code == 2
    assert "holds something already" in err
    code, _, err = run(*command(birds, tmp_path / "notes"))
    assert code == 2
    assert len(err.strip().splitlines()) == 1


def test_names_that_are_not_utf8_do_not_stop_a_run(run, birds, tmp_path):
    root = tmp_path / "birds"
    shutil.copytree(birds, root)
    species = sorted(os.listdir(os.fsencode(root)))[0]
    inside = os.path.join(os.fsencode(root), species)
    photo = os.path.join(inside, os.listdir(inside)[0])
    shutil.copy(photo, os.path.join(inside, b"caf\xe9.png"))
    with open(os.path.join(inside, b"d\xe9faut.png"), "wb") as damaged:
        damaged.write(b"no picture")
    strange = os.path.join(os.fsencode(root), b"gr\xe8be")
    os.mkdir(strange)
    shutil.copy(photo, strange)
    for resumed in (False, True):
        code, _, err = run(*command(root, tmp_path / "run", "--skip-unmatched"))
        assert code == 1, err
        assert (r"failed: " not in err, "Traceback" in err) == (True, False)
        rows = rows_of(tmp_path / "run")
        errors = {row["key"]: row["error"] for row in rows}
        failed = {key for key, error in errors.items() if error}
        assert failed == {os.fsdecode(species) + r"/d\udce9faut.png"}
        measured = os.fsdecode(species) + r"/caf\udce9.png"
        assert measured in errors.keys() - failed
        assert len(errors) == 6
        assert ("resuming" in err) == resumed


def test_photos_that_nothing_here_reads_are_counted_once(run, birds, tmp_path, monkeypatch):
    opening.has_heif.cache_clear()
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    root = tmp_path / "birds"
    shutil.copytree(birds, root)
    for number, folder in enumerate(sorted(root.iterdir())):
        (folder / f"{number}.HEIC").write_bytes(b"heic")
    count = number + 1
    with warnings.catch_warnings():
        # As after anything that has Python forget what it has shown.
        warnings.simplefilter("always")
        code, _, err = run(*command(root, tmp_path / "run"))
    assert code == 0, err
    assert err.count(f"{count} files skipped (.heic); pip install pillow-heif\n") == 1
    opening.has_heif.cache_clear()
