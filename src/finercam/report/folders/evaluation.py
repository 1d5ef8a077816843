"""Evaluations in a report: the table, what the comparison changes, curves, and photos that convince or do not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from finercam.report.folder import folder_kind
from finercam.report.live import Live
from finercam.report.measured import findings, forests, known_nothing, meanings, strengths
from finercam.report.pages import Section
from finercam.report.parts import Charts, Facts, Heading, Paragraph, Part, Points, Table
from finercam.report.photos import Ranked, curves_of, deletion_curves, explained, main_line, ranked, ranked_by
from finercam.report.runs import titled
from finercam.runs.rows import Rows
from finercam.studies.evaluate.tables import Block, block_of
from finercam.studies.evaluate.writing import ABOUT_DIFFERENCES, about, differences_table, means_table
from finercam.texts import said_of

#: Photos shown at either end.
_SHOWN = 4
#: Sentences, drawings and photos beyond these are folded away.
_MOST = 8


@folder_kind("evaluation", studies=["evaluate"])
def sections(folders: Sequence[str]) -> Iterator[Section]:
    """Yield a section for each evaluation."""
    for folder in folders:
        run = Rows(folder)
        block = titled(block_of(run))
        yield Section(f"Evaluation: {block.data}, {block.model}", list(_parts(run, block)))


def _parts(run: Rows, block: Block) -> Iterator[Part]:
    plan = run.described["plan"]
    yield Paragraph(_setting(block, plan))
    told = list(findings(block))
    if told:
        yield Paragraph("What the comparison changes, against the same method's map without it:")
    yield Points(told, f"In words ({len(told)})" if len(told) > _MOST else "")
    yield Heading("Means")
    for sentence in about(block):
        yield Paragraph(sentence)
    yield Table(means_table(block))
    yield Facts(meanings(block), "What the columns are")
    differences = differences_table(block)
    if differences:
        yield Heading("What the comparison changes")
        yield Paragraph(ABOUT_DIFFERENCES)
        yield Table(differences)
    drawn = forests(block)
    if drawn:
        yield Charts(
            drawn,
            "Paired differences to the map without the comparison",
            "Dots are means over photos with their 95 % intervals, filled where the interval leaves out 0 and there "
            "are enough photos to say so; squares are controls: what sharpening or noise alone, or another question, "
            "would change.",
        )
    nothing = known_nothing(block)
    if nothing:
        yield Heading("What these numbers would be for a map that knows nothing about the network")
        yield Paragraph("A method that is not beyond these shows nothing that a photograph alone would not.")
        yield Table(nothing)
    drawn = strengths(block)
    if drawn:
        yield Charts(
            drawn, "Over the strength of the comparison", "Means with 95 % intervals; gamma 0 is the plain map."
        )
    drawn = list(deletion_curves(run, block))
    if drawn:
        yield Charts(
            drawn,
            "As pixels are taken away or given back, from the most to the least salient",
            "Mean probabilities of class c and of its look-alike d. A map that finds what matters to c changes c's "
            "early, one that knows nothing late; d's should change as little as may be.",
            "" if len(drawn) <= _MOST else f"Curves ({len(drawn)})",
        )
    yield from _photos(run, block)
    yield Facts(_options(run.described), "Model, data, options and versions")
    failed = [said_of(key, error) for key, error in block.failed]
    yield Points(failed, f"Photos that failed ({len(failed)})" if failed else "")


def _setting(block: Block, plan: dict[str, Any]) -> str:
    asked = {
        "label": "the class that the data set says it is of (class c)",
        "predicted": "the class that the model takes it for (class c)",
    }
    other = {
        "similar": "the class whose logit is nearest to c's",
        "known": "the nearest class of which the data set knows where the photo differs from it",
    }
    return (
        f"Of each of {block.measured} photos of {block.data}, the model {block.model} is asked why it is of "
        f"{asked.get(plan.get('target', ''), 'class c')}, and why of that class and not its look-alikes. Where two "
        f"classes are compared, class d is {other.get(plan.get('other', ''), 'the other one')}."
    )


def _photos(run: Rows, block: Block) -> Iterator[Part]:
    line, column = main_line(block), ranked_by(block)
    if line is None or column is None:
        return
    photos = ranked(run, line, column)
    if not photos:
        return
    ends = min(_SHOWN, -(-len(photos) // 2))
    # Of an odd few the one in the middle is on one side only.
    first, last = photos[:ends], photos[ends:][-ends:]
    named = f"{line.called} {line.title}" if line.contrast != "plain" else line.title
    yield Heading("The most and the least convincing photos")
    yield Paragraph(
        f"By {column.title} of {named} over {len(photos)} photos ({column.better} is better). Both ends are shown, for "
        "either alone would mislead."
    )
    yield Table(_listed([*first, *last], column.title, run.described["classes"]))
    found, problems = explained(run, line, [*first, *last])
    yield Points(problems)
    if found:
        curves = curves_of(run, block, line, [str(one.source) for one in found])
        yield Live.of([[one] for one in found], f"The most and the least convincing photos of {block.data}", curves)


def _listed(photos: Sequence[Ranked], title: str, classes: Sequence[str]) -> list[list[str]]:
    heading = ["photo", "class", title, "plain map", "probability of c", "margin over d", "correct", "map"]
    return [heading, *([*_row(one, classes)] for one in photos)]


def _row(one: Ranked, classes: Sequence[str]) -> Iterator[str]:
    yield one.key
    yield classes[one.label] if 0 <= one.label < len(classes) else ""
    yield _number(one.value)
    yield _number(one.base)
    yield f"{100 * one.confidence:.1f} %"
    yield _number(one.margin, "+.2f")
    yield "" if one.correct is None else "yes" if one.correct else "no"
    yield "empty" if one.empty else ""


def _number(value: float, form: str = ".3f") -> str:
    return "" if value != value else f"{value:{form}}"


def _options(described: dict[str, Any]) -> dict[str, str]:
    """Return what decides a run's numbers as text."""
    shown = {"finercam": str(described.get("finercam", "")), "data": described["data"]["name"]}
    shown |= {f"model: {name}": _text(value) for name, value in described["model"].items()}
    return shown | {name: _text(value) for name, value in described["plan"].items()}


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
