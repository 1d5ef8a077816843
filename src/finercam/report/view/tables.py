"""Signed maps as text that a browser reads: 16 bits a value, deflated, in base 64."""

from __future__ import annotations

import base64
import zlib
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

#: Largest magnitude of a stored value.
_MOST = 32767


def table(maps: Float[Tensor, "n h w"]) -> dict[str, Any]:
    """Return maps as plain data: ``shape``, and of each map its ``scale``, by which its whole numbers are multiplied.

    What all maps share is kept apart (``mean``, float32), so that differences of similar maps stay exact: a map is
    ``mean + scale * values``.
    """
    values = maps.detach().double().cpu()
    mean = values.mean(0).float().double()
    apart = values - mean
    # Rounded up, and to few digits: as text they take more room than the values of a small map.
    scale = torch.tensor(
        [float(f"{one * 1.00001:.6g}") for one in (apart.abs().amax((1, 2)) / _MOST).tolist()]
    ).double()
    whole = (apart / torch.where(scale > 0, scale, 1)[:, None, None]).round()
    return {
        "shape": list(maps.shape),
        "scale": scale.tolist(),
        "mean": _text(mean.numpy().astype("<f4").tobytes()),
        "values": _text(zlib.compress(np.ascontiguousarray(whole.numpy().astype("<i2")).tobytes(), 9)),
    }


def read_table(kept: dict[str, Any]) -> Float[Tensor, "n h w"]:
    """Return the maps of a table."""
    shape = kept["shape"]
    whole = np.frombuffer(zlib.decompress(base64.b64decode(kept["values"])), "<i2").reshape(shape)
    mean = np.frombuffer(base64.b64decode(kept["mean"]), "<f4").reshape(shape[1:])
    return torch.from_numpy(mean.astype(np.float64) + whole * np.array(kept["scale"])[:, None, None])


def shrunk(maps: Float[Tensor, "n h w"], most: int) -> Float[Tensor, "n _h _w"]:
    """Return the maps with their cells averaged two by two until there are at most so many values, if need be.

    Maps of fewer than 28 cells a side stay as they are: halved, they would show something else.
    """
    while maps.numel() > most and min(maps.shape[1:]) >= 28:
        smaller = (maps.shape[1] // 2, maps.shape[2] // 2)
        maps = torch.nn.functional.adaptive_avg_pool2d(maps, smaller)
    return maps


def _text(given: bytes) -> str:
    return base64.b64encode(given).decode("ascii")
