"""Photos looked at by a classifier, and where on them the evidence for one class over another lies."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, avg_pool2d, normalize

from finercam.contrast.contrast import PLAIN, Contrast
from finercam.data.placement import Axis, Placement
from finercam.explanations.answering import answer, ask, gather_each
from finercam.methods.method import find_method
from finercam.models.assumed import as_probabilities
from finercam.models.classifier import Classifier
from finercam.models.look import Look
from finercam.runs.study import Bench, Prepared
from finercam.studies.places import evenly, off_object, share
from finercam.studies.traits.painting import elsewhere, painted_over
from finercam.studies.traits.rows import HEAT

if TYPE_CHECKING:
    from finercam.studies.traits.study import Traits

#: Patches of a photo at most; each is a square with this share of the input's shorter side.
PATCHES, SIDE = 3, 0.25
#: A patch with a smaller share of the saliency says little.
_LEAST = 0.05
#: Numbers that features are brought down to: cosines stay as they are to within about 0.06.
FEATURES = 256


@dataclass(frozen=True, eq=False)
class Photo(Prepared):
    """A photo ready to be measured.

    Attributes:
        placement: how it lies in the classifier's input.
        outline: the object's pixels; ``None`` where they are not known.
        places: the pixels of each place in sight.
        box, points: as those of ``Carried``.
    """

    placement: Placement
    outline: Bool[NDArray[Any], "H W"] | None
    places: Mapping[str, Bool[NDArray[Any], "H W"]]
    box: tuple[float, ...]
    points: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Measurer:
    """Measures batches of photos."""

    study: Traits
    bench: Bench[Classifier]

    def __call__(self, batch: Sequence[Photo]) -> list[list[dict[str, Any]]]:
        """Return the row of each photo; none of one that is of neither class."""
        study, classifier, run = self.study, self.bench.model, self.bench.run
        images = torch.from_numpy(np.stack([one.image for one in batch]))
        found: list[list[dict[str, Any]]] = [[] for _ in batch]
        asked = list(range(len(batch)))
        targets = [one.entry.target for one in batch]
        if study.predicted:
            # Most photos of a season may be of neither class: those cost no more than a forward pass.
            with self.bench.clock("model"), classifier.look(images, run) as look:
                targets = look.logits.argmax(1).tolist()
            asked = [i for i, target in enumerate(targets) if study.rivals(target)]
        if not asked:
            return found
        how = find_method(study.method)
        own = [targets[i] for i in asked]
        with self.bench.clock("model"), classifier.look(images[asked], run, at=how.taps(classifier)) as look:
            logits = look.logits
            others = [_nearest(study.rivals(c), row, c) for c, row in zip(own, logits.tolist(), strict=True)]
            contrast = Contrast(against=[[other] for other in others], gamma=study.gamma)
            questions = ask(classifier, logits, [PLAIN, contrast], own)
            (evidence,) = gather_each(look, [how], questions)
            plain, finer = (answer(evidence, question) for question in questions)
            shown = look.activations()[0].float().cpu()
            falls = _falls(look, [batch[i] for i in asked], own, others)
        probabilities = as_probabilities(logits, classifier.probabilities)
        cells = (finer.maps.shape[1], finer.maps.shape[2])
        with self.bench.clock("measures"):
            for at, i in enumerate(asked):
                c, d = own[at], others[at]
                maps = [each.saliency[at].detach().float().cpu() for each in (finer, plain)]
                row = {
                    "target": c,
                    "other": d,
                    "correct": int(logits[at].argmax()) == c,
                    "confidence": float(probabilities[at, c]),
                    "margin": float(logits[at, c] - logits[at, d]),
                }
                found[i] = [row | _of_photo(batch[i], maps[0], maps[1], cells, shown[at]) | falls[at]]
        return found


def _nearest(rivals: Sequence[int], logits: Sequence[float], target: int) -> int:
    return min(rivals, key=lambda other: abs(logits[other] - logits[target]))


def _falls(look: Look, photos: Sequence[Photo], own: Sequence[int], others: Sequence[int]) -> list[dict[str, Any]]:
    """Return by how much each photo's margin falls as each place, and its shape elsewhere, is painted over."""
    masks: list[list[Tensor]] = []
    for photo in photos:
        outline = torch.ones(look.image_size) if photo.outline is None else torch.from_numpy(photo.outline)
        places = [torch.from_numpy(mask) for mask in photo.places.values()]
        # Each photo's own, whatever batch it is in.
        first = photo.entry.id * len(places)
        moved = [elsewhere(mask, outline.bool(), first + at) for at, mask in enumerate(places)]
        masks.append([*places, *moved])
    most = max(map(len, masks))
    if not most:
        return [{"falls": [], "elsewhere": []} for _ in photos]
    wanted = torch.tensor([[copy < len(of) for copy in range(most)] for of in masks])

    def make(image: Tensor, copy: Tensor) -> Tensor:
        chosen = [masks[i][n] for i, n in zip(image.tolist(), copy.tolist(), strict=True)]
        return painted_over(look.images[image], torch.stack(chosen).to(look.images.device))

    margins = torch.full(wanted.shape, math.nan)
    c, d = torch.tensor(own), torch.tensor(others)
    for altered in look.rerun(make, wanted):
        image, copy, logits = altered.image.cpu(), altered.copy.cpu(), altered.logits.float().cpu()
        at = torch.arange(len(image))
        margins[image, copy] = logits[at, c[image]] - logits[at, d[image]]
    whole = look.logits.float().cpu()
    at = torch.arange(len(photos))
    fallen = (whole[at, c] - whole[at, d])[:, None] - margins
    found = []
    for row, of in zip(fallen.tolist(), masks, strict=True):
        half = len(of) // 2
        found.append({"falls": row[:half], "elsewhere": row[half : len(of)]})
    return found


def _of_photo(
    photo: Photo,
    saliency: Float[Tensor, "H W"],
    plain: Float[Tensor, "H W"],
    cells: tuple[int, int],
    shown: Float[Tensor, "K h w"],
) -> dict[str, Any]:
    """Return the columns that tell where a photo's saliency lies."""
    outline = None if photo.outline is None else torch.from_numpy(photo.outline)
    even = evenly(torch.ones_like(saliency, dtype=torch.bool) if outline is None else outline, cells)
    masks = {place: torch.from_numpy(mask) for place, mask in photo.places.items()}
    beyond = None if outline is None else off_object(outline, cells)
    known = beyond is not None and bool(beyond.any())
    total = float(saliency.sum())
    heat = adaptive_avg_pool2d(saliency[None], HEAT)[0]
    return {
        "empty": total <= 0,
        "places": list(masks),
        "shares": [share(saliency, [mask]) for mask in masks.values()],
        "plain": [share(plain, [mask]) for mask in masks.values()],
        "even": [share(even, [mask]) for mask in masks.values()],
        "off": share(saliency, [beyond]) if beyond is not None and known else math.nan,
        "off_even": float(beyond.float().mean()) if beyond is not None and known else math.nan,
        "heat": (heat / heat.sum() if total > 0 else heat).flatten().tolist(),
        "box": list(photo.box),
        "points": list(photo.points),
        "features": _features(saliency, shown),
        "patches": [
            {
                "box": _in_photo(photo.placement, box),
                "share": of,
                "features": _features(_only(saliency, box), shown),
            }
            for box, of in patches(saliency)
        ],
    }


Box = tuple[int, int, int, int]


def patches(saliency: Float[Tensor, "H W"]) -> list[tuple[Box, float]]:
    """Return the squares x0 y0 x1 y1 of the input that hold most of a map, most first, each with its share of it.

    The first square is the one that holds the most, the next the one that holds the most of what is left, and so on.
    """
    total = float(saliency.sum())
    side = max(1, round(SIDE * min(saliency.shape)))
    found: list[tuple[Box, float]] = []
    left = saliency.double().clone()
    while len(found) < PATCHES and total > 0:
        held = avg_pool2d(left[None], side, 1)[0] * side**2
        y0, x0 = divmod(int(held.argmax()), held.shape[1])
        of = float(held[y0, x0]) / total
        if of < _LEAST:
            break
        found.append(((x0, y0, x0 + side, y0 + side), min(1.0, of)))
        left[y0 : y0 + side, x0 : x0 + side] = 0
    return found


def _only(saliency: Tensor, box: Box) -> Tensor:
    x0, y0, x1, y1 = box
    kept = torch.zeros_like(saliency)
    kept[y0:y1, x0:x1] = saliency[y0:y1, x0:x1]
    return kept


def _features(weights: Float[Tensor, "H W"], shown: Float[Tensor, "K h w"]) -> list[float]:
    """Return the mean of a layer's channels under a map, brought down to ``FEATURES`` numbers, of length 1."""
    if float(weights.sum()) <= 0:
        return []
    over = adaptive_avg_pool2d(weights[None], (shown.shape[1], shown.shape[2]))[0]
    mean = torch.einsum("khw,hw->k", shown, over) / over.sum()
    if len(mean) > FEATURES:
        # A random projection keeps angles (Johnson and Lindenstrauss, 1984); the same one for every photo and run.
        generator = torch.Generator().manual_seed(len(mean))
        mean = torch.randn(FEATURES, len(mean), generator=generator) @ mean
    return normalize(mean, dim=0).tolist()


def _in_photo(placement: Placement, box: Box) -> list[int]:
    """Return a box of the input in the photo's pixels, no larger than the photo."""
    x0, y0, x1, y1 = box
    across = sorted(_back(placement.x, edge) for edge in (x0, x1))
    down = sorted(_back(placement.y, edge) for edge in (y0, y1))
    return [across[0], down[0], max(across[1], across[0] + 1), max(down[1], down[0] + 1)]


def _back(axis: Axis, edge: int) -> int:
    return round(min(max((edge - axis.shift) / axis.scale, 0.0), float(axis.photo)))
