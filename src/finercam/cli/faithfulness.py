"""``finercam faithfulness``: does the classifier look at what tells two classes apart?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from finercam.cli import options as o
from finercam.cli.console import say
from finercam.cli.studying import engine_named, matched, say_failed, watched
from finercam.errors import FinercamError, check_between

if TYPE_CHECKING:
    from finercam.data.dataset import Dataset
    from finercam.models.classifier import Classifier
    from finercam.models.run import Run
    from finercam.runs.loaded import Loaded
    from finercam.studies.faithfulness.examined import Examined
    from finercam.studies.faithfulness.study import Faithfulness


def faithfulness(
    dataset: o.DatasetSpec,
    model: o.Model,
    out: Annotated[
        Path, typer.Option(help="Folder for report.md, faithfulness.png, findings.csv, rows.csv and the run.")
    ],
    clip: Annotated[
        str | None,
        typer.Option(
            help="Model of images and text that says where attributes are: open_clip/NAME/WEIGHTS, "
            "transformers/ID, a folder, aviary-clip. Without one, part points or masks are used."
        ),
    ] = None,
    base: Annotated[str, typer.Option(help="Word that attributes are compared with.")] = "bird",
    against: Annotated[
        str, typer.Option(help="Look-alike: similar (the most similar class), or a class of the data set.")
    ] = "similar",
    attributes: Annotated[
        int, typer.Option(help="How many of the attributes with the largest difference are examined.")
    ] = 3,
    method: o.Methods = ["gradcam"],  # noqa: B006 - typer copies it
    gamma: Annotated[float, typer.Option(help="Comparison strength.")] = 0.6,
    match: o.Match = None,
    skip_unmatched: o.SkipUnmatched = False,
    split: o.Split = "test",
    images: o.Images = None,
    seed: o.Seed = 0,
    pictures: Annotated[int, typer.Option(help="Rows of faithfulness.png.")] = 6,
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
    """Examine whether a classifier uses the attributes in which a class differs from the most similar one.

    For each photo, the map against the similar class is compared with the attributes that differ most, and with
    chance, which is the value for attributes that do not differ. The verdict names what is used, what is ignored, and
    what is looked at instead.
    """
    from finercam.contrast.contrast import exactly
    from finercam.contrast.labels import Labels
    from finercam.runs.engine import run_study
    from finercam.studies.faithfulness import writing
    from finercam.studies.faithfulness.examined import read_examined
    from finercam.studies.faithfulness.study import Faithfulness
    from finercam.studies.faithfulness.subjects import read_subject
    from finercam.studies.faithfulness.wording import TextMaps

    where, run = engine_named(engine, workers, ray_address, gpus), o.run_from(precision, batch_size, copies)
    how = o.only(o.listed(method), "method")
    check_between("--attributes", attributes, 1, 10_000)
    check_between("--pictures", pictures, 0, 1000)
    o.folder(out)
    subject = read_subject(dataset, split, images, seed)
    names = subject.dataset.class_names
    label = None if against == "similar" else Labels(names).index(against)
    on = matched(
        model,
        subject.dataset,
        layer=layer,
        device=device,
        revision=revision,
        probabilities=probabilities,
        match=match,
        skip_unmatched=skip_unmatched,
    )
    if label is not None and on.targets[label] < 0:
        raise FinercamError(f"--against {names[label]!r} is a class that {model} does not have")
    words = None
    if clip is not None:
        words = TextMaps(clip, subject.attributes, base=base, gamma=gamma, method=how, device=device)
    study = Faithfulness(subject.places, tuple(on.targets), words, label, how, gamma, attributes)
    with watched("examining") as bar:
        finished = run_study(
            study,
            on.model,
            subject.dataset,
            str(out),
            on.targets,
            run=run,
            engine=where,
            retry_failed=retry_failed,
            advance=bar,
        )
    examined, judgements = read_examined(finished.rows), study.summary(finished.rows)
    say_failed(finished.rows.failed)
    heading = f"What {model} looks at in {dataset}, gamma {exactly(gamma)}"
    writing.write(out, judgements, examined, finished.rows.failed, names, heading, words is not None)
    if pictures > 0:
        _draw(study, on.model, run, subject.dataset, examined, pictures, out / "faithfulness.png")
    for pair in judgements[1:]:
        say(f"{writing.title_of(pair, names)} ({pair.photos} photos): {pair.sentence()}", stderr=False)
    say(f"All {judgements[0].photos} photos: {judgements[0].sentence()}", stderr=False)
    say(f"report: {out / 'report.md'}")


def _draw(
    study: Faithfulness,
    model: Loaded[Classifier],
    run: Run,
    dataset: Dataset,
    examined: Sequence[Examined],
    pictures: int,
    path: Path,
) -> None:
    """Draw a few photos with their maps, which are made again: rows hold numbers only."""
    from finercam.files import whole
    from finercam.report.faithfulness import draw_examples, examples_of

    examples = examples_of(study, model, run, dataset, examined, pictures)
    if examples:
        with whole(path) as aside:
            draw_examples(examples, study.count).save(aside)
