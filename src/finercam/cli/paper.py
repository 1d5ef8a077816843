"""``finercam paper``: the paper's figures and tables for data and a model of one's own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from finercam.cli import options as o
from finercam.cli.console import say
from finercam.cli.studying import matched, say_failed, watched
from finercam.errors import check_between

if TYPE_CHECKING:
    from finercam.data.dataset import Dataset
    from finercam.report.paper.steps import Advance, Step


def paper(
    dataset: o.DatasetSpec,
    model: o.Model,
    out: Annotated[Path, typer.Option(help="Folder for index.html, figures, tables and runs.")],
    method: o.Methods = ["gradcam,layercam,scorecam"],  # noqa: B006 - typer copies it
    clip: Annotated[
        str,
        typer.Option(help="Model of images and text, for concepts and attributes; as for 'finercam faithfulness'."),
    ] = "",
    base: Annotated[str, typer.Option(help="What concepts and attributes are part of.")] = "bird",
    steps: Annotated[int, typer.Option(help="Steps of deletion.")] = 50,
    shown: Annotated[int, typer.Option(help="How many photos galleries show.")] = 3,
    match: o.Match = None,
    skip_unmatched: o.SkipUnmatched = False,
    split: o.Split = "test",
    images: o.Images = None,
    seed: o.Seed = 0,
    layer: o.Layer = None,
    probabilities: o.Probabilities = None,
    device: o.Device = "auto",
    precision: o.Precision = "float32",
    batch_size: o.BatchSize = 8,
    copies: o.Copies = None,
    revision: o.Revision = None,
) -> None:
    """Make the paper's figures and tables for your own data and model, and a page that compares them with the paper's.

    The same command goes on where it was stopped. What the data or the model does not have (attributes, a last linear
    layer, a text model) is left out, and the page says why. Score-CAM takes most of the time: leave it out with
    --method gradcam,layercam.
    """
    from finercam.data.reading import read_dataset
    from finercam.metrics.masking import MOST_STEPS
    from finercam.report.album import Album
    from finercam.report.paper.making import make
    from finercam.report.paper.steps import Paper, blocks

    run, out = o.run_from(precision, batch_size, copies), o.folder(out)
    check_between("--steps", steps, 1, MOST_STEPS)
    check_between("--shown", shown, 1, 20)
    data = read_dataset(dataset, split, images, seed)
    on = matched(
        model,
        data,
        layer=layer,
        device=device,
        revision=revision,
        probabilities=probabilities,
        match=match,
        skip_unmatched=skip_unmatched,
    )
    asked = Paper(
        out,
        model,
        on.model,
        data,
        Album(_all_of(data, dataset, split, seed), on.targets),
        run,
        tuple(o.listed(method)),
        steps,
        shown,
        seed,
        clip,
        base,
        device,
    )

    @contextmanager
    def watch(step: Step) -> Iterator[Advance]:
        say(step.title)
        with watched(step.name) as bar:
            yield bar

    for name, reason in make(asked, watch).items():
        say(f"left out: {name}: {reason}")
    failed = {key: error for block in blocks(asked).values() for key, error in block.failed}
    say_failed(list(failed.items()))
    say(str(out / "index.html"), stderr=False)
    raise typer.Exit(1 if failed else 0)


def _all_of(data: Dataset, spec: str, split: str, seed: int) -> Dataset:
    """Return the data set without the limit on its photos: what is shown beside a photo need not be measured."""
    from finercam.data.reading import read_dataset

    if data.sample is not None:
        return data.sample.whole
    # A data set that makes its pictures makes as many as it is asked for.
    every = read_dataset(spec, split, None, seed)
    return max(every, data, key=lambda one: sum(1 for _ in one.items()))
