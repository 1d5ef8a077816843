"""``finercam concept``: where words are in photos, told apart from a base word."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from finercam.cli import options as o
from finercam.cli.console import say
from finercam.cli.explain import report
from finercam.errors import FinercamError, nearest

if TYPE_CHECKING:
    from finercam.explanations.concepts import Hidden
    from finercam.explanations.explanation import Explanation

MODES = ("highlight", "mask-out")


def concept(
    photos: o.Photos,
    model: Annotated[str, typer.Option(help="open_clip/NAME/WEIGHTS, transformers/ID (CLIP, SigLIP), a folder.")],
    concepts: Annotated[
        list[str], typer.Option("--concept", help="What to look for, in words; may be given several times.")
    ],
    base: Annotated[str, typer.Option(help="What the concept is part of, in words: bird, car, ...")],
    gamma: Annotated[float, typer.Option(help="Comparison strength; 0 is the concept alone.")] = 0.6,
    mode: Annotated[str, typer.Option(help="highlight the concept, or mask-out: hide it.")] = "highlight",
    fraction: Annotated[
        float, typer.Option(help="Share of the pixels that mask-out hides, the most salient ones.")
    ] = 0.1,
    method: o.Methods = ["gradcam"],  # noqa: B006 - typer copies it
    template: Annotated[
        list[str] | None,
        typer.Option(
            help="Sentence with {} in place of the words; several are averaged. [default: the words as they are]"
        ),
    ] = None,
    layer: o.Layer = None,
    device: o.Device = "auto",
    precision: o.Precision = "float32",
    batch_size: o.BatchSize = 8,
    copies: o.Copies = None,
    revision: o.Revision = None,
    formats: o.Formats = ["png"],  # noqa: B006
    size: o.Size = None,
    dpi: o.Dpi = 150,
    scale: o.Scale = "common",
    out: Annotated[Path, typer.Option(help="Folder for pictures, maps and concepts.jsonl.")] = Path("finercam-out"),
    as_json: o.Json = False,
) -> None:
    """Find a concept in photos by its words, against those of a base: "red epaulets", and not just "bird".

    Each photo and concept get a picture (photo | the concept alone | against the base; or the photo with the concept
    hidden) and its maps (.safetensors). concepts.jsonl has a record of each, and concepts.csv the same as a table.
    """
    import dataclasses
    import math

    from finercam.data.finding import find_photos
    from finercam.explanations.concepts import concept_against, hide
    from finercam.explanations.files import explain_files, save_whole
    from finercam.files import whole
    from finercam.methods.method import find_method
    from finercam.metrics.masking import top_count
    from finercam.models.text import BARE, text
    from finercam.report.explained import lay_out_hidden

    # All that can be known to be wrong is found before the model is loaded and before anything is written.
    run, out = o.run_from(precision, batch_size, copies), o.folder(out)
    methods = [find_method(name) for name in o.listed(method)]
    put = o.saving(formats, size, dpi, scale)
    if mode == "mask-out" and o.listed(formats) != ["png"]:
        raise FinercamError("--mode mask-out writes its pictures as png only; leave out --format")
    if mode not in MODES:
        raise FinercamError(f"--mode is {mode!r}; {nearest(mode, MODES)}")
    if not math.isfinite(gamma):
        raise FinercamError(f"gamma is {gamma}; it must be a finite number")
    top_count(fraction, 1)
    found = find_photos(photos, out)
    # A concept given twice is one, and a concept may be the base.
    concepts = list(dict.fromkeys(concepts))
    prompts = list(dict.fromkeys([*concepts, base]))
    made = text(model, prompts, templates=template or BARE, layer=layer, device=device, revision=revision)
    # Also of sentences made by a template what is shown is the similarity.
    classifier = dataclasses.replace(made, prompts=True)
    asked = {
        name if len(methods) == 1 else f"{name} {how.spec}": concept_against(classifier, one, base, gamma, how)
        for one, name in zip(concepts, file_names(concepts), strict=True)
        for how in methods
    }
    for one in concepts:
        rows = classifier.rows
        assert rows is not None
        if bool((rows[prompts.index(one)] == rows[prompts.index(base)]).all()):
            say(f"concept {one!r} and base {base!r} are the same to this model; nothing is left at gamma 1")

    def save_hidden(explanation: Explanation, result: Path) -> dict[str, Any]:
        by_plain = hide(explanation, explanation.plain, fraction)
        by_contrast = hide(explanation, explanation.saliency, fraction)
        record = save_whole(explanation, result)
        picture = Path(record["files"]["picture"])
        with whole(picture) as aside:
            lay_out_hidden(explanation, by_plain, by_contrast, size).image().save(aside)
        return {
            **record,
            "fraction": fraction,
            "hidden": _hidden(explanation, by_contrast),
            "hidden_by_plain": _hidden(explanation, by_plain),
        }

    done = explain_files(
        classifier,
        found,
        out,
        asked,
        run=run,
        records="concepts.jsonl",
        save=put if mode == "highlight" else save_hidden,
        extra={"mode": mode},
    )
    raise typer.Exit(1 if report(done, found, "looked at", out, as_json) else 0)


def _hidden(explanation: Explanation, hidden: Hidden) -> dict[str, Any]:
    similarities = explanation.facts.similarities(hidden.logits)
    classes = (explanation.target, *explanation.references)
    return {
        "pixels": int(hidden.mask.sum()),
        "similarity": {explanation.facts.class_name(index): float(similarities[index]) for index in classes},
    }


def file_names(concepts: Sequence[str]) -> list[str]:
    """Return a file name for each concept, all different also where letters' case does not count."""
    names: list[str] = []
    for concept in concepts:
        plain = re.sub(r"[\W_]+", "-", concept).strip("-").casefold()[:60] or "concept"
        name, number = plain, 2
        while name in names:
            name, number = f"{plain}-{number}", number + 1
        names.append(name)
    return names
