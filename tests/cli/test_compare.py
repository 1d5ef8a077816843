"""``finercam compare`` and ``finercam traits`` as a user runs them."""

import csv
import sys

import pytest

import finercam.models
from finercam.cli.main import main
from support.colour_readers import reader, write_birds


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FINERCAM_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def birds(tmp_path_factory):
    return write_birds(tmp_path_factory.mktemp("birds"), each=12)


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Run a command with a model that reads the left wing alone."""
    monkeypatch.setattr(finercam.models, "load", lambda spec, **options: reader(spec))

    def call(*given):
        own = ["finercam", *given, "--model", "left wing", "--out", tmp_path / "out", "--method", "gradcam"]
        monkeypatch.setattr(sys, "argv", list(map(str, own)))
        with pytest.raises(SystemExit) as stop:
            main()
        captured = capsys.readouterr()
        return stop.value.code or 0, captured.out, captured.err

    return call


def table(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_part_that_the_model_reads_is_named_in_words_tables_and_a_page(run, birds, tmp_path):
    code, out, err = run("compare", "Red Bluet", "Blue Bluet", f"cub:{birds}")
    assert code == 0, err
    assert out.startswith(("Red Bluet and Blue Bluet are told apart by the wing", "Blue Bluet and Red Bluet are told"))
    assert "the wing of Red Bluet" in out
    assert "the wing of Blue Bluet" in out
    rows = table(tmp_path / "out" / "traits.csv")
    assert {(row["class"], row["against"]) for row in rows} == {
        ("001.Red_Bluet", "002.Blue_Bluet"),
        ("002.Blue_Bluet", "001.Red_Bluet"),
    }
    for row in rows:
        fall, elsewhere = float(row["fall"]), float(row["elsewhere"])
        assert fall > 5 * abs(elsewhere) if row["place"] == "wing" else abs(fall) < 0.1 * float(row["margin"])
    photos = table(tmp_path / "out" / "photos.csv")
    assert len(photos) == 24
    assert all(float(row["falls of wing"]) > 0 for row in photos)
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert out.strip().split(" (")[0] in page


def test_a_folder_of_photos_is_compared_by_what_the_model_takes_them_for(run, birds, tmp_path):
    code, out, _ = run("compare", "0", "1", birds / "images")
    assert code == 0
    assert "no part is known" in out
    assert len(table(tmp_path / "out" / "photos.csv")) == 24
    assert "squares with most of the evidence" in (tmp_path / "out" / "index.html").read_text(encoding="utf-8")


def test_traits_of_a_data_set(run, birds, tmp_path):
    code, out, _ = run("traits", f"cub:{birds}", "--split", "all")
    assert code == 0
    assert "are told apart by the wing" in out
    assert {row["place"] for row in table(tmp_path / "out" / "traits.csv")} >= {"wing", "tail", "throat"}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("compare", "Red Bluet", "Green Bluet", "cub:{birds}"), "Green Bluet"),
        (("compare", "Red Bluet", "001.Red_Bluet", "cub:{birds}"), "one class only"),
        (("compare", "Red Bluet", "Blue Bluet", "cub:{birds}", "--target", "guess"), "--target is 'guess'"),
        (("compare", "Red Bluet", "Blue Bluet", "{birds}/images", "--target", "label"), "leave out --target label"),
        (("compare", "Red Bluet", "Blue Bluet", "{birds}/parts"), "no photo"),
        (("compare", "Red Bluet", "Blue Bluet", "{birds}/nowhere"), "is not a data set"),
        (("traits", "folder:{birds}/images"), "no parts of the objects are known"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_line(run, birds, tmp_path, given, said):
    code, _, err = run(*(one.format(birds=birds) for one in given))
    assert code == 2
    assert said in err
    assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / "out" / "index.html").exists()


def test_a_sample_is_of_the_photos_of_the_two_classes(run, birds, tmp_path):
    code, _, err = run("compare", "Red Bluet", "Blue Bluet", f"cub:{birds}", "--images", "3")
    assert code == 0, err
    assert len(table(tmp_path / "out" / "photos.csv")) == 3
