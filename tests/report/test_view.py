"""The live view in a browser: it computes what Python does, takes no text for markup, and needs no mouse."""

import base64
import io

import numpy as np
import torch
from PIL import Image

from finercam import Objective, explain
from finercam.report.render import overlay
from finercam.report.view.page import Page
from support.browsing import becomes, evaluate, needs_chromium, opened, until
from support.pictures import pixels
from support.viewed import NAMES, QUESTIONS, TABULATED

pytestmark = needs_chromium


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


def test_an_empty_map_is_said_and_not_stretched(tab, page_file):
    opened(tab, page_file, "#photo=3")
    assert tab.inner_text(".fc-notice").startswith("Empty: nothing speaks for ")
    assert "Empty" in tab.get_attribute("canvas[role=img]", "aria-label")
    becomes(tab, "return view.current.compute().finer.peak", 0)
    tab.get_by_role("radio", name="Own scale").check()
    until(tab, "document.querySelector('.fc-bar').hidden")
