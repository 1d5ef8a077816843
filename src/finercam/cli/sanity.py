"""``finercam sanity``: do maps depend on the class that is asked about, and on what the network has learned?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from finercam.cli import options as o
from finercam.cli.console import console, say, show_told
from finercam.cli.studying import engine_named, matched, watched
from finercam.errors import FinercamError, nearest

if TYPE_CHECKING:
    from finercam.studies.sanity.classes import ClassSensitivity
    from finercam.studies.sanity.randomisation import Randomisation

CHECKS = ("classes", "weights")


def sanity(
    dataset: o.DatasetSpec,
    model: o.Model,
    out: Annotated[str, typer.Option(help="Folder of the run, or a URI such as s3://bucket/run.")],
    check: Annotated[
        str, typer.Option(help="classes: the maps of two classes; weights: the map of a randomised network.")
    ] = "classes",
    method: o.Methods = ["gradcam"],  # noqa: B006 - typer copies it
    gamma: Annotated[float | None, typer.Option(help="Comparison strength; 0 is the plain map.")] = None,
    order: Annotated[
        str, typer.Option(help="weights: top-down, bottom-up, or independent (one layer at a time).")
    ] = "top-down",
    redraw: Annotated[str, typer.Option(help="weights: shuffle the values, or reset as for training.")] = "shuffle",
    layers: Annotated[
        list[str] | None, typer.Option(help="weights: layers to randomise, from input to output. [default: all]")
    ] = None,
    noisy: Annotated[int, typer.Option(help="weights: average the maps over this many noisy copies (sMPRT).")] = 0,
    target: Annotated[str, typer.Option(help="Class to explain: the label of each photo, or predicted.")] = "label",
    match: o.Match = None,
    skip_unmatched: o.SkipUnmatched = False,
    split: o.Split = "test",
    images: o.Images = None,
    seed: o.Seed = 0,
    engine: o.Engine = "local",
    workers: o.Workers = None,
    ray_address: o.RayAddress = None,
    gpus: o.Gpus = None,
    layer: o.Layer = None,
    probabilities: o.Probabilities = None,
    device: o.Device = "auto",
    precision: o.Precision = "float32",
    batch_size: o.BatchSize = 8,
    copies: o.Copies = None,
    revision: o.Revision = None,
    retry_failed: o.RetryFailed = False,
) -> None:
    """Check whether maps depend on the class asked about (classes), or on what the network has learned (weights).

    Both compare maps of the same photo: the less similar they are, the better. A method can fail these checks, but
    passing them does not make its maps right. The same command resumes a run that was stopped.
    """
    from finercam.data.reading import read_dataset
    from finercam.studies.sanity.checking import check as run_check
    from finercam.studies.sanity.checking import to_markdown, told

    where, run = engine_named(engine, workers, ray_address, gpus), o.run_from(precision, batch_size, copies)
    study = _study(check, o.only(o.listed(method), "method"), gamma, target, order, redraw, layers, noisy, seed)
    data = read_dataset(dataset, split, images, seed)
    skip = skip_unmatched or target == "predicted"
    on = matched(
        model,
        data,
        layer=layer,
        device=device,
        revision=revision,
        probabilities=probabilities,
        match=match,
        skip_unmatched=skip,
    )
    with watched("checking") as bar:
        lines = run_check(
            study, on.model, data, out, on.targets, run=run, engine=where, retry_failed=retry_failed, advance=bar
        )
    heading = f"{study.title}: {dataset}, {model}"
    if console().is_terminal:
        show_told(heading, told(lines, study.of))
    else:
        print(to_markdown(lines, heading, study.of), end="")
    say(f"tables: {out}/table.md, .csv")


def _study(
    check: str,
    method: str,
    gamma: float | None,
    target: str,
    order: str,
    redraw: str,
    layers: list[str] | None,
    noisy: int,
    seed: int,
) -> ClassSensitivity | Randomisation:
    from finercam.contrast.contrast import Contrast
    from finercam.studies.sanity.classes import ClassSensitivity
    from finercam.studies.sanity.randomisation import Randomisation

    if check not in CHECKS:
        raise FinercamError(f"--check is {check!r}; {nearest(check, CHECKS)}")
    shared: dict[str, Any] = {"contrast": Contrast(gamma=gamma), "method": method, "target": target}
    if check == "classes":
        return ClassSensitivity(**shared)
    named = None if layers is None else tuple(layers)
    return Randomisation(**shared, layers=named, order=order, redraw=redraw, seed=seed, samples=noisy)
