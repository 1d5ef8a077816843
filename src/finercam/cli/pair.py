"""``finercam pair``: why two photos are alike to a model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from finercam.cli import options as o
from finercam.cli.console import say
from finercam.files import whole
from finercam.texts import encoded, json_line


def pair(
    first: Annotated[Path, typer.Argument(help="A photo.")],
    second: Annotated[Path, typer.Argument(help="Another one.")],
    model: Annotated[str, typer.Option(help="Any backbone or classifier, whose head is taken off; or a folder.")],
    against: Annotated[
        list[Path] | None,
        typer.Option(
            help="A photo that the two are held against: alike, and not like this; may be given several times."
        ),
    ] = None,
    gamma: Annotated[float, typer.Option(help="Comparison strength, where there is something to compare with.")] = 0.6,
    method: Annotated[str, typer.Option(help="gradcam, layercam, scorecam, ... ('finercam methods' lists them).")] = (
        "gradcam"
    ),
    pool: Annotated[str, typer.Option(help="How tokens become one embedding: auto, mean, cls.")] = "auto",
    layer: o.Layer = None,
    device: o.Device = "auto",
    precision: o.Precision = "float32",
    batch_size: o.BatchSize = 8,
    copies: o.Copies = None,
    revision: o.Revision = None,
    size: o.Size = None,
    scale: o.Scale = "common",
    out: Annotated[Path, typer.Option(help="Folder for pair.png, pair.json and the maps.")] = Path("finercam-pair"),
    as_json: o.Json = False,
) -> None:
    """Explain photo against photo: what in each makes the model hold it for like the other.

    pair.png has both photos and their maps, pair.json the similarity and all that was asked, first.safetensors and
    second.safetensors the maps.
    """
    from finercam.explanations.pairs import pair as pair_of
    from finercam.methods.method import find_method
    from finercam.report.explained import check_look
    from finercam.report.pairs import draw_pair

    # All that can be known to be wrong is found before the model is loaded and before anything is written.
    run, how = o.run_from(precision, batch_size, copies), find_method(method)
    check_look(size, scale)
    out = o.folder(out)
    found = pair_of(
        model,
        first,
        second,
        against=against or (),
        gamma=gamma,
        method=how,
        pool=pool,
        layer=layer,
        device=device,
        revision=revision,
        run=run,
    )
    picture = draw_pair(found, size, scale)
    with whole(out / "pair.png") as aside:
        picture.save(aside, "png")
    for name, one in (("first", found.first), ("second", found.second)):
        one.save(out / f"{name}.safetensors")
    record = found.record()
    with whole(out / "pair.json") as aside:
        aside.write_bytes(encoded(json.dumps(record, indent=1) + "\n"))
    say(json_line(record) if as_json else f"{found}: similarity {found.similarity:.3f}", stderr=False)
    for name, one in zip(found.names, (found.first, found.second), strict=False):
        if one.empty:
            say(f"{name}: EMPTY MAP: nothing in it speaks for the other")
    say(f"see {out}")
