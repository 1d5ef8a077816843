"""The page that visitors see, in Gradio's words. What it does is in ``offer`` and ``showing``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from fastapi import FastAPI

from finercam.app.offer import PREDICTED, Offer, class_title, title_of
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

_STYLE = """
.gradio-container { max-width: 1500px !important; }
footer { display: none !important; }
.finercam-head h1 { font-size: 1.6rem; margin: 0 0 .1rem; }
.finercam-head p { margin: 0; opacity: .8; }
.finercam-view iframe { width: 100%; height: max(760px, 92vh); display: block; border-radius: 8px; }
.finercam-note { border: 1px solid var(--border-color-primary); border-radius: 8px; padding: .9rem 1.1rem;
  margin-bottom: .8rem; line-height: 1.5; overflow-wrap: anywhere; }
.finercam-note[role=alert] { border-left: 4px solid var(--error-border-color, #b91c1c); }
.finercam-note p { margin: 0 0 .4rem; }
"""
_HEAD = (
    '<div class="finercam-head"><h1>finercam</h1>'
    "<p>Why did the classifier say this class, and not its look-alike?</p></div>"
)


def build(offers: Mapping[str, Offer], folder: Path, examples: Sequence[Path] = ()) -> gr.Blocks:
    """Return the page.

    Args:
        offers: the models by name, the first one chosen.
        folder: where Gradio puts uploaded files.
        examples: photos to try.
    """
    first = next(iter(offers.values()))
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
                    [(Path(name).name or name, name) for name in offers],
                    value=first.name,
                    label="Model",
                    visible=len(offers) > 1,
                )
                with gr.Group(visible=first.words is None) as of_classes:
                    target = gr.Dropdown(**_targets(first), label="Why is it", allow_custom_value=True)
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
                chosen = offers.get(str(given["model"]))
                if chosen is None:
                    raise FinercamError("this model is not offered here; choose one of the list")
                return shown(chosen, wanted_from(given, folder))
            except FinercamError as error:
                return sentence(str(error))

        def choose(name: Any) -> tuple[Any, ...]:
            chosen = offers.get(str(name), first)
            return (
                gr.update(visible=chosen.words is None),
                gr.update(visible=chosen.words is not None),
                gr.update(**_targets(chosen)),
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
        )
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


def mounted(offers: Mapping[str, Offer], folder: Path, examples: Sequence[Path], largest: int) -> FastAPI:
    """Return the page as an ASGI application.

    Args:
        offers, folder, examples: as for ``build``.
        largest: bytes that an uploaded file may have.
    """
    page = build(offers, folder, examples)
    # Gradio takes files of the server for uploaded ones until it has launched, which for a mounted page is never.
    page.has_launched = True
    fonts = ["system-ui", "sans-serif"]
    return gr.mount_gradio_app(
        FastAPI(openapi_url=None),
        page,
        path="/",
        app_kwargs={"openapi_url": None},
        footer_links=[],
        run_history=False,
        show_error=False,
        max_file_size=largest,
        ssr_mode=False,
        enable_monitoring=False,
        mcp_server=False,
        pwa=False,
        # Fonts by name are the visitor's own; the usual theme has them come from elsewhere.
        theme=gr.themes.Default(font=fonts, font_mono=["ui-monospace", "monospace"]),
        css=_STYLE,
    )


def _classes(offer: Offer) -> dict[str, Any]:
    names = offer.classes if len(offer.classes) <= _LISTED else []
    return {"choices": [(class_title(name), name) for name in names]}


def _targets(offer: Offer) -> dict[str, Any]:
    return {"choices": [("what the model sees", PREDICTED), *_classes(offer)["choices"]], "value": PREDICTED}


def _methods(offer: Offer) -> dict[str, Any]:
    choices = [(title_of(name), name) for name in offer.quick]
    choices += [(f"{title_of(name)} (takes a while)", name) for name in offer.slow]
    return {"choices": choices, "value": [choices[0][1]]}
