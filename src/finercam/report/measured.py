"""What a page says and draws of an evaluation's table: findings in words, forest plots, curves over the strength."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from finercam.metrics.intervals import FEWEST_TO_JUDGE
from finercam.metrics.metric import METRICS, Column
from finercam.report.charts import Curve, Effect, chart, forest
from finercam.studies.evaluate.contrasts import contrast_name, contrast_of
from finercam.studies.evaluate.maps import CONTROL
from finercam.studies.evaluate.tables import Block, Line, better
from finercam.studies.evaluate.writing import best
from finercam.texts import Cell

_SIDE = {"higher": "right is better", "lower": "left is better"}
#: What maps that know nothing are, in the words of a person.
_NOTHING = {
    "random": "a number drawn by lot for each pixel",
    "blurred random": "the same, blurred to blobs as large as a CAM's",
    "centre": "a blob in the middle of the photo",
}


def findings(block: Block) -> Iterator[str]:
    """Yield a sentence for each comparison: where it gains, where it only seems to, and where it loses."""
    for line in block.lines:
        if not line.differences:
            continue
        told: dict[str, list[str]] = {}
        for column in block.columns:
            change = line.differences[column.spec]
            if not column.better or not change.n:
                continue
            if not change.judged:
                verdict = f"over fewer than {FEWEST_TO_JUDGE} photos, which decides nothing"
            elif column.spec in line.beyond:
                verdict = "a gain beyond all controls"
            elif better(change, column):
                verdict = "a gain, but one that a control has too"
            elif change.leaves_out_zero:
                verdict = "a loss"
            else:
                verdict = "not to be told from no change"
            told.setdefault(verdict, []).append(f"{column.title} ({change.mean:+.3f})")
        said = "; ".join(f"{verdict}: {', '.join(columns)}" for verdict, columns in told.items())
        yield f"{_name(line)}: {said or 'nothing was compared'}."


def meanings(block: Block) -> dict[str, str]:
    """Return what the columns are, in the first sentence of their own documentation."""
    found = {}
    for column in block.columns:
        definition = METRICS.get(column.spec.partition("@")[0])
        first = "" if definition is None else (definition.function.__doc__ or "").strip().split("\n\n")[0]
        if first:
            found[column.heading] = " ".join(first.split()).removeprefix("Return ").replace("``", "")
    return found


def known_nothing(block: Block) -> list[list[str | Cell]]:
    """Return what the numbers are for maps that know nothing, beside the best method's; empty where none was run."""
    controls = [line for line in block.lines if line.contrast == CONTROL]
    if not controls:
        return []
    judged = [column for column in block.columns if any(line.means[column.spec].n for line in controls)]
    table: list[list[str | Cell]] = [["map", *(column.heading for column in judged)]]
    for line in controls:
        means = [line.means[column.spec].text() for column in judged]
        meaning = _NOTHING.get(line.method, "")
        table.append([f"{line.title}: {meaning}" if meaning else line.title, *means])
    winners = [best(block, column) for column in judged]
    cells = ["" if w is None else w.means[c.spec].text() for w, c in zip(winners, judged, strict=True)]
    return [*table, ["the best of the methods", *cells]] if any(cells) else table


def forests(block: Block) -> list[str]:
    """Return a forest plot of paired differences for each column that has a better side."""
    drawn = []
    for column in block.columns:
        effects = _effects(block, column) if column.better else []
        if any(not one.control for one in effects):
            drawn.append(forest(f"{column.title}: change by the comparison, {_SIDE[column.better]}", effects))
    return drawn


def _effects(block: Block, column: Column) -> list[Effect]:
    compared = {line.method for line in block.lines if line.differences}
    return [
        Effect(_name(line), change, control=line.control)
        for line in block.lines
        if line.method in compared
        and (change := (line.beside if line.control else line.differences).get(column.spec)) is not None
        and change.n
    ]


def _name(line: Line) -> str:
    """Return what a line is called under its method: of a control, what kind it is."""
    if line.control:
        return f"control: {line.contrast.partition(', ')[2]}"
    return f"{line.called} {line.title}"


def strengths(block: Block) -> list[str]:
    """Return a chart over gamma for each column, where a method was asked with several; else nothing."""
    groups = _by_strength(block)
    if not groups:
        return []
    drawn = []
    for column in block.columns:
        curves = []
        for name, lines in groups.items():
            means = [(gamma, line.means[column.spec]) for gamma, line in lines if line.means[column.spec].n]
            if means:
                x = [gamma for gamma, _ in means]
                y, low, high = ([getattr(mean, end) for _, mean in means] for end in ("mean", "low", "high"))
                curves.append(Curve(name, x, y, low, high, marked=True))
        if curves:
            drawn.append(chart(column.heading, curves, "gamma"))
    return drawn


def _by_strength(block: Block) -> dict[str, list[tuple[float, Line]]]:
    """Return, for each method and question that was asked with two strengths or more, its lines by gamma."""
    found: dict[str, list[tuple[float, Line]]] = {}
    plain: dict[str, Line] = {}
    for line in block.lines:
        if line.control or not (contrast := contrast_of(line.contrast)):
            continue
        if contrast.strength == 0 and not contrast.reverse:
            plain[line.method] = line
            continue
        options = contrast_name(replace(contrast, gamma=None)).split()[1:]
        found.setdefault(" ".join([line.called, *options]), []).append((contrast.strength, line))
    several = {name: lines for name, lines in found.items() if len({gamma for gamma, _ in lines}) > 1}
    for lines in several.values():
        if lines[0][1].method in plain:
            lines.append((0.0, plain[lines[0][1].method]))
        lines.sort(key=lambda one: one[0])
    return several
