"""What the app offers, without a server."""

from pathlib import Path

import pytest
from PIL import Image

from finercam.app.offer import Offer, Wanted, offer
from finercam.app.showing import sentence, shown, wanted_from
from finercam.data.reading import read_dataset
from finercam.errors import FinercamError


@pytest.fixture(scope="module")
def birds() -> Offer:
    return offer("aviary", device="cpu")


@pytest.fixture(scope="module")
def words() -> Offer:
    return offer("aviary-clip", device="cpu", methods=["gradcam", "layercam"])


@pytest.fixture(scope="module")
def photo(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("photo") / "0a1b2c.png"
    data = read_dataset("aviary", images=1)
    data.open(next(data.items())).photo.save(path)
    return path


def test_methods_that_work_are_offered_the_recommended_ones_first(birds):
    assert birds.quick[:3] == ("gradcam", "sharp", "sharpest")
    assert "rise" in birds.slow
    assert not {"gem", "legrad"} & {*birds.quick, *birds.slow}
    assert offer("aviary", device="cpu", methods=["rise@masks=50", "layercam"]).slow == ("rise@masks=50",)
    with pytest.raises(FinercamError, match="none of the methods works"):
        offer("aviary", device="cpu", methods=["legrad"])


def test_one_look_answers_by_several_methods_and_can_be_asked_again(birds, photo):
    wanted = Wanted(photo, "bird.png", ("gradcam", "sharp"), 1.0, "Streak-breasted Thrush", ["Fan crested jay"])
    found = birds.explain(wanted)
    assert [one.method.name for one in found] == ["gradcam", "sharp"]
    assert {one.source for one in found} == {"bird.png"}
    assert found[0].reference_names == ["Fan-crested Jay"]
    assert found[0].photo().size == Image.open(photo).size
    assert found[0].again(gamma=2.0, against=["Dapple-breasted Thrush"]).contrast.gamma == 2.0


def test_words_are_told_apart_from_a_base(words, photo):
    assert words.classifier is None
    (found,) = words.explain(Wanted(photo, "bird.png", concepts=["a yellow bill", " red legs "], base="bird"))
    assert (found.target_name, found.reference_names) == ("a yellow bill", ["bird"])
    assert found.again(target="red legs", against=["bird"]).target_name == "red legs"
    (same,) = words.explain(Wanted(photo, "bird.png", gamma=1, concepts=["bird"], base="bird"))
    assert same.empty
    for concepts, base in (([], "bird"), (["red legs"], " ")):
        with pytest.raises(FinercamError, match="a concept and a base word are needed"):
            words.explain(Wanted(photo, "bird.png", concepts=concepts, base=base))


def test_names_are_shown_as_text_and_no_path_is(birds, photo):
    name = '<img src=x onerror="alert(1)">\n\u202egnp.png'
    html = shown(birds, wanted_from(_sent(photo, name), photo.parent))
    assert html.count("<iframe") == 1
    assert "<img" not in html
    broken = photo.parent / "broken.png"
    broken.write_bytes(photo.read_bytes()[:500])
    html = shown(birds, wanted_from(_sent(broken, name), photo.parent))
    assert "<img" not in html
    assert str(photo.parent) not in html
    assert sentence("a < b\n") == '<div class="finercam-note" role="alert">a &lt; b\\n</div>'


def test_only_uploaded_files_are_taken(photo):
    assert wanted_from(_sent(photo, "x"), photo.parent).photo == photo.resolve()
    (photo.parent / "inner").mkdir(exist_ok=True)
    for folder in (photo.parent / "inner", photo.parent.parent / photo.parent.name[:-1]):
        with pytest.raises(FinercamError, match="no longer on the server"):
            wanted_from(_sent(photo, "x"), folder)


def _sent(photo, name):
    return {
        "photo": {"path": str(photo), "orig_name": name},
        "target": "predicted",
        "against": None,
        "concepts": "",
        "base": "",
        "methods": ["gradcam"],
        "gamma": 0.6,
    }
