"""Score-CAM: how much a class's logit is worth where a channel is active (arXiv 1910.01279)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from finercam.methods.method import method
from finercam.methods.scores import ScoreEvidence, only_layer, ruled_in, weighted
from finercam.models.checks import refuse_not_numbers
from finercam.models.look import Look


def gather_masked(look: Look, rows: Float[Tensor, "b m C"]) -> ScoreEvidence:
    """Return the logits of ``x * H_k`` for every channel k (arXiv 2501.11309, Eq. 3 and 9), whatever the rows.

    ``H_k`` is the channel's activation, resized bilinearly to the image and scaled to 0..1 over it. The baseline
    is the zero input, that is the mean colour. A constant channel shows nothing of the image, so its row is the
    baseline's, without a run.

    Raises:
        FinercamError: several target layers, or too little memory for a single copy.
    """
    activations = only_layer(look)
    images, size = look.images, look.image_size
    channels = activations.shape[1]
    # After the last channel comes one that is nowhere active: its masked copy is the empty input, the same for all
    # images and run for the first one only.
    shown = torch.cat([activations, torch.zeros_like(activations[:, :1])], 1)
    flat = activations.flatten(2)
    wanted = torch.nn.functional.pad(flat.amax(2) > flat.amin(2), (0, 1))
    wanted[0, channels] = True

    def masked(image: Tensor, channel: Tensor) -> Tensor:
        masks = torch.nn.functional.interpolate(
            shown[image, channel][:, None], size, mode="bilinear", align_corners=False
        )
        low = masks.amin((2, 3), keepdim=True)
        span = masks.amax((2, 3), keepdim=True) - low
        # One product per copy: the mask is brought to the images' memory order by broadcasting.
        return images[image] * ((masks - low) / torch.where(span > 0, span, 1)).to(images.dtype)

    scores = look.logits.new_zeros(len(images), channels + 1, look.logits.shape[1])
    for image, channel, logits in look.rerun(masked, wanted):
        scores[image, channel] = logits.to(scores)
    empty = scores[0, channels]
    table = torch.where(wanted[:, :channels, None], scores[:, :channels], empty)
    baseline = empty.expand_as(look.logits)
    refuse_not_numbers(table.flatten(1), look.run.precision)
    return ScoreEvidence(look.logits, look.image_size, activations, ruled_in(table), ruled_in(baseline))


@method("scorecam", title="Score-CAM", gather=gather_masked, source="arXiv 1910.01279")
def scorecam(
    a: Float[Tensor, "b K h w"],
    table: Float[Tensor, "b K C"],
    baseline: Float[Tensor, "b C"],
    v: Float[Tensor, "b C"],
) -> Float[Tensor, "b h w"]:
    """Score-CAM: ``alpha_k = v . f(x * H_k) - v+ . f(x_b)`` (arXiv 2501.11309, Eq. 3 and 9 as printed).

    ``v+`` is the positive part of the row, for a contrast its target: Eq. 9 subtracts only the target's baseline.
    """
    return weighted(a, torch.einsum("bkc,bc->bk", table, v) - (baseline * v.relu()).sum(1, keepdim=True))


@method("scorecam-consistent", title="Score-CAM (contrast's baseline)", gather=gather_masked, source="arXiv 1910.01279")
def scorecam_consistent(
    a: Float[Tensor, "b K h w"],
    table: Float[Tensor, "b K C"],
    baseline: Float[Tensor, "b C"],
    v: Float[Tensor, "b C"],
) -> Float[Tensor, "b h w"]:
    """Score-CAM: ``alpha_k = v . (f(x * H_k) - f(x_b))``, the whole contrast's gain over its baseline."""
    return weighted(a, torch.einsum("bkc,bc->bk", table - baseline[:, None], v))


@method("scorecam-softmax", title="Score-CAM (softmax weights)", gather=gather_masked, source="arXiv 1910.01279")
def scorecam_softmax(
    a: Float[Tensor, "b K h w"],
    table: Float[Tensor, "b K C"],
    baseline: Float[Tensor, "b C"],
    v: Float[Tensor, "b C"],
) -> Float[Tensor, "b h w"]:
    """Score-CAM: scores normalised over the channels by a softmax (arXiv 1910.01279, Algorithm 1)."""
    return weighted(a, torch.einsum("bkc,bc->bk", table, v).softmax(1))
