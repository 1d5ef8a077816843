"""The command ``finercam``. Thin: it reads options, calls the library and prints."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from finercam.commands import aviary
from finercam.errors import FinercamError

app = typer.Typer(
    name="finercam",
    help="Why did the classifier say this class and not its look-alike?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


app.add_typer(aviary.app, name="aviary")


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
    out: Annotated[Path, typer.Option(help="Folder for pictures, maps and explanations.jsonl.")] = Path("finercam-out"),
    json: Annotated[bool, typer.Option("--json", help="Print each record as a line of JSON.")] = False,
) -> None:
    """Explain photos: why this class, and not its look-alikes?

    For each photo a picture (photo | plain CAM | Finer-CAM) and its maps (.safetensors); for all of them one
    explanations.jsonl.
    """
    from finercam.commands.explain import explain_photos
    from finercam.contrast import AGAINST, Contrast

    named = against not in AGAINST
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
    )
    raise typer.Exit(1 if failed else 0)


@app.command()
def models() -> None:
    """List the model families that are known to work, and which layer is looked at in each."""
    from finercam.commands.models import print_models

    print_models()


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the report and its pictures.")] = Path("demo"),
    browse: Annotated[bool, typer.Option("--open", help="Open the report in a browser.")] = False,
) -> None:
    """Explain drawn birds with a small embedded classifier, with nothing to download."""
    from finercam.commands.demo import run_demo

    run_demo(out, browse=browse)


def main() -> None:
    """Run the command; an error that the user can put right is one line and exit code 2."""
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
