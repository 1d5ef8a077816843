"""``finercam explain``: photos in; pictures, maps and one line of JSON each out."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from finercam.cli import options as o
from finercam.cli.console import progress, say
from finercam.errors import FinercamError
from finercam.texts import json_line, said_of

if TYPE_CHECKING:
    from finercam.contrast.labels import Labels
    from finercam.data.finding import Found
    from finercam.explanations.explanation import Explanation
    from finercam.explanations.files import Saved
    from finercam.models.classifier import Classifier


def explain(
    photos: o.Photos,
    model: o.Model,
    target: Annotated[str, typer.Option(help="Class to explain: a name, an index, or 'predicted'.")] = "predicted",
    against: o.Against = ["similar"],  # noqa: B006 - typer copies it
    references: o.References = ["3"],  # noqa: B006
    gamma: o.Gammas = None,
    rank: o.Rank = None,
    method: o.Methods = ["gradcam"],  # noqa: B006
    weighting: o.Weightings = ["mean"],  # noqa: B006
    aggregate: o.Aggregates = ["mean"],  # noqa: B006
    reverse: Annotated[bool, typer.Option("--reverse", help="Look for the look-alikes' traits instead.")] = False,
    classes: o.Classes = None,
    template: o.Template = None,
    embeddings: o.Embeddings = None,
    subset: o.Subset = None,
    taxonomy: o.Taxonomy = None,
    squash: o.Squash = False,
    layer: o.Layer = None,
    probabilities: o.Probabilities = None,
    device: o.Device = "auto",
    precision: o.Precision = "float32",
    batch_size: o.BatchSize = 8,
    copies: o.Copies = None,
    revision: o.Revision = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Write the evidence into the maps, so that they can be asked again.")
    ] = False,
    formats: o.Formats = ["png"],  # noqa: B006
    size: o.Size = None,
    dpi: o.Dpi = 150,
    scale: o.Scale = "common",
    out: Annotated[Path, typer.Option(help="Folder for pictures, maps and explanations.jsonl.")] = Path("finercam-out"),
    page: Annotated[
        Path | None,
        typer.Option(help="Write one HTML page too, in which other questions can be asked of all the photos (.html)."),
    ] = None,
    boxes: Annotated[
        Path | None,
        typer.Option(help="File of a detector (MegaDetector's, COCO): each animal it found is explained by itself."),
    ] = None,
    margin: Annotated[float, typer.Option(help="Around a box, as a share of its longer side.")] = 0.1,
    confidence: Annotated[float, typer.Option(help="Pass over boxes of which the detector was less sure.")] = 0.2,
    as_json: o.Json = False,
) -> None:
    """Explain photos: why this class, and not its look-alikes?

    Each photo gets a picture (photo | plain map | finer map) and its maps (.safetensors). explanations.jsonl has a
    record of each photo, and explanations.csv the same as a table. With several methods, strengths or other options,
    each photo gets a folder with an answer for each.
    """
    from finercam.cli.names import told
    from finercam.contrast.contrast import Contrast
    from finercam.contrast.labels import find_class
    from finercam.data.boxes import read_boxes
    from finercam.data.finding import find_photos
    from finercam.explanations.explaining import Asked
    from finercam.explanations.files import explain_files
    from finercam.methods.method import find_method
    from finercam.models import load
    from finercam.report.view.data import LIKELIEST

    # All that can be known to be wrong is found before the model is loaded and before anything is written.
    run, out = o.run_from(precision, batch_size, copies), o.folder(out)
    if page is not None and page.suffix.lower() not in (".html", ".htm"):
        raise FinercamError(f"{page} is to be a page; give a name that ends in .html")
    put = o.saving(formats, size, dpi, scale)
    methods = [find_method(name) for name in o.listed(method)]
    chosen = _against(against)
    strengths: list[float | None] = [*o.numbers(gamma, "gamma")]
    contrasts = [
        Contrast([chosen] if chosen is not None else way, count, strength, share, combined, reverse, rank)
        for way, count, strength, share, combined in itertools.product(
            ["similar"] if chosen is not None else o.listed(against),
            o.whole_numbers(references, "references"),
            strengths or [None],
            o.listed(weighting),
            o.listed(aggregate),
        )
    ]
    detected = None if boxes is None else read_boxes(boxes)
    found = find_photos(photos, out)
    if detected is not None:
        found = detected.crops(found, margin=margin, confidence=confidence)
    options = o.load_options(classes, template, embeddings, subset, taxonomy, squash)
    classifier = load(model, layer=layer, device=device, revision=revision, probabilities=probabilities, **options)
    for sentence in told(classifier, options):
        say(sentence)
    if target != "predicted" and rank is None:
        find_class(target, classifier.classes, classifier.labels)
    if chosen is not None:
        named = o.listed([chosen]) if rank is not None else _named_classes(chosen, classifier)
        contrasts = [contrast.changed(against=named) for contrast in contrasts]
    asked = {
        _file_name(how.spec, contrast, contrasts): Asked(contrast, target, how)
        for how in methods
        for contrast in contrasts
    }
    done = explain_files(
        classifier,
        found,
        out,
        list(asked.values()) if len(asked) == 1 else asked,
        run=run,
        keep=keep,
        collect=None if page is None else LIKELIEST,
        save=put,
    )
    raise typer.Exit(1 if report(_paged(done, page, len(found)), found, "explained", out, as_json) else 0)


def _paged(done: Iterable[Saved], path: Path | None, photos: int) -> Iterator[Saved]:
    """Put what was explained on a page too, which is written at the end, also where the run was stopped."""
    if path is None:
        yield from done
        return
    from finercam.report.view.page import Page

    with Page(photos) as page:
        try:
            for saved in done:
                if saved.explanations:
                    page.add(saved.explanations)
                yield saved
        finally:
            if len(page):
                page.save(path)
                say(f"the page is {path}")


def report(done: Iterable[Saved], found: Found, what: str, out: Path, as_json: bool) -> int:
    """Print what became of each photo, as it is done, and what was passed over; return how many photos failed."""
    from finercam.report.fonts import lost

    written = failed = 0
    names: set[str] = set()
    with progress() as bar:
        task = bar.add_task("explaining", total=len(found))
        for photo in done:
            if photo.error is not None:
                failed += 1
                say(said_of(str(photo.file), photo.error), style="red", to=bar.console)
            else:
                written += 1
            if as_json:
                lines = [json_line(record) for record in photo.records]
            else:
                pairs = zip(photo.explanations, photo.records, strict=photo.error is None)
                several = len({explanation.method.spec for explanation in photo.explanations}) > 1
                lines = [_summary(explanation, record, several) for explanation, record in pairs]
            for line in lines:
                say(line, stderr=False)
            for explanation in photo.explanations:
                names |= {explanation.target_name, *explanation.reference_names}
            bar.advance(task)
    if sentence := lost("".join(names)):
        say(sentence)
    for sentence in found.skipped:
        say(sentence)
    say(f"{written} {what}, {failed} failed; see {out}")
    return failed


def _summary(explanation: Explanation, record: dict[str, object], several: bool) -> str:
    """Return a line for the terminal; with ``several`` methods it says which of them answered."""
    from finercam.contrast.contrast import Contrast
    from finercam.contrast.labels import short_names

    similarities, contrast = explanation.similarities, explanation.contrast
    if similarities is None:
        seen = f"{100 * explanation.confidence:.1f} %"
        # The sentence begins with the class whose probability it is, unless it is about others.
        if not isinstance(contrast, Contrast) or contrast.reverse:
            (name,) = short_names([explanation.target_name])
            seen = f"{name} {seen};"
    else:
        classes = (explanation.target, *explanation.references)
        seen = "similarity " + ", ".join(
            f"{float(similarities[index]):.3f} {explanation.facts.class_name(index)}" for index in classes
        )
    hidden = f"; with it hidden {record['hidden']}" if "hidden" in record else ""
    empty = " - EMPTY MAP" if explanation.empty else ""
    box = None if explanation.original is None else explanation.original.box
    which = "" if box is None else f", box {box['number']}"
    how = f" ({explanation.method.full_title})" if several else ""
    return f"{explanation.source}{which}: {seen} {explanation}{how}{hidden}{empty}"


def _against(given: Sequence[str]) -> str | None:
    """Return the classes that ``--against`` names, as text; ``None`` where it says how they are chosen."""
    from finercam.contrast.contrast import AGAINST, COMPARED

    ways = o.listed(given)
    if COMPARED in ways:
        raise FinercamError(f"--against {COMPARED} is for finercam evaluate --other; name classes, or use similar")
    return None if ways and all(way.partition("@")[0] in AGAINST for way in ways) else ",".join(given)


def _named_classes(text: str, classifier: Classifier) -> list[int]:
    """Return the classes of ``--against A,B``: the whole text where it is a class's name, or its parts."""
    from finercam.contrast.labels import find_class

    labels: Labels | None = classifier.labels
    whole = labels is not None and text in labels.names
    names = [text] if whole else o.listed([text])
    return [find_class(name, classifier.classes, classifier.labels) for name in names]


def _file_name(method: str, contrast: object, contrasts: Sequence[object]) -> str:
    """Return what an answer is called where a photo has several."""
    from finercam.contrast.contrast import Contrast

    assert isinstance(contrast, Contrast)
    parts = [method]
    for option, value in (
        ("gamma", f"{contrast.strength!r}"),
        ("references", contrast.references),
        ("against", contrast.against),
        ("weighting", contrast.weighting),
        ("aggregate", contrast.aggregate),
    ):
        if len({getattr(other, option) for other in contrasts}) > 1:
            parts.append(f"{option}={value}")
    return " ".join(parts)
