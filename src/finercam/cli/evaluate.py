"""``finercam evaluate`` and ``finercam table``: explanations measured over a data set, and the tables of runs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from finercam.cli import options as o
from finercam.cli.console import console, say, show_told
from finercam.cli.studying import engine_named, matched, say_failed, say_profile, watched
from finercam.errors import FinercamError

if TYPE_CHECKING:
    from finercam.data.dataset import Dataset
    from finercam.studies.evaluate.tables import Block


def evaluate(
    dataset: o.DatasetSpec,
    out: Annotated[str, typer.Option(help="Folder of the run, or a URI such as s3://bucket/run.")],
    model: o.Model = "",
    backbone: Annotated[
        str,
        typer.Option(
            help="Instead of --model: first train a linear probe on the frozen features of this one, on the data set's "
            "train split, and keep it beside --out, as OUT-probe (planted:cub:DIR has classes that no model knows)."
        ),
    ] = "",
    method: o.Methods = ["gradcam"],  # noqa: B006 - typer copies it
    contrast: Annotated[list[str], typer.Option(help="plain, finer, or both.")] = ["plain", "finer"],  # noqa: B006
    gamma: o.Gammas = None,
    references: o.References = ["3"],  # noqa: B006
    against: o.AgainstOther = ["similar"],  # noqa: B006
    weighting: o.Weightings = ["mean"],  # noqa: B006
    aggregate: o.Aggregates = ["mean"],  # noqa: B006
    metric: Annotated[
        list[str] | None,
        typer.Option(
            help="One or several: deletion, relative-drop@0.1, average-precision@difference, ... ('finercam metrics' "
            "lists them). [default: those of the paper that the data allows]",
            show_default=False,
        ),
    ] = None,
    steps: Annotated[int, typer.Option(help="Steps of deletion and insertion.")] = 50,
    fill: Annotated[str, typer.Option(help="What masked pixels become: mean, black, blur.")] = "mean",
    target: Annotated[str, typer.Option(help="Class to explain: the label of each photo, or predicted.")] = "label",
    other: Annotated[
        str | None,
        typer.Option(
            help="Class d, of the relative drop and of differences: similar (the nearest logit), or known (the nearest "
            "whose difference from the photo is known; photos for which the model prefers it are left out). "
            "[default: known if the data has differences]",
            show_default=False,
        ),
    ] = None,
    classes: o.Classes = None,
    template: o.Template = None,
    embeddings: o.Embeddings = None,
    subset: o.Subset = None,
    taxonomy: o.Taxonomy = None,
    rank: o.Rank = None,
    squash: o.Squash = False,
    match: o.Match = None,
    skip_unmatched: o.SkipUnmatched = False,
    split: o.Split = "test",
    images: o.Images = None,
    seed: o.Seed = 0,
    only_correct: Annotated[
        bool, typer.Option("--only-correct", help="Explain only photos that the model classifies correctly.")
    ] = False,
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
    """Measure explanations over a data set: rows in Parquet, and tables with intervals.

    The same command resumes a run that was stopped, whatever the reason. Controls are always in the table: maps that
    know nothing, and for each method its base map cubed and with noise, and the same question asked about a random
    class and reversed. The method maps:DIR measures maps that were made by another tool.
    """
    from finercam.data.reading import read_dataset
    from finercam.metrics.metric import default_metrics
    from finercam.metrics.view import OF_CLASSES
    from finercam.runs.engine import run_study
    from finercam.studies.evaluate.contrasts import contrasts_of
    from finercam.studies.evaluate.evaluation import Evaluation
    from finercam.studies.evaluate.writing import write_tables

    where, run = engine_named(engine, workers, ray_address, gpus), o.run_from(precision, batch_size, copies)
    asked = contrasts_of(
        o.listed(contrast),
        gammas=o.numbers(gamma, "gamma") or None,
        references=o.whole_numbers(references, "references"),
        against=o.listed(against),
        weightings=o.listed(weighting),
        aggregates=o.listed(aggregate),
    )
    more = o.load_options(classes, template, embeddings, subset, taxonomy, squash) | {"rank": rank}
    if bool(model) == bool(backbone):
        raise FinercamError("give --model, or --backbone to train a linear probe on its features first")
    if backbone and split != "test":
        raise FinercamError(f"--split is {split!r}; with --backbone the probe's own test photos are measured")
    if backbone:
        model, data = probe_first(dataset, backbone, out, images, seed, device=device, revision=revision)
        revision = None
    else:
        data = read_dataset(dataset, split, images, seed)
    # What is known of two classes is not known of their families.
    regions = data.regions if rank is None else set(data.regions) - OF_CLASSES
    study = Evaluation(
        methods=tuple(o.listed(method)),
        contrasts=asked,
        metrics=default_metrics(regions) if metric is None else tuple(o.listed(metric)),
        target=target,
        other=other or ("known" if "difference" in regions else "similar"),
        only_correct=only_correct,
        steps=steps,
        fill=fill,
    )
    needed = {region for one in study.measured for region in one.needs.regions}
    if rank is not None and (study.other == "known" or OF_CLASSES & needed):
        raise FinercamError(
            f"--rank {rank} asks about taxa, but differences are known of classes only; use --other similar, and no "
            f"metric of {', '.join(sorted(OF_CLASSES))}"
        )
    # Predicted classes are explained whatever the photo is of.
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
        more=more,
    )
    with watched() as bar:
        finished = run_study(
            study, on.model, data, out, on.targets, run=run, engine=where, retry_failed=retry_failed, advance=bar
        )
    say_profile(finished)
    blocks = write_tables([out], out)
    _print(blocks, out)
    raise typer.Exit(1 if any(block.failed for block in blocks) else 0)


def probe_first(
    dataset: str, backbone: str, out: str, images: int | None, seed: int, *, device: str, revision: str | None
) -> tuple[str, Dataset]:
    """Train a probe beside a run's folder, or take the one that is there; return its spec and its test photos.

    Raises:
        FinercamError: the run is not in a folder of this machine, or the probe cannot be trained.
    """
    from finercam.cli.probe import train
    from finercam.data.reading import draw, read_dataset
    from finercam.studies.probe.fitting import Recipe
    from finercam.studies.probe.training import splits

    if "://" in out:
        raise FinercamError(
            "--backbone keeps its probe beside --out, which must be a folder here; or run finercam probe first"
        )
    # Beside the run: a folder with anything else in it is not taken for one.
    folder = Path(f"{out.rstrip('/')}-probe")
    options = {"pool": "auto", "image_size": None, "device": device, "revision": revision}
    with redirect_stdout(sys.stderr):
        train(
            dataset,
            backbone,
            folder,
            Recipe(),
            precision="float32",
            batch_size=32,
            split_seed=0,
            images=None,
            replace_other=False,
            **options,
        )
    _, test = splits(read_dataset(dataset, "train"), read_dataset(dataset, "test"))
    return f"probe/{folder}", test if images is None else draw(test, images, seed)


def table(
    runs: Annotated[list[str], typer.Argument(help="The --out folders of evaluations.")],
    out: Annotated[str | None, typer.Option(help="Folder for table.md, table.csv and table.tex.")] = None,
    only_correct: Annotated[
        bool, typer.Option("--only-correct", help="Count only photos that the model classifies correctly.")
    ] = False,
) -> None:
    """Make tables from the rows of evaluations, without running a model; several runs go into one file."""
    from finercam.studies.evaluate.writing import write_tables

    blocks = write_tables(runs, out, only_correct=only_correct)
    _print(blocks, out)


def _print(blocks: Sequence[Block], out: str | None) -> None:
    from finercam.studies.evaluate.writing import to_markdown, told

    if console().is_terminal:
        for block in blocks:
            show_told(f"{block.data}, {block.model}", told(block))
            say_failed(block.failed)
    else:
        print(to_markdown(blocks), end="")
    if out is not None:
        say(f"tables: {out}/table.md, .csv, .tex")
