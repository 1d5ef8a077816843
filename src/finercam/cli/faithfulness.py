"""``finercam faithfulness``: does the classifier look at what tells two classes apart?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from finercam.cli.classes import model_classes

if TYPE_CHECKING:
    from finercam.data.dataset import Item
    from finercam.models import Classifier
    from finercam.studies.faithfulness.examining import Examined
    from finercam.studies.faithfulness.subjects import Subject


def faithfulness(
    dataset: Annotated[str, typer.Argument(help="cub:DIR, aviary, aviary:biased: classes with attributes.")],
    model: Annotated[str, typer.Option(help="As for explain; 'aviary' is the embedded one.")],
    out: Annotated[Path, typer.Option(help="Folder for report.md, faithfulness.png, findings.csv and rows.csv.")],
    clip: Annotated[
        str | None,
        typer.Option(
            help="Model of images and text that says where attributes are: open_clip/NAME/WEIGHTS, "
            "transformers/ID, a folder, aviary-clip. Without one, part points or masks do."
        ),
    ] = None,
    base: Annotated[str, typer.Option(help="What attributes are compared with in words.")] = "bird",
    against: Annotated[
        str | None, typer.Option(help="Class of the data set to hold all photos against. [default: the most similar]")
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

    For each photo its map against the similar class is held against the attributes that differ most, and against
    chance: what the map has for attributes that do not differ. The verdict names what is used, what is ignored, and
    what is looked at instead.
    """
    from finercam.cli.console import counted, say
    from finercam.contrast.labels import Labels
    from finercam.errors import FinercamError
    from finercam.files import whole
    from finercam.models import load
    from finercam.studies.faithfulness import writing
    from finercam.studies.faithfulness.examining import Examiner
    from finercam.studies.faithfulness.subjects import read_subject
    from finercam.studies.faithfulness.verdicts import judge, judge_pairs
    from finercam.studies.faithfulness.wording import TextMaps

    for option, given in (("attributes", attributes), ("batch-size", batch_size)):
        if given < 1:
            raise FinercamError(f"--{option} is {given}; it must be at least 1")
    if out.exists() and not out.is_dir():
        raise FinercamError(f"--out {str(out)!r} is a file; give a folder")
    subject = read_subject(dataset, split, images, seed)
    names = subject.dataset.class_names
    label = None if against is None else Labels(names).index(against)
    classifier = load(model, layer=layer, device=device, revision=revision)
    targets = model_classes(classifier, subject.dataset, classes, skip_unmatched)
    if label is not None and targets[label] < 0:
        raise FinercamError(f"--against {names[label]!r} is a class that {model} does not have")
    words = None
    if clip is not None:
        words = TextMaps(clip, subject.attributes, base=base, gamma=gamma, method=method, device=device)
    examiner = Examiner(classifier, subject, targets, words, label, method, gamma, attributes)
    examined = []
    with counted("examining", sum(1 for _ in examiner.items())) as bar:
        for one in examiner.examine(batch_size):
            examined.append(one)
            bar(1)
    judgements = [judge(examined), *judge_pairs(examined)]
    heading = f"What {model} looks at in {dataset}, gamma {gamma:g}"
    out.mkdir(parents=True, exist_ok=True)
    for name, content in (
        ("report.md", writing.to_markdown(judgements, names, heading, words is not None)),
        ("findings.csv", writing.findings_csv(judgements, names)),
        ("rows.csv", writing.rows_csv(examined, names)),
    ):
        with whole(out / name) as aside:
            aside.write_text(content, encoding="utf-8")
    if pictures > 0:
        _draw(examined, subject, classifier, pictures, attributes, out / "faithfulness.png")
    for pair in judgements[1:]:
        print(f"{writing.title_of(pair, names)} ({pair.photos} photos): {pair.sentence()}")
    print(f"All {judgements[0].photos} photos: {judgements[0].sentence()}")
    say(f"report: {out / 'report.md'}")


def _draw(
    examined: Sequence[Examined], subject: Subject, classifier: Classifier, pictures: int, most: int, path: Path
) -> None:
    from finercam.contrast.labels import short_names
    from finercam.files import whole
    from finercam.report.faithfulness import Example, draw_examples

    chosen: dict[tuple[int, int], Examined] = {}
    # One of each pair of classes, rather one that is named rightly.
    for one in sorted(examined, key=lambda one: not one.correct):
        chosen.setdefault((one.target, one.other), one)
    firsts: dict[int, Item] = {}
    for item in subject.dataset.items():
        firsts.setdefault(item.label, item)
    examples = []
    for one in list(chosen.values())[:pictures]:
        target, other = short_names([subject.dataset.class_names[label] for label in (one.target, one.other)])
        photo = subject.dataset.open(firsts[one.other]).photo if one.other in firsts else None
        examples.append(Example(one, target, other, photo))
    if examples:
        with whole(path) as aside:
            draw_examples(examples, classifier.mean, classifier.std, most).save(aside)
