"""The features of a data set's photos, computed once and kept on disk in parts.

A part is whole or not there. A run that was stopped goes on at the first missing part; each part is computed in the
same batches whatever came before, so that the features are the same bit for bit.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

from finercam.data.dataset import Example, Item
from finercam.errors import FinercamError
from finercam.files import whole
from finercam.models.backbone import Backbone
from finercam.models.outputs import read_logits
from finercam.models.passes import forward_pass
from finercam.models.undisturbed import undisturbed

#: Photos in one part. A run that is stopped loses no more than this many.
PART = 512


def extract(
    backbone: Backbone,
    items: Sequence[Item],
    open_item: Callable[[Item], Example],
    folder: str | os.PathLike[str],
    *,
    precision: str = "float32",
    batch_size: int = 32,
    advance: Callable[[int], None] = lambda done: None,
) -> Float[Tensor, "n K"]:
    """Return the features of all photos, in their order, in float32 on the CPU.

    Args:
        backbone: frozen.
        items: the photos; their labels are not looked at.
        open_item: opens one; called in several threads at once.
        folder: where the parts are kept; the features of another backbone, preprocessing or photos do not meet there.
        precision: ``float32``, or autocast to ``bfloat16`` or ``float16``.
        batch_size: photos per run of the backbone.
        advance: called with the number of photos done.

    Raises:
        FinercamError: a photo cannot be read, or its features are not finite.
    """
    own = Path(folder) / features_fingerprint(backbone, items, precision, batch_size)[:16]
    parts = []
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as threads:
        for start in range(0, len(items), PART):
            some = items[start : start + PART]
            path = own / f"{start:08}.safetensors"
            if not path.exists():
                features = torch.cat(list(_features(backbone, some, open_item, threads, precision, batch_size)))
                _refuse_not_finite(features, some, precision)
                with whole(path) as aside:
                    save_file({"features": features}, aside)
            parts.append(load_file(path)["features"])
            advance(len(some))
    return torch.cat(parts) if parts else torch.zeros(0, backbone.features)


def features_fingerprint(backbone: Backbone, items: Sequence[Item], precision: str, batch_size: int) -> str:
    """Return a hash of all that the features depend on, down to the rounding.

    A photo is told by its listing and, where it is a file, its size in bytes; the preprocessing by what it makes of a
    picture.
    """
    sizes = hashlib.sha256(repr([_size(item.uri) for item in items]).encode()).hexdigest()
    says = backbone.record() | {"preprocessed": _preprocessed(backbone), "photos": listing(items), "sizes": sizes}
    # How the weights are reached does not matter, only what they are.
    for key in ("backbone", "revision"):
        del says[key]
    settings = {**says, "precision": precision, "batch_size": batch_size, "part": PART}
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def listing(items: Sequence[Item]) -> str:
    """Return a hash of which photos these are, in which order: their keys, labels and boxes.

    Boxes, for pictures that are drawn have keys that count them, whatever the seed they are drawn from.
    """
    lines = "".join(f"{item.key}\t{item.label}\t{item.box}\n" for item in items)
    return hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest()


def _features(
    backbone: Backbone,
    items: Sequence[Item],
    open_item: Callable[[Item], Example],
    threads: ThreadPoolExecutor,
    precision: str,
    batch_size: int,
) -> Iterator[Float[Tensor, "b K"]]:
    for images in _read_ahead(backbone, items, open_item, threads, batch_size):
        # Photos that are not brought to one size run apart.
        for _, same in groupby(images, key=lambda image: image.shape):
            with undisturbed(backbone.module):
                output = forward_pass(backbone.module, torch.stack(list(same)), precision)
            yield read_logits(output).float().cpu()


def _read_ahead(
    backbone: Backbone,
    items: Sequence[Item],
    open_item: Callable[[Item], Example],
    threads: ThreadPoolExecutor,
    batch_size: int,
) -> Iterator[list[Tensor]]:
    """Yield batches of preprocessed photos; the next batch is read while the last one is in use."""

    def image(item: Item) -> Tensor:
        return backbone.preprocessing(open_item(item).photo)

    ahead: list[Future[Tensor]] = []
    for start in range(0, len(items), batch_size):
        now, ahead = ahead, [threads.submit(image, item) for item in items[start : start + batch_size]]
        if now:
            yield [future.result() for future in now]
    if ahead:
        yield [future.result() for future in ahead]


def _refuse_not_finite(features: Float[Tensor, "n K"], items: Sequence[Item], precision: str) -> None:
    bad = (~features.isfinite()).any(1).nonzero().flatten().tolist()
    if bad:
        hint = "the backbone may be broken" if precision == "float32" else f"{precision} may be too coarse; try float32"
        raise FinercamError(
            f"the features of {len(bad)} photos are not finite (NaN or infinite), such as those of "
            f"{items[bad[0]].key!r}; {hint}"
        )


def _size(uri: str) -> int | None:
    try:
        return os.stat(uri).st_size
    except (OSError, ValueError):
        # A URI, or a picture that is drawn; its key must do.
        return None


def _preprocessed(backbone: Backbone) -> str:
    pixels: Any = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    picture = Image.fromarray(pixels).resize((320, 240), Image.Resampling.BILINEAR)
    return hashlib.sha256(backbone.preprocessing(picture).contiguous().numpy().tobytes()).hexdigest()
