"""``finercam faithfulness``: does the classifier look at what tells two classes apart?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from finercam.cli.classes import model_classes

if TYPE_CHECKING:
    from finercam.data.dataset import Dataset, Item
    from finercam.models.classifier import Classifier
    from finercam.models.run import Run
    from finercam.runs.loaded import Loaded
    from finercam.studies.faithfulness.examined import Examined
    from finercam.studies.faithfulness.study import Faithfulness


def faithfulness(
    dataset: Annotated[str, typer.Argument(help="cub:DIR, aviary, aviary:biased: classes with attributes.")],
    model: Annotated[str, typer.Option(help="As for explain; 'aviary' is the embedded one.")],
    out: Annotated[
        Path, typer.Option(help="Folder for report.md, faithfulness.png, findings.csv, rows.csv and the run.")
    ],
    clip: Annotated[
        str | None,
        typer.Option(
            help="Model of images and text that says where attributes are: open_clip/NAME/WEIGHTS, "
            "transformers/ID, a folder, aviary-clip. Without one, part points or masks do."
        ),
    ] = None,
    base: Annotated[str, typer.Option(help="What attributes are compared with in words.")] = "bird",
    against: Annotated[
        str | None, typer.Option(help="Class of the data set to compare all photos with. [default: the most similar]")
    ] = None,
    attributes: Annotated[int, typer.Option(help="How many attributes of the largest difference.")] = 3,
    method: Annotated[str, typer.Option(help="gradcam, layercam, hirescam, scorecam, ...")] = "gradcam",
    gamma: Annotated[float, typer.Option(help="Comparison strength.")] = 0.6,
    classes: Annotated[
        Path | None, typer.Option(help="CSV of data class, model class, for names that do not match.")
    ] = None,
    skip_unmatched: Annotated[
        bool, typer.Option("--skip-unmatched", help="Leave out photos of classes that the model does not have.")
    ] = False,
    split: Annotated[str, typer.Option(help="test, train, all.")] = "test",
    images: Annotated[int | None, typer.Option(help="Draw this many photos.")] = None,
    seed: Annotated[int, typer.Option(help="Of the draw.")] = 0,
    pictures: Annotated[int, typer.Option(help="Rows of faithfulness.png.")] = 6,
    batch_size: Annotated[int, typer.Option(help="Photos looked at together.")] = 8,
    layer: Annotated[list[str] | None, typer.Option(help="Target layer, if not the one found.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, mps, ...")] = "auto",
    revision: Annotated[str | None, typer.Option(help="Revision of a model on a hub.")] = None,
) -> None:
    """Examine whether a classifier uses the attributes in which a class differs from the most similar one.

    For each photo its map against the similar class is compared with the attributes that differ most, and with
    chance: what the map has for attributes that do not differ. The verdict names what is used, what is ignored, and
    what is looked at instead.
    """
    from finercam.cli.console import followed, say
    from finercam.contrast.labels import Labels
    from finercam.errors import FinercamError
    from finercam.models import load
    from finercam.models.run import Run
    from finercam.runs.engine import run_study
    from finercam.runs.loaded import loaded_classifier
    from finercam.studies.faithfulness import writing
    from finercam.studies.faithfulness.examined import read_examined
    from finercam.studies.faithfulness.study import Faithfulness
    from finercam.studies.faithfulness.subjects import read_subject
    from finercam.studies.faithfulness.wording import TextMaps

    for option, given in (("attributes", attributes), ("batch-size", batch_size)):
        if given < 1:
            raise FinercamError(f"--{option} is {given}; it must be at least 1")
    if out.exists() and not out.is_dir():
        raise FinercamError(f"--out {str(out)!r} is a file; give a folder")
    subject = read_subject(dataset, split, images, seed)
    names = subject.dataset.class_names
    label = None if against is None else Labels(names).index(against)
    options = {"layer": layer, "device": device, "revision": revision}
    classifier = load(model, **options)
    targets = model_classes(classifier, subject.dataset, classes, skip_unmatched)
    if label is not None and targets[label] < 0:
        raise FinercamError(f"--against {names[label]!r} is a class that {model} does not have")
    words = None
    if clip is not None:
        words = TextMaps(clip, subject.attributes, base=base, gamma=gamma, method=method, device=device)
    study = Faithfulness(subject.places, tuple(targets), words, label, method, gamma, attributes)
    here, run = loaded_classifier(classifier, model, options), Run(images=batch_size)
    with followed("examining") as advance:
        finished = run_study(study, here, subject.dataset, str(out), targets, run=run, advance=advance)
    examined, judgements = read_examined(finished.rows), study.summary(finished.rows)
    for key, error in finished.rows.failed:
        say(f"failed: {key}: {error}")
    heading = f"What {model} looks at in {dataset}, gamma {gamma:g}"
    writing.write(out, judgements, examined, finished.rows.failed, names, heading, words is not None)
    if pictures > 0:
        _draw(study, here, run, subject.dataset, examined, pictures, out / "faithfulness.png")
    for pair in judgements[1:]:
        print(f"{writing.title_of(pair, names)} ({pair.photos} photos): {pair.sentence()}")
    print(f"All {judgements[0].photos} photos: {judgements[0].sentence()}")
    say(f"report: {out / 'report.md'}")


def _draw(
    study: Faithfulness,
    model: Loaded[Classifier],
    run: Run,
    dataset: Dataset,
    examined: Sequence[Examined],
    pictures: int,
    path: Path,
) -> None:
    """Draw a few photos with their maps, which are made again: rows hold numbers only."""
    from finercam.contrast.labels import short_names
    from finercam.files import whole
    from finercam.report.faithfulness import Example, draw_examples
    from finercam.studies.faithfulness.study import look_again

    chosen: dict[tuple[int, int], Examined] = {}
    # One of each pair of classes, rather one that is correctly classified.
    for one in sorted(examined, key=lambda one: not one.correct):
        chosen.setdefault((one.target, one.other), one)
    shown = list(chosen.values())[:pictures]
    firsts: dict[int, Item] = {}
    for item in dataset.items():
        firsts.setdefault(item.label, item)
    examples = []
    for seen in look_again(study, model, run, dataset, [one.key for one in shown]):
        labels = seen.examined.target, seen.examined.other
        target, other = short_names([dataset.class_names[label] for label in labels])
        photo = dataset.open(firsts[labels[1]]).photo if labels[1] in firsts else None
        examples.append(Example(seen, target, other, photo))
    if examples:
        preprocessing = model.preprocessing
        with whole(path) as aside:
            draw_examples(examples, preprocessing.mean, preprocessing.std, study.count).save(aside)
