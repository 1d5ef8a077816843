"""Ablation-CAM: how much a class's logit falls without a channel (Ramaswamy and Desai, WACV 2020)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from finercam.methods.method import method
from finercam.methods.scores import ScoreEvidence, only_layer, ruled_in, weighted
from finercam.models.checks import refuse_not_numbers
from finercam.models.look import Look


def gather_ablated(look: Look, rows: Float[Tensor, "b m C"]) -> ScoreEvidence:
    """Return the logits with channel k of the target layer's grid set to zero, for every k, whatever the rows.

    The baseline is the unaltered logits. With global average pooling and one linear layer behind the map, the
    table is ``y - mean(A_k) * head[:, k]``, exactly and without a run. Tokens before the patches stay.

    Raises:
        FinercamError: several target layers, or too little memory for a single copy.
    """
    activations, logits, images = only_layer(look), look.logits, look.images
    head = look.closed_form
    if head is not None:
        loss = activations.mean((2, 3))[:, :, None] * head.to(activations).T
        return ScoreEvidence(logits, look.image_size, activations, ruled_in(logits[:, None] - loss), ruled_in(logits))

    def ablate(image: Tensor, channel: Tensor, maps: Tensor) -> None:
        maps[torch.arange(len(channel), device=maps.device), channel] = 0

    active = (activations != 0).flatten(2).any(2)
    table = logits[:, None].repeat(1, activations.shape[1], 1)
    for image, channel, altered in look.rerun(lambda image, channel: images[image], active, edit=ablate):
        table[image, channel] = altered.to(table)
    refuse_not_numbers(table.flatten(1), look.run.precision)
    return ScoreEvidence(logits, look.image_size, activations, ruled_in(table), ruled_in(logits))


@method("ablationcam", title="Ablation-CAM", gather=gather_ablated, source="Ramaswamy and Desai, WACV 2020")
def ablationcam(
    a: Float[Tensor, "b K h w"],
    table: Float[Tensor, "b K C"],
    baseline: Float[Tensor, "b C"],
    v: Float[Tensor, "b C"],
) -> Float[Tensor, "b h w"]:
    """Ablation-CAM: ``alpha_k = v . (y - y without channel k)`` (Ramaswamy and Desai, WACV 2020, Eq. 3).

    Not divided by ``v . y``: that only scales the map, and where a contrast is negative it would flip it.
    """
    return weighted(a, torch.einsum("bkc,bc->bk", baseline[:, None] - table, v))
