"""``finercam demo`` and ``finercam aviary`` as a user runs them."""

import re
import sys

import pytest
from PIL import Image

from finercam.aviary.demo import run_demo
from finercam.cli.main import main
from finercam.errors import FinercamError


def run(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["finercam", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        main()
    captured = capsys.readouterr()
    return stop.value.code or 0, captured.out, captured.err


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    out = tmp_path_factory.mktemp("demo") / "new" / "folder"
    return run_demo(out, measured=6)


def test_the_report_holds_its_pictures_and_asks_for_nothing_else(demo):
    page = demo.read_text(encoding="utf-8")
    pictures = re.findall(r'<img alt="[^"]+" src="(data:image/webp;base64,[^"]+)"', page)
    assert len(pictures) == page.count("<img") > 50
    # What is fetched stands behind src, href or url(); the namespaces of drawings are not addresses.
    assert not re.findall(r"""(?:src|href)=["']?(?!data:|#)[^"' >]+|url\((?!#)[^)]*|https?://(?!www\.w3\.org/)""", page)
    assert "default-src 'none'" in page
    assert '<meta name="viewport"' in page
    for word in (
        "Grad-CAM",
        "Layer-CAM",
        "Score-CAM",
        "gamma 0.6",
        "Sharp",
        "gamma 1",
        "random",
        "centre",
        "True difference",
        "The same birds, to be asked again",
        "Average precision: change by the comparison",
    ):
        assert word in page


def test_each_strip_is_a_picture_too(demo):
    pictures = sorted(demo.parent.glob("*.png"))
    assert len(pictures) == 9 + 1 + 3
    for path in pictures:
        assert re.fullmatch(r"[a-z0-9.-]+", path.name)
        assert Image.open(path).width > 900


def test_a_file_in_the_way_is_an_error(tmp_path):
    (tmp_path / "demo").write_text("")
    with pytest.raises(FinercamError, match="is a file"):
        run_demo(tmp_path / "demo")


def test_measure_prints_accuracy_maps_and_the_intervention(monkeypatch, capsys):
    code, out, _ = run(monkeypatch, capsys, "aviary", "measure", "--images", "16", "--method", "gradcam")
    assert code == 0
    assert re.search(r"\d+\.\d\d % of 16 fresh birds correctly classified", out)
    assert re.search(r"Grad-CAM +gamma 0\.6 +0\.\d{3} \[", out)
    assert "repainting the difference lowers it by" in out


def test_measure_refuses_other_classifiers_and_methods(monkeypatch, capsys, model_folder):
    code, _, err = run(monkeypatch, capsys, "aviary", "measure", "--model", model_folder)
    assert code == 2
    assert "not a classifier of the aviary" in err
    code, _, err = run(monkeypatch, capsys, "aviary", "measure", "--method", "gradcm")
    assert code == 2
    assert "did you mean 'gradcam'" in err


def test_export_writes_a_data_set_once(monkeypatch, capsys, tmp_path):
    arguments = ("aviary", "export", "--out", tmp_path / "birds", "--images", "8", "--split", "test", "--seed", "3")
    code, out, _ = run(monkeypatch, capsys, *arguments)
    assert code == 0
    assert str(tmp_path / "birds") in out
    assert len((tmp_path / "birds" / "images.txt").read_text().splitlines()) == 8
    code, _, err = run(monkeypatch, capsys, *arguments)
    assert code == 2
    assert len(err.strip().splitlines()) == 1


@pytest.mark.slow
def test_train_writes_a_classifier_that_can_be_explained(monkeypatch, capsys, tmp_path, model_folder):
    code, out, _ = run(
        monkeypatch, capsys, "aviary", "train", "--out", tmp_path / "model", "--images", "64", "--epochs", "1"
    )
    assert code == 0
    assert "fresh birds correctly classified" in out
    code, out, _ = run(
        monkeypatch, capsys, "aviary", "measure", "--model", tmp_path / "model", "--images", "8", "--method", "gradcam"
    )
    assert code == 0
