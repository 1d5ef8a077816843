"""Which places carry the evidence: a sentence, a table and a chart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from finercam.metrics.intervals import FEWEST_TO_JUDGE, Mean
from finercam.report.charts import Effect, forest
from finercam.report.parts import Charts, Paragraph, Part, Table
from finercam.studies.traits.findings import Carrier, Direction
from finercam.texts import Cell

#: Places that are drawn; the table has them all.
_DRAWN = 12


def told(one: Direction, target: str, other: str) -> Iterator[Part]:
    """Yield what a direction's places carry.

    Args:
        one: the direction.
        target, other: names of its classes, as they are shown.
    """
    yield Paragraph(sentence(one, target, other))
    yield Paragraph(photos_of(one, target, other))
    if not one.carriers:
        return
    effects = [Effect(carrier.place, carrier.beyond) for carrier in one.carriers[:_DRAWN] if carrier.beyond.n]
    if effects:
        yield Charts([forest("Share of the evidence beyond what the place's area would give", effects)])
    yield Table(_table(one))
    if one.off.n:
        yield Paragraph(_off(one))


def sentence(one: Direction, target: str, other: str) -> str:
    """Return what was found, in a sentence or two that hold whatever was found."""
    known = one.photos - one.empty
    if not known:
        return f"On none of the photos is there evidence for {target} over {other}."
    if not one.carriers:
        return (
            f"No parts of what is on the photos are annotated, so what tells {target} from {other} is shown below by "
            "what the patches with most of the evidence look like."
        )
    if known < FEWEST_TO_JUDGE:
        return f"Over {known} photos nothing can be concluded of parts: it takes {FEWEST_TO_JUDGE}."
    carrying = [carrier for carrier in one.carriers if carrier.carries]
    if not carrying:
        return (
            f"No part carries more of the evidence for {target} over {other} than its area alone would give, by more "
            "than other photos of the same kind might change."
        )
    first, *rest = carrying
    said = (
        f"What tells {target} from {other} is most of all the {first.place}: {_percent(first.share)} of the evidence "
        f"lies there, where its area alone would give {100 * first.even.mean:.0f} %."
    )
    if rest:
        said += f" More than their area would give have also: {', '.join(carrier.place for carrier in rest)}."
    return said


def photos_of(one: Direction, target: str, other: str) -> str:
    """Return how many photos that is."""
    said = (
        f"{one.photos} {'photo' if one.photos == 1 else 'photos'} of {target}; the model takes {one.correct} of them for "
        f"{target}."
    )
    if one.empty:
        said += f" {one.empty} show no evidence for {target} over {other}, and are in no mean."
    return said


def _table(one: Direction) -> list[list[str | Cell]]:
    heading = [
        "part",
        "share of the evidence",
        "what its area would give",
        "difference",
        "drawn there by the comparison",
        "photos",
    ]
    return [[*heading], *(_row(carrier) for carrier in one.carriers)]


def _row(carrier: Carrier) -> list[str | Cell]:
    beyond = Cell(_signed(carrier.beyond), _interval(carrier.beyond, "+.0f"), carrier.carries)
    return [
        carrier.place,
        Cell(f"{100 * carrier.share.mean:.0f} %", _interval(carrier.share)) if carrier.share.n else "",
        f"{100 * carrier.even.mean:.0f} %" if carrier.even.n else "",
        beyond if carrier.beyond.n else "",
        Cell(_signed(carrier.drawn), _interval(carrier.drawn, "+.0f")) if carrier.drawn.n else "",
        str(carrier.share.n),
    ]


def _off(one: Direction) -> str:
    return (
        f"Off the object, and away from its edge, lies {_percent(one.off)} of the evidence; if it lay evenly over the "
        f"photo it would be {100 * one.off_even.mean:.0f} %."
    )


def _signed(mean: Mean) -> str:
    return f"{100 * mean.mean:+.0f}"


def _percent(mean: Mean) -> str:
    return f"{100 * mean.mean:.0f} %{_interval(mean)}"


def _interval(mean: Mean, form: str = ".0f") -> str:
    return "" if mean.low != mean.low else f" [{100 * mean.low:{form}}, {100 * mean.high:{form}}]"


def headline(one: Direction) -> list[str]:
    """Return what a direction comes to, for a table of many: its first place, or that there is none."""
    first = next(iter(one.carriers), None)
    if first is None or not first.beyond.n:
        return ["", "", "", "nothing known of parts"]
    known = one.photos - one.empty
    verdict = (
        f"fewer than {FEWEST_TO_JUDGE} photos"
        if known < FEWEST_TO_JUDGE
        else "carries"
        if first.carries
        else "not to be told from its area"
    )
    return [first.place, _percent(first.share), f"{100 * first.even.mean:.0f} %", verdict]
