"""Confidences of many masked copies of many maps, each distinct copy run through the model once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor

from finercam.metrics.view import Cut
from finercam.models.altering import Altered
from finercam.models.assumed import SOFTMAX, as_probabilities

#: ``Look.rerun``: given what makes copies of indices (image, copy), and which are wanted (b m), yields their logits.
Rerun: TypeAlias = Callable[[Callable[[Tensor, Tensor], Tensor], Tensor], Iterable[Altered]]


def masked_confidences(
    rerun: Rerun,
    images: Float[Tensor, "b c H W"],
    ranks: Sequence[Mapping[int, Int[Tensor, "b H W"]]],
    cuts: Sequence[Cut],
    classes: Int[Tensor, "b k"],
    unmasked: Float[Tensor, "b k"],
    *,
    fill: Callable[[str], Float[Tensor, "b c H W"]],
    probabilities: str = SOFTMAX,
) -> Float[Tensor, "m b n k"]:
    """Return the probabilities of ``k`` classes for every map, image and cut, in the type of ``unmasked``.

    Maps that rank the pixels alike share their copies; copies that show the whole image take ``unmasked``, and
    copies of which nothing is left are the same for all maps.

    Args:
        rerun: that of a look at the same model; its images need not be these.
        images: preprocessed.
        ranks: per map and number of cells that a cut has, each pixel's rank (``masking.ranking``).
        cuts: which copies.
        classes: whose probabilities are kept.
        unmasked: theirs for the unmasked images.
        fill: gives what removed pixels are replaced by, by the name that cuts have; pixels are given back to
            ``blur``. Called once for each that is needed.
        probabilities: what makes them of the logits: ``softmax`` or ``sigmoid``.

    Raises:
        OutOfMemory: not even one copy fits in the accelerator's memory.
    """
    blocks = sorted({cut.cells for cut in cuts})
    distinct: list[Mapping[int, Tensor]] = []
    place = []
    for own in ranks:
        same = next((i for i, one in enumerate(distinct) if _alike(own, one, blocks)), len(distinct))
        if same == len(distinct):
            distinct.append(own)
        place.append(same)
    pixels = images.shape[2] * images.shape[3]
    # What shows the whole image is known; what shows nothing of it is run once.
    whole = [cut.count >= pixels if cut.inserted else cut.count == 0 for cut in cuts]
    nothing = [cut.count == 0 if cut.inserted else cut.count >= pixels for cut in cuts]
    wanted = torch.tensor(
        [[not whole[c] and (not nothing[c] or m == 0) for c in range(len(cuts))] for m in range(len(distinct))]
    )
    result = unmasked[None, :, None].repeat(len(distinct), 1, len(cuts), 1)  # m b n k
    stack = torch.stack([torch.stack([own[cells] for cells in blocks]) for own in distinct])  # m blocks b H W
    block = torch.tensor([blocks.index(cut.cells) for cut in cuts], device=images.device)
    counts = torch.tensor([cut.count for cut in cuts], device=images.device)
    inserted = torch.tensor([cut.inserted for cut in cuts], device=images.device)
    # What is seen where the image is not: the fill, and for insertion the blurred image.
    fills = ["blur" if cut.inserted else cut.fill for cut in cuts]
    names = list(dict.fromkeys(fills))
    behind = torch.stack([fill(name) for name in names])
    which = torch.tensor([names.index(name) for name in fills], device=images.device)

    def make(image: Tensor, copy: Tensor) -> Tensor:
        m, c = copy // len(cuts), copy % len(cuts)
        top = stack[m, block[c], image] < counts[c][:, None, None]
        shown = top == inserted[c][:, None, None]
        return torch.where(shown[:, None], images[image], behind[which[c], image])

    for image, copy, logits in rerun(make, wanted.flatten().expand(len(images), -1)):
        m, c = copy // len(cuts), copy % len(cuts)
        result[m, image, c] = as_probabilities(logits, probabilities).gather(1, classes[image]).to(result)
    for same, empty in enumerate(nothing):
        if empty and not whole[same]:
            result[:, :, same] = result[0, :, same].clone()
    return result[place]


def _alike(own: Mapping[int, Tensor], other: Mapping[int, Tensor], blocks: Sequence[int]) -> bool:
    return all(torch.equal(own[cells], other[cells]) for cells in blocks)
