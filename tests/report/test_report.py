"""A report on folders of results: it says what their tables say, takes no text for markup, and works from a file."""

import csv
import json
import pkgutil
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from PIL import Image

from finercam import Contrast, FinercamError, load
from finercam.contrast.contrast import PLAIN
from finercam.data.reading import read_dataset
from finercam.explanations.explaining import Asked
from finercam.explanations.files import explain_files
from finercam.metrics.intervals import Mean
from finercam.report import folders as kinds
from finercam.report.charts import Curve, Effect, chart, forest
from finercam.report.document import write_document
from finercam.report.folder import KINDS, data_name, folder_kind, kind_of
from finercam.report.pages import Section
from finercam.report.panels import Panel
from finercam.report.parts import Paragraph, Wide
from finercam.report.photos import explained as explained_anew
from finercam.report.photos import main_line, ranked, ranked_by
from finercam.runs.engine import run_study
from finercam.runs.loaded import loaded_classifier
from finercam.runs.local import Local
from finercam.runs.rows import Rows
from finercam.studies.evaluate.evaluation import Evaluation
from finercam.studies.evaluate.tables import read_block
from finercam.studies.evaluate.writing import to_csv
from finercam.studies.sanity.classes import ClassSensitivity
from support.browsing import chromium, needs_chromium
from support.evaluations import TARGETS, classifier, evaluate, photos

#: What would show if text were taken for markup, turned, or ended an attribute.
HOSTILE = "<img src=x onerror=alert(1)>\"' onload='alert(2)' </script>\u202e&lt;\nזמיר 🐦"
STUDY = Evaluation(
    contrasts=(PLAIN, Contrast(gamma=0.3), Contrast()),
    metrics=("deletion", "relative-drop@0.1", "average-precision@difference"),
    steps=4,
)


class Read(HTMLParser):
    """What a page says: the cells of its tables, its tags, and its attributes."""

    def __init__(self, text):
        super().__init__()
        self.tables, self.tags, self.attributes, self.said, self._cell = [], [], [], "", None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self._cell = ""

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self.tables[-1][-1].append(self._cell)
            self._cell = None

    def handle_data(self, text):
        self.said += text
        if self._cell is not None:
            self._cell += text


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """An evaluation of drawn birds, 13 of them: enough for a verdict."""
    out = tmp_path_factory.mktemp("runs") / "aviary"
    model = loaded_classifier(load("aviary"), "aviary")
    data = read_dataset("aviary", images=13)
    run_study(STUDY, model, data, str(out), range(32), engine=Local(0))
    return out


@pytest.fixture(scope="module")
def explained(tmp_path_factory, model_folder):
    """Photos of a folder explained twice each, their evidence kept; one cannot be read."""
    base = tmp_path_factory.mktemp("photos")
    for number, name in enumerate(["one.png", "<b>two & 'three'.png", "broken.png"]):
        Image.effect_noise((90 + number, 70), 60 + 40 * number).convert("RGB").save(base / name)
    (base / "broken.png").write_bytes(b"no picture")
    asked = {name: Asked(Contrast(references=2), None, name) for name in ("gradcam", "layercam")}
    for _ in explain_files(load(model_folder), [base], base / "out", asked, keep=True):
        pass
    return base / "out"


@pytest.fixture(scope="module")
def report(run, explained, tmp_path_factory):
    return write_document([str(run), str(explained)], tmp_path_factory.mktemp("page") / "new" / "report.html")


def test_numbers_are_those_of_the_tables(run, report):
    read = Read(report.read_text(encoding="utf-8"))
    lines = {(line.method, line.contrast): line for line in read_block(str(run)).lines}
    means, differences = (table for table in read.tables if table[0][:2] == ["map", "n"])
    assert [row[0] for row in means[1:]] == [line.title for line in lines.values()]
    for row, line in zip(means[1:], lines.values(), strict=True):
        assert [cell.partition(" (n")[0] for cell in row[2:5]] == [mean.text() for mean in line.means.values()]
    compared = [line for line in lines.values() if line.differences]
    for row, line in zip(differences[1:], compared, strict=True):
        found = [cell.partition(" (n")[0].removesuffix(" †") for cell in row[2:]]
        assert found == [mean.text("+.4f") for mean in line.differences.values()]
    # The same numbers as in the file, to its digits.
    written = [one for one in csv.DictReader(to_csv([read_block(str(run))]).splitlines()) if one["contrast"] == "finer"]
    (row,) = (row for row in means[1:] if row[0] == "+ Finer")
    assert [f"{float(one['mean']):.3f}" for one in written] == [cell.split(" ")[0] for cell in row[2:5]]


def test_controls_are_beside_what_they_control(run, report):
    block = read_block(str(run))
    beside = {line.contrast: line.beside for line in block.lines if line.beside}
    assert set(beside) == {"plain, cubed", "plain, noisy", "finer gamma=0.3, random class", "finer gamma=0.3, reversed"}
    # Cubing changes no order of pixels.
    assert beside["plain, cubed"]["relative-drop@0.1"].mean == 0
    cubed, plain = (next(one for one in block.lines if one.contrast == name) for name in ("plain, noisy", "plain"))
    for column, change in cubed.beside.items():
        assert change.mean == pytest.approx(cubed.means[column].mean - plain.means[column].mean, abs=1e-12)
    page = report.read_text(encoding="utf-8")
    assert page.count("control: cubed") == page.count('class="chart forest"') == 3
    assert "What these numbers would be for a map that knows nothing about the network" in page


def test_it_says_what_was_asked_and_how_many_failed(report):
    said = Read(report.read_text(encoding="utf-8")).said
    for sentence in (
        "Of each of 13 photos of aviary, the model aviary is asked",
        "The most and the least convincing photos",
        "Over the strength of the comparison",
        "probability of class d",
        "Explained: 2, failed: 1, with an empty map: ",
        "broken.png' is not a picture that can be read",
        "finercam",
    ):
        assert sentence in said, sentence
    assert "cannot be explained anew" not in said
    assert "is not shown" not in said


def test_photos_of_an_evaluation_are_those_that_were_measured(run, report):
    """Both ends by the first drop that was measured, and explained anew by the model of the run."""
    rows = [one for one in Rows(str(run)).table().to_pylist() if one["contrast"] == "finer gamma=0.3"]
    order = [one["key"] for one in sorted(rows, key=lambda one: -one["relative-drop@0.1"])]
    read = Read(report.read_text(encoding="utf-8"))
    (table,) = (table for table in read.tables if table[0][:2] == ["photo", "class"])
    assert [row[0] for row in table[1:]] == [*order[:4], *order[-4:]]
    frames = [value for name, value in read.attributes if name == "srcdoc"]
    first = json.loads(re.search(r'id="data">(.*?)</script>', frames[0])[1])
    confidences = {one["key"]: one["confidence"] for one in rows}
    for key, photo in zip([*order[:4], *order[-4:]], first["photos"], strict=True):
        assert photo["target_probability"] == pytest.approx(confidences[key], abs=1e-3)
    # Each with its own deletion curves, of the plain map and the finer one.
    plain = {one["key"]: one for one in Rows(str(run)).table().to_pylist() if one["contrast"] == "plain"}
    for number, key in enumerate([*order[:4], *order[-4:]]):
        curves = json.loads(re.search(rf'id="kept-{number}">(.*?)</script>', frames[0])[1])["curves"]
        finer = next(one for one in rows if one["key"] == key)
        (spec,) = {
            name.removesuffix(" curve") for name in finer if name.startswith("deletion") and name.endswith(" curve")
        }
        assert curves["second_class"] == finer["other"]
        assert [line["target"] for line in curves["lines"]] == [one[f"{spec} curve"] for one in (plain[key], finer)]
        assert [line["second"] for line in curves["lines"]] == [
            one[f"{spec} curve of other"] for one in (plain[key], finer)
        ]
    second = json.loads(re.search(r'id="data">(.*?)</script>', frames[1])[1])
    assert len(second["photos"]) == 2


@needs_chromium
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_it_opens_from_a_file_without_a_complaint(report, width, scheme):
    with chromium() as browser:
        page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
        said, asked = [], []
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(report.as_uri())
        assert page.locator("iframe").count() == 2
        page.wait_for_timeout(300)
        # Nothing is wider than the screen, the frames are open, and nothing was asked of anybody.
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert all(frame.evaluate("document.getElementById('data') !== null") for frame in page.frames[1:])
        assert [url for url in asked if not url.startswith(("data:", "blob:", "about:"))] == [report.as_uri()]
        assert said == []


def test_names_from_outside_are_text(tmp_path):
    """Of data, classes, photos and models; whose model cannot be loaded, which is said."""
    data = replace(photos(tmp_path / "photos"), name=HOSTILE, class_names=(HOSTILE, "bee", "cow", "unicorn"))
    model = replace(classifier(), name=HOSTILE)
    evaluate(model, data, replace(STUDY, metrics=("relative-drop@0.1",)), tmp_path / "run")
    out = write_document([str(tmp_path / "run")], tmp_path / "report.html", HOSTILE)
    text = out.read_text(encoding="utf-8")
    read = Read(text)
    assert {"img", "script"}.isdisjoint(read.tags)
    assert not {name for name, _ in read.attributes if name.startswith("on")}
    assert "\u202e" not in text
    assert "זמיר" in read.said
    assert "cannot be explained anew" in read.said
    assert re.search(r'content="default-src &#39;none&#39;|content="default-src \'none\'', text)


def test_a_model_that_is_another_now_shows_nothing(run):
    rows, block = Rows(str(run)), read_block(str(run))
    line = main_line(block)
    two = ranked(rows, line, ranked_by(block))[:2]
    rows.described["model"]["weights"] = "0" * 64
    found, (problem,) = explained_anew(rows, line, two)
    assert found == []
    assert "has other weights now than in the run" in problem
    rows = Rows(str(run))
    found, (problem,) = explained_anew(rows, line, [two[0], replace(two[1], confidence=two[1].confidence - 0.5)])
    assert len(found) == 1
    assert "the photo has changed" in problem
    _, (problem,) = explained_anew(rows, line, [replace(two[0], key="test/0/9999")])
    assert "not in the data set any more" in problem


def test_maps_outside_of_a_folder_are_not_read(explained, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(explained, copy)
    records = copy / "explanations.jsonl"
    lines = [json.loads(line) for line in records.read_text(encoding="utf-8").splitlines()]
    for line in lines:
        if "files" in line:
            line["files"] = {name: f"../copy-of/{file}" for name, file in line["files"].items()}
    records.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    shutil.copytree(explained, tmp_path / "copy-of")
    with pytest.raises(FinercamError, match="does not lie in"):
        write_document([str(copy)], tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_photos_without_evidence_are_large_pictures_from_both_ends(tmp_path, model_folder):
    """What was not asked to be kept is not a failure, and is not listed as one."""
    for number in range(10):
        Image.effect_noise((90, 70), 20 + 20 * number).convert("RGB").save(tmp_path / f"bird {number}.png")
    asked = {"gradcam": Asked(Contrast(), None, "gradcam")}
    for _ in explain_files(load(model_folder), [tmp_path], tmp_path / "out", asked):
        pass
    page = write_document([str(tmp_path / "out")], tmp_path / "report.html").read_text(encoding="utf-8")
    listed = [row[0] for row in Read(page).tables[-1][1:]]
    shown = re.findall(r'<div class="wide(?: broad)?"><figure>.*?<img alt="([^"]+)"', page)
    assert shown == [*listed[:4], *listed[-4:]]
    assert "cannot be asked again" not in page


def test_a_sanity_check_is_told_of(tmp_path):
    data = photos(tmp_path / "photos")
    study = ClassSensitivity(target="label")
    run_study(study, loaded_classifier(classifier()), data, str(tmp_path / "run"), TARGETS, engine=Local(0))
    read = Read(write_document([str(tmp_path / "run")], tmp_path / "r.html").read_text(encoding="utf-8"))
    (line,) = study.summary(Rows(str(tmp_path / "run")))
    assert read.tables[0][1][1] == str(line.ranks)
    assert "A map that knows nothing about the network would stay the same, and score 1." in read.said


def test_a_kind_of_folder_is_one_function(tmp_path):
    (tmp_path / "herbarium.json").write_text("{}")
    with KINDS.restored():

        @folder_kind("herbarium", file="herbarium.json")
        def sections(folders):
            yield Section("Herbarium", [Paragraph(f"{len(folders)} sheets")])

        assert kind_of(str(tmp_path)).tell is sections
        assert "1 sheets" in write_document([str(tmp_path)], tmp_path / "r.html").read_text(encoding="utf-8")
        with pytest.raises(FinercamError, match="there is a kind of folder 'herbarium' already"):
            folder_kind("Herbarium")(sections)
    with pytest.raises(FinercamError, match="holds nothing that a report is made of"):
        kind_of(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("run.json", "{", "cannot be read"),
        ("run.json", '{"study": "planted"}', "holds a run of 'planted'"),
        ("run.json", '{"study": "evaluate"}', "holds no rows yet"),
        ("run.json", '{"study": ["evaluate"]}', r"holds a run of \['evaluate'\]"),
        ("explanations.jsonl", "no json\n", "line 1, is not a record"),
        ("explanations.jsonl", '{"image": "x.png"}\n', "not what finercam wrote as explanations"),
        (
            "explanations.jsonl",
            '{"image": "x.png", "target": 3, "empty": true}\n',
            "not what finercam wrote as explanations",
        ),
        ("probe.json", "[]", "is not the record of a probe"),
        ("curve.csv", "a,b\n1,2\n", "does not hold curve.csv and pairs.csv"),
        ("notes.txt", "", "holds nothing that a report is made of"),
    ],
)
def test_a_folder_that_is_not_what_it_should_be_is_one_line(tmp_path, name, content, says):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / name).write_text(content)
    with pytest.raises(FinercamError, match=says) as error:
        write_document([str(folder)], tmp_path / "report.html")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "report.html").exists()


def test_no_folder_is_an_error(tmp_path):
    with pytest.raises(FinercamError, match="there is no folder"):
        write_document([str(tmp_path / "nowhere")], tmp_path / "report.html")
    with pytest.raises(FinercamError, match="is made of folders"):
        write_document([], tmp_path / "report.html")


def test_a_forest_plot_puts_numbers_where_they_are():
    effects = [
        Effect("<gain>", Mean(0.5, 0.25, 0.75, 20)),
        Effect("one photo", Mean(-0.5, float("nan"), float("nan"), 1)),
        Effect("control", Mean(0.0, -0.5, 0.5, 20), control=True),
        Effect("none", Mean(float("nan"), float("nan"), float("nan"), 0)),
    ]
    drawn = forest("a & b", effects)
    assert drawn.count('class="row"') == 3
    assert "&lt;gain&gt;" in drawn
    assert "a &amp; b" in drawn
    # From -0.5 to 0.75: 94 % of the width, 3 % from the left.
    assert f'<circle class="dot" cx="{3 + 94 * 0.8:.2f}%"' in drawn
    assert '<circle class="hollow" cx="3.00%"' in drawn
    assert f'<rect class="hollow" x="{3 + 94 * 0.4:.2f}%"' in drawn
    assert drawn.count('class="bar"') == 2


def test_a_chart_of_nothing_much_is_still_a_chart():
    nan = float("nan")
    for curves in (
        [],
        [Curve("flat", [0.0, 1.0], [0.5, 0.5])],
        [Curve("a point", [1.0], [2.0], [1.0], [3.0], marked=True)],
        [Curve("gaps", [0.0, 1.0, 2.0], [0.1, nan, 0.3], [0.0, nan, 0.0], [1.0, nan, 1.0])],
    ):
        drawn = chart("title", curves, "across", from_zero=True)
        assert "nan" not in drawn
        assert drawn.count("<li>") == len(curves)


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ("aviary:biased", "aviary:biased"),
        ("planted:cub:/data/CUB_200_2011/", "planted:cub:CUB_200_2011"),
        ("folder:s3://bucket/photos", "folder:photos"),
        ("aircraft@family:a b/c", "aircraft@family:c"),
        ("cub:/", "cub:/"),
    ],
)
def test_data_is_named_without_its_place(spec, name):
    assert data_name(spec) == name


def test_every_kind_is_a_file_of_its_own():
    assert len(KINDS) == len(list(pkgutil.iter_modules(kinds.__path__)))


def test_a_broad_figure_is_scrolled_where_it_would_be_too_small_to_read():
    for width, kind in ((1400, "wide broad"), (660, "wide")):
        text = Wide(Panel(Image.new("RGB", (width, 20)), "Curves")).html()
        assert f'<div class="{kind}">' in text
        assert '<div class="scroll" tabindex="0" role="region" aria-label="Curves"><img' in text
