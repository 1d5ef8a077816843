"""A browser for tests of pages, and the live view in it."""

from __future__ import annotations

import shutil
import time
from contextlib import contextmanager

import pytest

CHROMIUM = shutil.which("chromium")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium")
#: Seconds that a page may take for what it was told, on a busy machine too.
PATIENCE = 30


@contextmanager
def chromium():
    """Give a browser of playwright's; a test is skipped where there is no playwright."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


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
    ends = time.monotonic() + PATIENCE
    while not tab.evaluate(expression):
        assert time.monotonic() < ends, expression
        tab.wait_for_timeout(20)


def becomes(tab, code, expected):
    """Wait until code with ``view`` gives this: on a busy machine a key or a click may take its time."""
    ends = time.monotonic() + PATIENCE
    while (found := evaluate(tab, code)) != expected:
        assert time.monotonic() < ends, f"{code}: {found}, not {expected}"
        tab.wait_for_timeout(20)
