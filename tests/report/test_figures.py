"""Figures: what is drawn is what was measured, names are shown as they are, and files are whole."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.text import Text
from PIL import Image

from finercam.contrast.contrast import Contrast
from finercam.contrast.labels import full_name
from finercam.data.reading import read_dataset
from finercam.errors import FinercamError
from finercam.explanations.explaining import explain
from finercam.models import load
from finercam.report.album import Album, Shot, answers
from finercam.report.figure import FIGURES, figure
from finercam.report.grid import Cell, draw_grid, map_cell
from finercam.report.paper import steps
from finercam.report.printing import finished, page, save_figure, write
from finercam.report.runs import titled
from finercam.studies.evaluate.contrasts import contrasts_of, swept
from finercam.studies.evaluate.evaluation import Evaluation
from finercam.studies.evaluate.tables import read_block
from finercam.studies.evaluate.writing import to_markdown, to_tex
from support import evaluations


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A tiny evaluation of several strengths, its classifier and its data."""
    folder = tmp_path_factory.mktemp("run")
    data, model = evaluations.photos(folder / "photos", 15), evaluations.classifier()
    metrics = ("deletion", "relative-drop@0.05", "confidence-drop@0.05", "localization")
    study = Evaluation(contrasts=contrasts_of(gammas=(0.3, 0.6), references=(1, 2)), metrics=metrics, steps=5)
    evaluations.evaluate(model, data, study, folder / "out")
    return str(folder / "out"), model, Album(data, evaluations.TARGETS)


@pytest.fixture(scope="module")
def classifier(model_folder):
    return load(str(model_folder), device="cpu")


def shot(folder: Path, size=(90, 60)) -> Shot:
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 9, 3), dtype=np.uint8))
    coarse.resize(size, Image.Resampling.BICUBIC).save(folder / "one.png")
    return Shot(folder / "one.png", "one.png", 1)


def texts(drawn) -> list[str]:
    return [text.get_text() for text in drawn.findobj(Text)]


def pictures(drawn) -> list[np.ndarray]:
    return [
        np.asarray(axes.images[0].get_array()) for axes in drawn.axes if axes.images and axes.get_label() != "scale"
    ]


def test_every_figure_says_what_it_is_drawn_from_and_the_paper_has_a_word_on_each():
    from finercam.report.figure import SOURCES
    from finercam.report.paper.says import SAYS

    for name, kind in FIGURES.items():
        assert set(kind.takes) <= set(SOURCES)
        assert "width" in kind.options
        assert name in SAYS
        assert name in steps._OPTIONS


def test_a_sweep_shows_the_maps_of_explain_in_the_photos_own_shape(classifier, tmp_path):
    one = shot(tmp_path)
    drawn = FIGURES["sweep"].draw({"classifier": classifier, "shots": [one]}, {"gammas": (0.0, 0.6), "width": 120.0})
    photo, *maps = pictures(drawn)
    asked = [{"gamma": 0.0}, {"gamma": 0.6}, {"gamma": 1.0, "reverse": True}]
    found = [explain(classifier, one.photo, 1, references=1, **options) for options in asked]
    for shown, explanation in zip(maps, found, strict=True):
        assert shown.shape[1] / shown.shape[0] == pytest.approx(1.5, abs=0.02)
        expected = map_cell(explanation).picture
        expected.thumbnail((shown.shape[1], shown.shape[1]), Image.Resampling.LANCZOS)
        assert np.array_equal(shown, np.asarray(expected))
        assert f"peak {float(explanation.saliency.max()):.3g}" in texts(drawn)
    assert not np.array_equal(photo, maps[0])
    percent = f"{100 * float(found[0].probabilities[1]):.0f}\xa0%"
    assert f"Brewer's Blackbird\xa0{percent}" in drawn.caption
    assert "γ = 0, 0.6" in drawn.caption
    # Two pictures of one aspect are as wide as high on paper as on the screen.
    frame = drawn.axes[0].get_position()
    width, height = drawn.get_size_inches()
    assert frame.width * width / (frame.height * height) == pytest.approx(1.5, abs=0.02)


@pytest.mark.parametrize("name", ["comparison", "each-reference", "subtraction"])
def test_galleries_have_a_map_for_each_question(classifier, tmp_path, name):
    options = {"comparison": {"methods": ("gradcam", "layercam")}}.get(name, {})
    drawn = FIGURES[name].draw({"classifier": classifier, "shots": [shot(tmp_path)]}, options)
    maps = {"comparison": 4, "each-reference": 5, "subtraction": 4}[name]
    assert len(pictures(drawn)) == 1 + maps
    found = [text for text in texts(drawn) if text.startswith("peak ") or "empty" in text]
    assert len(found) >= maps
    assert "Brewer's Blackbird" in drawn.caption


@pytest.mark.parametrize("name", ["comparison", "each-reference", "subtraction", "sweep"])
def test_a_caption_says_where_the_model_says_another_class(classifier, tmp_path, name):
    options = {"comparison": {"methods": ("gradcam",)}}.get(name, {})
    one = shot(tmp_path)
    said = explain(classifier, one.photo)
    other = next(index for index in range(classifier.classes) if index != said.target)
    for target, expected in ((said.target, False), (other, True)):
        sources = {"classifier": classifier, "shots": [replace(one, target=target)]}
        caption = FIGURES[name].draw(sources, options).caption
        assert (f"(the model says {full_name(said.target_name)}\xa0" in caption) == expected


def test_peaks_are_numbers_without_an_exponent():
    cells = [Cell(Image.new("RGB", (40, 30)), peak=peak) for peak in (3368.2, 0.04351, 7.0)]
    assert [text for text in texts(draw_grid([cells], 100.0)) if text.startswith("peak")] == [
        "peak 3370", "peak 0.0435", "peak 7",
    ]  # fmt: skip


def test_tables_for_print_name_no_folders(run):
    block = titled(replace(read_block(run[0]), data="cub:/home/me/CUB_200_2011", model="timm/local-dir:/home/me/net"))
    assert "/home" not in to_tex([block]) + to_markdown([block])
    assert "cub:CUB" in to_tex([block])


def test_examples_are_of_the_similar_class_and_photos_of_the_class_asked_for(run, tmp_path):
    _, model, album = run
    drawn = FIGURES["consistency"].draw({"classifier": model, "album": album}, {"of": "bee", "count": 2})
    assert len(pictures(drawn)) == 6
    assert "2 photos of bee" in drawn.caption
    assert "1.png, 4.png" in drawn.caption
    with pytest.raises(FinercamError, match="unicorn"):
        FIGURES["consistency"].draw({"classifier": model, "album": album}, {"of": "unicorn"})
    assert np.array_equal(np.asarray(album.example(0)), np.asarray(Image.open(tmp_path_of(album, 1))))
    assert album.example(3) is None
    assert [one.target for one in album.shots(3)] == [4, 0, 6]


def tmp_path_of(album: Album, index: int) -> str:
    return list(album.dataset.items())[index].uri


def test_deletion_curves_are_the_means_of_the_rows(run):
    drawn = FIGURES["deletion-curves"].draw({"runs": run[:1]}, {"first": 0.3})
    rows = evaluations.rows_of(run[0])
    for axes in drawn.axes:
        title = axes.get_title().replace("γ", "gamma")
        own = [row for row in rows if row["contrast"] == title and row["method"] == "gradcam"]
        assert len(own) == 15
        x = np.linspace(0, 1, 6)
        curves = [np.array([row[f"deletion {name}"] for row in own]) for name in ("curve", "curve of other")]
        for line, curve in zip(axes.lines, curves, strict=True):
            assert line.get_ydata() == pytest.approx(curve.mean(0), abs=1e-7)
            assert line.get_xdata() == pytest.approx(x)
        gap = (curves[0] - curves[1]).mean(0)
        at = np.array([0, 0.2, 0.3])
        area = float(torch.trapezoid(torch.tensor(np.interp(at, x, gap)), torch.tensor(at))) / 0.3
        assert f"gap {area:.3f}" in [text.get_text() for text in axes.texts]
        assert axes.collections[0].get_datalim(axes.transData).x1 == pytest.approx(0.3)
    one = FIGURES["deletion-curves"].draw({"runs": run[:1]}, {"key": "3.png"})
    row = next(row for row in rows if row["key"] == "3.png" and row["contrast"] == "plain")
    assert one.axes[0].lines[0].get_ydata() == pytest.approx(row["deletion curve"], abs=1e-7)
    with pytest.raises(FinercamError, match=r"no photo 'nine.png'"):
        FIGURES["deletion-curves"].draw({"runs": run[:1]}, {"key": "nine.png"})


def test_strengths_are_the_means_of_the_table(run):
    drawn = FIGURES["strength"].draw({"runs": run[:1]}, {})
    lines = {swept(line.contrast): line for line in read_block(run[0]).lines if swept(line.contrast)}
    plain = next(line for line in read_block(run[0]).lines if line.contrast == "plain")
    for axes, spec in zip(drawn.axes, ("confidence-drop@0.05", "relative-drop@0.05"), strict=True):
        assert len(axes.containers) == 2
        for count, container in zip((1, 2), axes.containers, strict=True):
            expected = [plain.means[spec], *(lines[gamma, count].means[spec] for gamma in (0.3, 0.6))]
            assert container[0].get_ydata() == pytest.approx([mean.mean for mean in expected])
            (bars,) = container[2]
            ends = [(low[1], high[1]) for low, high in bars.get_segments()]
            assert ends == [(pytest.approx(mean.low), pytest.approx(mean.high)) for mean in expected]
    assert "RD@0.05" in drawn.caption
    with pytest.raises(FinercamError, match="no method 'layercam'"):
        FIGURES["strength"].draw({"runs": run[:1]}, {"method": "layercam"})


def test_a_forest_has_the_paired_differences_and_their_intervals(run):
    drawn = FIGURES["forest"].draw({"runs": run[:1]}, {"metrics": ("relative-drop@0.05", "deletion")})
    shown = [line for line in read_block(run[0]).lines if line.differences]
    assert len(shown) == 4
    for axes, spec in zip(drawn.axes, ("relative-drop@0.05", "deletion"), strict=True):
        marks = [line for line in axes.lines if line.get_gid()]
        intervals = [line for line in axes.lines if not line.get_gid() and len(line.get_xdata()) == 2][1:]
        found = [line.differences[spec] for line in shown]
        assert [mark.get_xdata()[0] for mark in marks] == pytest.approx([one.mean for one in found])
        for interval, one in zip(intervals, found, strict=True):
            assert list(interval.get_xdata()) == pytest.approx([one.low, one.high])
        for mark, one in zip(marks, found, strict=True):
            assert (mark.get_gid() != "open") == one.leaves_out_zero
    assert "Grad-CAM + Finer, gamma=0.3" in drawn.caption


def test_failures_are_the_largest_losses_of_the_rows(run):
    out, model, album = run
    rows = evaluations.rows_of(out)
    numbers = {
        contrast: {row["key"]: row["localization"] for row in rows if row["contrast"] == contrast}
        for contrast in ("plain", "finer gamma=0.3 references=1")
    }
    plain, finer = numbers.values()
    changes = {key: finer[key] - plain[key] for key in plain if plain[key] is not None}
    worst = sorted((change, key) for key, change in changes.items() if change < 0)[:2]
    drawn = FIGURES["failures"].draw(
        {"runs": (out,), "classifier": model, "album": album}, {"metric": "localization", "count": 2}
    )
    assert len(worst) == 2
    places = [drawn.caption.index(f"{key}: ") for _, key in worst]
    assert places == sorted(places)
    for _, key in worst:
        assert f"{plain[key]:+.3f} to {finer[key]:+.3f}" in drawn.caption
    assert f"it loses on {sum(change < 0 for change in changes.values())}" in drawn.caption
    assert drawn.caption.endswith(" Loc.: the share of the saliency inside of a region, 0 to 1.")


def test_similarity_is_that_of_the_rows_literally(classifier):
    drawn = FIGURES["similarity"].draw({"classifiers": {"one": classifier}}, {})
    rows = classifier.rows.double()
    cosines = torch.nn.functional.cosine_similarity(rows[:, None], rows[None], dim=2) - torch.eye(len(rows))
    expected = cosines.sort(1, descending=True).values.mean(0)
    line = drawn.axes[0].lines[1]
    assert line.get_ydata() == pytest.approx(expected.numpy(), abs=1e-6)
    assert "5 classes" not in drawn.caption
    assert f"{float(expected[0]):.3f}" in drawn.caption


def test_empty_maps_are_marked_and_next_to_nothing_is_not_stretched(classifier, tmp_path):
    (found,) = answers(classifier, shot(tmp_path), [(Contrast(), "gradcam")])
    empty = map_cell(replace(found, saliency=torch.zeros_like(found.saliency)))
    rest = found.plain / found.plain.max() * 1e-6 * found.plain.max()
    hardly = map_cell(replace(found, saliency=rest))
    drawn = finished(draw_grid([[empty, hardly, map_cell(found)]], 85.0), "three")
    assert [text.get_text() for axes in drawn.axes for text in axes.texts] == ["empty map", "nearly empty"]
    # Both leave the photo bare.
    bare, faint, full = pictures(drawn)
    assert np.abs(bare.astype(int) - faint.astype(int)).max() <= 5
    assert np.abs(bare.astype(int) - full.astype(int)).max() > 50
    assert any(axes.get_label() == "scale" for axes in drawn.axes)


@pytest.mark.parametrize("name", ["<b>&amp;</b> & $\\frac{a}{b}$", "two\nlines", "鸟 Ворона", "{braces} 100 % _x_ ^y^"])
def test_names_are_shown_as_they_are(tmp_path, name):
    cell = Cell(Image.new("RGB", (20, 20)), name, [name])
    drawn = finished(draw_grid([[cell]], 85.0), f"Of {name}.")
    assert len(pictures(drawn)) == 1
    shown = [text for text in texts(drawn) if text]
    assert shown
    # A character that no font here has is written as its escape.
    plain = name.replace("\n", " ")
    assert all(text == plain or "\\u" in text for text in shown)
    assert drawn.caption == f"Of {plain}."
    # Nor is anything read as mathematics.
    assert not any(text.get_parse_math() for text in drawn.findobj(Text))
    for form in ("pdf", "svg", "png"):
        save_figure(drawn, tmp_path / f"a.{form}")
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == f"Of {plain}.\n"


def test_files_are_whole_and_have_the_size_of_the_page(tmp_path):
    drawn = page(85.0, 100.0)
    write(drawn, 5.0, 20.0, "Words")
    drawn = finished(drawn, "A caption.")
    for form in ("pdf", "svg", "png"):
        save_figure(drawn, tmp_path / f"a.{form}", dpi=200)
        first = (tmp_path / f"a.{form}").read_bytes()
        save_figure(drawn, tmp_path / f"a.{form}", dpi=200)
        assert (tmp_path / f"a.{form}").read_bytes() == first
    pdf = (tmp_path / "a.pdf").read_bytes()
    assert pdf.startswith(b"%PDF")
    assert pdf.rstrip().endswith(b"%%EOF")
    # TrueType, embedded.
    assert b"FontFile2" in pdf
    svg = (tmp_path / "a.svg").read_text(encoding="utf-8")
    assert "</svg>" in svg
    assert "<text" not in svg
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.size == pytest.approx((85 / 25.4 * 200, 100 / 72 * 200), abs=1)
    assert not list(tmp_path.glob(".part-*"))
    with pytest.raises(FinercamError, match=r"cannot be saved as '\.gif'"):
        save_figure(drawn, tmp_path / "a.gif")
    with pytest.raises(FinercamError, match="width of a figure is 5000"):
        page(5000.0, 100.0)


def test_what_is_missing_or_unknown_is_said(run):
    with pytest.raises(FinercamError, match=r"figure 'forest' needs --run"):
        FIGURES["forest"].draw({}, {})
    with pytest.raises(FinercamError, match=r"figure 'forest' has no option 'gamma'"):
        FIGURES["forest"].draw({"runs": run[:1]}, {"gamma": 1.0})
    with pytest.raises(FinercamError, match="has no metric 'insertion'"):
        FIGURES["forest"].draw({"runs": run[:1]}, {"metrics": ("insertion",)})
    with pytest.raises(FinercamError, match="drawn from one run, not 2"):
        FIGURES["strength"].draw({"runs": (run[0], run[0])}, {})
    with pytest.raises(FinercamError, match="needs --clip"):
        FIGURES["concept"].draw({"shots": [Shot("x.png", "x")]}, {})
    assert FIGURES["consistency"].options_of("consistency@count=3@of=ant") == {"count": 3, "of": "ant"}
    with FIGURES.restored(), pytest.raises(FinercamError, match="there is a figure 'forest' already"):
        figure("forest", "Another")(lambda runs: None)


def test_concepts_and_attributes_are_shown_with_their_numbers(tmp_path):
    album = Album(read_dataset("aviary", images=4), range(32))
    drawn = FIGURES["concept"].draw(
        {"shots": album.shots(1)}, {"clip": "aviary-clip", "concepts": ("a red crest",), "device": "cpu"}
    )
    assert len(pictures(drawn)) == 4
    found = re.search(r"“a red crest”, similarity (-?[\d.]+), (-?[\d.]+) with it masked out", drawn.caption)
    assert found
    assert f"{found[1]}\xa0→\xa0{found[2]}" in texts(drawn)


@pytest.mark.slow
def test_a_paper_that_was_stopped_and_resumed_is_the_one_that_was_not(tmp_path):
    from finercam.report.paper.making import make
    from finercam.runs.loaded import loaded_classifier

    data, model = read_dataset("aviary", images=6), loaded_classifier(load("aviary", device="cpu"))
    album = Album(read_dataset("aviary", images=64), range(32))

    def paper(folder: str, **options) -> steps.Paper:
        asked = {"methods": ("gradcam",), "steps": 3, "shown": 1, "device": "cpu", **options}
        return steps.Paper(tmp_path / folder, "aviary", model, data, album, **asked)

    class Killed(BaseException):
        pass

    left = make(paper("whole"))
    # There is no text model, and three photos or so lose.
    assert set(left) <= {"concept", "failures"}
    names = [step.name for step in steps.steps_of(paper("cut"))]
    for at in ("strength", "table-2", "each-reference", "sweep"):
        from contextlib import contextmanager

        @contextmanager
        def watch(step, at=at):
            if step.name == at:
                raise Killed
            yield lambda progress: None

        with pytest.raises(Killed):
            make(paper("cut"), watch)
        assert not (tmp_path / "cut" / "index.html").exists()
    begun = []

    @contextmanager
    def note(step):
        begun.append(step.name)
        yield lambda progress: None

    assert make(paper("cut"), note) == left
    assert "table-1" not in begun
    assert "comparison" not in begun
    assert "sweep" in begun
    assert set(begun) <= set(names)
    files = sorted(path.relative_to(tmp_path / "whole") for path in (tmp_path / "whole").rglob("*") if path.is_file())
    assert files == sorted(
        path.relative_to(tmp_path / "cut") for path in (tmp_path / "cut").rglob("*") if path.is_file()
    )
    for name in files:
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "cut" / name).read_bytes(), name
    page = (tmp_path / "cut" / "index.html").read_text(encoding="utf-8")
    assert "Left out: figure &#x27;concept&#x27; needs --clip" in page
    assert "0.174" in page
    with pytest.raises(FinercamError, match="differs in: plan steps"):
        make(paper("cut", steps=4))
