"""What an explanation shows: the photo under its maps, the figure, and files of every format."""

from __future__ import annotations

import io
import os
from abc import ABC
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from jaxtyping import Float
from PIL import Image
from torch import Tensor

from finercam.contrast.options import refuse_unknown
from finercam.data.original import Original
from finercam.errors import FinercamError
from finercam.explanations.writers import options_of, writer_of
from finercam.files import whole
from finercam.models.facts import Facts

if TYPE_CHECKING:
    from finercam.data.placement import Placement
    from finercam.explanations.explanation import Explanation
    from finercam.methods.evidence import Evidence


class Pictured(ABC):
    """What an explanation shows of itself; it is the base of ``Explanation`` only, whose fields these are."""

    saliency: Float[Tensor, "H W"]
    image: Float[Tensor, "c H W"]
    facts: Facts
    original: Original | None
    evidence: Evidence | None

    def on_photo(self, values: Float[Tensor, "H W"] | None = None) -> Float[Tensor, "h w"]:
        """Return a map in the coordinates of the photo: a value for each of its pixels, on the same scale.

        NaN where the model did not see the photo, because its preprocessing cropped that away: nothing is known
        there, and zero would say otherwise. ``torch.nan_to_num`` makes zeros of it.

        Args:
            values: over the model's input, as ``saliency`` (taken if left out) and ``plain`` are.

        Raises:
            FinercamError: a tensor was explained; the photo can no longer be read; or the preprocessing does more
                than resize, crop and pad.
        """
        if self.original is None:
            raise FinercamError("a tensor was explained, not a photo: its maps are in its own coordinates already")
        return self.original.placement.to_photo(self.saliency if values is None else values)

    @property
    def placement(self) -> Placement | None:
        """How the photo lies in the model's input; ``None`` where ``on_photo`` would raise."""
        try:
            return None if self.original is None else self.original.placement
        except FinercamError:
            return None

    def view(self, about: int | None = None) -> tuple[Image.Image, Placement | None]:
        """Return what is best shown of the photo, and how that lies in the model's input, in the photo's own pixels.

        It is the whole photo, or, of an animal on a photo, the square around it that the model was given; without a
        placement, what the model saw.

        Args:
            about: longer side in pixels at which it is wanted.

        Raises:
            FinercamError: the photo can no longer be read.
        """
        original, placement = self.original, self.placement
        if original is None or placement is None:
            return self.seen(), None
        window = placement.window
        if window is None:
            return original.open(about), placement
        photo, (width, _) = original.open(), original.size
        # The photo that was kept in a file may be smaller.
        left, top, right, bottom = (round(at * photo.width / width) for at in window)
        return photo.crop((left, top, right, bottom)), placement.part(window)

    def photo(self) -> Image.Image:
        """Return the upright photo as it was given; for a tensor, what the model saw."""
        return self.seen() if self.original is None else self.original.open()

    def seen(self) -> Image.Image:
        """Return the photo as the model saw it."""
        from finercam.report.render import as_seen

        return as_seen(self.image, self.facts.mean, self.facts.std)

    def overlay(self) -> Image.Image:
        """Return the photo under the saliency. An empty map leaves it bare; what the model did not see is hatched."""
        from finercam.report.render import overlay

        if self.placement is None:
            return overlay(self.seen(), self.saliency)
        return overlay(self.photo(), self.on_photo())

    def figure(self, *, size: int | None = None, scale: str = "common") -> Image.Image:
        """Return photo | plain map | finer map, with names, probabilities (or similarities), gamma and the scale.

        Args:
            size: longer side of the photo in pixels; what suits its shape if left out.
            scale: ``common`` shows both maps' values in the same colours, ``own`` scales each to its peak.
        """
        # A picture belongs to the report, which knows explanations: the one arrow that runs back up.
        from finercam.report.explained import lay_out_explanation

        return lay_out_explanation(self._own, size, scale).image()

    def page(self, *, title: str | None = None) -> str:
        """Return the live view as one HTML page, which works from a file and without a network.

        It answers other questions from the kept evidence: another strength, other classes, a region of the photo.

        Args:
            title: what stands above it; the photo's name if left out.

        Raises:
            NotGathered: no evidence was kept, and there is no model to look at again.
        """
        from finercam.report.view.page import write_page

        return write_page([[self._own]], title)

    def save(self, path: str | os.PathLike[str], **options: Any) -> Path:
        """Write the figure or the maps, whole or not at all.

        The figure: ``.png``, ``.jpg``, ``.webp``, ``.pdf`` or ``.svg``, with model, question and version in the
        file's metadata. The maps: ``.safetensors`` with ``saliency``, ``map``, ``plain`` and ``logits`` in float32,
        the record as metadata, and kept evidence: ``Explanation.load`` then gives an explanation that can be asked
        again.

        Args:
            path: its suffix says the format.
            options: of the figure: ``size`` and ``scale`` as for ``figure``, and ``dpi``, for print.

        Raises:
            FinercamError: there is no format of that suffix, it has no such option, or the file cannot be written.
        """
        path = Path(path)
        write = writer_of(path)
        known = options_of(path)
        refuse_unknown(self.save, set(options) - set(known), known)
        with whole(path) as aside:
            write(self._own, aside, **options)
        return path

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.figure().save(buffer, "png")
        return buffer.getvalue()

    def _repr_html_(self) -> str | None:
        """Return the live view for a notebook, in a frame of its own; ``None`` where no evidence was kept."""
        from finercam.report.view.page import framed

        return None if self.evidence is None else framed(self.page())

    @property
    def _own(self) -> Explanation:
        return cast("Explanation", self)
