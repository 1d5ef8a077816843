"""The live view in the hands of people: keyboard, mouse, touch, links, galleries, files, frames and notebooks."""

import io
import re
import xml.etree.ElementTree as ElementTree

import pytest
from PIL import Image

from finercam.report.view.data import kept, light, page_data
from finercam.report.view.page import framed, source
from finercam.report.view.widget import region_mask
from support.browsing import becomes, evaluate, needs_chromium, opened, until

pytestmark = needs_chromium


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
