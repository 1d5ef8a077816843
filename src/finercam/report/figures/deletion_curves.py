"""Probabilities of the target and of the second class as pixels are removed: the paper's Fig. 5."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow.compute as pc
import torch

from finercam.errors import FinercamError
from finercam.metrics.intervals import Mean, mean_of
from finercam.metrics.masking import CURVE, CURVE_OF_OTHER, check_fraction
from finercam.report.explained import model_name
from finercam.report.figure import figure
from finercam.report.printing import COLOURS, ONE_COLUMN, Figure, finished, one_line, page
from finercam.report.runs import data_of, method_in, only_block
from finercam.runs.rows import Rows
from finercam.studies.evaluate.contrasts import PLAIN_NAME
from finercam.studies.evaluate.tables import Line

#: The first share of the pixels, whose gap the paper looks at.
FIRST = 0.2


@figure("deletion-curves", "Deletion curves of target and second class, the first gap shaded", paper="5")
def deletion_curves(
    runs: Sequence[str], *, method: str = "", key: str = "", first: float = FIRST, width: float = ONE_COLUMN
) -> Figure:
    """Draw the probabilities of the target and of class d against the share of pixels removed.

    A panel for the plain map and for each comparison; the gap between the two classes is shaded, and its mean over the
    first pixels written down.

    Args:
        runs: one evaluation with the metric ``deletion``.
        method: its spec; the run's first if left out.
        key: of one photo to be shown; the means over all of them if left out.
        first: share of the pixels whose gap is shaded, above 0 and up to 1.
        width: in millimetres.

    Raises:
        FinercamError: the run lacks the metric, the method or the photo.
    """
    check_fraction(first)
    block = only_block(runs, "deletion-curves")
    how = method_in(block, method)
    spec = next((column.spec for column in block.columns if column.spec.partition("@")[0] == "deletion"), None)
    if spec is None:
        raise FinercamError("the run has no metric 'deletion', whose curves are shown; evaluate with --metric deletion")
    lines = [line for line in block.lines if line.method == how and not line.control]
    drawn = page(width, 30.0 + 105.0 * -(-len(lines) // 2))
    rows, across = -(-len(lines) // 2), min(2, len(lines))
    panels = list(drawn.subplots(rows, across, sharex=True, sharey=True, squeeze=False).flat)
    gaps = []
    for axes, line in zip(panels, lines, strict=False):
        curves = _curves(runs[0], line, spec, key)
        gap = _gap(curves, first)
        gaps.append(f"{_title(line)} {gap}")
        x, (own, other) = np.linspace(0, 1, curves.shape[2]), curves.mean(0).numpy()
        axes.plot(x, own, color=COLOURS[0], label="target")
        axes.plot(x, other, color=COLOURS[1], linestyle=(0, (5, 2)), label="most similar class")
        # As far as the share goes, also between two steps.
        inside = np.append(x[x < first], first)
        edges = [np.interp(inside, x, curve) for curve in (own, other)]
        axes.fill_between(inside, *edges, color="#f0e442", alpha=0.6, linewidth=0)
        axes.set_title(_title(line), fontweight="bold")
        axes.text(0.97, 0.95, f"gap {gap.mean:.3f}", transform=axes.transAxes, ha="right", va="top")
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
    for axes in panels[len(lines) :]:
        axes.remove()
    drawn.supxlabel("share of pixels removed, most salient first", fontsize=6)
    drawn.supylabel("probability", fontsize=6)
    handles, labels = drawn.axes[0].get_legend_handles_labels()
    drawn.legend(handles, labels, loc="outside upper center", ncols=2)
    drawn.set_layout_engine("constrained")
    of = f"of {one_line(key)}" if key else f"means over {lines[0].images} photos"
    return finished(
        drawn,
        f"Probabilities of the target and of the most similar class as pixels are removed in the order of "
        f"{lines[0].called}'s map, {of}, {data_of(block)}, {model_name(block.model)}. Shaded: the gap over the first "
        f"{100 * first:.3g} % of the pixels; its mean: {'; '.join(gaps)}.",
    )


def _curves(run: str, line: Line, spec: str, key: str) -> torch.Tensor:
    """Return the probabilities of target and other class, photos x 2 x steps."""
    names = [f"{spec} {CURVE}", f"{spec} {CURVE_OF_OTHER}"]
    chosen = (pc.field("method") == line.method) & (pc.field("contrast") == line.contrast)
    if key:
        chosen &= pc.field("key") == key
    table = Rows(run).table(["id", *names], chosen).sort_by("id")
    if not len(table):
        raise FinercamError(f"the run has no photo {key!r}; give a key of its rows")
    return torch.stack([torch.tensor(table[name].to_pylist(), dtype=torch.float64) for name in names], 1)


def _gap(curves: torch.Tensor, first: float) -> Mean:
    """Return the mean over photos of the mean gap over the first pixels, by the trapezoidal rule."""
    x = np.linspace(0, 1, curves.shape[2])
    inside = np.append(x[x < first], first)
    gaps = np.array([np.interp(inside, x, own - other) for own, other in curves.numpy()])
    return mean_of(torch.trapezoid(torch.from_numpy(gaps), torch.from_numpy(inside)) / first)


def _title(line: Line) -> str:
    return "plain" if line.contrast == PLAIN_NAME else line.contrast.replace("gamma", "γ")
