"""Drops of confidence against the strength of the comparison and the number of references: the paper's Fig. 6b."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from finercam.contrast.contrast import exactly
from finercam.errors import FinercamError
from finercam.metrics.intervals import Mean
from finercam.report.explained import model_name
from finercam.report.figure import figure
from finercam.report.printing import COLOURS, DASHES, MARKERS, ONE_COLUMN, Figure, finished, page
from finercam.report.runs import columns_in, data_of, meant, method_in, only_block
from finercam.studies.evaluate.contrasts import PLAIN_NAME, swept
from finercam.studies.evaluate.tables import Line, method_title

#: The paper's: without the most salient 5 % of the pixels.
METRICS = ("confidence-drop@0.05", "relative-drop@0.05")
_YS = {"confidence-drop": "fall of the target's\nprobability", "relative-drop": "relative drop"}


@figure("strength", "Absolute and relative drop against strength and number of references", paper="6b")
def strength(
    runs: Sequence[str], *, method: str = "", metrics: Sequence[str] = METRICS, width: float = ONE_COLUMN
) -> Figure:
    """Draw means over photos against gamma, a line for each number of references, with 95 % intervals.

    Gamma 0 is the plain map, which all lines begin at.

    Args:
        runs: one evaluation of several strengths: ``finercam evaluate --gamma 0.2,0.6,1 --references 1,3 --metric
            confidence-drop@0.05,relative-drop@0.05``.
        method: its spec; the run's first if left out.
        metrics: a panel each.
        width: in millimetres.

    Raises:
        FinercamError: the run was not of several strengths, or lacks a metric or the method.
    """
    block = only_block(runs, "strength")
    how = method_in(block, method)
    columns = columns_in(block, metrics)
    lines: dict[int, dict[float, Line]] = defaultdict(dict)
    base = next((line for line in block.lines if line.method == how and line.contrast == PLAIN_NAME), None)
    for line in block.lines:
        found = swept(line.contrast)
        if line.method == how and not line.control and found is not None:
            lines[found[1]][found[0]] = line
    if max((len(own) for own in lines.values()), default=0) < 2:
        raise FinercamError(
            f"{runs[0]!r} has no two strengths of {how}; evaluate with several, such as --gamma 0.2,0.6,1"
        )
    drawn = page(width, 20.0 + 95.0 * len(columns))
    panels = drawn.subplots(len(columns), 1, sharex=True, squeeze=False)[:, 0]
    # Side by side, so that intervals can be told apart.
    step = 0.008 * max(max(own) for own in lines.values())
    for axes, column in zip(panels, columns, strict=True):
        for number, (count, own) in enumerate(sorted(lines.items())):
            by_gamma = {0.0: base, **own} if base is not None else own
            means = {gamma: line.means[column.spec] for gamma, line in sorted(by_gamma.items()) if line is not None}
            shift = step * (number - (len(lines) - 1) / 2)
            axes.errorbar(
                [gamma + shift for gamma in means],
                [one.mean for one in means.values()],
                yerr=_arms(list(means.values())),
                color=COLOURS[number % len(COLOURS)],
                linestyle=DASHES[number % len(DASHES)],
                marker=MARKERS[number % len(MARKERS)],
                elinewidth=0.5,
                capsize=1.2,
                capthick=0.5,
                label=f"{count} reference{'' if count == 1 else 's'}",
            )
        axes.set_ylabel(_YS.get(column.spec.partition("@")[0], column.title))
        axes.grid(axis="y", color="#e4e4e4", linewidth=0.4)
    panels[-1].set_xlabel("comparison strength γ")
    handles, labels = panels[0].get_legend_handles_labels()
    drawn.legend(handles, labels, loc="outside upper center", ncols=2 if len(lines) > 3 else max(1, len(lines)))
    drawn.set_layout_engine("constrained")
    best = max(
        (
            (line.means[columns[-1].spec].mean, gamma, count)
            for count, own in lines.items()
            for gamma, line in own.items()
        )
    )
    return finished(
        drawn,
        f"{' and '.join(column.title for column in columns)} of {method_title(how)} against the strength of the "
        f"comparison and the number of similar classes, means over {block.measured} photos of {data_of(block)} with "
        f"95 % intervals, {model_name(block.model)}; γ = 0 is the plain map. The largest {columns[-1].title} is "
        f"{best[0]:.3f}, at γ = {exactly(best[1])} with {best[2]} reference{'' if best[2] == 1 else 's'}."
        f"{meant(block, columns)}",
    )


def _arms(means: Sequence[Mean]) -> list[list[float]]:
    return [[one.mean - one.low for one in means], [one.high - one.mean for one in means]]
