"""``finercam aviary``: export the drawn birds, train their classifier, measure it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

if TYPE_CHECKING:
    from finercam.metrics.intervals import Mean
    from finercam.studies.difference import Row

app = typer.Typer(help="The embedded world of drawn birds, where every answer is known.", no_args_is_help=True)


@app.command()
def export(
    out: Annotated[Path, typer.Option(help="Folder to write; it must not exist yet.")],
    images: Annotated[int, typer.Option(help="How many.")] = 320,
    seed: Annotated[int, typer.Option(help="Other seeds give other pictures.")] = 0,
    split: Annotated[str | None, typer.Option(help="Name of the split; without it 4/5 train and 1/5 test.")] = None,
    biased: Annotated[bool, typer.Option("--biased", help="Let the background go with the species.")] = False,
) -> None:
    """Write pictures with annotation files laid out as CUB-200-2011's."""
    from finercam.datasets import aviary

    print(aviary.export(out, images, seed, split, biased))


@app.command()
def train(
    out: Annotated[Path, typer.Option(help="Folder to write; it must not exist yet.")],
    images: Annotated[
        int | None, typer.Option(help="Pictures to draw and train on; the published recipe's if left out.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="How often each is seen; likewise.")] = None,
    seed: Annotated[int, typer.Option(help="Of the pictures, the first weights and the order.")] = 0,
    biased: Annotated[bool, typer.Option("--biased", help="Birds whose background goes with the species.")] = False,
    threads: Annotated[int, typer.Option(help="Of the arithmetic; one gives the published weights.")] = 1,
) -> None:
    """Train the embedded classifier again, as its model card says."""
    from finercam.datasets.aviary.training import Progress as Stage
    from finercam.datasets.aviary.training import Recipe, evaluate
    from finercam.datasets.aviary.training import train as train_model

    own = {name: value for name, value in (("images", images), ("epochs", epochs)) if value is not None}
    recipe = Recipe(**own, seed=seed, biased=biased)
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        tasks = {stage: progress.add_task(stage, total=None) for stage in ("draw", "train")}

        def report(stage: Stage) -> None:
            learned = "" if stage.stage == "draw" else f" loss {stage.loss:.3f} accuracy {100 * stage.accuracy:.1f} %"
            progress.update(
                tasks[stage.stage], completed=stage.done, total=stage.total, description=stage.stage + learned
            )

        result = train_model(out, recipe, threads=threads, report=report)
    found = evaluate(result.folder)
    print(
        f"{result.folder}: {result.parameters} weights, {result.size} bytes, drawn in {result.seconds_drawing:.0f} s, "
        f"trained in {result.seconds_training:.0f} s; {100 * found.top1:.2f} % of {found.n} fresh birds named rightly"
    )
    if biased:
        kept = evaluate(result.folder, biased=True)
        print(f"on birds whose background goes with the species, as in training: {100 * kept.top1:.2f} %")


@app.command()
def measure(
    model: Annotated[str, typer.Option(help="A classifier of the aviary's species.")] = "aviary",
    images: Annotated[int, typer.Option(help="How many fresh birds.")] = 640,
    seed: Annotated[int, typer.Option(help="Other seeds give other birds.")] = 1,
    methods: Annotated[str, typer.Option(help="CAM methods, separated by commas.")] = "gradcam,layercam,hirescam",
    biased: Annotated[bool, typer.Option("--biased", help="Birds whose background goes with the species.")] = False,
) -> None:
    """Measure accuracy, and whether the maps show the true difference between look-alikes."""
    from finercam.cams import find_method
    from finercam.classifiers import load
    from finercam.datasets.aviary import Aviary, label_names
    from finercam.datasets.aviary.training import evaluate
    from finercam.errors import FinercamError
    from finercam.studies.difference import intervention
    from finercam.studies.difference import measure as measure_birds

    names = [find_method(name.strip()).name for name in methods.split(",")]
    classifier = load(model)
    if classifier.labels is None or classifier.labels.names != tuple(label_names):
        raise FinercamError(f"{model} is no classifier of the aviary's {len(label_names)} species")
    birds = Aviary(split="test", n=images, seed=seed, biased=biased)
    console = Console()
    if not console.is_terminal:
        console = Console(width=160)
    found = evaluate(classifier.module, images, seed=seed, biased=biased)
    confused = [f"{true} as {said} {count}x" for true, said, count in found.confusions[:8]]
    console.print(
        f"{100 * found.top1:.2f} % of {found.n} fresh birds named rightly, {100 * found.inside_family:.2f} % inside "
        f"their family; confused: {', '.join(confused) or 'none'}",
        highlight=False,
    )
    with progress_bar("explaining", images) as bar:
        rows = measure_birds(classifier, birds, methods=names, advance=bar)
    right = {row.index for row in rows if row.correct}
    console.print(f"{len(right)} birds named rightly with the difference in sight, against the nearest look-alike:")
    console.print(difference_table(rows))
    changed = intervention(rows)
    console.print(
        f"Margin over the look-alike {changed.before}; repainting the difference lowers it by {changed.fall} and "
        f"changes the answer for {100 * changed.changed_sides.mean:.1f} % of {changed.changed_sides.n} birds.",
        highlight=False,
    )


@contextmanager
def progress_bar(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Give a function that advances a bar on the terminal's error stream."""
    console = Console(stderr=True)
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=total)
        yield lambda done: progress.advance(task, done)


def difference_table(rows: Sequence[Row], intervals: bool = True) -> Table:
    """Return the table of saliency on the true difference; without intervals it fits a narrow terminal."""
    from finercam.studies.difference import summarise

    table = Table(box=None, pad_edge=False)
    for heading in ("map", "contrast", "on difference", "gain", "av. precision", "gain"):
        table.add_column(heading, no_wrap=True)

    def shown(mean: Mean | None, sign: str = "") -> str:
        if mean is None:
            return ""
        between = f" [{mean.low:{sign}.3f}, {mean.high:{sign}.3f}]" if intervals else ""
        return f"{mean.mean:{sign}.3f}{between}"

    for line in summarise(rows):
        table.add_row(
            line.method,
            line.contrast,
            shown(line.energy),
            shown(line.energy_gain, "+"),
            shown(line.precision),
            shown(line.precision_gain, "+"),
        )
    return table
