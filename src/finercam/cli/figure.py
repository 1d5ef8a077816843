"""``finercam figure`` and ``finercam figures``: figures for print, of runs or of a model and photos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from finercam.cli import options as o
from finercam.cli.console import new_table, say, show
from finercam.errors import check_between

if TYPE_CHECKING:
    from finercam.models.classifier import Classifier
    from finercam.report.album import Album, Shot


def figure(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="Which figure; options of its own as in NAME@count=3 ('finercam figures' lists all).",
        ),
    ],
    out: Annotated[Path, typer.Option(help="File to be written: .pdf, .svg or .png; its caption goes beside it.")],
    photos: Annotated[
        list[str] | None, typer.Argument(metavar="[PHOTOS]...", help="Photos to be shown, instead of some of --data.")
    ] = None,
    run: Annotated[list[str] | None, typer.Option(help="Folder of a run; may be given several times.")] = None,
    model: Annotated[
        list[str] | None, typer.Option(help="Model, as for 'finercam explain'; similarity takes several.")
    ] = None,
    data: Annotated[str, typer.Option(help="Data set, for photos and for examples of similar classes.")] = "",
    method: Annotated[
        list[str] | None, typer.Option(help="One or several methods, as for 'finercam explain'.", show_default=False)
    ] = None,
    gamma: Annotated[
        list[str] | None,
        typer.Option(help="Comparison strength; several where the figure shows several.", show_default=False),
    ] = None,
    references: Annotated[int | None, typer.Option(help="How many look-alikes.", show_default=False)] = None,
    metric: Annotated[list[str] | None, typer.Option(help="One or several, of the run.", show_default=False)] = None,
    concepts: Annotated[
        list[str] | None, typer.Option("--concept", help="Words to look for; may be given several times.")
    ] = None,
    base: Annotated[str | None, typer.Option(help="What they are part of.", show_default=False)] = None,
    clip: Annotated[
        str | None, typer.Option(help="Model of images and text, as for 'finercam faithfulness'.", show_default=False)
    ] = None,
    width: Annotated[
        float | None, typer.Option(help="In mm: one column of most journals is 85, two are 178.", show_default=False)
    ] = None,
    dpi: Annotated[int, typer.Option(help="Dots per inch of what is not vectors.")] = 300,
    match: o.Match = None,
    skip_unmatched: o.SkipUnmatched = False,
    split: o.Split = "test",
    images: Annotated[int, typer.Option(help="How many photos of --data are shown.")] = 3,
    seed: o.Seed = 0,
    layer: o.Layer = None,
    probabilities: o.Probabilities = None,
    device: o.Device = "auto",
    revision: o.Revision = None,
) -> None:
    """Draw a figure for print, after those of the paper, and write its caption beside it.

    Similarity takes models; deletion-curves, strength and forest take the run of an evaluation; the others a model, and
    photos or a data set; failures and faithfulness both.
    """
    from finercam.registry import split_spec
    from finercam.report.figure import FIGURES
    from finercam.report.fonts import lost
    from finercam.report.printing import form_of, save_figure

    kind = FIGURES.find(split_spec(name)[0])
    # All that can be known to be wrong is found before a model is loaded.
    form_of(out)
    check_between("--dpi", dpi, 50, 2400)
    check_between("--images", images, 1, 100)
    options = kind.options_of(name)
    for option, values in (
        ("method", o.listed(method)),
        ("gamma", o.numbers(gamma, "gamma")),
        ("metric", o.listed(metric)),
    ):
        if values and f"{option}s" in kind.options:
            options[f"{option}s"] = tuple(values)
        elif values:
            options[option] = o.only(values, option)
    named = {"references": references, "base": base, "clip": clip, "width": width, "concepts": concepts}
    options |= {option: value for option, value in named.items() if value is not None}
    if "device" in kind.options:
        options["device"] = device
    there = {"runs": run, "classifiers": model, "classifier": model, "shots": photos or data, "album": data}
    kind.check([source for source, given in there.items() if given], options)
    read = _Reading(device, layer, probabilities, revision, split, seed, match, skip_unmatched)
    sources: dict[str, Any] = {"runs": tuple(run or ())}
    if "classifiers" in kind.takes:
        sources["classifiers"] = read.classifiers(model or ())
    elif "classifier" in kind.takes:
        sources["classifier"] = read.classifier(o.only(model or (), "model"))
    # A model of words needs no album whose classes a classifier knows.
    wanted = data and ("album" in kind.takes or not photos)
    album = read.album(data, sources.get("classifier")) if wanted else None
    sources["album"] = album
    if "shots" in kind.takes:
        sources["shots"] = read.photos(photos) if photos or album is None else album.shots(images, seed)
    drawn = kind.draw(sources, options)
    say(str(save_figure(drawn, out, dpi)), stderr=False)
    if sentence := lost(drawn.caption):
        say(sentence)
    say(drawn.caption, stderr=False)


def figures() -> None:
    """List the figures: which of the paper's each is, what it is drawn from, and its options."""
    from finercam.report.figure import FIGURES

    table = new_table("figure", "paper", "what it shows", "drawn from", "options")
    for _, kind in sorted(FIGURES.items()):
        drawn_from = [name if name in kind.needs else f"[{name}]" for name in kind.takes]
        table.add_row(kind.name, kind.paper or "-", kind.title, ", ".join(drawn_from), " ".join(kind.options))
    show(table)


@dataclass(frozen=True)
class _Reading:
    """How models, photos and data are read."""

    device: str
    layer: list[str] | None
    probabilities: str | None
    revision: str | None
    split: str
    seed: int
    match: Path | None
    skip_unmatched: bool

    def classifier(self, model: str) -> Classifier:
        from finercam.models import load

        options: dict[str, Any] = {"layer": self.layer, "device": self.device, "revision": self.revision}
        return load(model, probabilities=self.probabilities, **options)

    def classifiers(self, models: Sequence[str]) -> dict[str, Classifier]:
        from finercam.studies.similarity import titles

        return {name: self.classifier(model) for name, model in zip(titles(models), models, strict=True)}

    def album(self, data: str, classifier: Classifier | None) -> Album:
        from finercam.cli.classes import model_classes
        from finercam.data.reading import read_dataset
        from finercam.report.album import Album

        dataset = read_dataset(data, self.split, None, self.seed)
        if classifier is None:
            # Words are looked for in photos of any class.
            return Album(dataset, range(len(dataset.class_names)))
        return Album(dataset, model_classes(classifier, dataset, self.match, self.skip_unmatched))

    def photos(self, given: Sequence[str] | None) -> list[Shot]:
        from finercam.data.finding import find_photos
        from finercam.report.album import Shot

        return [Shot(file, str(name)) for file, name in find_photos(given or ())]
