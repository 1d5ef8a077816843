"""Confidences of many masked copies of many maps, each distinct copy run through the model once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from finercam.metrics.masking import Score
from finercam.models.batching import in_batches


@dataclass(frozen=True, order=True)
class Cut:
    """A kind of masked copy.

    Attributes:
        inserted: whether the most salient pixels are given back to a blurred image, rather than taken from the image.
        count: how many pixels.
    """

    inserted: bool
    count: int


def masked_confidences(
    score: Score,
    images: Float[Tensor, "b 3 H W"],
    ranks: Sequence[Int[Tensor, "b H W"]],
    cuts: Sequence[Cut],
    classes: Int[Tensor, "b k"],
    unmasked: Float[Tensor, "b k"],
    *,
    fill: Float[Tensor, "b 3 H W"],
    blurred: Callable[[], Float[Tensor, "b 3 H W"]],
    batch_size: int | None = None,
) -> Float[Tensor, "m b n k"]:
    """Return the probabilities of ``k`` classes for every map, image and cut.

    Maps that rank the pixels alike share their copies; copies that show the whole image take ``unmasked``, and
    copies of which nothing is left are the same for all maps.

    Args:
        score: images to probabilities.
        images: preprocessed.
        ranks: per map, each pixel's rank (``masking.ranking``).
        cuts: which copies.
        classes: whose probabilities are kept.
        unmasked: theirs for the unmasked images.
        fill: what removed pixels are replaced by.
        blurred: gives the images that pixels are given back to; called only where there is such a cut.
        batch_size: copies per run; ``None`` finds one that fits.
    """
    distinct: list[Tensor] = []
    place = []
    for rank in ranks:
        same = next((i for i, other in enumerate(distinct) if torch.equal(rank, other)), len(distinct))
        if same == len(distinct):
            distinct.append(rank)
        place.append(same)
    pixels = images.shape[2] * images.shape[3]
    # What shows the whole image is known; what shows nothing of it is run once.
    whole = [cut.count >= pixels if cut.inserted else cut.count == 0 for cut in cuts]
    nothing = [cut.count == 0 if cut.inserted else cut.count >= pixels for cut in cuts]
    wanted = torch.tensor([
        [not whole[c] and (not nothing[c] or m == 0) for c in range(len(cuts))] for m in range(len(distinct))
    ])  # fmt: skip
    result = unmasked[None, :, None].repeat(len(distinct), 1, len(cuts), 1)  # m b n k
    starts = {False: images, True: blurred() if any(cut.inserted for cut in cuts) else images}
    ends = {False: fill, True: images}
    counts = torch.tensor([cut.count for cut in cuts], device=images.device)
    stack = torch.stack(distinct)

    for inserted in (False, True):
        of_kind = torch.tensor([cut.inserted == inserted for cut in cuts])
        start, end = starts[inserted], ends[inserted]

        def run(image: Tensor, copy: Tensor, start: Tensor = start, end: Tensor = end) -> None:
            m, c = copy // len(cuts), copy % len(cuts)
            chosen = stack[m, image] < counts[c][:, None, None]
            probabilities = score(torch.where(chosen[:, None], end[image], start[image]))
            result[m, image, c] = probabilities.gather(1, classes[image]).to(result)

        entries = (wanted & of_kind).flatten().expand(len(images), -1).to(images.device)
        in_batches(entries, run, batch_size)
    for c, empty in enumerate(nothing):
        if empty and not whole[c]:
            result[:, :, c] = result[0, :, c]
    return result[place]
