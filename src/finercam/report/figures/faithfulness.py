"""What a classifier looks at, beside what tells two classes apart: the paper's Fig. 9a."""

from __future__ import annotations

from collections.abc import Sequence

from finercam.contrast.contrast import exactly
from finercam.contrast.labels import Labels
from finercam.errors import FinercamError, check_between
from finercam.models import Classifier
from finercam.models.run import Run
from finercam.report.album import Album, last_part
from finercam.report.explained import model_name
from finercam.report.faithfulness import Example, examples_of, panels_of
from finercam.report.figure import figure
from finercam.report.grid import EMPTY, Cell, draw_grid, missing
from finercam.report.printing import TWO_COLUMNS, Figure, finished
from finercam.runs.loaded import loaded_classifier
from finercam.runs.rows import Rows
from finercam.studies.faithfulness.examined import read_examined
from finercam.studies.faithfulness.rows import LISTED
from finercam.studies.faithfulness.study import Faithfulness
from finercam.studies.faithfulness.subjects import Places
from finercam.studies.faithfulness.wording import TextMaps


@figure("faithfulness", "The classifier's map beside those of the attributes", paper="9a")
def faithfulness(
    runs: Sequence[str],
    classifier: Classifier,
    album: Album,
    *,
    clip: str = "",
    base: str = "bird",
    count: int = 3,
    device: str = "auto",
    width: float = TWO_COLUMNS,
) -> Figure:
    """Draw photo, similar class, the classifier's map and each listed attribute, a row for each pair of classes.

    Args:
        runs: one folder of ``finercam faithfulness``.
        classifier, album: what was examined: maps are made again, for rows hold numbers only.
        clip, base: the model of images and text that was asked, if one was, and what attributes were compared with.
        count: rows at most.
        device: where that model is loaded.
        width: in millimetres.

    Raises:
        FinercamError: the folder holds no examination, the data set knows no attributes, or the run asked a text
            model and none is given, or the other way round.
    """
    check_between("count", count, 1, 20)
    if len(runs) != 1:
        raise FinercamError(f"figure 'faithfulness' is drawn from one run, not {len(runs)}")
    rows = Rows(runs[0])
    if rows.described["study"] != "faithfulness":
        raise FinercamError(f"{runs[0]!r} holds no examination but a run of {rows.described['study']!r}")
    if album.dataset.attributes is None:
        raise FinercamError(
            f"the attributes of the classes of {album.dataset.name!r} are not known; give what was examined"
        )
    plan = rows.described["plan"]
    if bool(plan["text model"]) != bool(clip):
        raise FinercamError(
            f"{runs[0]!r} asked a model of images and text; give it as --clip" if plan["text model"] else
            f"{runs[0]!r} asked no model of images and text; leave out --clip"
        )  # fmt: skip
    attributes = album.dataset.attributes()
    gamma, how = float(plan["gamma"]), str(plan["method"])
    words = TextMaps(clip, attributes, base=base, gamma=gamma, method=how, device=device) if clip else None
    against = None if plan["against"] is None else Labels(album.dataset.class_names).index(plan["against"])
    places = Places(attributes, album.dataset.part_names)
    study = Faithfulness(places, tuple(album.targets), words, against, how, gamma, int(plan["listed"]))
    examples = examples_of(
        study, loaded_classifier(classifier), Run(), album.dataset, read_examined(rows), count
    )  # fmt: skip
    if not examples:
        raise FinercamError(f"{runs[0]!r} has no photo that was examined")
    beside = any(one.other_photo is not None for one in examples)
    cells = [_cells(one, study.count, beside) for one in examples]
    drawn = draw_grid(cells, width)
    said = [_said(one, bool(clip)) for one in examples]
    asked = f"the maps of {model_name(clip)} for each attribute minus {exactly(gamma)} times “{base}”" if clip else (
        "the places where each attribute is seen, outlined on the classifier's map"
    )  # fmt: skip
    return finished(
        drawn,
        f"The map of {model_name(classifier.name)} for the class and not the similar one (gamma {exactly(gamma)}), and "
        f"{asked}; attributes are those in which the class leads the similar one most. On a photo alone the classifier "
        "uses an attribute if it is above all those in which the classes do not differ, and ignores it if it is above "
        f"no more than half of them. {'; '.join(said)}.",
    )


def _cells(example: Example, most: int, beside: bool) -> list[Cell]:
    """Return a row; with ``beside`` the similar class has its column, also where there is no photo of it."""
    seen = example.seen
    maps = {"Classifier": seen.saliency[0], **{words: own for words, (own, _) in seen.words.items()}}
    found = []
    for panel in panels_of(example, most, 400):
        peak = float(maps[panel.heading].max()) if panel.heading in maps else None
        mark = EMPTY if peak is not None and peak <= 0 else ""
        found.append(Cell(panel.picture, panel.heading, panel.lines, mark, peak))
    if beside and example.other_photo is None:
        found.insert(1, missing(found[0].picture, example.other, ["what it is compared with"]))
    return found


def _said(example: Example, in_words: bool) -> str:
    one = example.seen.examined
    rows = [row for row in one.rows if row.status == LISTED and not row.of_place]
    unit = "rank correlation" if in_words else "share"
    found = ", ".join(
        f"{row.words} ({unit} {row.alignment:.3f}, chance {row.chance:.3f}: {row.verdict})" for row in rows
    )
    return f"{last_part(one.key)}: {example.target}, not {example.other}: {found or 'no attribute in sight'}"
