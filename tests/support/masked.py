"""Views whose confidences come from the fast path, for made-up models that are no more than a function."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from finercam.metrics.masked_runs import Rerun, masked_confidences
from finercam.metrics.masking import filling, in_blocks, ranking
from finercam.metrics.metric import find_metric
from finercam.metrics.view import View
from finercam.models.altering import Altered, altered_logits

Logits = Callable[[Tensor], Tensor]


def rerun_of(logits: Logits, copies: int | None = None) -> Rerun:
    """What ``Look.rerun`` does, without a model."""

    def rerun(make: Callable[[Tensor, Tensor], Tensor], wanted: Tensor) -> Iterator[Altered]:
        return altered_logits(lambda image, copy: logits(make(image, copy)), wanted, copies)

    return rerun


def measured(
    logits: Logits,
    images: Tensor,
    saliency: Tensor,
    classes: Tensor,
    specs: Sequence[str],
    *,
    fill: Tensor | None = None,
    start: Tensor | None = None,
    rerun: Rerun | None = None,
) -> dict[str, list]:
    """Every column of some masking metrics of one map of each image, all from one table of masked copies."""
    metrics = [find_metric(spec) for spec in specs]

    def named(name: str) -> Tensor:
        given = start if name == "blur" else fill
        return filling(images, name or "mean") if given is None else given

    cuts = sorted({cut for metric in metrics for cut in metric.needs.cuts(saliency[0].numel())})
    table = masked_confidences(
        rerun or rerun_of(logits),
        images,
        [{cells: ranking(in_blocks(saliency, cells)) for cells in {cut.cells for cut in cuts}}],
        cuts,
        classes,
        logits(images).softmax(1).gather(1, classes),
        fill=named,
    )
    view = View(saliency, confidences=lambda cut: table[0, :, cuts.index(cut)])
    return {name: values for metric in metrics for name, values in metric.compute(view).items()}


def log_odds(of: Logits) -> Logits:
    """Logits whose softmax is a made-up probability of the first class, 0 to 1, and the rest in equal halves."""

    def logits(images: Tensor) -> Tensor:
        first = of(images)
        return torch.stack([first, (1 - first) / 2, (1 - first) / 2], 1).log()

    return logits
