"""Where a photo's boxes, masks and points lie in a model's input, and where the input's maps lie on the photo.

Any preprocessing that resizes, crops, pads or flips is understood without being told what it does: it is given
pictures whose brightness encodes the position of each pixel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from finercam.errors import FinercamError

#: How far beyond the input's edge, in its pixels, a photo still counts as seen: a placement is found no more finely.
_SLACK = 0.5


@dataclass(frozen=True)
class Axis:
    """One direction: a photo's coordinate ``u`` (pixels, 0 at the edge) is at ``scale * u + shift`` in the input.

    Attributes:
        scale, shift: pixels of the input per pixel of the photo, and where the photo's edge lies.
        photo, input: their pixels.
        start, stop: the part of the photo that was given to the preprocessing, half-open; all of it if left out.
    """

    scale: float
    shift: float
    photo: int
    input: int
    start: float = 0.0
    stop: float | None = None

    def to_input(self, u: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
        """Return where coordinates of the photo lie in the input."""
        return u * self.scale + self.shift

    def cells(self) -> Float[Tensor, " input"]:
        """Return the photo's coordinate at the middle of each of the input's pixels."""
        return (torch.arange(self.input, dtype=torch.float64) + 0.5 - self.shift) / self.scale

    def pixels(self) -> Float[Tensor, " photo"]:
        """Return where the middle of each of the photo's pixels lies in the input."""
        return self.to_input(torch.arange(self.photo, dtype=torch.float64) + 0.5)

    def given(
        self, u: Float[Tensor, "*n"], low: float | int = 0, high: float | int | None = None
    ) -> Bool[Tensor, "*n"]:
        """Return which coordinates of the photo were given to the preprocessing, and lie from ``low`` to ``high``."""
        stop = float(self.photo) if self.stop is None else self.stop
        return (u >= max(self.start, low)) & (u < (stop if high is None else min(stop, high)))

    def resized(self, photo: int) -> Axis:
        """Return the axis of the same photo, shown with so many pixels."""
        by = photo / self.photo
        stop = None if self.stop is None else self.stop * by
        return replace(self, scale=self.scale / by, photo=photo, start=self.start * by, stop=stop)

    def part(self, start: int, stop: int) -> Axis:
        """Return that of a photo that is the part from ``start`` to ``stop`` of this one."""
        low, high = max(0.0, self.start - start), None if self.stop is None else self.stop - start
        whole = high is not None and high >= stop - start
        return replace(
            self, shift=self.shift + self.scale * start, photo=stop - start, start=low, stop=None if whole else high
        )

    def within(self, start: int, stop: int, photo: int) -> Axis:
        """Return that of a photo of so many pixels, of which this one is the part from ``start`` to ``stop``."""
        shift = self.shift - self.scale * start
        return replace(self, shift=shift, photo=photo, start=float(start), stop=float(stop))


@dataclass(frozen=True)
class Placement:
    """How photos of one size lie in the input. Padding is in no region."""

    x: Axis
    y: Axis

    @property
    def fit(self) -> str:
        """How a photo of this size is brought to the input: ``crop``, ``squash``, ``pad``, or ``whole``.

        ``squash``: its sides are scaled differently, by more than sizes are rounded; ``crop``: part of it is not seen;
        ``pad``: part of the input is not of it.
        """
        x, y = self.x, self.y
        if abs(abs(x.scale / y.scale) - 1) > 2 / min(x.input, y.input):
            return "squash"
        if not bool(self.seen().all()):
            return "crop"
        ends = [(sorted((axis.shift, axis.scale * axis.photo + axis.shift)), axis.input) for axis in (x, y)]
        return "pad" if any(low > 1 or high < size - 1 for (low, high), size in ends) else "whole"

    @classmethod
    def in_place(cls, size: tuple[int, int]) -> Placement:
        """Return that of an input of this height and width that is itself the photo."""
        return cls(Axis(1.0, 0.0, size[1], size[1]), Axis(1.0, 0.0, size[0], size[0]))

    def box(self, box: Sequence[float]) -> Bool[Tensor, "H W"]:
        """Return the input's pixels whose middles are in a box x0, y0, x1, y1 of the photo."""
        x0, y0, x1, y1 = box
        return self.y.given(self.y.cells(), y0, y1)[:, None] & self.x.given(self.x.cells(), x0, x1)

    def mask(self, mask: Bool[NDArray[Any], "h w"]) -> Bool[Tensor, "H W"]:
        """Return the input's pixels whose middles fall on the mask."""
        if mask.shape != (self.y.photo, self.x.photo):
            raise FinercamError(
                f"a mask of {mask.shape[1]} x {mask.shape[0]} pixels does not fit a photo of "
                f"{self.x.photo} x {self.y.photo}"
            )
        columns, rows = (axis.cells().floor().long() for axis in (self.x, self.y))
        inside = self.y.given(self.y.cells())[:, None] & self.x.given(self.x.cells())
        at = torch.from_numpy(np.ascontiguousarray(mask))[rows.clamp(0, self.y.photo - 1)]
        return at[:, columns.clamp(0, self.x.photo - 1)] & inside

    def polygon(self, corners: Float[Tensor, "n 2"]) -> Bool[Tensor, "H W"]:
        """Return the input's pixels whose middles are in a polygon of the photo and on it (the even-odd rule)."""
        x, y = self.x.cells(), self.y.cells()[:, None]
        inside = torch.zeros(self.y.input, self.x.input, dtype=torch.bool)
        for (x0, y0), (x1, y1) in zip(corners.tolist(), corners.roll(-1, 0).tolist(), strict=True):
            if y0 != y1:
                inside ^= ((y0 > y) != (y1 > y)) & (x < (x1 - x0) * (y - y0) / (y1 - y0) + x0)
        return inside & self.box((0.0, 0.0, float(self.x.photo), float(self.y.photo)))

    def points(self, points: Float[Tensor, "n 2"]) -> Float[Tensor, "n 2"]:
        """Return where points x, y of the photo lie in the input; outside it if they were cropped away."""
        return torch.stack([self.x.to_input(points[:, 0]), self.y.to_input(points[:, 1])], 1)

    def resized(self, size: tuple[int, int]) -> Placement:
        """Return the placement of the same photo, shown at another size (width, height)."""
        return Placement(self.x.resized(size[0]), self.y.resized(size[1]))

    @property
    def window(self) -> tuple[int, int, int, int] | None:
        """The part x0, y0, x1, y1 of the photo that was given to the preprocessing; ``None`` for all of it."""
        if self.x.stop is None or self.y.stop is None:
            return None
        return round(self.x.start), round(self.y.start), round(self.x.stop), round(self.y.stop)

    def part(self, part: tuple[int, int, int, int]) -> Placement:
        """Return that of a photo that is the part x0, y0, x1, y1 of this one."""
        x0, y0, x1, y1 = part
        return Placement(self.x.part(x0, x1), self.y.part(y0, y1))

    def within(self, part: tuple[int, int, int, int], size: tuple[int, int]) -> Placement:
        """Return that of a photo of a size (width, height), of which this one is the part x0, y0, x1, y1."""
        x0, y0, x1, y1 = part
        return Placement(self.x.within(x0, x1, size[0]), self.y.within(y0, y1, size[1]))

    def seen(self) -> Bool[Tensor, "h w"]:
        """Return the photo's pixels that are in the input; the others were cropped away."""
        across, down = (
            (at >= -_SLACK) & (at <= axis.input + _SLACK) & axis.given(torch.arange(axis.photo) + 0.5)
            for at, axis in self._middles()
        )
        return down[:, None] & across

    def to_photo(self, values: Float[Tensor, "H W"]) -> Float[Tensor, "h w"]:
        """Return a map over the input as one over the photo; NaN where the model did not see the photo.

        Values are those of the input, interpolated at the middles of the photo's pixels. A pixel in which the middles
        of the input's pixels lie has at least their largest value, so that the peak is the same at every resolution
        (unless it is in padding, which is not on the photo).
        """
        values = values.detach().cpu()
        (across, x), (down, y) = self._middles()
        found = _between(_between(values, down).T, across).T.contiguous()
        columns, rows = x.cells().floor().long(), y.cells().floor().long()
        inside = y.given(y.cells())[:, None] & x.given(x.cells())
        at = (rows[:, None] * x.photo + columns)[inside]
        found.view(-1).scatter_reduce_(0, at, values[inside], "amax")
        return found.masked_fill(~self.seen(), torch.nan)

    def mask_to_photo(self, mask: Bool[Tensor, "H W"]) -> Bool[Tensor, "h w"]:
        """Return the photo's pixels whose middles fall on a mask over the input, those that it shows."""
        rows, columns = (axis.pixels().floor().long().clamp(0, axis.input - 1) for axis in (self.y, self.x))
        return mask.cpu()[rows][:, columns] & self.seen()

    def _middles(self) -> tuple[tuple[Tensor, Axis], tuple[Tensor, Axis]]:
        return (self.x.pixels(), self.x), (self.y.pixels(), self.y)


def _between(values: Float[Tensor, "n m"], at: Float[Tensor, " k"]) -> Float[Tensor, "k m"]:
    """Interpolate rows, whose middles are at 0.5, 1.5, ..., linearly; beyond the outermost middles nothing changes."""
    place = (at - 0.5).clamp(0, len(values) - 1)
    low = place.floor().long()
    high, share = (low + 1).clamp(max=len(values) - 1), (place - low).to(values.dtype)[:, None]
    return torch.lerp(values[low], values[high], share)


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
        black, white = (self._preprocess(Image.new("RGB", size, (level,) * 3)).double() for level in (0, 255))
        every = white - black
        # Any channel that follows the brightness will do, however many there are.
        channel = int(every.abs().sum((1, 2)).argmax())
        contrast = every[channel]
        # Where the photo does not reach, black and white look alike.
        reached = contrast.abs() > 0.5 * contrast.abs().max()
        if not bool(reached.any()):
            raise FinercamError("nothing of the photo is left after the preprocessing")

        def position(across: bool) -> Float[Tensor, "H W"]:
            # A ramp and its negative, so that the rounding of the resampling cancels.
            up, down = (
                (self._preprocess(_ramp(size, across, falling)).double() - black)[channel] / _nonzero(contrast)
                for falling in (False, True)
            )
            return (up - down + 1) / 2

        return Placement(_fit(position(True), reached, width), _fit(position(False).T, reached.T, height))


def _ramp(size: tuple[int, int], across: bool, falling: bool) -> Image.Image:
    """Return a grey picture whose brightness encodes how far right, or down, a pixel is."""
    width, height = size if across else size[::-1]
    ramp = (np.arange(width, dtype=np.float32) + 0.5) / width
    # Each line rounds the ramp at different places, so that the mean of many lines is finer than 1/255.
    dither = np.random.default_rng(0).random(height, dtype=np.float32)
    pixels = ((1 - ramp if falling else ramp) * 254.99 + dither[:, None]).astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(pixels if across else pixels.T)).convert("RGB")


def _nonzero(contrast: Tensor) -> Tensor:
    return torch.where(contrast.abs() > 0, contrast, 1)


def _fit(value: Float[Tensor, "H W"], reached: Bool[Tensor, "H W"], photo: int) -> Axis:
    """Fit ``u / photo = (column + 0.5 - shift) / (scale * photo)`` to the positions that the columns encode."""
    lines = reached.any(1)
    columns = torch.arange(value.shape[1], dtype=torch.float64) + 0.5
    count = reached.sum(0)
    if photo == 1:
        # One pixel has no ramp, and nothing in it to be out of place: it is where anything is.
        (there,) = (count > 0).nonzero(as_tuple=True)
        return Axis(float(there[-1] - there[0] + 1), float(there[0]), photo, value.shape[1])
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
            "the preprocessing does more than resize, crop and pad, so places on the photo cannot be found in the "
            "model's input; leave out what needs them (metrics of place, on_photo())"
        )
    scale = 1 / (float(slope) * photo)
    return Axis(scale, -float(offset) * scale * photo, photo, value.shape[1])
