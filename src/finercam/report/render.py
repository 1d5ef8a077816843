"""From tensors to pixels: the photo as the model saw it, and a saliency map laid over it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageFilter
from torch import Tensor

#: Perceptually even, bright on any photo, and told apart by the colour-blind.
COLOUR_MAP = "inferno"
#: Of lines around things on a photo.
OUTLINE = "#ff1fd0"
#: Pictures have as many pixels as a square of this side where no size is asked for.
SIDE = 400


def as_seen(
    image: Float[Tensor, "c H W"], mean: Sequence[float] | None = None, std: Sequence[float] | None = None
) -> Image.Image:
    """Return the picture the model was given, its normalisation taken back.

    One channel is shown in grey; of four and more the first three are taken for red, green and blue. Without ``mean``
    and ``std`` the values are stretched from their least to their largest.
    """
    pixels = image.detach().float().cpu()
    if mean is not None and std is not None:
        pixels = pixels * torch.tensor(std)[:, None, None] + torch.tensor(mean)[:, None, None]
    else:
        low, high = pixels.min(), pixels.max()
        pixels = (pixels - low) / (high - low).clamp(min=1e-12)
    if len(pixels) != 3:
        pixels = pixels[:3] if len(pixels) > 3 else pixels.mean(0).expand(3, -1, -1)
    array = (pixels.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
    return Image.fromarray(np.ascontiguousarray(array))


def shown_size(photo: tuple[int, int], size: int | None = None, side: int = SIDE) -> tuple[int, int]:
    """Return width and height at which a photo is shown, in its own aspect.

    Args:
        photo: its width and height.
        size: of the longer side; as many pixels in all as a square of ``side`` if left out.
        side: of that square.
    """
    width, height = photo
    by = (side**2 / (width * height)) ** 0.5 if size is None else size / max(photo)
    return max(1, round(width * by)), max(1, round(height * by))


def resized(picture: Image.Image, wanted: tuple[int, int]) -> Image.Image:
    """Return a picture at another size; the pixels of a tiny one are shown as what they are."""
    tiny = wanted[0] > 4 * picture.width
    return picture.resize(wanted, Image.Resampling.NEAREST if tiny else Image.Resampling.LANCZOS)


def overlay(photo: Image.Image, saliency: Float[Tensor, "H W"], peak: float | None = None) -> Image.Image:
    """Return the photo with the saliency over it: where there is none the photo stays, in muted grey.

    Args:
        photo: at any resolution.
        saliency: not negative; resized to the photo. Where it is NaN, because the model did not see that part, the
            photo is pale and hatched.
        peak: the saliency shown at full strength; ``None`` takes the map's own. An empty map shows the bare photo.
    """
    heat = saliency.detach().float().cpu()
    unseen = heat.isnan()
    heat = heat.nan_to_num(0.0)
    top = float(heat.max()) if peak is None else peak
    grey = photo.convert("L").convert("RGB")
    muted = np.asarray(Image.blend(photo, grey, 0.6), dtype=np.float32) * 0.75
    if top > 0:
        scaled = Image.fromarray((heat / top).clamp(0, 1).numpy()).resize(photo.size, Image.Resampling.BILINEAR)
        strength = np.asarray(scaled)[:, :, None]
        colour = colours(strength[:, :, 0])
        # Where it is strong the photo's own colours come back under the heat.
        base = muted + strength * (np.asarray(photo, dtype=np.float32) - muted)
        muted = base + (0.75 * strength**0.8) * (colour - base)
    return hatch_unseen(Image.fromarray(muted.clip(0, 255).astype(np.uint8)), photo, unseen)


def hatch_unseen(drawn: Image.Image, photo: Image.Image, unseen: Bool[Tensor, "h w"]) -> Image.Image:
    """Return what was drawn of a photo, with the photo pale and hatched where the model did not see it."""
    if bool(unseen.any()):
        where = Image.fromarray(unseen.numpy()).resize(photo.size, Image.Resampling.NEAREST)
        drawn = drawn.copy()
        drawn.paste(hatched(photo), mask=where)
    return drawn


def hatched(photo: Image.Image) -> Image.Image:
    """Return the photo pale and grey under slanted lines: what was not seen."""
    drawn = Image.blend(photo.convert("L").convert("RGB"), Image.new("RGB", photo.size, "white"), 0.65)
    rows, columns = np.indices((photo.height, photo.width))
    step = max(8, min(photo.size) // 40)
    lines = Image.fromarray((rows + columns) % step < max(1, step // 8))
    drawn.paste("#969696", mask=lines)
    return drawn


def colours(values: NDArray[Any]) -> NDArray[Any]:
    """Return float RGB in 0..255 for values in 0..1."""
    return _table()[(values * 255).astype(np.uint8)]


def colour_table() -> bytes:
    """Return the colours of 256 even steps from nothing to the peak, as RGB bytes."""
    return _table().round().astype(np.uint8).tobytes()


@cache
def _table() -> NDArray[Any]:
    import matplotlib

    # From a third of the scale on: its dark end cannot be told from a dark photo.
    steps = np.linspace(0.3, 1.0, 256)
    table: NDArray[Any] = matplotlib.colormaps[COLOUR_MAP](steps)[:, :3].astype(np.float32) * 255
    return table


def outlined(photo: Image.Image, mask: Bool[np.ndarray, "H W"], colour: str = OUTLINE, width: int = 5) -> Image.Image:
    """Return the photo with a line around the mask's pixels; the mask is resized to the photo."""
    region = Image.fromarray(mask.astype(np.uint8) * 255).resize(photo.size, Image.Resampling.NEAREST)
    edge = ImageChops.difference(region.filter(ImageFilter.MaxFilter(2 * (width // 2) + 1)), region)
    drawn = photo.copy()
    drawn.paste(Image.new("RGB", photo.size, colour), mask=edge)
    return drawn
