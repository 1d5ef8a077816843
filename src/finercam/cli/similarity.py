"""``finercam similarity``: which classes a model's last layer holds to be alike."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from finercam.cli.console import new_table, say, show
from finercam.errors import check_between
from finercam.files import whole, writable_folder
from finercam.texts import csv_text, encoded

if TYPE_CHECKING:
    from finercam.models import Classifier
    from finercam.studies.similarity import Curve, LookAlikes


def similarity(
    models: Annotated[
        list[str], typer.Argument(help="timm/NAME, torchvision/NAME, transformers/ID, a folder, a probe's folder.")
    ],
    top: Annotated[int, typer.Option(help="Number of look-alikes listed for each class in pairs.csv.")] = 5,
    pairs: Annotated[int, typer.Option(help="Number of most similar pairs printed for each model.")] = 10,
    without_self: Annotated[
        bool,
        typer.Option(
            "--without-self", help="Leave out of the curve each class's own value, 0, which the paper includes."
        ),
    ] = False,
    out: Annotated[Path, typer.Option(help="Folder for similarity.png, pairs.csv and curve.csv.")] = Path("similarity"),
    device: Annotated[str, typer.Option(help="Where models are loaded: auto, cpu, cuda, mps, ...")] = "auto",
    revision: Annotated[str | None, typer.Option(help="Revision of a model on a hub.")] = None,
) -> None:
    """Compare the rows of a model's final linear layer: the most similar classes of each, and the curve over all.

    The figure is the left of the paper's Fig. 1: similarities sorted for each class, averaged over classes.
    """
    from finercam.models import load
    from finercam.report.figure import FIGURES
    from finercam.report.printing import save_figure
    from finercam.studies.similarity import curve, look_alikes, most_similar_pairs, rows_of, titles

    for option, number in (("--top", top), ("--pairs", pairs)):
        check_between(option, number, 1, 1_000_000)
    writable_folder(out)
    short = titles(models)
    named = {name: load(model, device=device, revision=revision) for name, model in zip(short, models, strict=True)}
    rows = {name: rows_of(classifier) for name, classifier in named.items()}
    curves = {name: curve(own_rows, own=not without_self) for name, own_rows in rows.items()}
    found = {name: look_alikes(own_rows, top) for name, own_rows in rows.items()}
    for name, classifier in named.items():
        first, many = found[name].similarity[:, 0], len(rows[name])
        say(
            f"{name}: {many} classes; cosine of a class and its most similar one: {float(first.mean()):.3f} on "
            f"average, {float(first.min()):.3f} to {float(first.max()):.3f}",
            stderr=False,
        )
        table = new_table("cosine", "class", "and")
        for pair in most_similar_pairs(rows[name], pairs):
            both = (classifier.class_name(index) for index in (pair.first, pair.second))
            table.add_row(f"{pair.similarity:.3f}", *both)
        show(table)
    drawn = FIGURES["similarity"].draw({"classifiers": named}, {"own": not without_self})
    say(str(save_figure(drawn, out / "similarity.png")), stderr=False)
    say(str(_write_pairs(out / "pairs.csv", named, found)), stderr=False)
    say(str(_write_curves(out / "curve.csv", curves)), stderr=False)


def _write_pairs(path: Path, named: dict[str, Classifier], found: dict[str, LookAlikes]) -> Path:
    table: list[list[object]] = [["model", "index", "class", "rank", "other index", "other class", "cosine"]]
    for name, alike in found.items():
        called = named[name].class_name
        for index, (others, cosines) in enumerate(zip(alike.classes.tolist(), alike.similarity.tolist(), strict=True)):
            for rank, (other, cosine) in enumerate(zip(others, cosines, strict=True), 1):
                table.append([name, index, called(index), rank, other, called(other), f"{cosine:.6f}"])
    return _write(path, table)


def _write_curves(path: Path, curves: dict[str, Curve]) -> Path:
    table: list[list[object]] = [["model", "rank", "mean", "std"]]
    for name, curve in curves.items():
        for rank, (mean, std) in enumerate(zip(curve.mean.tolist(), curve.std.tolist(), strict=True), 1):
            table.append([name, rank, f"{mean:.6f}", f"{std:.6f}"])
    return _write(path, table)


def _write(path: Path, table: list[list[object]]) -> Path:
    with whole(path) as aside:
        aside.write_bytes(encoded(csv_text(table)))
    return path
