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
def measure(
    model: Annotated[str, typer.Option(help="A classifier of the aviary's species.")] = "aviary",
    images: Annotated[int, typer.Option(help="How many fresh birds.")] = 640,
    seed: Annotated[int, typer.Option(help="Other seeds give other birds.")] = 1,
    methods: Annotated[str, typer.Option(help="CAM methods, separated by commas.")] = "gradcam,layercam,hirescam",
    biased: Annotated[bool, typer.Option("--biased", help="Birds whose background goes with the species.")] = False,
) -> None:
    """Measure accuracy, and whether the maps show the true difference between look-alikes."""
    from finercam.classifiers import load
    from finercam.datasets.aviary import Aviary
    from finercam.studies.difference import intervention
    from finercam.studies.difference import measure as measure_birds

    classifier = load(model)
    birds = Aviary(split="test", n=images, seed=seed, biased=biased)
    names = [name.strip() for name in methods.split(",")]
    with progress_bar("explaining", images) as bar:
        rows = measure_birds(classifier, birds, methods=names, advance=bar)
    console = Console()
    right = {row.index for row in rows if row.correct}
    seen = {row.index for row in rows}
    console.print(
        f"{len(right)} of {len(seen)} birds with a visible difference named rightly; the rest is about these."
    )
    console.print(difference_table(rows))
    found = intervention(rows)
    console.print(
        f"Margin over the look-alike {found.before}; repainting the difference lowers it by {found.fall} and changes "
        f"the answer for {100 * found.changed_sides.mean:.1f} % of {found.changed_sides.n} birds."
    )


@contextmanager
def progress_bar(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Give a function that advances a bar on the terminal's error stream."""
    console = Console(stderr=True)
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=total)
        yield lambda done: progress.advance(task, done)


def difference_table(rows: Sequence[Row]) -> Table:
    """Return the table of saliency on the true difference."""
    from finercam.studies.difference import summarise

    table = Table(box=None, pad_edge=False)
    for heading in ("map", "against the look-alike", "energy on the difference", "gain", "average precision", "gain"):
        table.add_column(heading, overflow="fold")
    for line in summarise(rows):
        gains = [f"{gain.mean:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]" if gain else "" for gain in
                 (line.energy_gain, line.precision_gain)]  # fmt: skip
        table.add_row(line.method, line.contrast, str(line.energy), gains[0], str(line.precision), gains[1])
    return table
