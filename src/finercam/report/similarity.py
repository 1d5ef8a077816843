"""Sorted similarity of classifier rows, as on the left of the paper's Fig. 1."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from finercam.files import whole
from finercam.studies.similarity import Curve

#: Told apart by the colour-blind, and in grey.
_COLOURS = ("#0b559f", "#d95f02", "#2a9d5c", "#8c2d8c", "#6b6b6b", "#c2185b")


def draw_curves(curves: Mapping[str, Curve], path: str | os.PathLike[str]) -> Path:
    """Draw the mean of each curve over its ranks, its standard deviation shaded, and return the path of the picture.

    The ranks are on a logarithmic axis: what matters is how alike the first few are.

    Args:
        curves: by the name shown.
        path: of a PNG.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import StrMethodFormatter

    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.axhline(0, color="#b0b0b0", linewidth=0.8, zorder=0)
    for number, (name, curve) in enumerate(curves.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        mean, std = curve.mean.numpy(), curve.std.numpy()
        ranks = np.arange(1, len(mean) + 1)
        axes.plot(ranks, mean, color=colour, linewidth=1.8, label=f"{name} ({mean[0]:.2f} at rank 1)")
        axes.fill_between(ranks, mean - std, mean + std, color=colour, alpha=0.18, linewidth=0)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.margins(x=0.01)
    axes.set_xlabel("rank, from the most similar class on")
    axes.set_ylabel("cosine of the classifier's rows")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9)
    path = Path(path)
    with whole(path) as aside:
        figure.savefig(aside, dpi=160, format="png")
    return path
