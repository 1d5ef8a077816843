"""``finercam app``: new photos in a browser."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from finercam.cli import options as o
from finercam.cli.console import say

if TYPE_CHECKING:
    from finercam.data.dataset import Item

#: The embedded models, which come with drawn birds to try; and how many of these are shown.
EMBEDDED, _BIRDS = ("aviary", "aviary-clip"), 3


def app(
    model: Annotated[
        list[str],
        typer.Option(
            help="timm/NAME, torchvision/NAME, transformers/ID, open_clip/NAME, probe/DIR, aviary, aviary-clip, or a "
            "folder; may be given several times."
        ),
    ] = ["aviary"],  # noqa: B006 - typer copies it
    method: Annotated[
        list[str] | None,
        typer.Option(
            "--method",
            help="Methods that are offered, separated by commas. [default: all that work for the model]",
            show_default=False,
        ),
    ] = None,
    layer: o.Layer = None,
    device: o.Device = "auto",
    revision: o.Revision = None,
    host: Annotated[str, typer.Option(help="Address to be had on; 0.0.0.0 is every one.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 takes one that is free.")] = 7860,
    largest: Annotated[int, typer.Option("--max-upload", help="Megabytes that a photo may have.")] = 50,
    seconds: Annotated[float, typer.Option("--max-seconds", help="Seconds that an answer may take.")] = 300,
) -> None:
    """Explain new photos in a browser: upload, drag, paste or the camera.

    Runs until it is stopped (Ctrl-C). Photos stay on this machine: only it reaches the app, unless --host says
    otherwise, and what visitors give is deleted after half an hour, or when the app ends.
    """
    import os

    from finercam.app.serving import check_gradio, is_local, serve, taken
    from finercam.errors import check_between
    from finercam.methods.method import find_method

    # All that can be known to be wrong is found before the models are loaded.
    check_gradio()
    check_between("--max-upload", largest, 1, 1000)
    check_between("--max-seconds", seconds, 1, 86400)
    methods = [find_method(name).spec for name in o.listed(method)]
    with taken(host, port) as bound:
        from finercam.app.offer import offer

        # Visitors' words are not kept.
        os.environ["FINERCAM_CACHE"] = ""
        specs = list(dict.fromkeys(model))
        offers = [offer(spec, methods=methods, layer=layer, device=device, revision=revision) for spec in specs]
        if not is_local(host):
            say(f"finercam: warning: everybody who reaches {host} on the network can use this app and sees no password")

        def ready(port: int) -> None:
            shown = f"[{host}]" if ":" in host else host
            say(f"http://{shown}:{port}/", stderr=False)
            say("stop it with Ctrl-C")

        examples = _drawn_birds() if set(specs) & set(EMBEDDED) else []
        serve(offers, bound, examples=examples, largest=largest * 2**20, seconds=seconds, ready=ready)


def _drawn_birds() -> list[tuple[str, Callable[[Path], object]]]:
    """Return file names, and what draws each bird to a path."""
    from finercam.data.reading import read_dataset

    birds = read_dataset("aviary", images=_BIRDS)

    def draw(item: Item, path: Path) -> None:
        birds.open(item).photo.save(path)

    return [(f"drawn_bird_{number}.png", partial(draw, item)) for number, item in enumerate(birds.items(), 1)]
