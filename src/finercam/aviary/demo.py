"""``finercam demo``: drawn birds, a small classifier of them, and a report on what tells look-alikes apart."""

from __future__ import annotations

import webbrowser
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image

from finercam.aviary import SPECIES, Aviary, label_names, look_alikes
from finercam.aviary.studies.difference import Row, intervention, measure, summarise
from finercam.aviary.tables import difference_table
from finercam.cli.console import followed, say, show
from finercam.explanations.explaining import explain
from finercam.explanations.explanation import Explanation
from finercam.files import writable_folder
from finercam.models import Classifier, load
from finercam.report.charts import Effect, forest
from finercam.report.live import Live
from finercam.report.pages import Section, write_report
from finercam.report.panels import Panel, draw_panels
from finercam.report.parts import Charts, Paragraph, Part, Strip, Table
from finercam.report.render import outlined, overlay

GAMMAS = (0.0, 0.4, 0.6, 0.8, 1.0, 2.0)
MEASURED = ("gradcam", "layercam", "scorecam", "sharp")
_SHOWN = 300


def run_demo(out: Path, *, measured: int = 64, browse: bool = False) -> Path:
    """Write the pictures and ``report.html`` to ``out`` and print the table; return the report's path.

    Args:
        out: folder; its files of these names are replaced.
        measured: birds in the table.
        browse: open the report in a browser.
    """
    writable_folder(out)
    classifier = load("aviary")
    birds = Aviary(split="demo", n=640)
    chosen = _first_of_each_family(birds)
    against = list(_against_nearest(classifier, birds, chosen))
    sweep = _sweep(classifier, birds, chosen[0])
    each = list(_each_look_alike(classifier, birds, chosen[-1]))
    strips = [*(strip for strip, _ in against), sweep, *each]
    for number, strip in enumerate(strips, 1):
        picture = out / f"{number:02}-{strip.title.casefold().replace(',', '').replace(' ', '-')}.png"
        picture.parent.mkdir(parents=True, exist_ok=True)
        draw_panels(strip.panels, strip.title, height=_SHOWN).save(picture)
    with followed("measuring") as advance:
        rows = measure(classifier, Aviary(split="demo-table", n=measured), methods=MEASURED, advance=advance)
    sections = [
        Section(
            "Against the nearest look-alike",
            [
                Paragraph(
                    "The first bird of each family. The look-alike is drawn in the same scene: all but the outlined "
                    "pixels is the same. Grad-CAM says why the species; Finer-CAM, as published, why it and not the "
                    "look-alike. Sharp, the setting we recommend, asks that with gamma 1 and draws the answer by "
                    "earlier, finer layers. Each map is scaled to its own peak."
                ),
                *(strip for strip, _ in against),
            ],
        ),
        Section(
            "Ask yourself",
            [
                Paragraph(
                    "The same birds with their evidence: choose one, then another strength or look-alike, or mark a "
                    "region to see for which species it speaks."
                ),
                Live.of([kept for _, kept in against], "The same birds, to be asked again"),
            ],
        ),
        Section(
            "The strength of the comparison",
            [Paragraph("gamma 0 is the plain CAM; the larger, the more what both species share is taken out."), sweep],
        ),
        Section(
            "One bird against each of its look-alikes",
            [Paragraph("Each comparison has another answer, because another trait tells the two apart."), *each],
        ),
        Section("How much saliency lies on the true difference", list(_measured(rows, measured))),
    ]
    report = write_report(
        out / "report.html",
        "Why this bird, and not its look-alike?",
        "Everything here was drawn and explained on this machine: fresh birds, a small embedded classifier, Finer-CAM.",
        sections,
    )
    show(difference_table(rows, intervals=False))
    say(f"report: {report}", stderr=False)
    if browse:
        webbrowser.open(report.resolve().as_uri())
    return report


def _measured(rows: Sequence[Row], measured: int) -> Iterator[Part]:
    found, lines = intervention(rows), summarise(rows)
    yield Paragraph(
        f"Means with 95 % intervals over the {found.fall.n} of {measured} fresh birds that the model "
        "classifies correctly, against the look-alike with the nearest logit. Average precision ranks pixels, so "
        "that no sharpening of a map can raise it. Does the model use what tells them apart? Repainting just those "
        f"pixels as the look-alike's lowers the margin of {found.before.mean:.1f} by {found.fall.mean:.1f} and "
        f"changes the answer for {100 * found.changed_sides.mean:.0f} %."
    )
    table: list[list[str]] = [["map", "contrast", "saliency on the difference", "average precision"]]
    table += [[line.method, line.contrast, str(line.energy), str(line.precision)] for line in lines]
    yield Table(table)
    for title, name in (("Saliency on the difference", "energy_gain"), ("Average precision", "precision_gain")):
        effects = [
            Effect(f"{line.method}, {line.contrast}", gain)
            for line in lines
            if (gain := getattr(line, name)) is not None
        ]
        yield Charts([forest(f"{title}: change by the comparison, right is better", effects)])


def _first_of_each_family(birds: Aviary) -> list[int]:
    """Return the index of the first bird of each family whose traits are all in sight."""
    found: dict[str, int] = {}
    for index in range(len(birds)):
        family = SPECIES[birds.label(index)].family
        if family not in found:
            sample = birds[index]
            if all(mask.sum() >= 30 for mask in sample.differences.values()):
                found[family] = index
    return list(found.values())


def _against_nearest(
    classifier: Classifier, birds: Aviary, indices: Sequence[int]
) -> Iterator[tuple[Strip, list[Explanation]]]:
    """Yield each bird's pictures, and its explanations with their evidence."""
    for index in indices:
        label = birds.label(index)
        family = [label_names.index(other.name) for other in look_alikes(SPECIES[label])]
        picture = birds[index].image
        logits = explain(classifier, picture, label).logits
        nearest = min(family, key=lambda d: abs(float(logits[d] - logits[label])))
        asked: dict[str, Any] = {"against": [nearest], "keep": True, "collect": family}
        finer = replace(explain(classifier, picture, label, **asked), source=birds[index].species)
        sharp = explain(classifier, picture, label, gamma=1.0, method="sharp", **asked)
        other = birds.repaint(index, SPECIES[nearest].name)
        truth = birds[index].differences[SPECIES[nearest].name]
        panels = [
            Panel(_large(finer.seen()), finer.target_name, [_says(finer)]),
            Panel(_large(Image.fromarray(other.image)), other.species, ["its look-alike, same scene"]),
            Panel(overlay(_large(finer.seen()), finer.plain), "Grad-CAM", ["why this species"]),
            Panel(overlay(_large(finer.seen()), finer.saliency), "Finer-CAM", [f"not {other.species}, gamma 0.6"]),
            Panel(overlay(_large(finer.seen()), sharp.saliency), "Sharp", [f"not {other.species}, gamma 1"]),
            Panel(outlined(_large(finer.seen()), truth), "True difference", ["the pixels that tell them apart"]),
        ]
        yield Strip(panels, f"{finer.target_name}, not {other.species}"), [finer, sharp]


def _sweep(classifier: Classifier, birds: Aviary, index: int) -> Strip:
    family = [other.name for other in look_alikes(SPECIES[birds.label(index)])]
    kept = explain(classifier, birds[index].image, birds.label(index), against=family, keep=True)
    panels = []
    for gamma in GAMMAS:
        again = kept.again(gamma=gamma)
        lines = ["the plain CAM" if gamma == 0 else "empty: nothing speaks for it" if again.empty else ""]
        panels.append(Panel(overlay(_large(again.seen()), again.saliency), f"gamma {gamma:g}", lines))
    return Strip(panels, f"{kept.target_name}, not its look-alikes")


def _each_look_alike(classifier: Classifier, birds: Aviary, index: int) -> Iterator[Strip]:
    sample = birds[index]
    kept, kept_sharp = (
        explain(classifier, sample.image, sample.label, keep=True, collect=list(label_names), method=method)
        for method in ("gradcam", "sharp")
    )
    for other in look_alikes(SPECIES[sample.label]):
        finer, sharp = (one.again(against=[other.name], gamma=1.0) for one in (kept, kept_sharp))
        photo = _large(finer.seen())
        panels = [
            Panel(photo, finer.target_name, [_says(finer)]),
            Panel(_large(Image.fromarray(birds.repaint(index, other.name).image)), other.name, ["same scene"]),
            Panel(overlay(photo, finer.saliency), "Finer-CAM", [f"not {other.name}, gamma 1"]),
            Panel(overlay(photo, sharp.saliency), "Sharp", [f"not {other.name}, gamma 1"]),
            Panel(outlined(photo, sample.differences[other.name]), "True difference", []),
        ]
        yield Strip(panels, f"{finer.target_name}, this time not {other.name}")


def _says(explanation: Explanation) -> str:
    top = int(explanation.logits.argmax())
    probability = 100 * float(explanation.probabilities[top])
    named = "it" if top == explanation.target else explanation.facts.class_name(top)
    return f"the model says {named}, {probability:.0f} %"


def _large(photo: Image.Image) -> Image.Image:
    return photo.resize((_SHOWN, _SHOWN), Image.Resampling.BICUBIC)
