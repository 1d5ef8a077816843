"""``pair()``: photo against photo. Why are these two the same individual, or of the same species, to a model?"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from finercam.contrast.contrast import PLAIN, Contrast, exactly
from finercam.data.original import Original
from finercam.data.photos import Photo, open_photo
from finercam.data.placement import Placer
from finercam.explanations.explaining import Asked, explain_batch
from finercam.explanations.explanation import Explanation
from finercam.explanations.fields import SCHEMA
from finercam.methods.method import Method
from finercam.models.backbone import Backbone, load_backbone
from finercam.models.run import Run
from finercam.models.similar import embed, similar_to


@dataclass(frozen=True, eq=False)
class Pair:
    """What two photos have in common to a model.

    Attributes:
        first, second: an explanation for each photo: why it is like the other, and not like those held against them.
        similarity: cosine of the photos' embeddings, -1 to 1.
        others: cosines of the first and of the second with each photo that they were held against.
        backbone: what embedded them.
    """

    first: Explanation
    second: Explanation
    similarity: float
    others: tuple[tuple[float, float], ...]
    backbone: Backbone

    @property
    def names(self) -> tuple[str, ...]:
        """The photos' names: of the two, and of those held against them."""
        labels = self.first.facts.labels
        assert labels is not None
        return labels.names

    def __str__(self) -> str:
        """Return the question as a person would say it."""
        first, second, *others = self.names
        contrast = self.first.contrast
        if not others or not isinstance(contrast, Contrast):
            return f"{first} like {second}"
        return f"{first} like {second}, and not like {', '.join(others)}, gamma {exactly(contrast.strength)}"

    def record(self) -> dict[str, Any]:
        """Return everything but the maps as plain data."""
        first, second, *others = self.names
        contrast = self.first.contrast
        return {
            "schema": SCHEMA,
            "question": str(self),
            "first": self.first.source or first,
            "second": self.second.source or second,
            "similarity": self.similarity,
            "against": [
                {"name": name, "similarity": dict(zip(("first", "second"), found, strict=True))}
                for name, found in zip(others, self.others, strict=True)
            ],
            "gamma": contrast.strength if others and isinstance(contrast, Contrast) else None,
            "method": self.first.method.spec,
            "layer": list(self.first.facts.layers),
            "model": self.backbone.spec,
            "pool": self.backbone.pool,
            "precision": self.first.run.precision,
            "empty": {"first": self.first.empty, "second": self.second.empty},
            "peak": {"first": float(self.first.saliency.max()), "second": float(self.second.saliency.max())},
        }


def pair(
    model: Backbone | str | os.PathLike[str],
    first: Photo,
    second: Photo,
    *,
    against: Sequence[Photo] = (),
    gamma: float | int = 0.6,
    method: str | Method = "gradcam",
    pool: str = "auto",
    layer: str | Sequence[str] | None = None,
    device: str = "auto",
    revision: str | None = None,
    run: Run | None = None,
) -> Pair:
    """Explain the similarity of two photos: what in each makes a model hold it for like the other.

    The objective is the cosine of the photos' embeddings, ``f_1 . f_2 / (|f_1| |f_2|)``, with the lengths taken as
    given (``finercam.models.similar.Similar`` says why). On a backbone that pools by the mean the signed map of
    Grad-CAM adds up to the cosine: each place has its share.

    Args:
        model: what ``load_backbone`` takes, or what it gave. A classification head is taken off.
        first, second: the photos.
        against: other photos: what makes the two alike and not like these (``cos_12 - gamma * mean cos_1t``).
        gamma: comparison strength.
        method: how it is answered.
        pool, device, revision: as for ``load_backbone``, where ``model`` is not loaded yet.
        layer: target layer, where the one found is not the one wanted.
        run: how the model is run.

    Raises:
        FinercamError: a photo or the model cannot be used; the message says what to do.
    """
    run = run or Run()
    if not isinstance(model, Backbone):
        model = load_backbone(model, pool, device=device, revision=revision)
    photos = [first, second, *against]
    images = torch.stack([model.preprocessing(open_photo(photo)) for photo in photos])
    embeddings = torch.cat([embed(model, some) for some in images.split(run.images)])
    classifier = similar_to(model, embeddings, _names(photos), layer=layer)
    # The photo itself is a class too, and is never asked about.
    contrast = Contrast(against=list(range(2, len(photos))), gamma=gamma) if against else PLAIN
    placer = Placer(model.preprocessing)
    found = explain_batch(
        classifier,
        images[:2],
        [Asked(contrast, [1, 0], method)],
        sources=[os.fspath(photo) if isinstance(photo, (str, os.PathLike)) else None for photo in photos[:2]],
        originals=[Original(photo, placer) for photo in photos[:2]],
        run=run,
    )
    ((of_first,), (of_second,)) = found
    cosines = (embeddings.double() @ embeddings.double().T).cpu()
    others = tuple((float(cosines[0, i]), float(cosines[1, i])) for i in range(2, len(photos)))
    return Pair(of_first, of_second, float(cosines[0, 1]), others, model)


def _names(photos: Sequence[Any]) -> list[str]:
    """Return what photos are called: their files' names, or whole paths where these do not tell them apart."""
    paths = [os.fspath(one) if isinstance(one, (str, os.PathLike)) else "" for one in photos]
    names = [os.path.basename(path) or f"photo {number}" for number, path in enumerate(paths, 1)]
    return names if len(set(names)) == len(names) else [path or name for path, name in zip(paths, names, strict=True)]
