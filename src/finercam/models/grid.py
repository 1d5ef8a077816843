"""From what a layer puts out to a grid of cells over the image."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from finercam.errors import FinercamError

LAYOUTS = ("nchw", "nhwc", "tokens", "tokens-first")
#: More tokens than this before the patches (class token, registers) are not guessed where nothing speaks for them.
MOST_PREFIX = 16


@dataclass(frozen=True)
class Grid:
    """How a layer's output is laid out over the image.

    Args:
        layout: ``nchw`` (b K h w), ``nhwc`` (b h w K, as in Swin), ``tokens`` (b N K) or ``tokens-first`` (N b K,
            as in ``nn.TransformerEncoder``).
        prefix: tokens before the patches: class token, distillation token, registers.
        size: (h, w) of a token grid. ``None`` infers it from the number of tokens and the image's sides, so that
            other input sizes work.
    """

    layout: str
    prefix: int = 0
    size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if self.layout not in LAYOUTS:
            raise FinercamError(f"grid layout {self.layout!r} is not one of {', '.join(LAYOUTS)}")

    def __str__(self) -> str:
        before = f", {self.prefix} before the patches" if self.prefix else ""
        size = "" if self.size is None else f", {self.size[0]} x {self.size[1]}"
        return f"{self.layout}{before}{size}"

    def maps(self, output: Float[Tensor, b * rest], image: tuple[int, int]) -> Float[Tensor, "b K h w"]:
        """Return the output as channel maps: a view, never a copy.

        Args:
            output: what the layer returned.
            image: height and width of the model's input.

        Raises:
            FinercamError: the tokens do not make a grid of this image's shape.
        """
        if output.ndim != (4 if self.layout in ("nchw", "nhwc") else 3):
            raise FinercamError(f"a {self.layout} layer cannot put out the shape {tuple(output.shape)}")
        if self.layout == "nchw":
            return output
        if self.layout == "nhwc":
            return output.permute(0, 3, 1, 2)
        tokens = output.transpose(0, 1) if self.layout == "tokens-first" else output
        patches = tokens[:, self.prefix :]
        count = patches.shape[1]
        size = self.size or token_grid(count, image)
        if size is None or math.prod(size) != count:
            raise FinercamError(
                f"{tokens.shape[1]} tokens with {self.prefix} before the patches make no grid over an image of "
                f"{image[0]} x {image[1]} pixels; give grid=Grid({self.layout!r}, prefix=..., size=(h, w))"
            )
        return patches.unflatten(1, size).permute(0, 3, 1, 2)


def token_grid(count: int, image: tuple[int, int]) -> tuple[int, int] | None:
    """Return the (h, w) with ``h * w == count`` that one stride in both directions gives, or ``None``."""
    height, width = image
    if count < 1:
        return None
    if height == width:
        side = math.isqrt(count)
        return (side, side) if side * side == count else None
    fits = []
    for h in range(1, count + 1):
        w = count // h
        # Rounding (padding or cropping at the border) leaves each side within one cell of side / stride.
        if h * w == count and max(height / (h + 1), width / (w + 1)) < min(_upper(height, h), _upper(width, w)):
            fits.append((abs(math.log(h * width / (w * height))), (h, w)))
    return min(fits)[1] if fits else None


def _upper(side: int, cells: int) -> float:
    return side / (cells - 1) if cells > 1 else math.inf


def infer_grid(
    shape: Sequence[int],
    image: tuple[int, int],
    prefix: int | None = None,
    seen: Iterable[tuple[int, int]] = (),
) -> Grid | None:
    """Return how an output of this shape is laid out over the image, or ``None`` if it is no grid of cells.

    Args:
        shape: of the layer's output for one image. Outputs for more than one (windows, heads) are no grid.
        image: height and width of the model's input.
        prefix: tokens before the patches, where the model states it. Otherwise the fewest that leave one of the
            grids seen, or else any grid.
        seen: (h, w) of other layers' maps: tokens most often are one of them, taken apart.
    """
    if len(shape) == 4 and shape[0] == 1:
        options = {"nchw": (shape[2], shape[3]), "nhwc": (shape[1], shape[2])}
        for layout, cells in options.items():
            if min(cells) >= 1 and max(cells) > 1 and _one_stride(cells, image):
                return Grid(layout)
    if len(shape) == 3 and 1 in shape[:2]:
        layout, count = ("tokens", shape[1]) if shape[0] == 1 else ("tokens-first", shape[0])
        for before in _prefixes(count, image, seen) if prefix is None else (prefix,):
            if count - before > 1 and token_grid(count - before, image) is not None:
                return Grid(layout, prefix=before)
    return None


def grid_as(shape: Sequence[int], image: tuple[int, int], known: Iterable[Grid], stated: object = None) -> Grid | None:
    """Return how an output lies over the image in a model of which other layers' grids are known.

    Args:
        shape, image: as for ``infer_grid``.
        known: grids of other layers; tokens lie as theirs do where that leaves a grid of patches.
        stated: what the model says of its tokens before the patches; only a whole number is taken for that.
    """
    layout = {(True, False): "tokens", (False, True): "tokens-first"}.get((shape[0] == 1, shape[1:2] == (1,)))
    prefixes = [grid.prefix for grid in known if grid.layout == layout and grid.size is None]
    found = (
        infer_grid(shape, image, prefix) for prefix in (*prefixes, *([stated] if isinstance(stated, int) else []), None)
    )
    return next((grid for grid in found if grid is not None), None)


def _prefixes(count: int, image: tuple[int, int], seen: Iterable[tuple[int, int]]) -> list[int]:
    """Return how many of the tokens may come before the patches, the likeliest first."""
    # A grid that was seen excuses many (prompts), but never more than there are patches.
    likely = sorted(count - h * w for h, w in seen if h * w <= count < 2 * h * w and token_grid(h * w, image) == (h, w))
    return [*likely, *range(MOST_PREFIX + 1)]


def _one_stride(cells: tuple[int, int], image: tuple[int, int]) -> bool:
    (h, w), (height, width) = cells, image
    if height == width:
        return h == w <= width
    return max(height / (h + 1), width / (w + 1)) < min(_upper(height, h), _upper(width, w)) and w <= width
