"""``finercam evaluate`` and ``finercam table``: explanations measured over a data set, and the tables of runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from finercam.cli.classes import model_classes
from finercam.cli.console import progress, say

if TYPE_CHECKING:
    from finercam.runs.engine import Finished, Progress
    from finercam.studies.evaluate.tables import Block


def evaluate(
    dataset: Annotated[
        str, typer.Argument(help="folder:DIR, cub:DIR, cars:DIR, aircraft:DIR, birds525:DIR, fishvista:DIR, aviary.")
    ],
    model: Annotated[str, typer.Option(help="As for explain; 'aviary' is the embedded one.")],
    out: Annotated[str, typer.Option(help="Folder of the run, or a URI such as s3://bucket/run.")],
    methods: Annotated[
        str, typer.Option(help="CAM methods, separated by commas; maps:DIR measures another tool's.")
    ] = "gradcam",
    contrasts: Annotated[str, typer.Option(help="plain, finer.")] = "plain,finer",
    gamma: Annotated[str | None, typer.Option(help="Comparison strengths. [default: 0.6]", show_default=False)] = None,
    references: Annotated[str, typer.Option(help="How many look-alikes; several numbers are compared.")] = "3",
    against: Annotated[
        str, typer.Option(help="similar, predicted, weights; predicted@2 is only the second.")
    ] = "similar",
    weighting: Annotated[str, typer.Option(help="mean, softmax, official.")] = "mean",
    aggregate: Annotated[str, typer.Option(help="mean, max, mean-after-relu.")] = "mean",
    metrics: Annotated[
        str | None,
        typer.Option(
            help="deletion, insertion, confidence-drop@F, relative-drop@F, localization, average-precision, pointing "
            "(each also @box, @mask, @difference), iou@F, parts@R, class-sensitivity. "
            "[default: the paper's that the data allows]",
            show_default=False,
        ),
    ] = None,
    steps: Annotated[int, typer.Option(help="Of deletion and insertion.")] = 50,
    fill: Annotated[str, typer.Option(help="What removed pixels become: mean, black, blur.")] = "mean",
    target: Annotated[str, typer.Option(help="Explain each photo's label, or what is predicted.")] = "label",
    classes: Annotated[
        Path | None, typer.Option(help="CSV of data class, model class, for names that do not match.")
    ] = None,
    skip_unmatched: Annotated[
        bool, typer.Option("--skip-unmatched", help="Leave out photos of classes that the model does not have.")
    ] = False,
    split: Annotated[str, typer.Option(help="test, train, all.")] = "test",
    images: Annotated[int | None, typer.Option(help="Draw this many photos.")] = None,
    seed: Annotated[int, typer.Option(help="Of the draw.")] = 0,
    only_correct: Annotated[
        bool, typer.Option("--only-correct", help="Explain only photos that the model classifies correctly.")
    ] = False,
    engine: Annotated[str, typer.Option(help="local, or ray for many machines.")] = "local",
    workers: Annotated[
        int | None, typer.Option(help="local: processes that open photos; ray: models that run at once.")
    ] = None,
    ray_address: Annotated[str | None, typer.Option(help="Of the Ray cluster; a local one if left out.")] = None,
    gpus: Annotated[float | None, typer.Option(help="ray: GPUs for each model. [default: 1 if there is one]")] = None,
    layer: Annotated[list[str] | None, typer.Option(help="Target layer, if not the one found.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, mps, ...")] = "auto",
    precision: Annotated[str, typer.Option(help="float32, bfloat16, float16.")] = "float32",
    batch_size: Annotated[int, typer.Option(help="Photos looked at together.")] = 8,
    copies: Annotated[int | None, typer.Option(help="Masked copies per run; found out if left out.")] = None,
    revision: Annotated[str | None, typer.Option(help="Revision of a model on a hub.")] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Do the parts again in which a photo failed.")
    ] = False,
) -> None:
    """Measure explanations over a data set: rows in Parquet, and tables with intervals.

    The same command goes on where it was stopped, however that happened. Controls (random, blurred random, centre,
    the base map cubed) are always in the table.
    """
    from finercam.data.reading import read_dataset
    from finercam.errors import FinercamError, nearest
    from finercam.metrics.metric import default_metrics
    from finercam.models import load
    from finercam.models.run import Run
    from finercam.runs.engine import run_study
    from finercam.runs.job import Engine
    from finercam.runs.loaded import loaded_classifier
    from finercam.runs.local import Local
    from finercam.runs.on_ray import OnRay
    from finercam.studies.evaluate.contrasts import contrasts_of
    from finercam.studies.evaluate.evaluation import Evaluation

    if engine not in ("local", "ray"):
        raise FinercamError(f"engine is {engine!r}; {nearest(engine, ('local', 'ray'))}")
    asked = contrasts_of(
        listed(contrasts),
        gammas=None if gamma is None else [_number(text, "gamma") for text in listed(gamma)],
        references=[_whole_number(text, "references") for text in listed(references)],
        against=listed(against),
        weightings=listed(weighting),
        aggregates=listed(aggregate),
    )
    data = read_dataset(dataset, split, images, seed)
    study = Evaluation(
        methods=tuple(listed(methods)),
        contrasts=asked,
        metrics=default_metrics(data.regions) if metrics is None else tuple(listed(metrics)),
        target=target,
        only_correct=only_correct,
        steps=steps,
        fill=fill,
    )
    run = Run(precision, batch_size, copies)
    options = {"layer": layer, "device": device, "revision": revision}
    classifier = load(model, layer=layer, device=device, revision=revision)
    # Predicted classes are explained whatever the photo is of.
    skip = skip_unmatched or target == "predicted"
    targets = model_classes(classifier, data, classes, skip)
    where: Engine = OnRay(workers, ray_address, gpus) if engine == "ray" else Local(workers)
    with _stopping(), _Bar() as bar:
        finished = run_study(
            study, loaded_classifier(classifier, model, options), data, out, targets,
            run=run, engine=where, retry_failed=retry_failed, advance=bar,
        )  # fmt: skip
    _profile(finished)
    blocks = write_tables([out], out)
    _print(blocks, out)
    raise typer.Exit(1 if any(block.failed for block in blocks) else 0)


def table(
    runs: Annotated[list[str], typer.Argument(help="The --out folders of evaluations.")],
    out: Annotated[str | None, typer.Option(help="Folder for table.md, table.csv and table.tex.")] = None,
    only_correct: Annotated[
        bool, typer.Option("--only-correct", help="Count only photos that the model classifies correctly.")
    ] = False,
) -> None:
    """Make tables from the rows of evaluations, without running anything; several are put together."""
    blocks = write_tables(runs, out, only_correct=only_correct)
    _print(blocks, out)


def write_tables(runs: Sequence[str], out: str | None, *, only_correct: bool = False) -> list[Block]:
    """Return the tables of runs, and write them to a folder as ``table.md``, ``table.csv`` and ``table.tex``."""
    from finercam.runs.storage import Folder
    from finercam.studies.evaluate import writing
    from finercam.studies.evaluate.tables import read_block

    blocks = [read_block(run, only_correct=only_correct) for run in runs]
    if out is not None:
        folder = Folder(out)
        for name, write in (("md", writing.to_markdown), ("csv", writing.to_csv), ("tex", writing.to_tex)):
            folder.write(f"table.{name}", write(blocks).encode())
    return blocks


def listed(text: str) -> list[str]:
    """Return what is separated by commas."""
    return [part.strip() for part in text.split(",") if part.strip()]


def _number(text: str, option: str) -> float:
    from finercam.errors import FinercamError

    try:
        return float(text)
    except ValueError:
        raise FinercamError(f"--{option} takes numbers separated by commas, not {text!r}") from None


def _whole_number(text: str, option: str) -> int:
    from finercam.errors import FinercamError

    number = _number(text, option)
    if not number.is_integer():
        raise FinercamError(f"--{option} takes whole numbers, not {text!r}")
    return int(number)


@contextmanager
def _stopping() -> Iterator[None]:
    """Say in one line that Ctrl-C loses nothing, and end as commands stopped by it do."""
    try:
        yield
    except KeyboardInterrupt:
        say("finercam: stopped; the same command goes on from here")
        raise typer.Exit(130) from None


class _Bar:
    """A progress bar with rate and time left, fed by the engine."""

    def __init__(self) -> None:
        self._bar = progress("{task.fields[rate]}")
        self._task = self._bar.add_task("measuring", total=None, rate="")

    def __enter__(self) -> _Bar:
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def __call__(self, come: Progress) -> None:
        if self._bar.tasks[0].total is None:
            # What an earlier run did does not count for the rate.
            self._bar.update(self._task, total=come.photos)
            if come.done:
                say(f"going on: {come.done} of {come.photos} photos are done", to=self._bar.console)
        self._bar.update(self._task, completed=come.done)
        speed = self._bar.tasks[0].speed
        failed = f", {come.failed} failed" if come.failed else ""
        self._bar.update(self._task, rate=f"{speed:.2f} photos/s{failed}" if speed else failed)


def _profile(finished: Finished) -> None:
    total = sum(finished.seconds.values())
    if not finished.measured or not total:
        return
    shares = sorted(finished.seconds.items(), key=lambda one: -one[1])
    text = ", ".join(f"{100 * seconds / total:.0f} % {what}" for what, seconds in shares)
    say(f"{finished.measured} photos measured; of the time {text}")


def _print(blocks: Sequence[Block], out: str | None) -> None:
    from finercam.studies.evaluate.writing import to_markdown

    print(to_markdown(blocks), end="")
    if out is not None:
        say(f"tables: {out}/table.md, .csv, .tex")
