"""``finercam aviary``: export the drawn birds, train their models, measure them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from finercam.aviary.tables import concept_table, difference_table, trait_counts
from finercam.cli import options as o
from finercam.cli.console import followed, progress, say, show

if TYPE_CHECKING:
    from rich.progress import TaskID

    from finercam.aviary.drawing import Progress as Stage


def register(command: typer.Typer) -> None:
    """Add ``aviary`` and ``demo`` to the command ``finercam``."""
    command.add_typer(app, name="aviary")
    command.command()(demo)


app = typer.Typer(help="The embedded world of drawn birds, where every answer is known.", no_args_is_help=True)


@app.command()
def export(
    out: Annotated[Path, typer.Option(help="Folder to write; it must not exist yet.")],
    images: Annotated[int, typer.Option(help="Number of pictures.")] = 320,
    seed: Annotated[int, typer.Option(help="Other seeds give other pictures.")] = 0,
    split: Annotated[str | None, typer.Option(help="Name of the split; without it 4/5 train and 1/5 test.")] = None,
    biased: Annotated[bool, typer.Option("--biased", help="Let the background depend on the species.")] = False,
) -> None:
    """Write pictures and annotation files in the layout of CUB-200-2011."""
    from finercam import aviary

    say(str(aviary.export(out, images, seed, split, biased)), stderr=False)


@app.command()
def train(
    out: Annotated[Path, typer.Option(help="Folder to write; it must not exist yet.")],
    images: Annotated[
        int | None,
        typer.Option(help="Number of pictures to train on; that of the published recipe if left out."),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Number of epochs; that of the published recipe if left out.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the pictures, the first weights and the order.")] = 0,
    biased: Annotated[bool, typer.Option("--biased", help="Birds whose background depends on the species.")] = False,
    threads: Annotated[int, typer.Option(help="Number of threads; 1 gives the published weights.")] = 1,
) -> None:
    """Train the embedded classifier again, as described in its model card."""
    from finercam.aviary.accuracy import evaluate
    from finercam.aviary.training import Recipe
    from finercam.aviary.training import train as train_model

    own = {name: value for name, value in (("images", images), ("epochs", epochs)) if value is not None}
    recipe = Recipe(**own, seed=seed, biased=biased)
    with stages() as report:
        result = train_model(out, recipe, threads=threads, report=report)
    found = evaluate(result.folder)
    say(
        f"{result.folder}: {result.parameters} weights, {result.size} bytes, drawn in {result.seconds_drawing:.0f} s, "
        f"trained in {result.seconds_training:.0f} s; {100 * found.top1:.2f} % of {found.n} fresh birds correctly "
        "classified",
        stderr=False,
    )
    if biased:
        kept = evaluate(result.folder, biased=True)
        say(f"on birds whose background depends on the species, as in training: {100 * kept.top1:.2f} %", stderr=False)


@app.command()
def measure(
    model: Annotated[str, typer.Option(help="A classifier of the aviary's species.")] = "aviary",
    images: Annotated[int, typer.Option(help="Number of fresh birds.")] = 640,
    seed: Annotated[int, typer.Option(help="Other seeds give other birds.")] = 1,
    method: o.Methods = ["gradcam", "layercam", "hirescam"],  # noqa: B006 - typer copies it
    gamma: o.Gammas = None,
    biased: Annotated[bool, typer.Option("--biased", help="Birds whose background depends on the species.")] = False,
    out: Annotated[str | None, typer.Option(help="Folder that keeps the rows; the same command resumes there.")] = None,
) -> None:
    """Measure accuracy, and whether the maps show the true difference between look-alikes."""
    from finercam.aviary import Aviary, label_names
    from finercam.aviary.accuracy import evaluate
    from finercam.aviary.studies.difference import intervention
    from finercam.aviary.studies.difference import measure as measure_birds
    from finercam.errors import FinercamError
    from finercam.methods.method import find_method
    from finercam.models import load

    names = [find_method(name).spec for name in o.listed(method)]
    strengths = o.numbers(gamma, "gamma") or [0.6, 1.0]
    classifier = load(model)
    if classifier.labels is None or classifier.labels.names != tuple(label_names):
        raise FinercamError(f"{model} is not a classifier of the aviary's {len(label_names)} species")
    birds = Aviary(split="test", n=images, seed=seed, biased=biased)
    found = evaluate(classifier.module, images, seed=seed, biased=biased)
    confused = [f"{true} as {said} {count}x" for true, said, count in found.confusions[:8]]
    say(
        f"{100 * found.top1:.2f} % of {found.n} fresh birds correctly classified, {100 * found.inside_family:.2f} % "
        f"within their family; confused: {', '.join(confused) or 'none'}",
        stderr=False,
    )
    with followed("explaining") as advance:
        rows = measure_birds(classifier, birds, methods=names, gammas=strengths, out=out, advance=advance)
    right = {row.id for row in rows if row.correct}
    say(
        f"{len(right)} correctly classified birds whose difference is visible, against the nearest look-alike:",
        stderr=False,
    )
    show(difference_table(rows))
    changed = intervention(rows)
    say(
        f"Margin over the look-alike {changed.before}; repainting the difference lowers it by {changed.fall} and "
        f"changes the answer for {100 * changed.changed_sides.mean:.1f} % of {changed.changed_sides.n} birds.",
        stderr=False,
    )


@app.command()
def train_clip(
    out: Annotated[Path, typer.Option(help="Folder to write; it must not exist yet.")],
    images: Annotated[
        int | None,
        typer.Option(help="Number of pictures to train on; that of the published recipe if left out."),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Number of epochs; that of the published recipe if left out.")
    ] = None,
    seed: Annotated[
        int, typer.Option(help="Seed of the pictures, the first weights, the order and the sentences.")
    ] = 0,
    threads: Annotated[int, typer.Option(help="Number of threads; 1 gives the published weights.")] = 1,
) -> None:
    """Train the embedded text-image model again, as described in its model card."""
    from finercam.aviary.clip.training import ClipRecipe, train

    own = {name: value for name, value in (("images", images), ("epochs", epochs)) if value is not None}
    with stages() as report:
        result = train(out, ClipRecipe(**own, seed=seed), threads=threads, report=report)
    say(
        f"{result.folder}: {result.parameters} weights, {result.size} bytes, drawn in {result.seconds_drawing:.0f} s, "
        f"trained in {result.seconds_training:.0f} s",
        stderr=False,
    )


@app.command()
def measure_concepts(
    model: Annotated[str, typer.Option(help="A model of images and text.")] = "aviary-clip",
    images: Annotated[int, typer.Option(help="Number of fresh birds.")] = 320,
    seed: Annotated[int, typer.Option(help="Other seeds give other birds.")] = 1,
    base: Annotated[str, typer.Option(help="What concepts are compared with.")] = "a bird",
    method: o.Methods = ["gradcam"],  # noqa: B006 - typer copies it
    gamma: o.Gammas = None,
    out: Annotated[str | None, typer.Option(help="Folder that keeps the rows; the same command resumes there.")] = None,
) -> None:
    """Measure whether concepts in words are found on the right part, alone and against a base."""
    from finercam.aviary import Aviary
    from finercam.aviary.studies.concepts import concept_classifier, measure
    from finercam.aviary.studies.zero_shot import zero_shot

    how, strengths = o.only(o.listed(method), "method"), o.numbers(gamma, "gamma") or [0.6, 1.0]
    classifier = concept_classifier(model, base=base)
    # Drawn at the size the model looks at, so that nothing is lost to resizing.
    birds = Aviary(split="test", n=images, seed=seed, size=classifier.image_size[0])
    found = zero_shot(model, birds)
    say(
        f"correctly classified without training: {100 * found.species:.1f} % of {found.n} fresh birds, and "
        f"{100 * found.trait:.1f} % of the values of their traits",
        stderr=False,
    )
    with followed("explaining") as advance:
        rows = measure(classifier, birds, method=how, gammas=strengths, out=out, advance=advance)
    show(concept_table(rows))
    for line in trait_counts(rows):
        say(line, stderr=False)


@contextmanager
def stages() -> Iterator[Callable[[Stage], None]]:
    """Give the function that training reports to, which moves a bar for each of its stages."""
    with progress() as bar:
        tasks: defaultdict[str, TaskID] = defaultdict(lambda: bar.add_task("", total=None))

        def report(stage: Stage) -> None:
            learned = "" if stage.stage == "draw" else f" loss {stage.loss:.3f} accuracy {100 * stage.accuracy:.1f} %"
            bar.update(tasks[stage.stage], completed=stage.done, total=stage.total, description=stage.stage + learned)

        yield report


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the report and its pictures.")] = Path("demo"),
    browse: Annotated[bool, typer.Option("--open", help="Open the report in a browser.")] = False,
) -> None:
    """Explain drawn birds with a small embedded classifier, with nothing to download."""
    from finercam.aviary.demo import run_demo

    run_demo(out, browse=browse)
