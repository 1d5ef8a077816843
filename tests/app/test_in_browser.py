"""The app in a browser: a photo is uploaded, Explain is pressed, and the live view appears."""

import pytest

from finercam.data.reading import read_dataset
from support.browsing import chromium, needs_chromium
from support.visiting import served

pytest.importorskip("gradio")


@pytest.mark.slow
@needs_chromium
def test_a_photo_is_uploaded_and_the_view_appears(tmp_path):
    photo = tmp_path / '<img src=x onerror=alert(1)>"${alert(2)}{{value}}.png'
    data = read_dataset("aviary", images=1)
    data.open(next(data.items())).photo.save(photo)
    said = []
    with (
        served("--model", "aviary", "--model", "aviary-clip", folder=tmp_path) as server,
        chromium() as browser,
    ):
        page = browser.new_page(viewport={"width": 1300, "height": 1000})
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
        page.on("request", lambda asked: None if _own(asked.url, server.url) else said.append(asked.url))
        page.goto(server.url)
        # Every class of the model can be chosen.
        page.get_by_label("Why is it").click()
        assert page.get_by_role("option").count() == 32
        page.keyboard.type("streak")
        assert page.get_by_role("option").count() == 1
        page.keyboard.press("Enter")
        page.set_input_files("input[type=file]", photo)
        page.get_by_role("button", name="Explain").click()
        view = page.frame_locator(".finercam-view iframe")
        view.get_by_text("Streak-breasted Thrush").first.wait_for()
        assert view.locator("img[src=x]").count() == 0
        # The frame is as high as what is in it.
        page.wait_for_function("document.querySelector('.finercam-view iframe').style.height !== ''")
        assert page.locator("[role=alert]").count() == 0

        page.get_by_label("Model").click()
        page.get_by_role("option", name="aviary-clip").click()
        page.get_by_label("Where is").fill("a yellow bill, red legs")
        page.get_by_role("button", name="Explain").click()
        view.get_by_text("a yellow bill").first.wait_for()
    assert not said


def _own(url, server):
    return url.startswith((server, "data:", "blob:", "about:"))
