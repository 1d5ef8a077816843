"""The page that visitors see, in Gradio's words. What it does is in ``offer`` and ``showing``."""

from __future__ import annotations

import inspect
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gradio as gr
from fastapi import FastAPI

from finercam.app.offer import Offer, class_title, title_of
from finercam.app.showing import START, sentence, shown, wanted_from
from finercam.errors import FinercamError

#: Visitors who may wait for an answer at once; the next ones are told to come back.
_WAITING = 64
#: Visitors whose last answer Gradio remembers; the one who was away for longest is forgotten first.
_VISITORS = 64
#: Seconds between looks for old files, and how old an uploaded photo may become.
_SWEEP, _OLD = 60, 1800
#: Classes in a list. Of more the browser makes a list that it cannot scroll; their names are typed.
_LISTED = 1500

#: The colours of the live view, light and dark.
_INK, _PAPER, _CARD, _LINE, _ACCENT, _ON_ACCENT = (
    ("#1d1d1b", "#eceae4"),
    ("#fbfaf7", "#151514"),
    ("#ffffff", "#1e1e1c"),
    ("#e2dfd8", "#383733"),
    ("#0b6a6f", "#63c5c1"),
    ("#ffffff", "#08201f"),
)
_STYLE = """
.gradio-container { max-width: 1600px !important; }
footer { display: none !important; }
.finercam-head h1 { font-size: 1.5rem; margin: 0 0 .1rem; }
.finercam-head p { margin: 0; opacity: .8; }
.finercam-view iframe { width: 100%; height: 85vh; display: block; border-radius: 10px; }
.finercam-note { border: 1px solid var(--border-color-primary); border-radius: 10px; padding: .9rem 1.1rem;
  margin-bottom: .8rem; line-height: 1.5; overflow-wrap: anywhere; background: var(--block-background-fill); }
.finercam-note[role=alert] { border-left: 4px solid #b5522b; }
@media (max-width: 640px) { .finercam-view { margin: 0 -20px; } }
.finercam-note p { margin: 0 0 .4rem; }
"""
#: The view says how high it is; only its own frames are listened to, and not without bounds.
_FITTED = """() => addEventListener("message", (event) => {
  const height = event.data && event.data.finercamHeight;
  for (const frame of document.querySelectorAll(".finercam-view iframe"))
    if (frame.contentWindow === event.source && height > 0)
      frame.style.height = `${Math.min(Math.max(Math.ceil(height), 300), 6000)}px`;
})"""
#: On a phone the answer is below the question.
_TO_ANSWER = """() => {
  const answer = document.getElementById("finercam-answer");
  const below = answer.getBoundingClientRect().top > 0.6 * innerHeight;
  // When the frame has its height.
  if (below) setTimeout(() => answer.scrollIntoView({ behavior: "smooth" }), 500);
}"""
_HEAD = (
    '<div class="finercam-head"><h1>finercam</h1>'
    "<p>Why did the classifier say this class, and not its look-alike?</p></div>"
)


@dataclass(frozen=True)
class Limits:
    """What visitors may take.

    Attributes:
        largest: bytes that a photo may have.
        seconds: for one answer.
        stopping: set when the server is to end: nobody waits any more.
    """

    largest: int
    seconds: float
    stopping: threading.Event = field(default_factory=threading.Event)

    def begun(self) -> Callable[[], str | None]:
        """Return what says, from now on, why an answer is not worked on any more, or ``None``."""
        begin = time.monotonic()

        def enough() -> str | None:
            if self.stopping.is_set():
                return "the app was stopped"
            if time.monotonic() - begin > self.seconds:
                return f"the answer takes longer than {self.seconds:g} seconds; choose a quicker method"
            return None

        return enough


def build(offers: Sequence[Offer], folder: Path, limits: Limits, examples: Sequence[Path] = ()) -> gr.Blocks:
    """Return the page.

    Args:
        offers: the models, the first one chosen.
        folder: where Gradio puts uploaded files.
        limits: what visitors may take.
        examples: photos to try.
    """
    first = offers[0]
    with gr.Blocks(title="finercam", analytics_enabled=False, delete_cache=(_SWEEP, _OLD)) as page:
        gr.HTML(_HEAD)
        with gr.Row(equal_height=False):
            with gr.Column(scale=1, min_width=320):
                photo = gr.Image(
                    # The file as it was given: Gradio makes nothing of it.
                    type="filepath",
                    image_mode=None,
                    sources=["upload", "webcam", "clipboard"],
                    label="Photo",
                    height=250,
                    buttons=["fullscreen"],
                )
                if examples:
                    gr.Examples(
                        [[str(path)] for path in examples],
                        [photo],
                        label="Or one of these",
                        cache_examples=False,
                        api_visibility="private",
                    )
                model = gr.Dropdown(
                    [(one.name, number) for number, one in enumerate(offers)],
                    value=0,
                    label="Model",
                    visible=len(offers) > 1,
                )
                with gr.Group(visible=first.words is None) as of_classes:
                    target = gr.Dropdown(
                        **_classes(first),
                        value=None,
                        label="Why is it",
                        info="what the model says, or a class that you name",
                        allow_custom_value=True,
                    )
                    against = gr.Dropdown(
                        **_classes(first),
                        label="and not",
                        info="its nearest look-alikes, or classes that you name",
                        multiselect=True,
                        allow_custom_value=True,
                    )
                with gr.Group(visible=first.words is not None) as of_words:
                    concepts = gr.Textbox(
                        label="Where is", placeholder="red epaulets", info="your words; several, with commas between"
                    )
                    base = gr.Textbox(label="and not just", value="bird", info="what it is part of")
                with gr.Accordion("How", open=False):
                    methods = gr.Dropdown(
                        **_methods(first), label="Method", info="several can be compared", multiselect=True
                    )
                    gamma = gr.Slider(-1, 3, 0.6, step=0.05, label="Strength of the comparison (gamma)")
                ask = gr.Button("Explain", variant="primary")
            with gr.Column(scale=3, min_width=340):
                answer = gr.HTML(START, elem_id="finercam-answer")

        fields = {
            "model": model,
            "photo": photo,
            "target": target,
            "against": against,
            "concepts": concepts,
            "base": base,
            "methods": methods,
            "gamma": gamma,
        }

        def explain(*values: Any) -> str:
            given = dict(zip(fields, values, strict=True))
            try:
                return shown(_chosen(offers, given["model"]), wanted_from(given, folder), limits.begun())
            except FinercamError as error:
                return sentence(str(error))

        def choose(number: Any) -> tuple[Any, ...]:
            chosen = _chosen(offers, number)
            return (
                gr.update(visible=chosen.words is None),
                gr.update(visible=chosen.words is not None),
                gr.update(**_classes(chosen), value=None),
                gr.update(**_classes(chosen), value=[]),
                gr.update(**_methods(chosen)),
            )

        ask.click(
            explain,
            list(fields.values()),
            answer,
            # What comes is looked at here, file and all, so that one sentence can say what is wrong with it.
            preprocess=False,
            api_visibility="private",
            # A model answers one visitor at a time.
            concurrency_limit=1,
            trigger_mode="once",
        ).then(None, js=_TO_ANSWER, api_visibility="private")
        model.change(
            choose,
            model,
            [of_classes, of_words, target, against, methods],
            preprocess=False,
            api_visibility="private",
            queue=False,
            show_progress="hidden",
        )

        def forget(request: gr.Request) -> None:
            # Gradio keeps what was last shown to a visitor, for links that its pages can give and this one does not.
            page.state_holder.session_data.pop(request.session_hash, None)
            page.state_holder.time_last_used.pop(request.session_hash, None)

        # When the tab is closed.
        page.unload(forget)
    page.queue(max_size=_WAITING, api_open=False)
    page.state_session_capacity = _VISITORS
    return page


def mounted(offers: Sequence[Offer], folder: Path, limits: Limits, examples: Sequence[Path]) -> FastAPI:
    """Return the page as an ASGI application; the arguments are those of ``build``."""
    page = build(offers, folder, limits, examples)
    # Gradio takes files of the server for uploaded ones until it has launched, which for a mounted page is never.
    page.has_launched = True
    return gr.mount_gradio_app(
        FastAPI(openapi_url=None),
        page,
        path="/",
        app_kwargs={"openapi_url": None},
        footer_links=[],
        run_history=False,
        show_error=False,
        max_file_size=limits.largest,
        ssr_mode=False,
        enable_monitoring=False,
        mcp_server=False,
        pwa=False,
        theme=_theme(),
        css=_STYLE,
        js=_FITTED,
    )


def _theme() -> gr.themes.Base:
    colours = {
        "body_background_fill": _PAPER,
        "background_fill_primary": _CARD,
        "background_fill_secondary": _PAPER,
        "body_text_color": _INK,
        "block_background_fill": _CARD,
        "block_border_color": _LINE,
        "border_color_primary": _LINE,
        "border_color_accent": _ACCENT,
        "input_background_fill": _CARD,
        "input_border_color": _LINE,
        "input_border_color_focus": _ACCENT,
        "color_accent": _ACCENT,
        "slider_color": _ACCENT,
        "loader_color": _ACCENT,
        "button_primary_background_fill": _ACCENT,
        "button_primary_background_fill_hover": _ACCENT,
        "button_primary_text_color": _ON_ACCENT,
    }
    names = inspect.signature(gr.themes.Base.set).parameters
    both = {name: light for name, (light, _) in colours.items()}
    both |= {f"{name}_dark": dark for name, (_, dark) in colours.items() if f"{name}_dark" in names}
    return gr.themes.Default(
        primary_hue="teal",
        neutral_hue="stone",
        # Fonts by name are the visitor's own; the usual theme has them come from elsewhere.
        font=["system-ui", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
    ).set(**both)


def _chosen(offers: Sequence[Offer], number: object) -> Offer:
    if not isinstance(number, int) or not 0 <= number < len(offers):
        raise FinercamError("this model is not offered here; choose one of the list")
    return offers[number]


def _classes(offer: Offer) -> dict[str, Any]:
    names = offer.classes if len(offer.classes) <= _LISTED else []
    return {"choices": [(class_title(name), name) for name in names]}


def _methods(offer: Offer) -> dict[str, Any]:
    choices = [(title_of(name), name) for name in offer.quick]
    choices += [(f"{title_of(name)} (takes a while)", name) for name in offer.slow]
    return {"choices": choices, "value": [choices[0][1]]}
