"""Small drawings for pages, as HTML with SVG inside: pure functions of numbers.

They take their colours from the page's style sheet, so that they are dark on paper and light on a dark screen, and
differ in dash and marker, too, so that nobody has to tell colours apart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from finercam.metrics.intervals import Mean
from finercam.report.parts import escaped

#: Dashes of the curves, in the order of the colours.
_DASHES = ("", "7 4", "2 3", "9 3 2 3", "1 4", "12 5")
_WIDTH, _HEIGHT = 360, 230
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 10, 8, 34


@dataclass(frozen=True)
class Effect:
    """A line of a forest plot.

    Attributes:
        name: of what is compared with its base.
        change: the paired difference, with its interval.
        control: whether it is there to be beaten.
    """

    name: str
    change: Mean
    control: bool = False


@dataclass(frozen=True)
class Curve:
    """A line of a chart.

    Attributes:
        name: in the key.
        x, y: its points.
        low, high: a band around it; none where they are empty.
        control: whether it is there to be beaten.
        marked: draw a marker at each point.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    control: bool = False
    marked: bool = False


def forest(title: str, effects: Sequence[Effect], form: str = "+.3f") -> str:
    """Return a forest plot: for each effect its name, a dot with its interval about 0, and the numbers.

    The dot is filled where the interval leaves out 0 and there are enough photos to say so.

    Args:
        title: names the quantity and says which side is better.
        effects: in their order; those over no photo are left out.
        form: of the numbers.
    """
    drawn = [one for one in effects if one.change.n]
    ends = [end for one in drawn for end in (one.change.mean, one.change.low, one.change.high) if not math.isnan(end)]
    ticks = _ticks(min([0.0, *ends]), max([0.0, *ends]), 4)
    low, high = min(ticks[0], *ends, 0.0), max(ticks[-1], *ends, 0.0)
    spread = (high - low) or 1.0

    def at(value: float) -> str:
        return f"{3 + 94 * (value - low) / spread:.2f}%"

    rows = []
    for one in drawn:
        change = one.change
        colour, faint = ("control", " faint") if one.control else ("c0", "")
        bar = "" if math.isnan(change.low) else _line(at(change.low), "10", at(change.high), "10", "bar")
        dot = "dot" if change.leaves_out_zero else "hollow"
        mark = (
            f'<rect class="{dot}" x="{at(change.mean)}" y="6" width="8" height="8" transform="translate(-4 0)"/>'
            if one.control
            else f'<circle class="{dot}" cx="{at(change.mean)}" cy="10" r="4.5"/>'
        )
        zero = _line(at(0.0), "0", at(0.0), "20", "zero")
        rows.append(
            f'<div class="row"><span class="name{faint}">{escaped(one.name)}</span>'
            f'<svg class="{colour}" height="20" aria-hidden="true">{zero}{bar}{mark}</svg>'
            f'<span class="value">{escaped(change.text(form))}</span></div>'
        )
    scale = "".join(
        f'<text x="{at(tick)}" y="12" text-anchor="middle">{escaped(_number(tick))}</text>' for tick in ticks
    )
    axis = f'<div class="scale"><span></span><svg height="18" aria-hidden="true">{scale}</svg><span></span></div>'
    return f'<figure class="chart forest"><figcaption>{escaped(title)}</figcaption>{"".join(rows)}{axis}</figure>'


def chart(title: str, curves: Sequence[Curve], across: str, *, from_zero: bool = False) -> str:
    """Return a chart of curves with a key.

    Args:
        title: names what goes up.
        curves: in the order of their colours.
        across: names what goes across.
        from_zero: let the scale begin at 0.
    """
    xs = [x for one in curves for x in one.x]
    ys = [y for one in curves for part in (one.y, one.low, one.high) for y in part if not math.isnan(y)]
    across_ticks = _ticks(min(xs, default=0.0), max(xs, default=1.0), 5)
    up_ticks = _ticks(min([*ys, *([0.0] if from_zero else [])], default=0.0), max(ys, default=1.0), 4)
    x_at = _Scale(min([across_ticks[0], *xs]), max([across_ticks[-1], *xs]), _LEFT, _WIDTH - _RIGHT)
    y_at = _Scale(min([up_ticks[0], *ys]), max([up_ticks[-1], *ys]), _HEIGHT - _BOTTOM, _TOP)
    drawn = []
    for tick in up_ticks:
        y = f"{y_at(tick):.1f}"
        drawn.append(_line(str(_LEFT), y, str(_WIDTH - _RIGHT), y, "axis"))
        drawn.append(f'<text x="{_LEFT - 6}" y="{y_at(tick) + 4:.1f}" text-anchor="end">{_number(tick)}</text>')
    for tick in across_ticks:
        x, floor = f"{x_at(tick):.1f}", _HEIGHT - _BOTTOM
        drawn.append(_line(x, str(floor), x, str(floor + 4), "axis"))
        drawn.append(f'<text x="{x}" y="{floor + 16}" text-anchor="middle">{_number(tick)}</text>')
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    drawn.append(f'<text x="{middle:.0f}" y="{_HEIGHT - 3}" text-anchor="middle">{escaped(across)}</text>')
    key, colour = [], 0
    for one in curves:
        number = colour % 6
        kind = "control" if one.control else f"c{number}"
        dash = f' stroke-dasharray="{"1 3" if one.control else _DASHES[number]}"'
        colour += not one.control
        points = [(x_at(x), y_at(y)) for x, y in zip(one.x, one.y, strict=True) if not math.isnan(y)]
        band = _band(one, x_at, y_at)
        path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points) if points else ""
        marks = "".join(f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="3.2"/>' for x, y in points if one.marked)
        drawn.append(f'<g class="{kind}">{band}<path class="curve"{dash} d="{path}"/>{marks}</g>')
        sample = f'<path class="curve"{dash} d="M0 5H26"/>'
        key.append(
            f'<li><svg class="{kind}" viewBox="0 0 26 10" aria-hidden="true">{sample}</svg>'
            f"<span>{escaped(one.name)}</span></li>"
        )
    return (
        f'<figure class="chart"><figcaption>{escaped(title)}</figcaption>'
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escaped(title)}">{"".join(drawn)}</svg>'
        f'<ul class="key">{"".join(key)}</ul></figure>'
    )


def _band(curve: Curve, x_at: _Scale, y_at: _Scale) -> str:
    known = [
        (x_at(x), y_at(low), y_at(high))
        for x, low, high in zip(curve.x, curve.low, curve.high, strict=False)
        if not (math.isnan(low) or math.isnan(high))
    ]
    if len(known) < 2:
        return ""
    there = [f"{x:.1f} {high:.1f}" for x, _, high in known]
    back = [f"{x:.1f} {low:.1f}" for x, low, _ in reversed(known)]
    return f'<path class="band" d="M{"L".join([*there, *back])}Z"/>'


@dataclass(frozen=True)
class _Scale:
    """Takes numbers from one range to another."""

    low: float
    high: float
    start: int
    end: int

    def __call__(self, value: float) -> float:
        return self.start + (self.end - self.start) * (value - self.low) / ((self.high - self.low) or 1.0)


def _line(x1: str, y1: str, x2: str, y2: str, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"/>'


def _ticks(low: float, high: float, most: int) -> list[float]:
    """Return round numbers within a range, or about it where it has no width."""
    if not (math.isfinite(low) and math.isfinite(high)) or high <= low:
        return [float(low) if math.isfinite(low) else 0.0]
    rough = (high - low) / most
    power = 10 ** math.floor(math.log10(rough))
    step = next(power * by for by in (1, 2, 2.5, 5, 10) if power * by >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [float(round(step * number, 12)) for number in range(first, last + 1)] or [float(low)]


def _number(value: float) -> str:
    return f"{value:.6g}".replace("-", "\u2212")
