"""Where a photo's boxes, masks and points lie in a model's input.

Any preprocessing that resizes, crops, pads or flips is understood without being told what it does: it is given a
picture whose colours encode the position of each pixel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from finercam.errors import FinercamError


@dataclass(frozen=True)
class Axis:
    """One direction: a photo's coordinate ``u`` (pixels, 0 at the edge) is at ``scale * u + shift`` in the input."""

    scale: float
    shift: float
    photo: int
    input: int

    def to_input(self, u: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
        """Return where coordinates of the photo lie in the input."""
        return u * self.scale + self.shift

    def cells(self) -> Float[Tensor, " input"]:
        """Return the photo's coordinate at the middle of each of the input's pixels."""
        return (torch.arange(self.input, dtype=torch.float64) + 0.5 - self.shift) / self.scale


@dataclass(frozen=True)
class Placement:
    """How photos of one size lie in the input. Padding is in no region."""

    x: Axis
    y: Axis

    def box(self, box: Sequence[float]) -> Bool[Tensor, "H W"]:
        """Return the input's pixels whose middles are in a box x0, y0, x1, y1 of the photo."""
        x0, y0, x1, y1 = box
        columns, rows = self.x.cells(), self.y.cells()
        across = (columns >= max(x0, 0)) & (columns < min(x1, self.x.photo))
        return ((rows >= max(y0, 0)) & (rows < min(y1, self.y.photo)))[:, None] & across

    def mask(self, mask: Bool[NDArray[Any], "h w"]) -> Bool[Tensor, "H W"]:
        """Return the input's pixels whose middles fall on the mask."""
        if mask.shape != (self.y.photo, self.x.photo):
            raise FinercamError(
                f"a mask of {mask.shape[1]} x {mask.shape[0]} pixels does not fit a photo of "
                f"{self.x.photo} x {self.y.photo}"
            )
        columns, rows = (axis.cells().floor().long() for axis in (self.x, self.y))
        inside = ((rows >= 0) & (rows < self.y.photo))[:, None] & (columns >= 0) & (columns < self.x.photo)
        at = torch.from_numpy(np.ascontiguousarray(mask))[rows.clamp(0, self.y.photo - 1)]
        return at[:, columns.clamp(0, self.x.photo - 1)] & inside

    def points(self, points: Float[Tensor, "n 2"]) -> Float[Tensor, "n 2"]:
        """Return where points x, y of the photo lie in the input; outside it if they were cropped away."""
        return torch.stack([self.x.to_input(points[:, 0]), self.y.to_input(points[:, 1])], 1)


class Placer:
    """Finds the placement of photos, once per size of photo.

    Args:
        preprocess: turns an RGB ``PIL.Image`` into a tensor 3 H W.
    """

    def __init__(self, preprocess: Callable[[Any], Tensor]) -> None:
        self._preprocess = preprocess
        self._known: dict[tuple[int, int], Placement] = {}

    def __call__(self, size: tuple[int, int]) -> Placement:
        """Return the placement of photos of a size (width, height).

        Raises:
            FinercamError: the preprocessing does more than resize, crop, pad and flip.
        """
        found = self._known.get(size)
        if found is None:
            found = self._find(size)
            # Several threads may be here: one must not look for what another has just cleared.
            if len(self._known) >= 1000:
                self._known.clear()
            self._known[size] = found
        return found

    def _find(self, size: tuple[int, int]) -> Placement:
        width, height = size
        black, white = (self._shown(Image.new("RGB", size, (level,) * 3)) for level in (0, 255))
        contrast = white - black
        # Where the photo does not reach, black and white look alike.
        reached = contrast[2].abs() > 0.5 * contrast[2].abs().max()
        if not bool(reached.any()):
            raise FinercamError("nothing of the photo is left after the preprocessing")
        # A ramp and its negative, so that the rounding of the resampling cancels.
        up, down = ((self._shown(_ramp(size, falling)) - black) / _nonzero(contrast) for falling in (False, True))
        value = (up - down + 1) / 2
        x = _fit(value[0], reached, width)
        y = _fit(value[1].T, reached.T, height)
        return Placement(x, y)

    def _shown(self, picture: Image.Image) -> Float[Tensor, "3 H W"]:
        return self._preprocess(picture).double()


def _ramp(size: tuple[int, int], falling: bool) -> Image.Image:
    """Return a picture whose red encodes how far right a pixel is, and whose green how far down."""
    width, height = size
    across, down = ((np.arange(length, dtype=np.float32) + 0.5) / length for length in size)
    if falling:
        across, down = 1 - across, 1 - down
    # Each line rounds the ramp at different places, so that the mean of many lines is finer than 1/255.
    generator = np.random.default_rng(0)
    dither = [generator.random(length, dtype=np.float32) for length in (height, width)]
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[..., 0] = across * 254.99 + dither[0][:, None]
    pixels[..., 1] = down[:, None] * 254.99 + dither[1]
    return Image.fromarray(pixels)


def _nonzero(contrast: Tensor) -> Tensor:
    return torch.where(contrast.abs() > 0, contrast, 1)


def _fit(value: Float[Tensor, "H W"], reached: Bool[Tensor, "H W"], photo: int) -> Axis:
    """Fit ``u / photo = (column + 0.5 - shift) / (scale * photo)`` to the positions that the columns encode."""
    lines = reached.any(1)
    columns = torch.arange(value.shape[1], dtype=torch.float64) + 0.5
    count = reached.sum(0)
    mean = (value * reached).sum(0) / count.clamp(min=1)
    # A resampling filter bends the ramp within its reach of the photo's edges: two pixels, of whichever are larger.
    edge = min(0.3, max(0.02, 2 / photo, 2 / len(mean)))
    usable = (count == int(lines.sum())) & (mean > edge) & (mean < 1 - edge)
    if int(usable.sum()) < 2:
        usable = count > 0
    at, share = columns[usable], mean[usable]
    if len(at) < 2:
        raise FinercamError("the preprocessing leaves too little of the photo to tell where things are in it")
    slope = ((at - at.mean()) * (share - share.mean())).sum() / ((at - at.mean()) ** 2).sum()
    offset = share.mean() - slope * at.mean()
    # In every pixel: the mean of a column alone does not show that the photo was turned.
    off = float((value - offset - slope * columns)[reached & usable].abs().max())
    if float(slope.abs()) * value.shape[1] < 1e-3 or off > 0.02:
        raise FinercamError(
            "the preprocessing does more than resize, crop and pad, so boxes, masks and parts cannot be placed in "
            "the model's input; leave out metrics that need them"
        )
    scale = 1 / (float(slope) * photo)
    return Axis(scale, -float(offset) * scale * photo, photo, value.shape[1])
