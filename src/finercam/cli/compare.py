"""``finercam compare``: by what a classifier tells one class from another, over all photos of the two."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from finercam.cli import options as o
from finercam.cli.studying import engine_named, matched, watched
from finercam.cli.traits import Gamma, Methods, Out, finish
from finercam.errors import FinercamError, nearest


def compare(
    first: Annotated[str, typer.Argument(metavar="A", help="A class of the model, by name or index.")],
    second: Annotated[str, typer.Argument(metavar="B", help="Another one.")],
    photos: Annotated[
        str,
        typer.Argument(help="A folder of photos, or FORMAT:DIR ('finercam datasets' lists the formats)."),
    ],
    model: o.Model,
    out: Out,
    target: Annotated[
        str | None,
        typer.Option(
            help="Which photos are of A and of B: label (the data set says so), or predicted (those that the model "
            "takes for one of them). [default: label; of a folder of photos predicted]",
            show_default=False,
        ),
    ] = None,
    method: Methods = ["sharp"],  # noqa: B006 - typer copies it
    gamma: Gamma = 1.0,
    match: o.Match = None,
    split: o.Split = "all",
    images: o.Images = None,
    seed: o.Seed = 0,
    engine: o.Engine = "local",
    workers: o.Workers = None,
    ray_address: o.RayAddress = None,
    gpus: o.Gpus = None,
    layer: o.Layer = None,
    probabilities: o.Probabilities = None,
    classes: o.Classes = None,
    template: o.Template = None,
    embeddings: o.Embeddings = None,
    subset: o.Subset = None,
    taxonomy: o.Taxonomy = None,
    squash: o.Squash = False,
    device: o.Device = "auto",
    precision: o.Precision = "float32",
    batch_size: o.BatchSize = 8,
    copies: o.Copies = None,
    revision: o.Revision = None,
    retry_failed: o.RetryFailed = False,
) -> None:
    """Find out by what a classifier tells class A from class B, over all photos of the two.

    Photos of A are asked about A against B, those of B about B against A. Where parts of the object are known (masks
    of parts, part points), each is painted over: by as much as the difference falls, the classifier uses it. Where
    nothing is known, the patches with the most evidence are sorted into groups that look alike to the model.
    """
    from finercam.contrast.labels import find_class
    from finercam.data.dataset import UNKNOWN
    from finercam.data.reading import read_dataset
    from finercam.runs.engine import run_study
    from finercam.studies.places import groups_of
    from finercam.studies.traits.study import Traits

    where, run = engine_named(engine, workers, ray_address, gpus), o.run_from(precision, batch_size, copies)
    how = o.only(o.listed(method), "method")
    o.folder(out)
    more = o.load_options(classes, template, embeddings, subset, taxonomy, squash)
    data = read_dataset(f"photos:{photos}" if Path(photos).is_dir() else photos, split, images, seed)
    known = data.class_names != (UNKNOWN,)
    target = target or ("label" if known else "predicted")
    if target not in ("label", "predicted"):
        raise FinercamError(f"--target is {target!r}; {nearest(target, ('label', 'predicted'))}")
    if target == "label" and not known:
        raise FinercamError(f"it is not known what the photos in {photos!r} are of; leave out --target label")
    on = matched(
        model,
        data,
        layer=layer,
        device=device,
        revision=revision,
        probabilities=probabilities,
        match=match,
        skip_unmatched=True,
        more=more,
        tell=False,
    )
    model_of = on.classifier
    a, b = (find_class(name, model_of.classes, model_of.labels) for name in (first, second))
    names = {index: model_of.class_name(index) for index in (a, b)}
    # A sample is drawn from the photos of the two classes alone, by the run.
    every = data if data.sample is None else data.sample.whole
    if target == "label" and not {a, b} & {on.targets[item.label] for item in every.items()}:
        raise FinercamError(
            f"{photos!r} has no photo of {names[a]!r} or {names[b]!r}; use --match if it calls them otherwise, or "
            "--target predicted to ask the model which photos are"
        )
    study = Traits(names, groups_of(data), data.part_names, (a, b), target == "predicted", how, gamma)
    with watched() as bar:
        finished = run_study(
            study, on.model, data, str(out), on.targets, run=run, engine=where, retry_failed=retry_failed, advance=bar
        )
    finish(study, finished, out)
