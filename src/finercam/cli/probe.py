"""``finercam probe``: a linear head trained on a frozen backbone; probes from finished heads; probes compared."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from finercam.cli.console import new_table, progress, say, show
from finercam.cli.names import read_names
from finercam.errors import FinercamError

if TYPE_CHECKING:
    from rich.progress import TaskID

    from finercam.studies.probe.fitting import Epoch, Recipe


def probe(
    what: Annotated[
        list[str] | None,
        typer.Argument(help="A data set (FORMAT:DIR, aviary); with --compare, folders of probes.", metavar="DATASET"),
    ] = None,
    backbone: Annotated[
        str, typer.Option(help="timm/NAME, torchvision/NAME, transformers/ID, open_clip/NAME, a folder.")
    ] = "",
    out: Annotated[Path | None, typer.Option(help="Folder of the probe; with --compare, a .md or .csv file.")] = None,
    pool: Annotated[str, typer.Option(help="mean over patches, cls (class token), or auto (the backbone's).")] = "auto",
    epochs: Annotated[int, typer.Option(help="Epochs: how often the features of each photo are used.")] = 100,
    lr: Annotated[float, typer.Option(help="Learning rate of Adam.")] = 3e-4,
    minibatch: Annotated[int, typer.Option(help="Features per step; 0 takes all.")] = 128,
    early_stopping: Annotated[
        int | None, typer.Option(help="Stop after this many epochs without a better accuracy, and keep the best head.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the initial weights and of the order of the photos.")] = 0,
    split_seed: Annotated[
        int, typer.Option(help="Seed of the photos held out if the data set has no split, and of --images.")
    ] = 0,
    images: Annotated[int | None, typer.Option(help="Use this many photos of each split.")] = None,
    image_size: Annotated[
        int | None, typer.Option(help="Side of the input, if it is not that of the backbone (timm only).")
    ] = None,
    batch_size: Annotated[int, typer.Option(help="Photos per run of the backbone.")] = 32,
    precision: Annotated[str, typer.Option(help="Precision of the features: float32, bfloat16, float16.")] = "float32",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, mps, ...")] = "auto",
    revision: Annotated[str | None, typer.Option(help="Revision of a backbone on a hub.")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace the probe that --out holds.")] = False,
    head: Annotated[
        Path | None, typer.Option(help="Trained head (the state of an nn.Linear) to use instead of training one.")
    ] = None,
    classes: Annotated[Path | None, typer.Option(help="With --head: its class names, one per line.")] = None,
    compare: Annotated[bool, typer.Option("--compare", help="Print a table of the accuracies of probes.")] = False,
) -> None:
    """Train a linear head on a frozen backbone's features; the folder it writes is a model like any other.

    The head is trained on the train split of the data set and measured on its test split. The features are computed
    once and kept in the folder, so a run that was stopped can resume.
    """
    if compare:
        compare_probes(what or [], out)
        return
    if not backbone or out is None:
        raise FinercamError("give --backbone (what stays frozen) and --out (the folder of the probe)")
    options = {"pool": pool, "image_size": image_size, "device": device, "revision": revision}
    if head is not None:
        if what or classes is None:
            raise FinercamError("--head takes --classes (a file of class names) and no data set: nothing is trained")
        take_head(head, backbone, classes, out, **options)
        return
    if not what or len(what) > 1:
        raise FinercamError(f"give one data set to train on, not {len(what or [])}; --compare takes several probes")
    from finercam.studies.probe.fitting import Recipe

    recipe = Recipe(epochs, lr, minibatch, seed, early_stopping)
    train(
        what[0],
        backbone,
        out,
        recipe,
        precision=precision,
        batch_size=batch_size,
        split_seed=split_seed,
        images=images,
        replace_other=replace,
        **options,
    )


def train(
    dataset: str,
    backbone: str,
    out: Path,
    recipe: Recipe,
    *,
    precision: str,
    batch_size: int,
    split_seed: int,
    images: int | None,
    replace_other: bool,
    **options: Any,
) -> None:
    """Train a probe and print how accurate it is; ``options`` are those of ``load_backbone``."""
    from finercam.data.reading import read_dataset
    from finercam.models.backbone import load_backbone
    from finercam.models.run import Run
    from finercam.studies.probe.training import Told, splits, train_probe

    frozen = load_backbone(backbone, **options)
    whole = [read_dataset(dataset, split=split, images=images, seed=split_seed) for split in ("train", "test")]
    parts = dict(zip(("train", "test"), splits(whole[0], whole[1], split_seed), strict=True))
    with progress() as bar:
        tasks: dict[str, TaskID] = {name: bar.add_task(f"features, {name}", total=None) for name in parts}
        tasks["head"] = bar.add_task("head", total=recipe.epochs)

        def epoch(done: Epoch) -> None:
            says = f"head: loss {done.loss:.3f}, accuracy {100 * done.accuracy:.1f} %"
            bar.update(tasks["head"], completed=done.number, description=says)

        record = train_probe(
            frozen,
            parts["train"],
            parts["test"],
            out,
            recipe,
            run=Run(precision, batch_size),
            replace_other=replace_other,
            tell=Told(lambda name, come: bar.update(tasks[name], total=come.photos, completed=come.done), epoch),
        )
    best, photos = record["best"], record["photos"]
    say(
        f"{out}: {100 * record['accuracy']:.1f} % of {photos['test']} test photos correctly classified after epoch "
        f"{record['epoch']} ({100 * record['train_accuracy']:.1f} % of the {photos['train']} trained on); "
        f"best {100 * best['accuracy']:.1f} % after epoch {best['epoch']}",
        stderr=False,
    )
    if record["classes_left_out"]:
        say(f"{record['classes_left_out']} classes without photos are left out")
    say(f"a model like any other: finercam explain PHOTO --model {out}")


def take_head(head: Path, backbone: str, classes: Path, out: Path, **options: Any) -> None:
    """Make a probe of a finished head; ``options`` are those of ``load_backbone``."""
    from finercam.models.backbone import load_backbone
    from finercam.models.sources.probe import read_head, write_probe
    from finercam.studies.probe.training import refuse_full

    refuse_full(out)
    names = read_class_names(classes)
    weight, bias = read_head(head)
    frozen = load_backbone(backbone, **options)
    write_probe(out, frozen, weight, bias, names, head=head.name)
    say(f"{out}: {len(names)} classes on {frozen.spec}, pooled by {frozen.pool}", stderr=False)


def compare_probes(folders: Sequence[str], out: Path | None) -> None:
    """Print the accuracies of probes, data sets down and backbones across, and write them to a file if there is one."""
    from finercam.studies.probe import comparing

    found = comparing.compare(folders)
    heading, *rows = found.table()
    table = new_table(heading[0])
    for name in heading[1:]:
        table.add_column(name, justify="right", overflow="fold")
    for row in rows:
        table.add_row(*row)
    show(table)
    if out is not None:
        say(str(comparing.write_comparison(found, out)), stderr=False)


def read_class_names(path: Path) -> list[str]:
    """Return class names: one per line, or a list in a ``.json`` file, as the authors' training script writes it.

    Raises:
        FinercamError: there is no such file, or it is not a list of names.
    """
    if path.suffix != ".json":
        return read_names(path)
    try:
        names = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FinercamError(f"{str(path)!r} cannot be read: {error}") from error
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise FinercamError(f"{str(path)!r} is not a list of names")
    return names
