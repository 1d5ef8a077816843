"""Evidence for score methods: the logits of many altered runs, kept for all classes.

What is altered does not depend on the class, so one table (channels x classes) answers every contrast. A score method
is a function of activations (b K h w), the table (b K C), the baseline's scores (b C) and a row (b C).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from finercam.errors import FinercamError
from finercam.methods.evidence import Evidence
from finercam.models.look import Look


@dataclass(frozen=True, eq=False)
class ScoreEvidence(Evidence):
    """What score methods need, for a batch.

    Attributes:
        activations: of the target layer.
        table: for each channel, the logits of the run altered by it.
        baseline: the logits that ``table`` is compared with: of the empty input (Score-CAM), of the unaltered
            images (Ablation-CAM).
    """

    activations: Float[Tensor, "b K h w"]
    table: Float[Tensor, "b K C"]
    baseline: Float[Tensor, "b C"]

    def maps(self, rows: Float[Tensor, "b r C"]) -> Float[Tensor, "b r h w"]:
        """Return the method's signed map of each row; every class may be asked about."""
        assert self.how is not None
        assert self.how.function is not None
        table = (self.activations, self.table, self.baseline)
        return torch.stack([self.how.function(*table, row.to(self.table)) for row in rows.unbind(1)], 1)

    def of(self, images: slice | Int[Tensor, " n"]) -> ScoreEvidence:
        """Return the evidence of some images of the batch."""
        return replace(
            self,
            logits=self.logits[images],
            activations=self.activations[images],
            table=self.table[images],
            baseline=self.baseline[images],
        )


def only_layer(look: Look) -> Float[Tensor, "b K h w"]:
    """Return the activations of the one target layer, in the logits' precision.

    Raises:
        FinercamError: there are several.
    """
    layers = look.classifier.layers
    if len(layers) > 1:
        raise FinercamError(
            f"score methods look at one layer and the classifier has {len(layers)}: {', '.join(layers)}; load it "
            "with one"
        )
    return look.activations()[0].to(look.logits.dtype)


def weighted(activations: Float[Tensor, "b K h w"], weights: Float[Tensor, "b K"]) -> Float[Tensor, "b h w"]:
    """Return the sum of the channels, each by its weight."""
    return torch.einsum("bk,bkhw->bhw", weights, activations)


def ruled_in(scores: Float[Tensor, "*any C"]) -> Float[Tensor, "*any C"]:
    """Return scores in which a class that is ruled out (-inf, altered or not) has no say: 0 instead."""
    return scores.masked_fill(scores.isneginf(), 0.0)
