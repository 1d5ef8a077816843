"""What docs/extending shows: an extension of each kind is one file, here brought in from outside the package."""

from __future__ import annotations

import configparser
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image

from support.running import run

EXAMPLES = Path(__file__).parents[1] / "docs" / "extending"
#: Those that a command needs; the writer and the study are for Python, and a command comes by an entry point only.
IMPORTED = ("gradient_norm.py", "flash.py", "highest.py", "squares.py", "colours.py", "dots.py")


@pytest.fixture
def squares(tmp_path):
    folder = tmp_path / "squares"
    folder.mkdir()
    for colour, shade in (("red", (255, 0, 0)), ("green", (0, 255, 0)), ("blue", (0, 0, 255))):
        for number in range(2):
            picture = Image.new("RGB", (32, 32), (40, 40, 40))
            picture.paste(shade, (2 * number, 2, 14, 14))
            picture.save(folder / f"{colour}-{number}.png")
    return folder


def finercam_with_extension(*arguments, **environment):
    extensions = [word for name in IMPORTED for word in ("--import", EXAMPLES / name)]
    return run(*extensions, *arguments, **environment)


def test_the_lists_show_what_was_imported():
    for command, names in (
        ("methods", ("gradient-norm", "Flash")),
        ("metrics", ("highest",)),
        ("datasets", ("squares:DIR",)),
        ("figures", ("dots",)),
    ):
        code, out, err = finercam_with_extension(command)
        assert code == 0, err
        assert all(name in out for name in names)
        _, without, _ = run(command)
        assert not any(name in without for name in names)


def test_everything_works_together_on_the_command_line(squares, tmp_path):
    code, _, err = finercam_with_extension(
        "explain",
        squares / "red-0.png",
        "--model",
        "colours",
        "--method",
        "gradient-norm,flash@cells=8",
        "--gamma",
        "0,1",
        "--references",
        "1",
        "--out",
        tmp_path / "explained",
    )
    assert code == 0, err
    records = [json.loads(line) for line in (tmp_path / "explained" / "explanations.jsonl").read_text().splitlines()]
    assert {(record["method"], record["gamma"]) for record in records} == {
        (method, gamma) for method in ("gradient-norm", "flash@cells=8") for gamma in (0, 1)
    }
    assert len({record["files"]["picture"] for record in records}) == 4
    assert all((tmp_path / "explained" / record["files"]["maps"]).is_file() for record in records)

    code, out, err = finercam_with_extension(
        "evaluate",
        f"squares:{squares}",
        "--model",
        "colours",
        "--method",
        "gradient-norm,flash",
        "--metric",
        "highest@0.5,localization",
        "--references",
        "1",
        "--workers",
        "1",
        "--out",
        tmp_path / "run",
    )
    assert code == 0, err
    rows = pq.read_table(tmp_path / "run" / "rows").to_pylist()
    assert {row["method"] for row in rows} >= {"gradient-norm", "flash"}
    hits = [row["highest@0.5"] for row in rows if row["method"] == "gradient-norm" and row["contrast"] == "plain"]
    assert hits == [0.5] * 6
    assert "Flash" in out

    code, out, err = finercam_with_extension(
        "figure", "dots@mark=x", "--run", tmp_path / "run", "--out", tmp_path / "dots.svg"
    )
    assert code == 0, err
    assert out.splitlines()[-1] == "6 photos"
    assert (tmp_path / "dots.txt").read_text() == "6 photos\n"
    assert "</svg>" in (tmp_path / "dots.svg").read_text()


def test_a_module_that_is_not_there_is_one_line():
    code, _, err = run("--import", "no_such_module", "methods")
    assert code == 2
    assert err.strip() == (
        "finercam: there is no module 'no_such_module'; give a dotted name that Python finds, or the path of a .py file"
    )


_IN_PYTHON = """
import sys
sys.path.insert(0, sys.argv[1])
import brightness, colours, finercam, flash, squares, text_writer
from finercam.runs.engine import run_study
from finercam.runs.loaded import loaded_classifier
photos, out = sys.argv[2:]
explanation = finercam.explain("colours", f"{photos}/blue-0.png", gamma=1.0, references=1, keep=True, method="flash")
explanation.save(f"{out}/why.txt", digits=2)
kept = finercam.Explanation.load(explanation.save(f"{out}/why.safetensors"))
assert kept.again(gamma=0.5).saliency.equal(explanation.again(gamma=0.5).saliency)
data = finercam.read_dataset(f"squares:{photos}")
found = run_study(brightness.Brightness(), loaded_classifier(finercam.load("colours")), data, f"{out}/study")
print(brightness.Brightness().summary(found.rows))
"""


def test_a_writer_a_study_and_a_report_of_ones_own(squares, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", _IN_PYTHON, str(EXAMPLES), str(squares), str(tmp_path)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"blue, against .*: \d\.\d\d\n", (tmp_path / "why.txt").read_text())
    assert "'red-1.png': 'red'" in done.stdout
    assert "'blue-0.png': 'blue'" in done.stdout
    code, _, err = run(
        "--import", EXAMPLES / "told.py", "report", tmp_path / "study", "--out", tmp_path / "report.html"
    )
    assert code == 0, err
    assert '<th scope="row">red-1.png</th><td>red</td>' in (tmp_path / "report.html").read_text(encoding="utf-8")


def installed(folder: Path) -> dict[str, str]:
    """Return an environment in which the examples are a package that was installed, entry points and all."""
    groups = re.findall(
        r'\[project\.entry-points\."(.*?)"\]\n((?:[^\n]+\n)+)',
        (EXAMPLES / "pyproject.toml").read_text(encoding="utf-8"),
    )
    points = configparser.ConfigParser()
    points.read_dict(
        {group: dict(line.replace('"', "").split(" = ") for line in lines.splitlines()) for group, lines in groups}
    )
    about = folder / "finercam_colours-0.1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: finercam-colours\nVersion: 0.1.0\n")
    with open(about / "entry_points.txt", "w") as file:
        points.write(file)
    before = os.environ.get("PYTHONPATH", "")
    return {"PYTHONPATH": os.pathsep.join(filter(None, [str(folder), str(EXAMPLES), before]))}


def test_a_package_of_them_is_found_by_its_entry_points(squares, tmp_path):
    """The command too, which works on what ``explain`` wrote in the format of the package's own."""
    place = installed(tmp_path)
    code, out, err = run(
        "explain",
        squares,
        "--model",
        "colours",
        "--method",
        "flash",
        "--format",
        "txt",
        "--out",
        tmp_path / "r",
        **place,
    )
    assert code == 0, err
    assert len(list((tmp_path / "r").rglob("*.txt"))) == 6
    code, out, err = run("strongest", tmp_path / "r", "--count", 2, **place)
    assert code == 0, err
    peaks = [float(line.split()[0]) for line in out.splitlines()]
    assert len(peaks) == 2
    assert peaks[0] >= peaks[1] > 0
    code, _, err = run("strongest", tmp_path, **place)
    assert code == 2
    assert err.startswith("finercam: ")
    assert len(err.splitlines()) == 1


def test_every_example_is_shown_and_every_group_is_used():
    pages = "".join(page.read_text(encoding="utf-8") for page in EXAMPLES.glob("*.md"))
    for file in EXAMPLES.glob("*.py"):
        assert f"literalinclude}} {file.name}" in pages, file.name
        assert file.stem in (EXAMPLES / "pyproject.toml").read_text(encoding="utf-8") or file.stem == "brightness"
