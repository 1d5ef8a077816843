"""What each contrast changes, photo by photo: a forest plot of paired differences with their intervals."""

from __future__ import annotations

from collections.abc import Sequence

from finercam.errors import FinercamError
from finercam.metrics.metric import Column
from finercam.report.explained import model_name
from finercam.report.figure import figure
from finercam.report.fonts import length
from finercam.report.printing import (
    COLOURS,
    FAINT,
    HEADING,
    INK,
    SMALL,
    TWO_COLUMNS,
    Figure,
    finished,
    fitted_lines,
    frame_on,
    page,
    points,
)
from finercam.report.printing import write as write_line
from finercam.report.runs import columns_in, data_of, meant
from finercam.studies.evaluate.tables import Block, Line, better, read_block

#: The paper's, of those that the run has.
_USUAL = ("deletion", "relative-drop@0.05", "relative-drop@0.1", "localization")
_MOST = 4
_PITCH, _HEAD, _TICKS = 11.0, 16.0, 22.0
#: Panels are no narrower, and names have at least so much room.
_NARROWEST, _NAMES = 78.0, 70.0


@figure("forest", "Paired differences of finer and plain maps, with intervals")
def forest(runs: Sequence[str], *, metrics: Sequence[str] = (), method: str = "", width: float = TWO_COLUMNS) -> Figure:
    """Draw each finer map's mean paired difference to its own plain map, with its 95 % interval, for each metric.

    A filled mark is a difference that is better, by its whole interval and beyond all of the method's own controls; a
    half-filled one is better, but not beyond them; a cross is worse by its whole interval; an open one is neither.

    Args:
        runs: evaluations.
        metrics: a panel each; the paper's that the first run has if left out.
        method: the spec of one method; all if left out.
        width: in millimetres.

    Raises:
        FinercamError: nothing is compared with anything in the runs, or they lack a metric.
    """
    blocks = [read_block(run) for run in runs]
    first = blocks[0]
    usual = [spec for spec in _USUAL if spec in {column.spec for column in first.columns}]
    wanted = list(metrics) or usual or [column.spec for column in first.columns if column.better][:_MOST]
    columns = columns_in(first, wanted)
    shown = [
        (block, line)
        for block in blocks
        for line in block.lines
        if line.differences and (not method or line.method == method)
    ]
    if not shown:
        raise FinercamError("the runs have no finer map beside its plain one; evaluate with --contrast plain,finer")
    for block in blocks[1:]:
        columns_in(block, wanted)
    names = [f"{line.called} {line.title}" for _, line in shown]
    if len({(block.data, block.model) for block in blocks}) > 1:
        names = [
            f"{name}, {data_of(block)}, {model_name(block.model)}"
            for name, (block, _) in zip(names, shown, strict=True)
        ]
    across = points(width)
    texts = [fitted_lines([name], max(_NAMES, 0.27 * across)) for name in names]
    # Measured as they were fitted.
    wide = max(length(text, round(10 * SMALL)) / 10 for own in texts for text in own) + 8.0
    each = max(1, min(len(columns), int((across - wide) / _NARROWEST)))
    highs = [max(_PITCH, 7.4 * len(own) + 3.0) for own in texts]
    band, key = sum(highs), fitted_lines([_KEY], across - 4.0)
    bands = [columns[start : start + each] for start in range(0, len(columns), each)]
    height = (_HEAD + band + _TICKS) * len(bands) + 8.0 * len(key) + 4.0
    drawn = page(width, height)
    for number, own in enumerate(bands):
        top = (_HEAD + band + _TICKS) * number + _HEAD
        places = [sum(highs[:row]) + highs[row] / 2 for row in range(len(texts))]
        for lines, y in zip(texts, places, strict=True):
            for row, text in enumerate(lines):
                write_line(drawn, 2.0, top + y + 2.2 + 7.4 * (row - (len(lines) - 1) / 2), text)
        for place, column in enumerate(own):
            room = (across - wide) / each
            frame = (wide + place * room, top, room - 12.0, band)
            axes = drawn.add_axes(frame_on(drawn, frame), label=column.spec)
            _panel(axes, column, [line for _, line in shown], places, band)
            axes.set_title(column.heading, fontweight="bold", fontsize=HEADING, pad=4.0)
    for row, text in enumerate(key):
        write_line(drawn, 2.0, height - 4.0 - 8.0 * (len(key) - 1 - row), text, colour=FAINT)
    return finished(drawn, _caption(blocks, columns, shown))


#: No-break spaces keep each mark with its meaning.
_KEY = "Difference to the plain map: " + "; ".join(
    one.replace(" ", "\xa0")
    for one in ("● better, beyond all controls", "◐ better, not beyond them", "○ open", "× worse")
)


def _panel(axes: object, column: Column, lines: Sequence[Line], places: Sequence[float], height: float) -> None:
    from matplotlib.axes import Axes

    assert isinstance(axes, Axes)
    axes.axvline(0, color=FAINT, linewidth=0.6, zorder=0)
    for line, y in zip(lines, places, strict=True):
        found = line.differences[column.spec]
        if not found.n:
            continue
        state = state_of(line, column)
        colour = {"beyond": COLOURS[0], "better": COLOURS[0], "worse": COLOURS[1], "open": FAINT}[state]
        if found.low == found.low:
            axes.plot([found.low, found.high], [y, y], color=colour, linewidth=0.9, solid_capstyle="butt")
        axes.plot(
            [found.mean],
            [y],
            marker="x" if state == "worse" else "o",
            color=colour,
            markerfacecolor="white" if state == "open" else colour,
            markerfacecoloralt="white",
            markersize=4.0,
            markeredgewidth=0.8,
            linestyle="none",
            gid=state,
            fillstyle="left" if state == "better" else "full",
        )
    axes.set_ylim(height, 0)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.locator_params(axis="x", nbins=3, min_n_ticks=2)
    axes.margins(x=0.08)
    axes.tick_params(axis="x", labelcolor=INK)


def state_of(line: Line, column: Column) -> str:
    """Return ``better`` (by the whole interval), ``beyond`` (the method's controls, too), ``worse`` or ``open``."""
    found = line.differences[column.spec]
    if not found.judged:
        return "open"
    if better(found, column):
        return "beyond" if column.spec in line.beyond else "better"
    return "worse" if column.better and found.leaves_out_zero else "open"


def _caption(blocks: Sequence[Block], columns: Sequence[Column], shown: Sequence[tuple[Block, Line]]) -> str:
    of = "; ".join(f"{block.measured} photos of {data_of(block)}, {model_name(block.model)}" for block in blocks)
    said = []
    for _, line in shown:
        numbers = ", ".join(f"{column.title} {line.differences[column.spec].text('+.3f')}" for column in columns)
        said.append(f"{line.called} {line.title}: {numbers}")
    return (
        "Mean paired differences of finer maps to the same method's plain maps, with 95 % intervals over photos "
        f"({of}). Filled: better by the whole interval and beyond all of the method's own controls; half-filled: "
        f"better, but not beyond them; cross: worse; open: neither, or too few photos. {'; '.join(said)}."
        f"{meant(blocks[0], columns)}"
    )
