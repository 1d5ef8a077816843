"""What a visitor is shown: the live page of an explanation in a frame, or a sentence. Text is escaped here."""

from __future__ import annotations

import html
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from finercam.app.offer import Offer, Wanted
from finercam.errors import FinercamError
from finercam.report.view.page import framed, write_page
from finercam.texts import printable, shortened

START = (
    '<div class="finercam-note"><p>Give a photo, or take one of the examples, and press <b>Explain</b>.</p>'
    "<p>The answer can be asked again right here: another strength, other look-alikes, a region of the photo.</p></div>"
)


def shown(offer: Offer, wanted: Wanted, enough: Callable[[], str | None] = lambda: None) -> str:
    """Return HTML of the answer, or of the sentence that says why there is none; the arguments are ``explain``'s."""
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always", UserWarning)
            explanations = offer.explain(wanted, enough)
        notes = dict.fromkeys(str(one.message) for one in said if "finercam" in one.filename)
        return (
            "".join(sentence(note, "status") for note in notes)
            + f'<div class="finercam-view">{framed(write_page([explanations]))}</div>'
        )
    except FinercamError as error:
        return sentence(str(error))
    except MemoryError:
        return sentence("this photo and this method need more memory than there is; give a smaller photo")


def sentence(text: str, role: str = "alert") -> str:
    """Return a message as HTML: the text as it is, on one line."""
    return f'<div class="finercam-note" role="{role}">{html.escape(shortened(printable(text), 1000))}</div>'


def wanted_from(values: dict[str, Any], folder: Path) -> Wanted:
    """Return what a visitor's page sent as a question.

    Args:
        values: by the fields' names, as they came: any JSON, for it need not be the page that sends it. ``photo`` is
            Gradio's record of an uploaded file.
        folder: where these lie.

    Raises:
        FinercamError: no photo was given, or a value is not of its kind.
    """
    photo = values["photo"]
    if not isinstance(photo, dict) or not photo.get("path"):
        raise FinercamError("there is no photo yet; give one, or take one of the examples")
    path = Path(_text(photo["path"])).resolve()
    if not path.is_relative_to(folder.resolve()) or not path.is_file():
        raise FinercamError("the photo is no longer on the server, which keeps it for a while only; give it again")
    gamma = values["gamma"]
    if isinstance(gamma, bool) or not isinstance(gamma, (int, float)):
        raise FinercamError(f"gamma is {shortened(repr(gamma))}; it must be a number")
    return Wanted(
        path,
        printable(shortened(str(photo.get("orig_name") or "photo"))),
        _texts(values["methods"]),
        gamma,
        _text(values["target"]),
        _texts(values["against"]),
        _text(values["concepts"]).replace("\n", ",").split(","),
        _text(values["base"]),
    )


def _text(value: object) -> str:
    if isinstance(value, (list, dict)):
        raise FinercamError(f"{shortened(repr(value))} is not a name")
    return "" if value is None else str(value)


def _texts(values: object) -> list[str]:
    return [_text(value) for value in values] if isinstance(values, list) else [_text(values)]
