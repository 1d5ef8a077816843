"""The families of classifiers that are known to work, and which layer is looked at in each: ``families.csv``.

The table is what tests hold the search for the layer (``finercam.models.layers``) to. Nothing looks models up
in it: the layer is found by watching the model run.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any


@dataclass(frozen=True)
class Family:
    """One family of one library.

    Attributes:
        library: ``timm``, ``torchvision``, ``transformers`` or ``open_clip``.
        title: what people call it.
        example: a model of it, so that ``LIBRARY/EXAMPLE`` can be loaded; the name of its class where no such
            classifier is well known.
        layer: dotted name of the target layer in that model.
        layout: of that layer's output, as in ``Grid``.
        prefix: tokens before the patches in that output.
        head: how the logits come from the layer's output. Those of OpenCLIP are the dimensions of the embedding.
        exact: whether the logits are one linear layer on the mean of the cells, so that gradients have a closed form.
    """

    library: str
    title: str
    example: str
    layer: str
    layout: str
    prefix: int
    head: str
    exact: bool


@cache
def families() -> tuple[Family, ...]:
    """Return the families, library by library."""
    text = files("finercam.models").joinpath("families.csv").read_text(encoding="utf-8")
    rows: Iterable[dict[str, Any]] = csv.DictReader(text.splitlines())
    return tuple(Family(**row | {"prefix": int(row["prefix"]), "exact": row["exact"] == "true"}) for row in rows)
