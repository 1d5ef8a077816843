"""The page on what tells two classes apart: what it says is what the rows say, and no more."""

import html
import re
from dataclasses import replace

import pytest

from finercam import Contrast, FinercamError, load
from finercam.data.reading import read_dataset
from finercam.metrics.intervals import Mean
from finercam.report.anew import Measured, explained_anew
from finercam.report.folder import kind_of
from finercam.report.folders.traits import sections, write_page
from finercam.report.pages import write_report
from finercam.report.parts import Charts, Folded, Paragraph, Strip, Table
from finercam.report.traits.told import headline, told
from finercam.runs.engine import run_study
from finercam.runs.loaded import loaded_classifier
from finercam.runs.local import Local
from finercam.runs.rows import Rows
from finercam.studies.places import groups_of
from finercam.studies.traits.findings import Carrier, Direction, directions
from finercam.studies.traits.study import Traits
from support.browsing import chromium, needs_chromium

PAIR = ("Frost-barred Finch", "Ember-barred Finch")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Some drawn birds of two classes."""
    out = tmp_path_factory.mktemp("runs") / "traits"
    data = read_dataset("aviary", "all", images=140)
    names = data.class_names
    pair = tuple(names.index(name) for name in PAIR)
    study = Traits(dict(zip(pair, PAIR, strict=True)), groups_of(data), data.part_names, pair, method="gradcam")
    run_study(study, loaded_classifier(load("aviary"), "aviary"), data, str(out), range(32), engine=Local(0))
    return str(out)


@pytest.fixture(scope="module")
def page_sections(run):
    return list(sections([run]))


@pytest.fixture
def parts(page_sections):
    """The parts of each section, by its heading."""
    return {section.heading: section.parts for section in page_sections}


def text_of(parts):
    return html.unescape(re.sub(r"<[^>]*>", "", " ".join(part.html() for part in parts)))


def test_each_class_against_the_other_has_a_section(run, parts):
    first, second = (f"What tells {one} from {other}" for one, other in (PAIR, PAIR[::-1]))
    assert {first, second} < set(parts)
    for direction in directions(Rows(run)):
        one, other = PAIR if direction.target == 0 else PAIR[::-1]
        said = text_of(parts[f"What tells {one} from {other}"])
        assert f"{direction.photos} photos of {one}; the model's first choice is {one} on {direction.correct}" in said
        # Of so few photos nothing is claimed, and no part is called used.
        assert direction.photos < 12
        assert said.count("nothing can be concluded") == 3
        assert "would look much the same" not in said
        assert "cost more of the margin" not in said


def test_the_table_has_the_numbers_of_the_rows(run, parts):
    direction = directions(Rows(run))[0]
    one, other = PAIR if direction.target == 0 else PAIR[::-1]
    table = next(part for part in parts[f"What tells {one} from {other}"] if isinstance(part, Table))
    carrier = direction.carriers[0]
    row = table.rows[1]
    assert row[0] == carrier.place.replace("_", " ")
    assert (row[1].text, row[2]) == (f"{carrier.fall.mean:.2f}", f"{carrier.elsewhere.mean:.2f}")
    assert row[4].startswith(f"{100 * carrier.share.mean:.0f} %")


def test_pictures_are_there(run, parts):
    own = parts[f"What tells {PAIR[0]} from {PAIR[1]}"]
    strips = [part for part in own if isinstance(part, Strip)]
    (frame,) = [one for one in strips if one.size == "large"]
    evidence, photo = (panel.picture for panel in frame.panels)
    assert evidence.size == photo.size
    # The map is in colour where the evidence is, and the mean photo is no even grey.
    assert len(photo.convert("L").getcolors()) > 50
    assert any(one.size == "small" and len(one.panels) > 1 for one in strips)
    assert "The most and the least typical photos, to be asked again" in parts


def test_a_page_is_on_one_run_alone(run, tmp_path, monkeypatch):
    # Photos take long to be explained, and are in the other pages.
    monkeypatch.setattr("finercam.report.folders.traits._live", lambda *given: iter(()))
    page = write_page(run, tmp_path / "index.html").read_text(encoding="utf-8")
    first, second = PAIR if directions(Rows(run))[0].target == 0 else PAIR[::-1]
    assert f"<h1>{first} and {second}: what tells them apart?</h1>" in page
    assert kind_of(run).name == "traits"


def test_without_the_model_numbers_are_told_all_the_same(run, monkeypatch):
    def gone(run):
        raise FinercamError("the model is another one now")

    monkeypatch.setattr("finercam.report.folders.traits.model_of", gone)
    parts = {section.heading: list(section.parts) for section in sections([run])}
    own = parts[f"What tells {PAIR[0]} from {PAIR[1]}"]
    assert any(isinstance(part, Table) for part in own)
    (frame,) = [part for part in own if isinstance(part, Strip) and part.size == "large"]
    assert len(frame.panels) == 1
    assert "the model is another one now" in text_of(parts["What was measured"])


def test_photos_are_only_shown_as_they_were_measured(run):
    row = Rows(run).table(["key", "target", "confidence"]).to_pylist()[0]
    plan = Rows(run).described["plan"]
    asked = Measured(row["key"], row["target"], row["confidence"], plan["method"], Contrast())
    found, problems = explained_anew(Rows(run), [asked, replace(asked, key="nowhere")])
    assert [one.source for one in found] == [row["key"]]
    assert problems == ["nowhere is not shown: it is not in the data set any more."]
    found, (problem,) = explained_anew(Rows(run), [replace(asked, confidence=asked.confidence - 0.5)])
    assert found == []
    assert "the photo has changed" in problem


def mean(value, low, high, n=40):
    return Mean(float(value), float(low), float(high), n)


def carrier(place, caused, n=40):
    zero = mean(0.0, -0.1, 0.1, n)
    fall = mean(1 + caused[0], 1 + caused[1], 1 + caused[2], n)
    return Carrier(place, fall, mean(1, 0.5, 1.5, n), mean(*caused, n), mean(0.2, 0.1, 0.3, n), zero, zero, zero)


def direction(carriers, photos=40):
    some = mean(3, 2, 4, photos)
    nothing = Mean(float("nan"), float("nan"), float("nan"), 0)
    return Direction(0, 1, photos, photos - 1, 0, some, tuple(carriers), nothing, nothing)


@pytest.mark.parametrize(
    ("carriers", "photos", "said"),
    [
        ([("wing_bar", (2, 1, 3)), ("tail", (0.1, -0.2, 0.4))], 40, "than a patch of their shape elsewhere: wing bar."),
        ([("wing", (0.4, -0.1, 0.9))], 40, "No part costs more of the margin, painted over,"),
        ([("wing", (2, 1, 3))], 11, "From fewer than 12 photos nothing can be concluded"),
    ],
)
def test_a_part_is_called_used_where_its_interval_leaves_out_0(carriers, photos, said):
    one = direction([carrier(*given, photos) for given in carriers], photos)
    parts = list(told(one, "A", "B"))
    assert said in text_of([part for part in parts if isinstance(part, Paragraph)])
    assert any(isinstance(part, Charts) for part in parts)
    verdict = {"than": "used", "No": "no more than any patch", "From": "too few photos"}[said.split()[0]]
    assert headline(one)[-1] == verdict


def test_without_parts_nothing_is_said_of_them():
    parts = list(told(direction([]), "A", "B"))
    assert len(parts) == 1
    assert "painted" not in text_of(parts)


def test_what_is_folded_away_takes_its_scripts_along():
    class Scripted(Paragraph):
        def scripts(self):
            yield "1"

    folded = Folded("more & more", [Scripted("text")])
    assert folded.html() == "<details><summary>more &amp; more</summary><p>text</p></details>"
    assert list(folded.scripts()) == ["1"]
    assert list(folded.styles()) == []


@needs_chromium
def test_the_page_fits_a_phone(page_sections, tmp_path):
    page = write_report(tmp_path / "index.html", "Two finches", "", page_sections)
    with chromium() as browser:
        shown = browser.new_page(viewport={"width": 390, "height": 800})
        shown.goto(page.as_uri())
        assert shown.evaluate("document.documentElement.scrollWidth") <= 390
        shown.wait_for_function("[...document.images].every(one => one.complete && one.naturalWidth > 0)")
