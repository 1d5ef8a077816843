"""``finercam explain`` as a user runs it."""

import csv
import json
import re
import signal
import subprocess
import sys
import time

import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file

import finercam
from finercam.cli.main import main
from support import running

NAMES_SHOWN = ("Red-winged Blackbird", "Brewer's Blackbird", "Grandala", "Blue Grosbeak", "Indigo Bunting")


def run(monkeypatch, capsys, *arguments):
    """Run the command in this process; return (exit code, stdout, stderr)."""
    monkeypatch.setattr(sys, "argv", ["finercam", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        main()
    captured = capsys.readouterr()
    return stop.value.code or 0, captured.out, captured.err


@pytest.fixture
def explain(monkeypatch, capsys, model_folder, tmp_path):
    def call(*arguments):
        options = () if "--model" in arguments else ("--model", model_folder)
        return run(monkeypatch, capsys, "explain", *arguments, *options, "--out", tmp_path / "out")

    return call


@pytest.mark.parametrize("gamma", ["1e39", "nan", "-inf"])
def test_a_strength_without_a_meaning_is_refused(explain, photos, tmp_path, gamma):
    code, out, err = explain(photos, "--gamma", gamma)
    assert (code, out) == (2, "")
    assert "it must be a number from -1,000,000" in err or "it must be a number from -1,000,000 to 1,000,000" in err
    assert not (tmp_path / "out").exists()


def test_every_photo_gets_a_picture_its_maps_and_a_record(explain, photos, tmp_path, model_folder):
    code, out, _ = explain(photos)
    assert code == 0
    assert len(out.splitlines()) == 3
    assert any(name in out for name in NAMES_SHOWN)
    results = tmp_path / "out"
    records = [json.loads(line) for line in (results / "explanations.jsonl").read_text().splitlines()]
    assert {record["files"]["picture"] for record in records} == {"one.png", "deep/er/two.png", "deep/er/two-png.png"}
    for record in records:
        assert Image.open(results / record["files"]["picture"]).width > 600
        maps = load_file(results / record["files"]["maps"])
        assert maps["saliency"].shape == maps["plain"].shape == (96, 96)
        assert maps["map"].shape == (3, 3)
        again = finercam.explain(str(model_folder), record["image"])
        torch.testing.assert_close(maps["saliency"], again.saliency)
        torch.testing.assert_close(
            maps["plain"], finercam.explain(str(model_folder), record["image"], gamma=0).saliency
        )
        assert record["target"]["index"] == int(maps["logits"].argmax())
        assert record["target"]["probability"] == pytest.approx(float(maps["logits"].softmax(0).max()), rel=1e-5)
        assert len(record["references"]) == 3
        assert len(record["top"]) == 5
        assert (record["gamma"], record["method"], record["layer"]) == (0.6, "gradcam", ["layer4"])
        assert record["empty"] == (float(maps["saliency"].max()) == 0)
        with safe_open(results / record["files"]["maps"], "pt") as file:
            stored = json.loads(file.metadata()["finercam"])
        assert stored["target"] == record["target"]
    assert not [path for path in results.rglob("*") if path.name.startswith(".")]


def test_json_lines_go_to_standard_output_alone(explain, photos, tmp_path):
    code, out, err = explain(photos / "one.png", "--json", "--target", "brewers blackbird", "--against", "Grandala,3")
    assert code == 0
    record = json.loads(out)
    assert record["target"]["name"] == "Brewer's Blackbird"
    assert [reference["index"] for reference in record["references"]] == [2, 3]
    assert "1 explained" in err
    assert out.strip() == (tmp_path / "out" / "explanations.jsonl").read_text().strip()


def test_options_reach_the_explanation(explain, photos, model_folder, tmp_path):
    code, out, _ = explain(
        photos / "one.png",
        "--json",
        "--gamma",
        "-0.5",
        "--references",
        "2",
        "--method",
        "layer-cam",
        "--weighting",
        "softmax",
        "--aggregate",
        "mean-after-relu",
        "--layer",
        "layer3",
        "--against",
        "weights",
        "--reverse",
        "--precision",
        "bfloat16",
        "--batch-size",
        "2",
    )
    assert code == 0
    record = json.loads(out)
    expected = {
        "gamma": -0.5,
        "method": "layercam",
        "weighting": "softmax",
        "aggregate": "mean-after-relu",
        "layer": ["layer3"],
        "against": "weights",
        "reverse": True,
        "precision": "bfloat16",
    }
    assert {key: record[key] for key in expected} == expected
    assert len(record["references"]) == 2


def test_one_bad_photo_is_reported_and_the_rest_go_on(explain, photos, tmp_path):
    (photos / "broken.jpg").write_bytes(b"\xff\xd8 not really")
    code, _, err = explain(photos)
    assert code == 1
    assert "broken.jpg" in err
    assert "3 explained, 1 failed" in err
    records = [json.loads(line) for line in (tmp_path / "out" / "explanations.jsonl").read_text().splitlines()]
    assert len(records) == 4
    (failed,) = [record for record in records if "error" in record]
    assert failed == {"schema": 1, "image": str(photos / "broken.jpg"), "error": failed["error"]}
    assert "is not a picture" in failed["error"]


def test_a_photo_whose_only_reference_is_its_prediction_fails_alone(explain, photos, tmp_path):
    code, out, _ = explain(photos, "--json")
    tops = [json.loads(line)["target"]["name"] for line in out.splitlines()]
    code, out, err = explain(photos, "--json", "--against", tops[0])
    assert code == 1
    assert "no class to compare" in err
    assert ["error" in json.loads(line) for line in out.splitlines()] == [top == tops[0] for top in tops]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--target", "Red-wing Blackbird"), "did you mean 'Agelaius phoeniceus (Red-winged Blackbird)'"),
        (("--target", "5"), "0 to 4"),
        (("--against", "Grandalla"), "did you mean 'Grandala'"),
        (("--against", "compared"), "is for finercam evaluate"),
        (("--method", "gradcm"), "did you mean 'gradcam'"),
        (("--method", "eigencam"), "ignores the class"),
        (("--weighting", "means"), "did you mean 'mean'"),
        (("--aggregate", "maximum"), "choose from: mean, max"),
        (("--gamma", "nan"), "it must be a number from -1,000,000"),
        (("--references", "0"), "at least 1"),
        (("--layer", "layer5"), "did you mean 'layer"),
        (("--device", "gpu"), "device 'gpu'"),
        (("--precision", "fp16"), "float16"),
        (("--model", "timm/resnet5O"), "did you mean 'resnet5"),
        (("--model", "no/such"), "neither a folder"),
        (("--model", "."), "config.json"),
    ],
)
def test_a_bad_option_is_one_line_and_exit_code_2(explain, photos, tmp_path, arguments, message):
    code, _, err = explain(photos, *arguments)
    assert code == 2
    assert message in err
    assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_bad_path_is_one_line_and_exit_code_2(explain, tmp_path):
    code, _, err = explain(tmp_path / "nowhere")
    assert code == 2
    assert "no photo at" in err
    assert not (tmp_path / "out").exists()


def test_a_stopped_run_keeps_what_is_done(photos, model_folder, tmp_path):
    for number in range(60):
        (photos / f"copy{number:02}.png").write_bytes((photos / "one.png").read_bytes())
    process = running.start("explain", photos, "--model", model_folder, "--out", tmp_path / "out", "--batch-size", 1)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    time.sleep(0.1)
    records = [json.loads(line) for line in (tmp_path / "out" / "explanations.jsonl").read_text().splitlines()]
    assert 1 <= len(records) < 63
    for record in records:
        load_file(tmp_path / "out" / record["files"]["maps"])
        Image.open(tmp_path / "out" / record["files"]["picture"]).load()
    assert not [path for path in (tmp_path / "out").rglob("*") if path.name.startswith(".")]


def test_help_names_every_option_and_is_quick(monkeypatch, capsys):
    code, out, _ = run(monkeypatch, capsys, "explain", "--help")
    assert code == 0
    for option in (
        "--model",
        "--target",
        "--against",
        "--references",
        "--gamma",
        "--method",
        "--weighting",
        "--aggregate",
        "--layer",
        "--device",
        "--precision",
        "--batch-size",
        "--out",
        "--json",
    ):
        assert option in out
    done = subprocess.run(
        [sys.executable, "-c", "import sys, finercam, finercam.cli.main; print('torch' in sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "False"


def test_pictures_are_written_in_the_formats_and_the_size_asked_for(explain, photos, tmp_path):
    code, out, _ = explain(photos / "one.png", "--format", "svg,png", "--size", "300", "--dpi", "72", "--json")
    assert code == 0
    assert json.loads(out)["files"] == {"picture": "one.svg", "png": "one.png", "maps": "one.safetensors"}
    results = tmp_path / "out"
    assert {path.name for path in results.iterdir()} == {
        *("one.svg", "one.png", "one.safetensors", "explanations.jsonl", "explanations.csv")
    }
    small = Image.open(results / "one.png")
    assert small.width < 1000
    assert small.info["dpi"][0] == pytest.approx(72, abs=0.1)
    explain(photos / "one.png", "--size", "900")
    assert Image.open(results / "one.png").width > 2 * small.width


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--format", "gif"), "no picture format 'gif'"),
        (("--format", "safetensors"), "no picture format 'safetensors'"),
        (("--size", "2"), "the size of a picture is 2"),
        (("--dpi", "0"), "dpi is 0"),
        (("--scale", "comon"), "did you mean 'common'"),
    ],
)
def test_the_look_of_pictures_is_checked_before_anything_is_written(explain, photos, tmp_path, options, message):
    code, _, err = explain(photos, *options)
    assert code == 2
    assert message in err
    assert not (tmp_path / "out").exists()


def test_the_records_are_a_table_too(explain, photos, tmp_path):
    explain(photos, "--references", "2")
    records = [json.loads(line) for line in (tmp_path / "out" / "explanations.jsonl").read_text().splitlines()]
    with (tmp_path / "out" / "explanations.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == [record["image"] for record in records]
    for row, record in zip(rows, records, strict=True):
        assert row["target.name"] == record["target"]["name"]
        assert float(row["target.probability"]) == record["target"]["probability"]
        assert row["references.name"] == "; ".join(one["name"] for one in record["references"])
        assert row["files.maps"] == record["files"]["maps"]


def test_with_reverse_the_probability_stands_with_its_class(explain, photos):
    options = ("--target", "Grandala", "--against", "Blue Grosbeak")
    _, forward, _ = explain(photos / "one.png", *options)
    _, reverse, _ = explain(photos / "one.png", *options, "--reverse")
    assert re.search(r": [\d.]+ % Grandala, against Blue Grosbeak, gamma 0.6\b", forward.strip())
    assert re.search(r": Grandala [\d.]+ %; Blue Grosbeak, against Grandala, reversed, gamma 0.6\b", reverse.strip())


def test_a_page_has_every_photo_that_was_explained_and_the_maps_stay_small(explain, photos, tmp_path):
    (photos / "broken.jpg").write_bytes(b"no picture")
    code, _, err = explain(photos, "--page", tmp_path / "sub" / "why.html", "--method", "gradcam,layercam")
    assert code == 1
    assert "the page is" in err
    page = (tmp_path / "sub" / "why.html").read_text()
    blocks = dict(re.findall(r'<script type="application/json" id="([^"]+)">(.*?)</script>', page))
    data = json.loads(blocks["data"])
    assert len(data["photos"]) == len(blocks) - 1 > 1
    answers = json.loads(blocks["kept-1"])["answers"]
    assert [one["method"] for one in answers] == ["gradcam", "layercam"]
    # Evidence goes into the maps with --keep only.
    for file in (tmp_path / "out").rglob("*.safetensors"):
        with safe_open(file, "pt") as kept:
            assert not any(name.startswith("evidence") for name in kept.keys())  # noqa: SIM118


@pytest.mark.parametrize("page", ["why.txt", "why"])
def test_a_page_is_html(explain, photos, tmp_path, page):
    code, out, err = explain(photos, "--page", tmp_path / page)
    assert (code, out) == (2, "")
    assert ".html" in err
    assert not (tmp_path / "out").exists()


def test_several_classes_at_once(explain, photos, tmp_path):
    code, _, err = explain(photos, "--probabilities", "sigmoid")
    assert code == 0, err
    for line in (tmp_path / "out" / "explanations.jsonl").read_text().splitlines():
        record = json.loads(line)
        logit = load_file(tmp_path / "out" / record["files"]["maps"])["logits"][record["target"]["index"]]
        assert record["probabilities"] == "sigmoid"
        assert record["target"]["probability"] == pytest.approx(float(logit.sigmoid()), rel=1e-5)


def test_with_several_methods_each_line_says_which_answered(explain, photos):
    code, out, _ = explain(photos / "one.png", "--method", "gradcam,layercam")
    assert code == 0
    assert [line.rpartition(" (")[2] for line in out.splitlines()] == ["Grad-CAM)", "Layer-CAM)"]
