"""The live view in a browser: it computes what Python does, takes no text for markup, and needs no mouse."""

import base64
import io
import re
import shutil
import time
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from finercam import Classifier, Contrast, Objective, explain
from finercam.report.render import overlay
from finercam.report.view.data import kept, light, page_data
from finercam.report.view.page import Page, framed, source
from finercam.report.view.widget import region_mask
from support.colour_birds import to_tensor
from support.pictures import pixels

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium")
playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")

NAMES = [
    "Agelaius phoeniceus (Red-winged Blackbird)",
    "Brewer's Blackbird",
    "<img src=x onerror=window.hacked=1>",
    '"quoted" & </script><script>window.hacked=1</script>',
    "two\nlines",
    "זמיר ירוק",
    "🐦 bird",
    "turned \u202edrib",
    "Same Name",
    "Same Name",
    "Great Heron",
    "Little Heron",
]
#: Ten questions: strengths, directions, other references, weightings and aggregates.
QUESTIONS = [
    (None, Contrast()),
    (None, Contrast(gamma=0, references=0)),
    (None, Contrast(gamma=1.35)),
    (None, Contrast(gamma=-1, against=[3, 5])),
    (4, Contrast(gamma=3, against=[0, 1, 2, 6, 7])),
    (2, Contrast(reverse=True)),
    (None, Contrast(weighting="softmax", gamma=0.8)),
    (None, Contrast(weighting="official")),
    (None, Contrast(aggregate="max", gamma=1)),
    (7, Contrast(aggregate="mean-after-relu", weighting="softmax", reverse=True, gamma=0.4)),
]
#: The photos of which a second method was kept.
TABULATED = range(3, 7)
#: A photo's picture in a page is at most this long, so that regions are in the photo's own pixels.
SIZES = [(160, 120), (96, 150), (130, 130), (200, 90)]


def cropped(picture):
    """Scale to 64 on the shorter side, and keep the middle."""
    by = 64 / min(picture.size)
    size = tuple(max(64, round(by * side)) for side in picture.size)
    left, top = ((side - 64) // 2 for side in size)
    return to_tensor(picture.resize(size, Image.Resampling.BILINEAR).crop((left, top, left + 64, top + 64)))


@pytest.fixture(scope="module")
def classifier():
    torch.manual_seed(3)
    net = nn.Sequential(
        nn.Conv2d(3, 12, 7, 4, 3), nn.ReLU(), nn.Conv2d(12, 24, 3, 2, 1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, len(NAMES)),
    )  # fmt: skip
    net[-1].weight.data.mul_(6)
    return Classifier.of(
        net.eval(), preprocess=cropped, image_size=(64, 64), layer="3", class_names=NAMES, name="a <b>model</b>"
    )


@pytest.fixture(scope="module")
def explanations(classifier, tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    photos = []
    for number in range(20):
        photos.append(folder / ("<b>bold<i> 'n\" \u202egpj.png" if number == 1 else f"bird {number}.png"))
        blotches = Image.fromarray(pixels(number, 8, 6))
        blotches.resize(SIZES[number % len(SIZES)], Image.Resampling.BICUBIC).save(photos[-1])
    found = [[explain(classifier, photo, keep=True)] for photo in photos]
    for number in TABULATED:
        found[number].append(explain(classifier, photos[number], keep=True, method="layercam"))
    # One with an empty map: there is a class that another has more of everywhere.
    some = found[2][0]
    found[2][0] = next(
        again
        for target in range(len(NAMES))
        for other in range(len(NAMES))
        if other != target and (again := some.again(target=target, against=[other], gamma=3)).empty
    )
    return found


@pytest.fixture(scope="module")
def page_file(explanations, tmp_path_factory):
    with Page(len(explanations)) as page:
        for several in explanations:
            page.add(several)
        return page.save(tmp_path_factory.mktemp("page") / "why.html", "Birds <i>of</i> “a page”")


@pytest.fixture(scope="module")
def single_file(explanations, tmp_path_factory):
    with Page() as page:
        page.add(explanations[0])
        return page.save(tmp_path_factory.mktemp("page") / "one.html")


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield found
        found.close()


@pytest.fixture
def tab(browser):
    """A page that must neither ask the network for anything nor complain."""
    context = browser.new_context(viewport={"width": 1200, "height": 900}, accept_downloads=True)
    context.set_default_timeout(10_000)
    page, heard = context.new_page(), []
    page.on("console", lambda message: heard.append(message.text))
    page.on("pageerror", lambda error: heard.append(str(error)))
    page.on("request", lambda request: heard.append(request.url) if request.url.startswith("http") else None)
    yield page
    assert heard == []
    assert page.evaluate("window.hacked") is None
    context.close()


def opened(tab, file, state=""):
    tab.goto(file.as_uri() + state)
    tab.wait_for_selector(".fc-stage, .fc-tile")
    return tab


def evaluate(tab, code, argument=None):
    """Run code with ``view``; an array of numbers comes back as one."""
    found = tab.evaluate(
        f"""async (given) => {{
          const view = document.getElementById("view").view;
          const packed = (values) => {{
            let text = "";
            for (const byte of new Uint8Array(Float32Array.from(values).buffer)) text += String.fromCharCode(byte);
            return btoa(text);
          }};
          {code}
        }}""",
        argument,
    )
    return found


def until(tab, expression):
    """Wait for something to be so: playwright's own way evaluates text in the page, which its policy forbids."""
    ends = time.monotonic() + 10
    while not tab.evaluate(expression):
        assert time.monotonic() < ends, expression
        tab.wait_for_timeout(20)


def becomes(tab, code, expected):
    """Wait until code with ``view`` gives this: on a busy machine a key or a click may take its time."""
    ends = time.monotonic() + 10
    while (found := evaluate(tab, code)) != expected:
        assert time.monotonic() < ends, f"{code}: {found}, not {expected}"
        tab.wait_for_timeout(20)


def numbers(text):
    return np.frombuffer(base64.b64decode(text), "<f4")


def asked(explanation):
    contrast = explanation.contrast
    return {
        "target": explanation.target,
        "references": list(explanation.references),
        "gamma": contrast.strength,
        "reverse": contrast.reverse,
        "weighting": contrast.weighting,
        "aggregate": contrast.aggregate,
    }


ANSWERS = """
  const found = [];
  for (const [index, method, question] of given) {
    const { plain, finer } = await view.answer(index, question, method);
    found.push([packed(plain.saliency), packed(finer.saliency)]);
  }
  return found;
"""


def compare(tab, wanted):
    """Check the view's answers against explanations: (photo, method, explanation) each."""
    found = evaluate(tab, ANSWERS, [(photo, method, asked(one)) for photo, method, one in wanted])
    for (_, _, one), (plain, finer) in zip(wanted, found, strict=True):
        for given, expected in ((plain, one.plain), (finer, one.saliency)):
            peak = float(expected.max())
            off = np.abs(numbers(given).reshape(64, 64) - expected.numpy()).max()
            assert off <= 0.005 * max(peak, 1e-3 * float(one.plain.max())), (one, off, peak)


def test_the_view_answers_as_python_does(tab, page_file, explanations):
    opened(tab, page_file)
    wanted = [
        (
            photo,
            0,
            several[0].again(target=int(several[0].logits.argmax()) if target is None else target, contrast=contrast),
        )
        for photo, several in enumerate(explanations)
        for target, contrast in QUESTIONS
    ]
    assert sum(not one.empty for _, _, one in wanted) > 120
    compare(tab, wanted)
    # Tabulated: not linear in the row.
    compare(
        tab,
        [
            (photo, 1, explanations[photo][1].again(gamma=gamma, reverse=reverse))
            for photo in TABULATED
            for gamma, reverse in ((0.6, False), (-1.0, False), (2.5, False), (0.5, True), (0.0, False))
        ],
    )


def test_between_the_strengths_of_a_table_the_error_is_as_said(tab, page_file, explanations):
    opened(tab, page_file)
    one = explanations[4][1].again(gamma=1.1)
    code = (
        "const { finer } = await view.answer(4, given, 1); return [packed(finer.saliency), finer.error, finer.cannot]"
    )
    found, error, cannot = evaluate(tab, code, asked(one))
    assert cannot is None
    assert 0 < error < 1
    off = np.abs(numbers(found).reshape(64, 64) - one.saliency.numpy()).max()
    assert off <= error * max(float(one.saliency.max()), float(one.plain.max())) * 1.01
    cannot = evaluate(tab, "return (await view.answer(4, given, 1)).finer", {**asked(one), "references": [10, 11]})
    assert "was not asked" in cannot["cannot"]
    assert "again" in cannot["do"]
    # Its tables are of one way of putting references together.
    opened(tab, page_file, "#photo=5&weighting=softmax&method=layercam")
    tab.reload()
    tab.wait_for_selector(".fc-stage")
    assert "softmax" not in tab.inner_text(".fc-ask")


def test_the_picture_is_pythons(tab, page_file, explanations):
    opened(tab, page_file, "#photo=4")
    one = explanations[3][0]
    code = """
      const kept = await view.photo(3);
      const { width, height } = view.current.picture(kept.size[0]);
      return { size: [width, height], picture: view.current.layer(width).canvas.toDataURL("image/png"),
               photo: kept.picture };
    """
    found = evaluate(tab, code)
    drawn, photo = (
        Image.open(io.BytesIO(base64.b64decode(found[name].split(",")[1]))).convert("RGB")
        for name in ("picture", "photo")
    )
    heat = one.placement.resized(photo.size).to_photo(one.saliency)
    expected = overlay(photo, heat, max(float(one.saliency.max()), float(one.plain.max())))
    off = np.abs(np.asarray(drawn, dtype=float) - np.asarray(expected, dtype=float))
    assert bool(torch.isnan(heat).any())
    assert off.mean() < 1
    assert np.quantile(off, 0.99) <= 6


def test_a_region_says_what_python_says(tab, page_file, explanations):
    opened(tab, page_file)
    for photo in (0, 5, 7):
        one = explanations[photo][0]
        width, height = one.photo().size
        box = (0.2 * width, 0.3 * height, 0.62 * width, 0.75 * height)
        y, x = np.mgrid[:height, :width] + 0.5
        # A brushed line, in pixels so large that it does not matter where in them a middle lies.
        brushed = {"kind": "strokes", "radius": 14, "strokes": [[[0.4 * width, 0.4 * height]], [[0.6 * width, 30]]]}
        mask = np.zeros((height, width), bool)
        for ((u, v),) in brushed["strokes"]:
            mask |= (x - u) ** 2 + (y - v) ** 2 <= 14**2
        given = {"kind": "box", **dict(zip(("x0", "y0", "x1", "y1"), box, strict=True))}
        code = "return view.speaks(given.photo, given.region)"
        for region, expected, slack in ((given, one.speaks(box), 1e-3), (brushed, one.speaks(mask), 0.08)):
            found = dict(evaluate(tab, code, {"photo": photo, "region": region}))
            own = {row["index"]: row["share"] for row in expected.table()}
            assert found.keys() == own.keys()
            largest = max(abs(value) for value in own.values())
            assert max(abs(found[c] - own[c]) for c in own) <= slack * largest


def test_names_are_text_and_nothing_else(tab, page_file):
    opened(tab, page_file, "#photo=2&why=2&not=3.4.5.6.7&gamma=0")
    assert "<img src=x onerror=window.hacked=1>, alone" in tab.inner_text(".fc-ask")
    opened(tab, page_file, "#photo=2&not=2.3.4.5.6&region=box,10,10,90,90")
    tab.reload()
    tab.wait_for_selector(".fc-region-said")
    said = tab.inner_text("#view")
    for name in NAMES[2:7]:
        assert name.replace("\n", " ").split(",")[0] in said.replace("\\n", " ")
    assert "\u202e" not in said
    assert "<b>bold<i>" in said
    assert "Birds <i>of</i> “a page”" in said
    assert tab.locator("#view :is(img[onerror], b b, i i)").count() == 0
    tab.get_by_role("button", name="Show all").click()
    assert "turned \\u202edrib" in tab.inner_text("table")
    assert {"Same Name (8)", "Same Name (9)"} <= set(tab.locator("tbody th").all_inner_texts())
    assert tab.locator("tbody tr").count() == len(NAMES) - 1


def test_it_works_with_the_keyboard_alone(tab, single_file):
    opened(tab, single_file)

    def reach(selector):
        for _ in range(60):
            tab.keyboard.press("Tab")
            if tab.evaluate("(selector) => document.activeElement.matches(selector)", selector):
                return
        raise AssertionError(f"no way to {selector}")

    reach(".fc-surface")
    tab.keyboard.press("Enter")
    tab.keyboard.press("ArrowLeft")
    tab.keyboard.press("Shift+ArrowDown")
    tab.wait_for_selector(".fc-region-said")
    before = evaluate(tab, "return view.current.region")
    tab.keyboard.press("ArrowRight")
    becomes(tab, f"return view.current.region.x0 > {before['x0']}", True)
    after = evaluate(tab, "return view.current.region")
    assert after["y1"] == before["y1"]
    reach("input[type=range]")
    tab.keyboard.press("ArrowRight")
    becomes(tab, "return view.current.question.gamma", pytest.approx(0.65))
    reach(".fc-chooser:nth-of-type(2) input")
    question = evaluate(tab, "return view.current.question")
    words = {0: "red winged", 1: "brewers", 5: "זמיר", 10: "great her", 11: "little her"}
    other = next(c for c in words if c not in (question["target"], *question["references"]))
    tab.keyboard.type(words[other])
    tab.wait_for_selector("[role=option][aria-selected=true]")
    tab.keyboard.press("Enter")
    becomes(tab, "return view.current.question.references", [*question["references"], other])
    tab.keyboard.press("Backspace")
    becomes(tab, "return view.current.question.references", question["references"])
    tab.keyboard.press("Escape")
    reach("input[type=radio][value=finer]")
    tab.keyboard.press("ArrowRight")
    tab.keyboard.press("Shift+Tab")
    reach("input[type=radio][value=compare]")
    for _ in range(60):
        tab.keyboard.press("Shift+Tab")
        if tab.evaluate("() => document.activeElement.matches('.fc-wipe')"):
            break
    tab.keyboard.press("ArrowRight")
    becomes(tab, "return view.display.wipe", pytest.approx(0.52))
    until(tab, "document.querySelector('[aria-live]').textContent.includes('This region')")


def test_a_mouse_wipes_and_marks(tab, page_file):
    opened(tab, page_file, "#photo=1&show=compare")
    surface, handle = (tab.locator(one).bounding_box() for one in (".fc-surface", ".fc-wipe span"))

    def drag(start, *ends):
        tab.mouse.move(*start)
        tab.mouse.down()
        for end in ends:
            tab.mouse.move(*end)
        tab.mouse.up()

    middle = (handle["x"] + handle["width"] / 2, handle["y"] + handle["height"] / 2)
    drag(middle, (middle[0] + 0.2 * surface["width"], middle[1]))
    becomes(tab, "return view.display.wipe", pytest.approx(0.7, abs=0.01))
    at = [
        (surface["x"] + u * surface["width"], surface["y"] + v * surface["height"]) for u, v in ((0.1, 0.2), (0.4, 0.6))
    ]
    drag(*at)
    width, height = evaluate(tab, "return view.current.kept.size")
    box = evaluate(tab, "return view.current.region")
    expected = {"x0": 0.1 * width, "y0": 0.2 * height, "x1": 0.4 * width, "y1": 0.6 * height}
    assert box == {"kind": "box", **{name: pytest.approx(value, abs=1) for name, value in expected.items()}}
    # What is marked can be taken elsewhere.
    inside = [(surface["x"] + u * surface["width"], surface["y"] + 0.4 * surface["height"]) for u in (0.2, 0.3)]
    drag(*inside)
    becomes(tab, "return view.current.region.x0", pytest.approx(0.2 * width, abs=1))
    tab.get_by_role("radio", name="Brush").check()
    tab.evaluate("scrollTo(0, 0)")
    drag(at[0], inside[0], at[1])
    assert evaluate(tab, "return view.current.region.strokes[0].length") >= 3
    tab.get_by_role("button", name="Clear").click()
    assert evaluate(tab, "return view.current.region") is None


def test_an_objective_has_nothing_to_move(tab, classifier, tmp_path):
    one = explain(
        classifier, Image.fromarray(pixels(0, 90, 70)), contrast=Objective(lambda y: y[:, 0] * y[:, 1], "both")
    )
    with Page() as page:
        page.add([one])
        opened(tab, page.save(tmp_path / "one.html"))
    assert tab.inner_text(".fc-ask").endswith(", both")
    assert tab.locator("input[type=range], [role=combobox]").count() == 0
    found = numbers(evaluate(tab, "return packed((await view.answer(0, view.current.question)).finer.saliency)"))
    assert np.abs(found.reshape(64, 64) - one.saliency.numpy()).max() <= 0.005 * float(one.saliency.max())
    tab.locator(".fc-surface").press("Enter")
    tab.wait_for_selector(".fc-region-said")


def test_one_answer_is_not_taken_for_another(tab, single_file, explanations):
    opened(tab, single_file)
    code = """
      const kept = await view.photo(0);
      const table = { map: (i) => new Float32Array(64).fill(i) };
      kept.answers.push({ method: "one", title: "One", kind: "fixed", cells: [8, 8], table });
      const asked = async (changes) => (await view.answer(0, { ...view.current.asked, ...changes }, 1));
      return [(await asked({})).finer.peak, (await asked({ gamma: 1 })).finer.cannot,
              (await asked({ gamma: 1 })).plain.peak, (await asked({ target: given })).plain.cannot];
    """
    peak, other, plain, target = evaluate(tab, code, explanations[0][0].references[0])
    assert (peak, plain) == (1, 0)
    assert other == target == "One was asked one question only"


def test_a_link_keeps_the_state(tab, page_file):
    opened(tab, page_file, "#photo=6")
    tab.fill(".fc-gamma input[type=number]", "1.25")
    tab.keyboard.press("Tab")
    tab.get_by_label("Reverse").check()
    tab.get_by_role("radio", name="Compare").check()
    tab.get_by_role("radio", name="10 %").check()
    tab.locator(".fc-surface").click(position={"x": 200, "y": 150})
    until(tab, "location.hash.includes('region=') && location.hash.includes('gamma=1.25')")
    state = "return { ...view.current.question, ...view.display, region: view.current.region, at: view.current.index }"
    before, said = evaluate(tab, state), tab.inner_text(".fc-ask")
    tab.reload()
    tab.wait_for_selector(".fc-stage")
    after = evaluate(tab, state)
    assert after.pop("region")["strokes"][0][0] == pytest.approx(before.pop("region")["strokes"][0][0], abs=0.1)
    assert after == before
    assert tab.inner_text(".fc-ask") == said
    # A link without a strength means the one that was asked, whatever it was before.
    tab.fill(".fc-gamma input[type=number]", "2")
    tab.keyboard.press("Tab")
    tab.evaluate("location.hash = '#photo=7'")
    until(tab, "document.getElementById('view').view.current.index === 6")
    becomes(tab, "return view.current.question.gamma", 0.6)
    # Whatever stands in a link, the view opens.
    opened(tab, page_file, "#photo=6&why=99&not=x.1e9.2&gamma=NaN&region=strokes,5;,,;x&method=none&top=7&show=all")
    tab.reload()
    tab.wait_for_selector(".fc-stage")
    becomes(tab, "return view.current.question.references", [2])


def test_photos_are_filtered_and_sorted(tab, page_file, explanations):
    opened(tab, page_file)
    names = ".fc-tile .fc-tile-name:last-of-type, .fc-tile bdi:has(wbr)"
    assert tab.locator(".fc-tile").count() == 20
    tab.fill("input[type=search]", "BIRD 1")
    assert tab.inner_text(".fc-count") == "10 of 20 photos"
    tab.fill("input[type=search]", "")
    order = "return view.order()"
    tab.select_option("select", "margin")
    margins = evaluate(tab, "return view.order().map((i) => view.data.photos[i].margin)")
    assert margins == sorted(margins, reverse=True)
    tab.get_by_label("Backwards").check()
    becomes(tab, "return view.order().map((i) => view.data.photos[i].margin)", margins[::-1])
    tab.get_by_label("Backwards").uncheck()
    tab.select_option("select", "empty")
    assert evaluate(tab, order)[0] == 2
    until(tab, "document.querySelector('.fc-tile').textContent.includes('empty map')")
    tab.select_option("select", "name")
    assert evaluate(tab, order)[-1] == 19
    box = tab.get_by_role("combobox", name="Class")
    box.fill("brewer")
    box.press("Enter")
    wanted = [
        i for i, (one, *_) in enumerate(explanations) if 1 in (one.target, int(one.logits.argmax()), *one.references)
    ]
    assert sorted(evaluate(tab, order)) == wanted
    tab.get_by_role("button", name="Any class").click()
    # Nothing of a photo is read before it is opened.
    becomes(tab, "return view.ready.size", 0)
    tab.locator(".fc-tile").nth(3).click()
    tab.wait_for_selector(".fc-stage")
    first = evaluate(tab, "return view.current.index")
    tab.get_by_role("button", name="Next photo").click()
    until(tab, f"document.getElementById('view').view.current.index !== {first}")
    tab.get_by_role("button", name="All photos").click()
    tab.wait_for_selector(".fc-tile")
    assert tab.locator(names).count() >= 20


def test_an_empty_map_is_said_and_not_stretched(tab, page_file):
    opened(tab, page_file, "#photo=3")
    assert tab.inner_text(".fc-notice").startswith("Empty: nothing speaks for ")
    assert "Empty" in tab.get_attribute("canvas[role=img]", "aria-label")
    becomes(tab, "return view.current.compute().finer.peak", 0)
    tab.get_by_role("radio", name="Own scale").check()
    until(tab, "document.querySelector('.fc-bar').hidden")


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_what_is_shown_can_be_saved(tab, page_file, kind):
    opened(tab, page_file, "#photo=2&show=compare&top=10&region=box,5,5,60,70")
    with tab.expect_download() as waiting:
        tab.get_by_role("button", name=f"Save {kind.upper()}").click()
    saved = waiting.value
    assert re.fullmatch(r"[\w.-]+-finercam\." + kind, saved.suggested_filename)
    whole = saved.path().read_bytes()
    if kind == "svg":
        text = "".join(ElementTree.fromstring(whole).itertext())
        assert "gamma\xa00.6" in text
        assert "This region" in text
    else:
        picture = Image.open(io.BytesIO(whole))
        assert picture.width >= 640
        assert len(set(picture.convert("RGB").resize((64, 64)).get_flattened_data())) > 100


def test_a_phone_shows_it_without_scrolling_sideways(browser, page_file):
    context = browser.new_context(viewport={"width": 390, "height": 844}, color_scheme="dark", has_touch=True)
    page = context.new_page()
    for state in ("", "#photo=2&not=2.3.4.5&show=compare&region=box,5,5,60,70"):
        opened(page, page_file, state)
        page.reload()
        page.wait_for_selector(".fc-stage, .fc-tile")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.get_by_role("button", name="Show all").tap()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.locator(".fc-surface").tap(position={"x": 60, "y": 60})
    becomes(page, "return view.current.region.kind", "strokes")
    context.close()


def test_a_widget_is_told_what_is_asked_and_marked(browser, explanations):
    one = explanations[8][0]
    data = page_data(one.facts, "a widget", [{**light([one]), "kept": kept([one])}])
    page = browser.new_page()
    page.set_content('<div id="view"></div>')
    host = """
      window.told = {};
      window.model = { get: (name) => (name === "data" ? window.data : null), save_changes() {}, on() {},
                       set(name, value) { window.told[name] = value; } };
      window.close_view = render({ model: window.model, el: document.getElementById("view") });
    """
    page.evaluate("(data) => (window.data = data)", data)
    page.add_style_tag(content=source("view.css"))
    page.add_script_tag(content=source("view.js") + host, type="module")
    page.wait_for_selector(".fc-stage")
    assert page.get_by_role("button", name="Copy link").count() == 0
    page.get_by_role("radio", name="Brush").check()
    page.locator(".fc-surface").scroll_into_view_if_needed()
    place = page.locator(".fc-surface").bounding_box()
    page.mouse.move(place["x"] + 0.3 * place["width"], place["y"] + 0.3 * place["height"])
    page.mouse.down()
    page.mouse.move(place["x"] + 0.6 * place["width"], place["y"] + 0.5 * place["height"])
    page.mouse.up()
    page.locator("input[type=range]").press("ArrowRight")
    until(page, "window.told.region && window.told.state.gamma > 0.6")
    told = page.evaluate("window.told")
    assert told["state"]["references"] == list(one.references)
    # Python, told the same region, says the same.
    expected = {row["index"]: row["share"] for row in one.speaks(region_mask(one, told["region"])).table()}
    found = dict(evaluate(page, "return view.speaks(0, view.current.region)"))
    largest = max(abs(value) for value in expected.values())
    assert max(abs(found[c] - expected[c]) for c in expected) <= 0.08 * largest
    page.evaluate("window.close_view()")
    assert page.locator("#view *").count() == 0
    page.close()


def test_in_a_sandboxed_frame_there_is_no_link(tab, single_file, tmp_path):
    frame = tmp_path / "frame.html"
    frame.write_text(framed(single_file.read_text(encoding="utf-8")), encoding="utf-8")
    tab.goto(frame.as_uri())
    inside = tab.frame_locator("iframe")
    inside.locator(".fc-stage").wait_for()
    inside.get_by_role("radio", name="Compare").check()
    inside.locator(".fc-wipe").wait_for()
    assert inside.get_by_role("button", name="Copy link").count() == 0
    assert inside.get_by_role("button", name="Save PNG").count() == 1
