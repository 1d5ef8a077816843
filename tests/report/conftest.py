"""What the tests of the live view share: photos that were explained, pages of them, and a browser."""

import pytest
import torch
from PIL import Image
from torch import nn

from finercam import Classifier, explain
from finercam.report.view.page import Page
from support.browsing import PATIENCE, chromium
from support.colour_birds import to_tensor
from support.pictures import pixels
from support.viewed import NAMES, SIZES, TABULATED


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
    with chromium() as found:
        yield found


@pytest.fixture
def tab(browser):
    """A page that must neither ask the network for anything nor complain."""
    context = browser.new_context(viewport={"width": 1200, "height": 900}, accept_downloads=True)
    context.set_default_timeout(1000 * PATIENCE)
    page, heard = context.new_page(), []
    page.on("console", lambda message: heard.append(message.text))
    page.on("pageerror", lambda error: heard.append(str(error)))
    page.on("request", lambda request: heard.append(request.url) if request.url.startswith("http") else None)
    yield page
    assert heard == []
    assert page.evaluate("window.hacked") is None
    context.close()
