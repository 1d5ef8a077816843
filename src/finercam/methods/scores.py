"""Evidence for score methods: the logits of many altered runs, kept for all classes.

What is altered does not depend on the class, so one table (channels x classes) answers every contrast. The
altered copies are streamed through the model in batches and never held together.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from finercam.errors import FinercamError
from finercam.methods.evidence import checked_head, forward, refuse_not_numbers
from finercam.models.batching import in_batches
from finercam.models.classifier import Classifier
from finercam.models.folding import folded
from finercam.models.running import autocast, run, undisturbed

#: Altered copies from which on a copy of the model with its batch norms folded pays.
_WORTH_FOLDING = 100


@dataclass(frozen=True)
class ScoreEvidence:
    """What score methods need, for a batch.

    Attributes:
        logits: of the unaltered images.
        activations: of the target layer.
        image_size: height and width of the images.
        table: for each channel, the logits of the run altered by it.
        baseline: the logits that ``table`` is compared with: of the empty input (Score-CAM), of the unaltered
            images (Ablation-CAM).
    """

    logits: Float[Tensor, "b C"]
    activations: Float[Tensor, "b K h w"]
    image_size: tuple[int, int]
    table: Float[Tensor, "b K C"]
    baseline: Float[Tensor, "b C"]
    kind: str

    def image(self, index: int) -> ScoreEvidence:
        """Return the evidence of one image of the batch (views, not copies)."""
        one = slice(index, index + 1)
        return replace(
            self,
            logits=self.logits[one],
            activations=self.activations[one],
            table=self.table[one],
            baseline=self.baseline[one],
        )


def look_through_masks(
    classifier: Classifier,
    images: Float[Tensor, "b 3 H W"],
    *,
    precision: str = "float32",
    batch_size: int | None = None,
) -> ScoreEvidence:
    """Return the logits of ``x * H_k`` for every channel k (Score-CAM; arXiv 2501.11309, Eq. 3 and 9).

    ``H_k`` is the channel's activation, resized bilinearly to the image and scaled to 0..1 over it. The baseline
    is the zero input, that is the mean colour. A constant channel shows nothing of the image, so its row is the
    baseline's, without a run.

    Args:
        classifier: with one target layer.
        images: preprocessed.
        precision: of the runs.
        batch_size: masked copies per run; ``None`` finds one that fits.

    Raises:
        FinercamError: several target layers, or too little memory for a single copy.
    """
    with undisturbed(classifier.module), ExitStack() as stack:
        images = classifier.take(images)
        logits, activations = _unaltered(classifier, images, precision)
        flat = activations.flatten(2)
        varied = flat.amax(2) > flat.amin(2)
        module = classifier.module
        if int(varied.sum()) >= _WORTH_FOLDING:
            module = folded(classifier)
            stack.enter_context(undisturbed(module))
        zero = run(module, torch.zeros_like(images[:1]), precision)
        baseline = classifier.read(zero).to(logits).expand_as(logits)
        table = baseline[:, None].repeat(1, activations.shape[1], 1)
        size = (images.shape[-2], images.shape[-1])

        def masked(image: Tensor, channel: Tensor) -> Tensor:
            masks = torch.nn.functional.interpolate(
                activations[image, channel][:, None], size, mode="bilinear", align_corners=False
            )
            low = masks.amin((2, 3), keepdim=True)
            high = masks.amax((2, 3), keepdim=True)
            # One product per copy: the mask is brought to the images' memory order by broadcasting.
            return images[image] * ((masks - low) / (high - low)).to(images.dtype)

        def fill(image: Tensor, channel: Tensor) -> None:
            output = run(module, masked(image, channel), precision)
            table[image, channel] = classifier.read(output).to(table)

        # One context around all runs: the weights are cast once.
        with autocast(images.device, precision):
            in_batches(varied, fill, batch_size)
    refuse_not_numbers(table.flatten(1), precision)
    return ScoreEvidence(logits, activations, size, _open(table), _open(baseline), "masks")


def look_through_ablation(
    classifier: Classifier,
    images: Float[Tensor, "b 3 H W"],
    *,
    precision: str = "float32",
    batch_size: int | None = None,
) -> ScoreEvidence:
    """Return the logits with channel k of the target layer's grid set to zero, for every k (Ablation-CAM).

    The baseline is the unaltered logits. With global average pooling and one linear layer behind the map, the
    table is ``y - mean(A_k) * head[:, k]``, exactly and without a run. Tokens before the patches stay.

    Args, Raises: as for ``look_through_masks``.
    """
    with undisturbed(classifier.module):
        images = classifier.take(images)
        logits, activations = _unaltered(classifier, images, precision)
        size = (images.shape[-2], images.shape[-1])
        if classifier.pooled:
            head = checked_head(classifier, logits, activations, precision)
            loss = activations.mean((2, 3))[:, :, None] * head.to(activations).T
            return ScoreEvidence(logits, activations, size, logits[:, None] - loss, logits, "ablation")
        grid = classifier.grids[0]
        active = (activations != 0).flatten(2).any(2)
        table = logits[:, None].repeat(1, activations.shape[1], 1)

        def fill(image: Tensor, channel: Tensor) -> None:
            def ablate(name: str, output: Tensor) -> Tensor:
                output = output.clone()
                grid.maps(output, size)[torch.arange(len(channel), device=output.device), channel] = 0
                return output

            altered, _ = forward(classifier, images[image], precision=precision, edit=ablate)
            table[image, channel] = altered.to(table)

        with autocast(images.device, precision):
            in_batches(active, fill, batch_size)
    refuse_not_numbers(table.flatten(1), precision)
    return ScoreEvidence(logits, activations, size, _open(table), _open(logits), "ablation")


def _open(scores: Tensor) -> Tensor:
    """Return scores in which a class that is ruled out (-inf, altered or not) has no say: 0 instead."""
    return scores.masked_fill(scores.isneginf(), 0.0)


def _unaltered(classifier: Classifier, images: Tensor, precision: str) -> tuple[Tensor, Tensor]:
    if len(classifier.layers) > 1:
        raise FinercamError(
            f"score methods look at one layer and the classifier has {len(classifier.layers)}: "
            f"{', '.join(classifier.layers)}; load it with one"
        )
    logits, taps = forward(classifier, images, precision=precision)
    activations = classifier.grids[0].maps(taps[0], (images.shape[-2], images.shape[-1]))
    return logits, activations.to(logits.dtype)
