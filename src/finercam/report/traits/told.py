"""Which parts carry the difference: sentences, charts and a table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from finercam.metrics.intervals import FEWEST_TO_JUDGE, Mean
from finercam.report.charts import Effect, forest
from finercam.report.parts import Charts, Paragraph, Part, Table
from finercam.studies.traits.findings import Carrier, Direction
from finercam.studies.traits.writing import spoken
from finercam.texts import Cell

#: Parts that are drawn; the table has them all.
_DRAWN = 15
#: What the columns are is said above them all, once.
_HEADING = (
    "part",
    "painted over, the margin falls by",
    "a patch elsewhere",
    "difference",
    "share of the evidence",
    "by its area",
    "difference",
    "drawn there by the comparison",
    "photos",
)


def told(one: Direction, target: str, other: str) -> Iterator[Part]:
    """Yield what a direction's parts carry.

    Args:
        one: the direction.
        target, other: names of its classes, as they are shown.
    """
    yield Paragraph(_photos(one, target, other))
    if not one.carriers:
        return
    yield Paragraph(_verdict(one))
    drawn = one.carriers[:_DRAWN]
    charts = [
        ("Painted over, the margin falls by more than with a patch elsewhere: logits", "caused", 1),
        ("Share of the evidence beyond what the part's area would give: %", "beyond", 100),
    ]
    found = []
    for title, name, times in charts:
        effects = [Effect(spoken(each.place), _times(getattr(each, name), times)) for each in drawn]
        if any(effect.change.n for effect in effects):
            found.append(forest(title, effects, "+.2f" if times == 1 else "+.1f"))
    yield Charts(found)
    yield Table([_HEADING, *(_row(carrier) for carrier in one.carriers)], summary="All numbers")
    if one.off.n:
        yield Paragraph(
            f"Off the object, and away from its edge, lies {_percent(one.off)} of the evidence; if it lay evenly over "
            f"the whole photo that would be {100 * one.off_even.mean:.0f} %."
        )


def headline(one: Direction) -> list[str | Cell]:
    """Return what a direction comes to, for a table of many: its first part, the numbers, and what they say."""
    first = one.carrier or next(iter(one.carriers), None)
    if first is None:
        return ["", "", "", "", "no part is known"]
    verdict = "used" if first.carries else "no more than any patch" if first.caused.judged else "too few photos"
    return [
        spoken(first.place),
        _number(first.fall, ".1f"),
        f"{first.elsewhere.mean:.1f}" if first.elsewhere.n else "",
        _percent(first.share) if first.share.n else "",
        verdict,
    ]


def _photos(one: Direction, target: str, other: str) -> str:
    said = (
        f"{one.photos} {'photo' if one.photos == 1 else 'photos'} of {target}; the model's first choice is {target} on "
        f"{one.correct} of them. The logit of {target} leads that of {other} by {one.margin.text('.1f')}: the margin."
    )
    if one.empty:
        said += f" {one.empty} of them have no evidence for {target} over {other}, and are in no mean of evidence."
    if one.photos < FEWEST_TO_JUDGE:
        said += f" From fewer than {FEWEST_TO_JUDGE} photos nothing can be concluded of the class."
    return said


def _verdict(one: Direction) -> str:
    used = [spoken(carrier.place) for carrier in one.carriers if carrier.carries]
    judged = [carrier for carrier in one.carriers if carrier.caused.judged]
    if not judged:
        return ""
    if not used:
        return "No part costs more of the margin, painted over, than a patch of its shape elsewhere on the object does."
    return f"Painted over, these cost more of the margin than a patch of their shape elsewhere: {', '.join(used)}."


def _row(carrier: Carrier) -> list[str | Cell]:
    return [
        spoken(carrier.place),
        _number(carrier.fall, ".2f"),
        f"{carrier.elsewhere.mean:.2f}" if carrier.elsewhere.n else "",
        _difference(carrier.caused, "+.2f"),
        _percent(carrier.share) if carrier.share.n else "",
        f"{100 * carrier.even.mean:.0f} %" if carrier.even.n else "",
        _difference(_times(carrier.beyond, 100), "+.1f"),
        _difference(_times(carrier.drawn, 100), "+.1f"),
        str(max(carrier.fall.n, carrier.share.n)),
    ]


def _times(mean: Mean, factor: float | int) -> Mean:
    return replace(mean, mean=factor * mean.mean, low=factor * mean.low, high=factor * mean.high)


def _number(mean: Mean, form: str) -> str | Cell:
    return Cell(f"{mean.mean:{form}}", _interval(mean, form)) if mean.n else ""


def _difference(mean: Mean, form: str) -> str | Cell:
    """Return a difference; it stands out where it is told from none."""
    return Cell(f"{mean.mean:{form}}", _interval(mean, form), mean.leaves_out_zero) if mean.n else ""


def _percent(mean: Mean) -> str:
    whole = _times(mean, 100)
    return f"{whole.mean:.0f} %{_interval(whole, '.0f')}"


def _interval(mean: Mean, form: str) -> str:
    return "" if mean.low != mean.low else f" [{mean.low:{form}}, {mean.high:{form}}]"
