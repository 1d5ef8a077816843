"""Rows of what carries a difference, made up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from finercam.studies.traits.rows import HEAT, Carried


def carried(number: int, **known: Any) -> Carried:
    """Return a photo's row; what is left out is not known, or nothing."""
    blank: dict[str, Any] = {
        "id": number,
        "key": f"photo {number}",
        "target": 0,
        "other": 1,
        "correct": True,
        "confidence": 0.9,
        "margin": 1.0,
        "empty": False,
        "off": torch.nan,
        "off_even": torch.nan,
    }
    lists = ("places", "shares", "plain", "even", "heat", "box", "points", "features", "patches")
    return Carried(**{**blank, **dict.fromkeys(lists, ()), **known})


def patches(features: Sequence[Tensor], shares: Sequence[float]) -> list[dict[str, Any]]:
    """Return a photo's patches, each somewhere."""
    unit = [torch.nn.functional.normalize(one, dim=0).tolist() for one in features]
    return [{"box": [0, 0, 8, 8], "share": share, "features": one} for one, share in zip(unit, shares, strict=True)]


def spot(x: float, y: float) -> list[float]:
    """Return a map whose saliency is all in the cell of a place, in fractions."""
    heat = torch.zeros(HEAT, HEAT)
    heat[int(y * HEAT), int(x * HEAT)] = 1
    return list(heat.flatten().tolist())
