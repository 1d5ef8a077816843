"""What the live view is given, against what it was made from."""

import base64
import json
import re

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from finercam import Classifier, Contrast, FinercamError, Objective, explain
from finercam.methods.evidence import NotGathered
from finercam.report.view.answers import STRENGTHS, packed_answer
from finercam.report.view.data import changed_by, kept, light
from finercam.report.view.page import Page, framed, source
from finercam.report.view.tables import read_table, shrunk, table
from finercam.report.view.widget import region_mask, widget
from support.colour_birds import SPECIES, ColourNet, draw_bird, to_tensor


def squashed(picture):
    return to_tensor(picture.resize((64, 64)))


@pytest.fixture(scope="module")
def pooled():
    return Classifier.of(ColourNet(), preprocess=squashed, class_names=SPECIES, name="colours")


@pytest.fixture(scope="module")
def deep():
    """Six classes, not linear behind the layer."""
    torch.manual_seed(2)
    net = nn.Sequential(nn.Conv2d(3, 8, 5, 4, 2), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.GELU(), nn.Flatten(),
                        nn.Linear(512, 12), nn.Tanh(), nn.Linear(12, 6))  # fmt: skip
    return Classifier.of(net.eval(), preprocess=squashed, image_size=(64, 64), layer="2")


@pytest.fixture
def photo():
    return draw_bird(0).resize((300, 200))


def parts(page):
    found = dict(re.findall(r'<script type="application/json" id="([^"]+)">(.*?)</script>', page))
    return {name: json.loads(text) for name, text in found.items()}


def test_a_table_keeps_differences_of_maps_that_are_almost_the_same():
    torch.manual_seed(0)
    maps = 100 * torch.rand(1, 7, 9).double() + 0.01 * torch.randn(5, 7, 9).double()
    back = read_table(json.loads(json.dumps(table(maps))))
    difference = maps[0] - maps[1]
    assert float((back[0] - back[1] - difference).abs().max()) < 1e-3 * float(difference.abs().max())
    torch.testing.assert_close(back, maps, rtol=0, atol=1e-5)
    assert read_table(table(torch.zeros(2, 3, 3))).abs().max() == 0


def test_maps_shrink_to_what_there_is_room_for_and_keep_their_mean():
    maps = torch.rand(3, 112, 80)
    small = shrunk(maps, 3 * 600)
    assert small.shape == (3, 28, 20)
    torch.testing.assert_close(small.mean((1, 2)), maps.mean((1, 2)))
    assert shrunk(maps, 100_000) is maps
    assert shrunk(maps, 0).shape == (3, 28, 20)


@pytest.mark.parametrize("method", ["gradcam", "hirescam", "xgradcam", "gradient-x-input"])
def test_classes_mix_to_every_contrast(deep, photo, method):
    e = explain(deep, photo, references=2, method=method, keep=True, collect=6)
    answer = packed_answer(e, range(6), 10**6)
    assert answer["kind"] == "classes"
    assert sorted(answer["classes"]) == list(range(6))
    maps = dict(zip(answer["classes"], read_table(answer["maps"]), strict=True))
    for gamma, against, reverse in ((0.6, (1, 2), False), (-1.0, (3,), False), (2.0, (4, 5, 1), True)):
        found = e.again(target=0, contrast=Contrast(against=against, gamma=gamma, reverse=reverse)).map
        others = sum(maps[c] for c in against) / len(against)
        mixed = others - gamma * maps[0] if reverse else maps[0] - gamma * others
        torch.testing.assert_close(mixed, found.double(), rtol=0, atol=2e-3 * float(found.abs().max()))


@pytest.mark.parametrize("method", ["layercam", "gradcam++", "sharp"])
def test_what_is_not_linear_is_tabulated_with_its_error(deep, photo, method):
    e = explain(deep, photo, references=2, method=method, keep=True)
    answer = packed_answer(e, range(6), 10**6)
    assert answer["kind"] == "strengths"
    first = answer["tables"][0]
    assert (tuple(first["references"]), first["reverse"]) == (e.references, False)
    assert {(tuple(t["references"]), t["reverse"]) for t in answer["tables"]} >= {(e.references, True)}
    for one in answer["tables"]:
        maps, alone = read_table(one["maps"]), None
        for strength, map_ in zip(STRENGTHS, maps, strict=True):
            again = e.again(against=[one["references"]], gamma=strength, reverse=one["reverse"])
            torch.testing.assert_close(map_, again.map.double(), rtol=0, atol=1e-4 * float(maps.abs().max()))
            alone = float(again.map.max()) if strength == 0 else alone
        between = e.again(against=[one["references"]], gamma=1.125, reverse=one["reverse"]).map.relu()
        at = STRENGTHS.index(1.0)
        guessed = ((maps[at] + maps[at + 1]) / 2).relu()
        off = float((guessed - between).abs().max()) / max(float(between.max()), alone, 1e-12)
        assert off <= one["error"] + 1e-3


@pytest.mark.parametrize("asked", [{"weighting": "official"}, {"gamma": 5.0}, {"gamma": -0.3, "aggregate": "max"}])
def test_what_was_asked_is_in_its_table(deep, photo, asked):
    e = explain(deep, photo, references=2, method="layercam", keep=True, **asked)
    first = packed_answer(e, range(6), 10**6)["tables"][0]
    assert (tuple(first["references"]), first["reverse"]) == (e.references, False)
    found = read_table(first["maps"])[first["strengths"].index(e.contrast.strength)]
    torch.testing.assert_close(found, e.map.double(), rtol=0, atol=1e-4 * float(e.map.abs().max()))


def test_an_objective_has_nothing_to_move(pooled, photo):
    e = explain(pooled, photo, contrast=Objective(lambda y: y[:, 0] * y[:, 1], "both"), keep=True)
    answer = packed_answer(e, range(4), 10**6)
    assert answer["kind"] == "fixed"
    torch.testing.assert_close(
        read_table(answer["maps"])[1], e.map.double(), rtol=0, atol=1e-4 * float(e.map.abs().max())
    )


def test_shares_are_those_that_speaks_uses(pooled, photo):
    e = explain(pooled, photo, keep=True)
    found = kept([e])
    assert found["shares"]["exact"]
    assert found["shares"]["maps"] == {"answer": 0}
    maps = read_table(found["answers"][0]["maps"])
    whole = e.speaks((0, 0, 300, 200))
    for at, c in enumerate(found["shares"]["classes"]):
        assert float(maps[at].sum()) == pytest.approx(float(whole.shares[whole.classes.index(c)]), abs=1e-3)
        assert found["shares"]["rest"][at] == pytest.approx(float(whole.rest[whole.classes.index(c)]), abs=1e-3)


def test_another_method_brings_shares_where_the_model_is_at_hand(deep, photo, tmp_path):
    e = explain(deep, photo, method="sharp", references=2, keep=True)
    shares = kept([e])["shares"]
    assert not shares["exact"]
    assert {e.target, *e.references} <= set(shares["classes"])
    e.save(tmp_path / "kept.safetensors")
    assert kept([type(e).load(tmp_path / "kept.safetensors")])["shares"] is None


def test_without_evidence_the_model_is_looked_at_again_or_asked_for(deep, photo):
    e = explain(deep, photo, references=1)
    answer = kept([e])["answers"][0]
    assert len(answer["classes"]) == 6
    from dataclasses import replace

    with pytest.raises(NotGathered, match="keep=True"):
        replace(e, classifier=None).page()


def test_many_photos_share_the_size(pooled, photo):
    noisy = Image.fromarray(np.random.default_rng(0).integers(0, 256, (900, 1400, 3), np.uint8))
    e = explain(pooled, noisy, keep=True)
    few, many = kept([e]), kept([e], 5000)
    assert few["size"] == [1200, 771]
    assert many["size"][0] == 800
    # What was asked about stays, whatever it takes.
    assert {e.target, *e.references} <= set(many["answers"][0]["classes"])
    placed = few["placement"]["x"]
    assert placed["photo"] == 1200
    assert placed["scale"] * 1200 + placed["shift"] == pytest.approx(64, abs=0.3)


@pytest.mark.parametrize("method", ["gradcam", "layercam"])
def test_a_hundred_photos_of_a_thousand_classes_take_at_most_15_mb(method):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 32, 8, 8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 1000))
    names = [f"Genus species{number} (The {number}. Long-tailed Example Bird)" for number in range(1000)]
    model = Classifier.of(net.eval(), preprocess=squashed, class_names=names, image_size=(64, 64), layer="1")
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (90, 120, 3), np.uint8))
    e = explain(model, coarse.resize((1600, 1200), Image.Resampling.BICUBIC), method=method, keep=True)
    with Page(100) as page:
        for _ in range(10):
            page.add([e])
        text = "".join(page.text())
    # What a page has once: the view itself, and the names.
    once = len(source("view.js")) + len(source("view.css")) + len(json.dumps(names))
    assert (len(text) - once) * 10 + once < 15e6


def test_light_facts_and_the_overlap(pooled, photo):
    e = explain(pooled, photo, references=1, gamma=1, keep=True)
    about = light([e], known=2)
    assert about["known"] == 2
    assert about["margin"] == pytest.approx(float(e.logits.topk(2).values.diff().abs()), abs=1e-4)
    p, f = e.plain / e.plain.sum(), e.saliency / e.saliency.sum()
    assert about["change"] == pytest.approx(float((p - f).abs().sum() / 2), abs=1e-3)
    assert changed_by(e.again(gamma=0)) == 0
    assert about["thumb"].startswith("data:image/webp;base64,")


HOSTILE = ("</script><script>alert(1)</script>", '<!-- "quoted" & more', "line\nbreak\u2028\u202e", "\U0001f426 طائر '")


def test_names_end_no_script_and_the_policy_knows_what_runs(photo, tmp_path):
    model = Classifier.of(ColourNet(), preprocess=squashed, class_names=HOSTILE, name="<b>net</b>")
    page = explain(model, photo, keep=True).page(title="<title> & more")
    found = parts(page)
    names = found["data"]["model"]["names"]
    assert names[0] == HOSTILE[0]
    assert "\n" not in names[2]
    assert "\u202e" not in names[2]
    assert page.count("<script") == page.count("</script>") == 3
    assert "<title>&lt;title&gt; &amp; more</title>" in page
    import hashlib

    (script,) = re.findall(r'<script type="module">(.*?)</script>', page, re.S)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]+)"', page)
    assert f"script-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")
    assert not re.findall(r"(?:src|href)=.?https?:", page)


def test_save_writes_the_page_and_a_notebook_gets_it_in_a_frame(pooled, photo, tmp_path):
    e = explain(pooled, photo, keep=True)
    e.save(tmp_path / "why.html", title="Why?")
    assert parts((tmp_path / "why.html").read_text())["data"]["title"] == "Why?"
    assert e._repr_html_().startswith('<iframe sandbox="allow-scripts allow-downloads"')
    assert explain(pooled, photo)._repr_html_() is None
    assert framed('a "b" <c>').endswith('srcdoc="a &quot;b&quot; &lt;c&gt;"></iframe>')


def test_a_page_is_of_one_model_and_of_at_least_one_photo(pooled, deep, photo, tmp_path):
    with Page() as page:
        with pytest.raises(FinercamError, match="at least one photo"):
            page.save(tmp_path / "none.html")
        page.add([explain(pooled, photo, keep=True)])
        with pytest.raises(FinercamError, match="of one model"):
            page.add([explain(deep, photo, keep=True)])
    assert not list(tmp_path.iterdir())


def test_the_widget_has_the_same_data_and_its_regions_are_masks(pooled, photo):
    e = explain(pooled, photo, keep=True)
    live = widget(e)
    assert live._esm.startswith(source("view.js")[:20]) or "render" in str(live._esm)
    assert live.data["photos"][0]["kept"]["classes"] == kept([e])["classes"]
    mask = region_mask(e, {"box": [0.25, 0.5, 0.75, 1.0]})
    assert mask.shape == (200, 300)
    torch.testing.assert_close(e.speaks(mask).shares, e.speaks((75, 100, 225, 200)).shares)
    disc = region_mask(e, {"discs": [[0.5, 0.5, 0.1]]})
    assert disc.sum() == pytest.approx(3.14159 * 30**2, rel=0.02)
