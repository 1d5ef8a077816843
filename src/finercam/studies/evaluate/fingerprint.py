"""What decides an evaluation's numbers, so that no row of one run is ever taken for a row of another."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from torch import nn

import finercam
from finercam.models import Classifier

#: The code that the numbers come from.
_CODE = (
    "answering.py",
    "contrast",
    "data/dataset.py",
    "data/photos.py",
    "data/placement.py",
    "methods",
    "metrics",
    "models/batching.py",
    "models/folding.py",
    "models/grid.py",
    "models/running.py",
    "studies/evaluate/maps.py",
    "studies/evaluate/measures.py",
    "studies/evaluate/preparing.py",
    "studies/evaluate/rows.py",
    "studies/evaluate/worker.py",
)


def of_model(classifier: Classifier) -> dict[str, object]:
    """Return what identifies a model: its weights, where it is looked at, what it takes and what it calls things."""
    preprocess = classifier.preprocess
    return {
        "name": classifier.name,
        "weights": of_weights(classifier.module),
        "layers": list(classifier.layers),
        "input": list(classifier.image_size),
        # A function's own text holds its address, which differs from run to run.
        "preprocessing": "own function" if " at 0x" in str(preprocess) else str(preprocess),
        "classes": of_text("\n".join(classifier.labels.names) if classifier.labels else str(classifier.classes)),
    }


def of_weights(module: nn.Module) -> str:
    """Return the SHA-256 of a module's parameters and buffers, names included."""
    found = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        if not isinstance(tensor, torch.Tensor):
            continue
        plain = tensor.detach().cpu().contiguous()
        found.update(f"{name} {plain.dtype} {tuple(plain.shape)}".encode())
        # Any type's bytes, bfloat16's too.
        found.update(plain.reshape(-1).view(torch.uint8).numpy().tobytes() if plain.numel() else b"")
    return found.hexdigest()


def of_text(text: str) -> str:
    """Return the SHA-256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def of_code() -> str:
    """Return the SHA-256 of the source that metrics and maps are computed by."""
    root = Path(finercam.__file__).parent
    found = hashlib.sha256()
    for name in _CODE:
        path = root / name
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            found.update(f"{file.relative_to(root).as_posix()}\n".encode())
            found.update(file.read_bytes())
    return found.hexdigest()
