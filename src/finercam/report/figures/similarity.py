"""Sorted similarity of classifier rows: the left of the paper's Fig. 1."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.ticker import StrMethodFormatter

from finercam.models import Classifier
from finercam.report.figure import figure
from finercam.report.printing import COLOURS, DASHES, ONE_COLUMN, Figure, finished, one_line, page
from finercam.studies.similarity import Curve, curve, rows_of


@figure("similarity", "How alike the rows of classifiers are, sorted", paper="1, left")
def similarity(classifiers: Mapping[str, Classifier], *, own: bool = True, width: float = ONE_COLUMN) -> Figure:
    """Draw the sorted similarities of classifiers' rows (Eq. 11 and 12); see ``draw_curves``.

    Args:
        classifiers: by the name shown; each ends in a linear layer.
        own: keep each class's 0 for itself in the curve, as the paper does.
        width: in millimetres.
    """
    return draw_curves({name: curve(rows_of(one), own=own) for name, one in classifiers.items()}, width)


def draw_curves(curves: Mapping[str, Curve], width: float = ONE_COLUMN) -> Figure:
    """Return the mean of each curve over its ranks, its standard deviation shaded.

    The ranks are on a logarithmic axis: what matters is how alike the first few are.

    Args:
        curves: by the name shown.
        width: in millimetres.
    """
    drawn = page(width, 150.0 + 8.0 * max(0, len(curves) - 3))
    axes = drawn.add_subplot()
    axes.axhline(0, color="#b0b0b0", linewidth=0.6, zorder=0)
    said = []
    for number, (name, own) in enumerate(curves.items()):
        colour, dashes = COLOURS[number % len(COLOURS)], DASHES[number % len(DASHES)]
        mean, std = own.mean.numpy(), own.std.numpy()
        ranks = np.arange(1, len(mean) + 1)
        label = one_line(name)
        axes.plot(ranks, mean, color=colour, linestyle=dashes, label=f"{label} ({mean[0]:.2f} at rank 1)")
        axes.fill_between(ranks, mean - std, mean + std, color=colour, alpha=0.18, linewidth=0)
        said.append(f"{label}: {mean[0]:.3f} between a class and the one most like it")
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_formatter("")
    axes.margins(x=0.01)
    axes.set_xlabel("rank, from the most similar class on")
    axes.set_ylabel("cosine of the classifier's rows")
    axes.legend(loc="upper right", borderaxespad=0.0)
    drawn.set_layout_engine("constrained")
    return finished(
        drawn,
        "Cosine similarity of the rows of the last linear layer, sorted for each class and averaged over classes; "
        f"shaded: one standard deviation over classes. {'; '.join(said)}.",
    )
