"""Tables from rows whose means are known."""

from __future__ import annotations

import csv
import io
import json
import math
import re

import numpy as np
import pyarrow as pa
import pytest

from finercam.errors import FinercamError
from finercam.metrics.intervals import mean_of
from finercam.runs.measuring import schema
from finercam.runs.run_folder import RunFolder
from finercam.runs.storage import Folder
from finercam.studies.evaluate import writing
from finercam.studies.evaluate.evaluation import Evaluation
from finercam.studies.evaluate.tables import read_block

METRICS = ("deletion", "relative-drop@0.05", "localization")
#: Per photo: deletion, relative drop, localisation of plain, finer and the control.
NUMBERS = {
    ("gradcam", "plain"): [[0.30, 0.10, 0.5], [0.40, 0.30, 0.7], [0.20, 0.20, None], [0.90, -0.5, 0.1]],
    ("gradcam", "plain, cubed"): [[0.30, 0.10, 0.9], [0.40, 0.30, 0.9], [0.20, 0.20, None], [0.90, -0.5, 0.9]],
    ("gradcam", "finer"): [[0.25, 0.30, 0.4], [0.30, 0.45, 0.7], [0.15, 0.35, None], [0.85, 0.0, 0.2]],
    ("layercam", "plain"): [[0.10, 0.15, 0.5], [0.20, 0.25, 0.6], [0.10, 0.20, None], [0.70, 0.1, 0.3]],
    ("layercam", "finer gamma=1"): [[0.2, 0.1, 0.5], [0.3, 0.2, 0.6], [0.2, 0.1, None], [0.8, 0.0, 0.3]],
    ("random", "control"): [[0.01, 0.90, 1.0], [0.02, 0.90, 1.0], [0.03, 0.90, None], [0.04, 0.9, 1.0]],
}
CORRECT = [True, True, True, False]


def to_table(rows, metrics):
    return pa.Table.from_pylist(rows, schema(Evaluation(metrics=tuple(metrics), steps=10)))


def write_run(
    folder,
    name="aviary",
    metrics=METRICS,
    numbers=NUMBERS,
    photos=6,
    parts=((0, 2), (1, 3, 4)),
    failed=4,
    correct=CORRECT,
):
    """A run of six photos, of which the last one is not measured yet and the fifth failed."""
    run = RunFolder(Folder(str(folder)))
    run.claim(
        {
            "study": "evaluate",
            "model": {"name": "net_50"},
            "data": {"name": name, "photos": photos},
            "plan": {"metrics": list(metrics), "steps": 10},
        }
    )
    for number, part in enumerate(parts):
        rows = []
        for i in part:
            base = {"id": i, "key": f"{i}.png", "label": 0}
            if i == failed:
                rows.append({**base, "error": "not a picture | at all"})
                continue
            for (method, contrast), values in numbers.items():
                rows.append(
                    {
                        **base,
                        "target": 1,
                        "other": 2,
                        "predicted": 1,
                        "correct": CORRECT[i % 4],
                        "method": method,
                        "contrast": contrast,
                        "empty": (i, contrast) == (3, "finer"),
                        **dict(zip(metrics, values[i], strict=True)),
                    }
                )
        run.commit(number, to_table(rows, metrics))
    return str(folder)


@pytest.fixture
def out(tmp_path):
    return write_run(tmp_path / "run")


def column(name, method, contrast, photos=range(4)):
    values = [NUMBERS[method, contrast][i][METRICS.index(name)] for i in photos]
    return [math.nan if value is None else value for value in values]


@pytest.mark.parametrize("only_correct", [False, True])
def test_means_and_paired_differences(out, only_correct):
    block = read_block(out, only_correct=only_correct)
    photos = range(3) if only_correct else range(4)
    assert (block.photos, block.measured, block.data, block.model) == (6, 5, "aviary", "net_50")
    assert block.accuracy.mean == pytest.approx(0.75)
    assert block.failed == (("4.png", "not a picture | at all"),)
    assert {(line.method, line.contrast) for line in block.lines} == set(NUMBERS)
    for line in block.lines:
        assert line.images == len(photos)
        for name in METRICS:
            own = column(name, line.method, line.contrast, photos)
            assert line.means[name].mean == pytest.approx(np.nanmean(own))
            assert line.means[name].n == np.isfinite(own).sum()
            assert line.means[name].low <= line.means[name].mean <= line.means[name].high
            if line.contrast.startswith("finer"):
                base = column(name, line.method, "plain", photos)
                difference = np.array(own) - base
                assert line.differences[name].mean == pytest.approx(np.nanmean(difference))
                assert line.differences[name] == mean_of(torch_of(difference))
        assert bool(line.differences) == line.contrast.startswith("finer")
    empty = {(line.method, line.contrast): line.empty for line in block.lines}
    assert empty["gradcam", "finer"] == (0 if only_correct else 0.25)
    assert empty["gradcam", "plain"] == 0


def torch_of(values):
    import torch

    return torch.tensor(np.asarray(values))


def test_markdown_says_what_is_best_and_what_changed(out):
    text = writing.to_markdown([read_block(out)])
    assert "## aviary, net_50" in text
    assert "5 of 6 photos so far, 1 failed; 75.0 % correctly classified" in text
    cells = {
        row[0]: row[1:]
        for row in ([c.strip() for c in line.strip("| ").split(" | ")] for line in text.splitlines() if "|" in line)
    }
    assert cells["map"] == ["n", "Del. ↓", "RD@0.05 ↑", "Loc. ↑"]
    first = text.split("What the contrast changes")[0]
    rows = [[c.strip() for c in line.strip("|").split("|")] for line in first.splitlines() if line.startswith("|")]
    assert rows[0] == ["map", "n", "Del. ↓", "RD@0.05 ↑", "Loc. ↑", "empty"]
    assert [row[0] for row in rows[2:]] == [
        "Grad-CAM",
        "+ Finer",
        "Grad-CAM, cubed",
        "Layer-CAM",
        "+ Finer, gamma=1",
        "Random",
    ]
    bold = {(row[0], rows[0][i]) for row in rows[2:] for i, cell in enumerate(row) if "**" in cell}
    assert bold == set()  # of four photos
    assert rows[2][2].startswith("0.450 [")
    assert rows[3][5] == "25.0 %"
    assert rows[3][4].endswith("(n = 3)")
    assert "(n = " not in rows[3][3]
    changed = text.split("What the contrast changes")[1]
    assert "| Grad-CAM + Finer | 4 | -0.0625 [" in changed
    assert "| Layer-CAM + Finer, gamma=1 | 4 | +0.1000 [+0.1000, +0.1000] |" in changed
    assert "+0.0000 [+0.0000, +0.0000] (n = 3) |" in changed
    assert "**" not in text
    assert "- failed: 4.png: not a picture" in text


def test_enough_photos_have_their_best_in_bold(tmp_path):
    """Neither a control nor the cubed base wins, however good; nor does a line whose mean is over too few photos."""
    many = {key: values * 4 for key, values in NUMBERS.items()}
    many["layercam", "plain"][0] = [None, 0.15, 0.5]
    out = write_run(tmp_path / "run", numbers=many, photos=12, parts=(range(8), range(8, 12)), failed=None)
    text = writing.to_markdown([read_block(out)])
    first, changed = text.split("What the contrast changes")
    rows = [[c.strip() for c in line.strip("|").split("|")] for line in first.splitlines() if line.startswith("|")]
    bold = {(row[0], rows[0][i]) for row in rows[2:] for i, cell in enumerate(row) if "**" in cell}
    assert bold == {("+ Finer, gamma=1", "Del. ↓"), ("+ Finer", "RD@0.05 ↑")}
    assert "| Grad-CAM + Finer | 12 | **-0.0625 [" in changed
    assert "**+0.0000" not in changed


def test_a_single_photo_has_no_interval(tmp_path):
    block = read_block(write_run(tmp_path / "run", photos=1, parts=((0,),)))
    text = writing.to_markdown([block]) + writing.to_csv([block]) + writing.to_tex([block])
    assert "nan" not in text
    assert "**" not in text
    assert "| 0.300 | 0.100 | 0.500 |" in text


def test_a_gain_counts_only_beyond_the_methods_own_controls(tmp_path):
    """Relative drop rises with the contrast and with noise alike; deletion falls with the contrast alone."""
    rng = np.random.default_rng(0)
    names = ["plain", "finer", "plain, noisy", "finer, random class", "finer, reversed"]
    shift = dict(zip(names, ([0, 0, 0], [-0.2, 0.2, 0.1], [0, 0.2, 0], [-0.1, 0.2, 0], [0, 0, 0]), strict=True))
    base = rng.uniform(0.3, 0.4, (30, 3))
    numbers = {("gradcam", name): (base + shift[name] + rng.normal(0, 0.01, (30, 3))).tolist() for name in names} | {
        ("layercam", "plain"): (base + 1).tolist()
    }
    parts = (range(15), range(15, 30))
    run = write_run(tmp_path / "run", numbers=numbers, photos=30, parts=parts, failed=None, correct=[True] * 30)
    block = read_block(run)
    lines = {(line.method, line.contrast): line for line in block.lines}
    finer = lines["gradcam", "finer"]
    assert finer.beyond == {"deletion", "localization"}
    assert all(line.control == ("," in contrast) for (_, contrast), line in lines.items())
    assert lines["gradcam", "plain, noisy"].title == "Grad-CAM, noisy"
    assert lines["gradcam", "finer, reversed"].title == "+ Finer, reversed"
    (row,) = [line for line in writing.to_markdown([block]).splitlines() if line.startswith("| Grad-CAM + Finer")]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert [cell.endswith("†") for cell in cells[2:]] == [False, True, False]
    found = list(csv.DictReader(io.StringIO(writing.to_csv([block]))))
    own = {r["metric"]: r["beyond controls"] for r in found if (r["method"], r["contrast"]) == ("gradcam", "finer")}
    assert own == {"deletion": "true", "relative-drop@0.05": "false", "localization": "true"}


def test_csv_holds_every_number(out):
    block = read_block(out)
    found = list(csv.DictReader(io.StringIO(writing.to_csv([block, block]))))
    assert len(found) == 2 * len(NUMBERS) * len(METRICS)
    for row in found:
        own = column(row["metric"], row["method"], row["contrast"])
        assert float(row["mean"]) == pytest.approx(np.nanmean(own), abs=1e-6)
        assert int(row["n"]) == np.isfinite(own).sum()
        if row["contrast"].startswith("finer"):
            change = np.array(own) - column(row["metric"], row["method"], "plain")
            assert float(row["difference"]) == pytest.approx(np.nanmean(change), abs=1e-6)
            assert int(row["pairs"]) == np.isfinite(change).sum()
        else:
            assert row["difference"] == row["pairs"] == ""


def test_latex_is_well_formed_and_escaped(tmp_path):
    out = write_run(tmp_path / "run", name="folder:~/my_birds & more/50%^2\\x")
    text = writing.to_tex([read_block(out)])
    assert text.startswith("% Needs \\usepackage{booktabs}")
    assert text.count("\\begin{") == text.count("\\end{") == 4
    assert "folder:\\textasciitilde{}/my\\_birds \\& more/50\\%\\textasciicircum{}2\\textbackslash{}x, net\\_50" in text
    means, differences = (part.split("\\bottomrule")[0] for part in text.split("\\midrule", 1)[1].split("\\toprule"))
    lines = [line for line in means.splitlines() if "&" in line]
    assert len(lines) == len(NUMBERS)
    assert all(line.count("&") == 3 and line.endswith("\\\\") for line in lines)
    assert re.search(r"^\+ Finer & 0\.388 \{\\scriptsize \[.*\]\} & 0\.275", means, re.MULTILINE)
    assert means.count("\\midrule") == 1
    assert means.index("\\midrule") < means.index("Random")
    rows = [line for line in differences.splitlines() if "Finer" in line]
    assert len(rows) == 2
    assert rows[0].startswith("Grad-CAM + Finer & $-$0.0625 {\\scriptsize [$-$0.")


def test_a_finer_row_stands_under_its_own_base(out):
    block = read_block(out)
    assert [(line.method, line.contrast) for line in block.lines] == [
        ("gradcam", "plain"),
        ("gradcam", "finer"),
        ("gradcam", "plain, cubed"),
        ("layercam", "plain"),
        ("layercam", "finer gamma=1"),
        ("random", "control"),
    ]


def test_two_methods_do_not_share_a_name(tmp_path):
    numbers = {
        (method, "plain"): NUMBERS["gradcam", "plain"] for method in ("maps:a/theirs", "maps:b/theirs", "gradcam")
    }
    block = read_block(write_run(tmp_path / "run", numbers=numbers))
    titles = [line.title for line in block.lines]
    assert len(set(titles)) == 3
    assert "Grad-CAM" in titles


def test_several_runs_stand_one_after_another(out, tmp_path):
    other = write_run(tmp_path / "other", name="cub:birds")
    text = writing.to_markdown([read_block(run) for run in (out, other)])
    assert text.index("## aviary") < text.index("## cub:birds")


def test_only_what_is_right_where_nothing_is(tmp_path):
    wrong = {key: [values[3]] * 4 for key, values in NUMBERS.items()}
    out = write_run(tmp_path / "run", numbers=wrong, parts=((3,),), photos=1)
    block = read_block(out, only_correct=True)
    assert all(line.images == 0 for line in block.lines)
    text = writing.to_markdown([block])
    assert "nan" not in text + writing.to_csv([block]) + writing.to_tex([block])


def test_a_run_in_which_every_photo_failed(tmp_path):
    out = write_run(tmp_path / "run", parts=((4,),), photos=1)
    block = read_block(out)
    assert block.lines == ()
    assert "1 photos, 1 failed; no labels" in writing.to_markdown([block])
    writing.to_tex([block])


def test_parts_bring_a_column_of_consistency(tmp_path):
    run = RunFolder(Folder(str(tmp_path / "run")))
    run.claim(
        {
            "study": "evaluate",
            "model": {"name": "net"},
            "data": {"name": "birds", "photos": 4},
            "plan": {"metrics": ["parts"], "steps": 10},
        }
    )
    shares = [[0.5, 0.2, 0.0], [0.5, 0.2, 0.0], [0.0, 0.1, 0.6], [0.0, 0.1, 0.6]]
    rows = [
        {
            "id": i,
            "key": str(i),
            "label": i // 2,
            "correct": True,
            "method": "gradcam",
            "contrast": "plain",
            "empty": False,
            "parts": 0.7,
            "parts shares": shares[i],
        }
        for i in range(4)
    ]
    run.commit(0, to_table(rows, ["parts"]))
    (line,) = read_block(run.folder.uri).lines
    between = 0.02 / (math.hypot(0.5, 0.2) * math.hypot(0.1, 0.6))
    assert line.means["consistency"].mean == pytest.approx(1 - between, abs=1e-6)


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(FinercamError, match="holds no run"):
        read_block(str(tmp_path))
    RunFolder(Folder(str(tmp_path / "other"))).claim({"study": "corners", "plan": {}})
    with pytest.raises(FinercamError, match="holds no evaluation but a run of 'corners'"):
        read_block(str(tmp_path / "other"))
    write_run(tmp_path / "run", parts=())
    with pytest.raises(FinercamError, match="no rows yet"):
        read_block(str(tmp_path / "run"))


def test_a_damaged_part_and_a_strangers_file_are_left_out_and_left_there(out, tmp_path):
    (tmp_path / "run" / "rows" / "part-00000.parquet").write_bytes(b"PAR1")
    (tmp_path / "run" / "rows" / "notes.txt").write_bytes(b"mine")
    assert read_block(out).measured == 3
    assert sorted(path.name for path in (tmp_path / "run" / "rows").iterdir()) == [
        "notes.txt",
        "part-00000.parquet",
        "part-00001.parquet",
    ]


def test_parts_that_are_copied_or_anothers_are_refused(out, tmp_path):
    rows = tmp_path / "run" / "rows"
    content = (rows / "part-00001.parquet").read_bytes()
    for name in ("part-00009.parquet", "part-00000.parquet"):
        before = (rows / name).read_bytes() if (rows / name).exists() else None
        (rows / name).write_bytes(content)
        with pytest.raises(FinercamError, match=rf"{name} is part 1 of this run, by what it says of itself"):
            read_block(out)
        (rows / name).unlink() if before is None else (rows / name).write_bytes(before)
    assert read_block(out).measured == 5
    # Of the same photos, but measured on another model.
    other = write_run(tmp_path / "other", name="aviary again")
    (rows / "part-00001.parquet").write_bytes((tmp_path / "other" / "rows" / "part-00001.parquet").read_bytes())
    with pytest.raises(FinercamError, match=r"part-00001\.parquet is a part of another run"):
        read_block(out)
    assert read_block(other).measured == 5


@pytest.mark.parametrize(
    "edit",
    [
        lambda run: run["plan"].update(metrics=["insertion"]),
        lambda run: run["plan"].update(metrics=["no such"]),
        lambda run: run["plan"].update(metrics=7),
        lambda run: run.pop("plan"),
        lambda run: run.pop("data"),
        lambda run: run["data"].update(photos="many"),
        lambda run: run.update(model=[]),
        lambda run: run.update(study=["evaluate"]),
        lambda run: run.clear(),
    ],
)
def test_a_description_that_was_edited_is_one_line(out, tmp_path, edit):
    path = tmp_path / "run" / "run.json"
    run = json.loads(path.read_text())
    edit(run)
    path.write_text(json.dumps(run))
    said = r"run\.json was edited|holds no run of a study|holds no evaluation"
    with pytest.raises(FinercamError, match=said) as found:
        read_block(out)
    assert "\n" not in str(found.value)


def test_a_description_in_another_layout_is_the_same(out, tmp_path):
    path = tmp_path / "run" / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()), sort_keys=True))
    assert read_block(out).measured == 5


def test_rows_of_other_photos_than_the_bases_are_refused(tmp_path):
    run = RunFolder(Folder(str(tmp_path / "run")))
    run.claim(
        {
            "study": "evaluate",
            "model": {"name": "net"},
            "data": {"name": "birds", "photos": 2},
            "plan": {"metrics": ["deletion"], "steps": 10},
        }
    )
    own = {"key": "a", "label": 0, "correct": True, "method": "gradcam", "empty": False, "deletion": 0.1}
    rows = [
        {**own, "id": 0, "contrast": "plain"},
        {**own, "id": 0, "contrast": "finer"},
        {**own, "id": 1, "contrast": "plain"},
    ]
    table = to_table(rows, ["deletion"])
    assert isinstance(table, pa.Table)
    run.commit(0, table)
    with pytest.raises(FinercamError, match="different photos"):
        read_block(run.folder.uri)
