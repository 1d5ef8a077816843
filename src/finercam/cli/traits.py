"""``finercam traits``: which parts of the object tell each class from its look-alike, over a data set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from finercam.cli import options as o
from finercam.cli.console import say
from finercam.cli.studying import engine_named, matched, say_failed, say_profile, watched
from finercam.errors import FinercamError

if TYPE_CHECKING:
    from finercam.runs.engine import Finished
    from finercam.studies.traits.study import Traits

Out = Annotated[Path, typer.Option(help="Folder for index.html, traits.csv, photos.csv and the run.")]
Methods = Annotated[
    list[str],
    typer.Option("--method", help="What makes the maps: sharp, gradcam, ... ('finercam methods' lists them)."),
]
Gamma = Annotated[
    float, typer.Option(help="Comparison strength; at 1 the evidence for c over d is that against d over c.")
]


def traits(
    dataset: o.DatasetSpec,
    model: o.Model,
    out: Out,
    method: Methods = ["sharp"],  # noqa: B006 - typer copies it
    gamma: Gamma = 1.0,
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
    """Make a table of traits: for each class and its look-alike, what each part of the object carries.

    Each photo is asked about its class against the one of the nearest logit. Parts are the data set's masks of parts,
    or what is near its part points. For each: what painting it over costs, and its share of the evidence, each beside
    what any patch of its shape or area would have.
    """
    from finercam.data.reading import read_dataset
    from finercam.runs.engine import run_study
    from finercam.studies.places import groups_of
    from finercam.studies.traits.study import Traits

    where, run = engine_named(engine, workers, ray_address, gpus), o.run_from(precision, batch_size, copies)
    how = o.only(o.listed(method), "method")
    o.folder(out)
    data = read_dataset(dataset, split, images, seed)
    groups = groups_of(data)
    if not groups:
        raise FinercamError(
            f"no parts of the objects are known in {dataset!r}: give a data set with part points or masks of parts "
            "('finercam datasets' tells which), or compare two classes without them: finercam compare"
        )
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
    classes = {index: on.classifier.class_name(index) for index in on.targets if index >= 0}
    study = Traits(classes, groups, data.part_names, method=how, gamma=gamma)
    with watched() as bar:
        finished = run_study(
            study, on.model, data, str(out), on.targets, run=run, engine=where, retry_failed=retry_failed, advance=bar
        )
    finish(study, finished, out)


def finish(study: Traits, finished: Finished, out: Path) -> None:
    """Write the tables and the page of a run, say what was found, and end with code 1 if photos failed."""
    from finercam.report.folders.traits import write_page
    from finercam.studies.traits.findings import over_all
    from finercam.studies.traits.writing import pairs_of, sentences, write

    say_profile(finished)
    say_failed(finished.rows.failed)
    directions = study.summary(finished.rows)
    if not directions:
        wanted = " or ".join(repr(study.classes[index]) for index in study.pair or ())
        raise FinercamError(
            f"the model takes none of the {finished.rows.photos} photos for {wanted}; nothing was compared"
            if study.predicted
            else f"all {finished.rows.photos} photos failed"
        )
    every = [] if study.pair else over_all(finished.rows)
    write(out, finished.rows, [*every, *directions], study.classes)
    for told in (sentences([[one] for one in every], study.classes), sentences(pairs_of(directions), study.classes)):
        for line in told:
            say(line, stderr=False)
    page = write_page(str(out), out / "index.html")
    say(f"see {page}, and traits.csv and photos.csv beside it")
    raise typer.Exit(1 if finished.rows.failed else 0)
