"""Where attributes are on a photo, as a model of images and text says."""

from __future__ import annotations

import os
from collections.abc import Sequence

from PIL import Image

from finercam.data.attributes import Attributes
from finercam.data.placement import Placer
from finercam.errors import FinercamError
from finercam.explanations.concepts import find_concepts
from finercam.explanations.explaining import preprocess
from finercam.models.text import BARE, text
from finercam.studies.faithfulness.rows import Placed


class TextMaps:
    """Maps of phrases against a base word: "red wings", and not just "bird" (arXiv 2501.11309, Section 3.3).

    Args:
        model: as ``finercam.models.text`` takes it.
        attributes: their phrases are what can be asked for.
        base: what phrases are compared with.
        gamma, method: how maps are made.
        device: as for ``finercam.load``.

    Raises:
        FinercamError: the model knows no text, or the base is one of the phrases.
    """

    def __init__(
        self,
        model: str | os.PathLike[str],
        attributes: Attributes,
        *,
        base: str = "bird",
        gamma: float = 0.6,
        method: str = "gradcam",
        device: str = "auto",
    ) -> None:
        phrases = list(dict.fromkeys(one.phrase for one in attributes.attributes if one.phrase))
        if base in phrases:
            raise FinercamError(f"base is {base!r}, which is an attribute itself; give what all of them are part of")
        self.base = base
        self._classifier = text(model, [base, *phrases], templates=BARE, device=device)
        self._gamma, self._method = gamma, method
        self._placer = Placer(lambda photo: preprocess(self._classifier, photo))

    def __call__(self, photo: Image.Image, phrases: Sequence[str]) -> dict[str, Placed]:
        """Return each phrase's saliency over the text model's input, and how the photo lies in that."""
        if not phrases:
            return {}
        image = preprocess(self._classifier, photo)[None]
        (found,) = find_concepts(
            self._classifier, image, phrases, self.base, gamma=self._gamma, method=self._method
        )  # fmt: skip
        placement = self._placer(photo.size)
        return {one.concept: (one.saliency.detach().float().cpu(), placement) for one in found}
