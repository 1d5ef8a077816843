"""The command ``finercam``. Thin: it reads options, calls the library and prints."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from finercam.aviary import commands as aviary
from finercam.cli import evaluate, faithfulness, probe, similarity
from finercam.errors import FinercamError
from finercam.runs.memory import keep_memory

app = typer.Typer(
    name="finercam",
    help="Why did the classifier say this class and not its look-alike?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False) -> None:
    if version:
        from finercam import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.command()
def explain(
    photos: Annotated[list[str], typer.Argument(help="Photos, folders (searched through) and patterns.")],
    model: Annotated[str, typer.Option(help="timm/NAME, torchvision/NAME, transformers/ID, open_clip/NAME, a folder.")],
    target: Annotated[str, typer.Option(help="Class to explain: a name, an index, or 'predicted'.")] = "predicted",
    against: Annotated[
        str, typer.Option(help="Look-alikes: similar, predicted, weights, or names separated by commas.")
    ] = "similar",
    references: Annotated[int, typer.Option(help="How many look-alikes.")] = 3,
    gamma: Annotated[
        float | None, typer.Option(help="Comparison strength; 0 is the plain CAM. [default: 0.6]", show_default=False)
    ] = None,
    method: Annotated[str, typer.Option(help="gradcam, layercam, hirescam, scorecam, ...")] = "gradcam",
    weighting: Annotated[
        str, typer.Option(help="How look-alikes share the strength: mean, softmax, official.")
    ] = "mean",
    aggregate: Annotated[str, typer.Option(help="How they are combined: mean, max, mean-after-relu.")] = "mean",
    reverse: Annotated[bool, typer.Option("--reverse", help="Look for the look-alikes' traits instead.")] = False,
    layer: Annotated[
        list[str] | None, typer.Option(help="Target layer, if not the one found; may be given several times.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, mps, ...")] = "auto",
    precision: Annotated[str, typer.Option(help="float32, bfloat16, float16.")] = "float32",
    batch_size: Annotated[
        int | None, typer.Option(help="Photos (for score methods, masked copies) per run of the model.")
    ] = None,
    revision: Annotated[str | None, typer.Option(help="Revision of a model on a hub.")] = None,
    classes: Annotated[
        Path | None, typer.Option(help="File of names, one per line, for a model of images and text (zero-shot).")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for pictures, maps and explanations.jsonl.")] = Path("finercam-out"),
    json: Annotated[bool, typer.Option("--json", help="Print each record as a line of JSON.")] = False,
) -> None:
    """Explain photos: why this class, and not its look-alikes?

    For each photo a picture (photo | plain CAM | Finer-CAM) and its maps (.safetensors); for all of them one
    explanations.jsonl.
    """
    from finercam.cli.explain import explain_photos
    from finercam.contrast.contrast import AGAINST, Contrast

    named = against.partition("@")[0] not in AGAINST
    contrast = Contrast(
        against=[against] if named else against,
        references=references,
        gamma=gamma,
        weighting=weighting,
        aggregate=aggregate,
        reverse=reverse,
    )
    failed = explain_photos(
        photos,
        model,
        target=target,
        contrast=contrast,
        method=method,
        layer=layer or None,
        device=device,
        precision=precision,
        batch_size=batch_size,
        revision=revision,
        out=out,
        as_json=json,
        classes=classes,
    )
    raise typer.Exit(1 if failed else 0)


@app.command()
def concept(
    photos: Annotated[list[str], typer.Argument(help="Photos, folders (searched through) and patterns.")],
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
    method: Annotated[str, typer.Option(help="gradcam, layercam, hirescam, scorecam, ...")] = "gradcam",
    template: Annotated[
        list[str] | None,
        typer.Option(help="Sentence with {} for the words, which stand bare otherwise; several are averaged."),
    ] = None,
    layer: Annotated[
        list[str] | None, typer.Option(help="Target layer, if not the one found; may be given several times.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, mps, ...")] = "auto",
    precision: Annotated[str, typer.Option(help="float32, bfloat16, float16.")] = "float32",
    batch_size: Annotated[
        int | None, typer.Option(help="Photos (for score methods, masked copies) per run of the model.")
    ] = None,
    revision: Annotated[str | None, typer.Option(help="Revision of a model on a hub.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for pictures, maps and concepts.jsonl.")] = Path("finercam-out"),
    json: Annotated[bool, typer.Option("--json", help="Print each record as a line of JSON.")] = False,
) -> None:
    """Find a concept in photos by its words, against those of a base: "red epaulets", and not just "bird".

    For each photo and concept a picture (photo | the concept alone | against the base; or the photo with the concept
    hidden) and its maps (.safetensors); for all of them one concepts.jsonl.
    """
    from finercam.cli.concept import find_in_photos

    failed = find_in_photos(
        photos,
        model,
        concepts=concepts,
        base=base,
        gamma=gamma,
        mode=mode,
        fraction=fraction,
        method=method,
        templates=template or None,
        layer=layer or None,
        device=device,
        precision=precision,
        batch_size=batch_size,
        revision=revision,
        out=out,
        as_json=json,
    )
    raise typer.Exit(1 if failed else 0)


@app.command()
def models() -> None:
    """List the model families that are known to work, and which layer is looked at in each."""
    from finercam.cli.models import print_models

    print_models()


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the report and its pictures.")] = Path("demo"),
    browse: Annotated[bool, typer.Option("--open", help="Open the report in a browser.")] = False,
) -> None:
    """Explain drawn birds with a small embedded classifier, with nothing to download."""
    from finercam.aviary.demo import run_demo

    run_demo(out, browse=browse)


for _command in (
    evaluate.evaluate,
    evaluate.table,
    probe.probe,
    similarity.similarity,
    faithfulness.faithfulness,
):
    app.command()(_command)
app.add_typer(aviary.app, name="aviary")


def main() -> None:
    """Run the command; an error that the user can put right is one line and exit code 2."""
    keep_memory()
    try:
        app()
    except FinercamError as error:
        print(f"finercam: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("finercam: stopped", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
