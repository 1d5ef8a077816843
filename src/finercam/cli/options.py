"""Options that commands share: each has one name, one meaning and one help text."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from finercam.errors import FinercamError, check_between
from finercam.files import writable_folder

if TYPE_CHECKING:
    from finercam.explanations.files import Save
    from finercam.models.run import Run

Photos = Annotated[list[str], typer.Argument(help="Photos, folders (with everything below them) and patterns.")]
DatasetSpec = Annotated[
    str, typer.Argument(metavar="DATASET", help="FORMAT:DIR or aviary; 'finercam datasets' lists the formats.")
]
Model = Annotated[
    str,
    typer.Option(help="timm/NAME, torchvision/NAME, transformers/ID, open_clip/NAME, probe/DIR, aviary, or a folder."),
]
Layer = Annotated[
    list[str] | None,
    typer.Option(help="Target layer, instead of the one that finercam finds; may be given several times."),
]
Probabilities = Annotated[
    str | None,
    typer.Option(
        help="softmax, or sigmoid where several classes may be present at once. [default: what the model says]",
        show_default=False,
    ),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, mps, ...")]
Revision = Annotated[str | None, typer.Option(help="Revision of a model on a hub.")]
Precision = Annotated[str, typer.Option(help="float32, bfloat16, float16.")]
BatchSize = Annotated[int, typer.Option(help="Photos per pass of the model.")]
Copies = Annotated[
    int | None,
    typer.Option(
        help="Altered copies (of Score-CAM, RISE, deletion) per pass. [default: what fits]", show_default=False
    ),
]
Methods = Annotated[
    list[str],
    typer.Option(
        "--method",
        help="One or several, separated by commas: gradcam, layercam, scorecam, rise@masks=2000, ... "
        "('finercam methods' lists them).",
    ),
]
Gammas = Annotated[
    list[str] | None,
    typer.Option(
        "--gamma",
        help="Comparison strength, one or several; 0 is the plain map. [default: 0.6]",
        show_default=False,
    ),
]
References = Annotated[list[str], typer.Option("--references", help="Number of look-alikes, one or several.")]
_AGAINST = (
    "What to compare with: classes by name, separated by commas, or how they are found: similar (the nearest logits), "
    "predicted (the highest logits), weights (the most similar in the last layer), or relatives: genus, family, ... "
    "(similar@2 is only the second)"
)
Against = Annotated[list[str], typer.Option("--against", help=f"{_AGAINST}.")]
AgainstOther = Annotated[
    list[str], typer.Option("--against", help=f"{_AGAINST}; or compared, which is the class of --other.")
]
Rank = Annotated[
    str | None,
    typer.Option(help="Ask about the target's genus, family, ... instead of the class: the log-sum of its logits."),
]
Taxonomy = Annotated[
    Path | None,
    typer.Option(help="CSV or JSON with the ranks of the classes, where their names do not tell them."),
]
Weightings = Annotated[
    list[str], typer.Option("--weighting", help="How the look-alikes share the strength: mean, softmax, official.")
]
Aggregates = Annotated[
    list[str], typer.Option("--aggregate", help="How the look-alikes are combined: mean, max, mean-after-relu.")
]
Classes = Annotated[
    Path | None,
    typer.Option(help="File of class names, one per line, for a model of images and text (zero-shot)."),
]
Template = Annotated[
    list[str] | None,
    typer.Option(
        help="Sentence with {} in place of each class name; several are averaged. [default: a photo of a {}.]",
        show_default=False,
    ),
]
Embeddings = Annotated[
    Path | None,
    typer.Option(help="Instead of --classes: label embeddings made before, .npy with .json (TreeOfLife) or .parquet."),
]
Subset = Annotated[
    Path | None, typer.Option(help="Of --embeddings: CSV whose first column is a rank; only these classes.")
]
Squash = Annotated[
    bool,
    typer.Option("--squash", help="Resize photos to the input whatever their shape (pybioclip) instead of cropping."),
]
Match = Annotated[
    Path | None,
    typer.Option(help="CSV with a class of the data and one of the model per line, for names that do not match."),
]
SkipUnmatched = Annotated[
    bool, typer.Option("--skip-unmatched", help="Skip photos of classes that the model does not have.")
]
Split = Annotated[str, typer.Option(help="test, train, all.")]
Images = Annotated[int | None, typer.Option(help="Use a sample of this many photos.")]
Seed = Annotated[int, typer.Option(help="Seed of the sample.")]
Json = Annotated[bool, typer.Option("--json", help="Print each record as a line of JSON.")]
Formats = Annotated[
    list[str], typer.Option("--format", help="Format of the pictures, one or several: png, pdf, svg, jpg, webp.")
]
Size = Annotated[
    int | None,
    typer.Option(
        help="Longer side of the photo in pictures, in pixels. [default: 400 x 400 pixels in all]", show_default=False
    ),
]
Dpi = Annotated[int, typer.Option(help="Pixels of a picture per inch, for print.")]
Scale = Annotated[
    str, typer.Option(help="common: the plain and the finer map in the same colours; own: each scaled to its peak.")
]
Engine = Annotated[str, typer.Option(help="local, or ray for many machines.")]
Workers = Annotated[
    int | None,
    typer.Option(help="local: processes that open photos; ray: models that run at once.", show_default=False),
]
RayAddress = Annotated[str | None, typer.Option(help="Address of the Ray cluster; a local one is started if left out.")]
Gpus = Annotated[
    float | None, typer.Option(help="ray: GPUs for each model. [default: 1 if there is one]", show_default=False)
]
RetryFailed = Annotated[bool, typer.Option("--retry-failed", help="Measure again the parts in which a photo failed.")]


def load_options(
    classes: Path | None,
    template: list[str] | None,
    embeddings: Path | None,
    subset: Path | None,
    taxonomy: Path | None,
    squash: bool,
) -> dict[str, Any]:
    """Return these as options of ``finercam.load``, such that they work from any working directory.

    Raises:
        FinercamError: templates without class names, or the file of names cannot be read.
    """
    from finercam.cli.names import read_names

    if template and classes is None:
        raise FinercamError("--template is for class names in words; give --classes FILE too")
    files = {"embeddings": embeddings, "subset": subset, "taxonomy": taxonomy}
    given: dict[str, Any] = {name: os.path.abspath(file) for name, file in files.items() if file is not None}
    if classes is not None:
        given["classes"] = read_names(classes)
    if template:
        given["templates"] = list(template)
    return given | ({"squash": True} if squash else {})


def listed(given: Sequence[str] | None) -> list[str]:
    """Return what was given by repeating an option, or separated by commas, in order and each once."""
    parts = (part.strip() for text in given or () for part in text.split(","))
    return list(dict.fromkeys(part for part in parts if part))


def numbers(given: Sequence[str] | None, option: str) -> list[float]:
    """Return the numbers that an option was given.

    Raises:
        FinercamError: one of them is not a number.
    """
    return [_number(text, option) for text in listed(given)]


def whole_numbers(given: Sequence[str] | None, option: str) -> list[int]:
    """Return the whole numbers that an option was given.

    Raises:
        FinercamError: one of them is not a whole number.
    """
    found = numbers(given, option)
    if not all(number.is_integer() for number in found):
        raise FinercamError(f"--{option} takes whole numbers, not {', '.join(listed(given))!r}")
    return [int(number) for number in found]


def run_from(precision: str = "float32", batch_size: int = 8, copies: int | None = None) -> Run:
    """Return how the model is run.

    Raises:
        FinercamError: an unknown precision, or a number below 1.
    """
    from finercam.models.run import MOST_AT_ONCE, Run

    for option, number in (("batch-size", batch_size), ("copies", copies)):
        if number is not None:
            check_between(f"--{option}", number, 1, MOST_AT_ONCE)
    return Run(precision, batch_size, copies)


def saving(formats: Sequence[str], size: int | None, dpi: int, scale: str) -> Save:
    """Return what saves an explanation's pictures as asked, and its maps.

    Raises:
        FinercamError: an unknown format or scale, or a size or resolution that no picture has.
    """
    from functools import partial

    from finercam.explanations.files import picture_formats, save_whole
    from finercam.report.explained import check_look

    check_look(size, scale, dpi)
    return partial(save_whole, formats=picture_formats(listed(formats)), size=size, dpi=dpi, scale=scale)


def folder(out: Path) -> Path:
    """Return ``--out``, which need not be there yet.

    Raises:
        FinercamError: it is a file, or lies below one.
    """
    return writable_folder(out)


def only(values: Sequence[Any], option: str) -> Any:
    """Return the one value of an option that a command takes once.

    Raises:
        FinercamError: it was given several, or none.
    """
    if len(values) != 1:
        raise FinercamError(f"--{option} takes one value here, not {len(values)}")
    return values[0]


def _number(text: str, option: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise FinercamError(f"--{option} takes numbers, separated by commas if several, not {text!r}") from None
