"""The embedded classifier as a module and as a folder in timm's format.

It ends in global average pooling and one linear layer and has a fine last map, so that what it says about a trait can
be traced to where the trait is.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32
from safetensors.torch import save_file
from torch import Tensor, nn

from finercam.aviary.drawing import SIZE, Images
from finercam.aviary.species import SPECIES, label_names
from finercam.errors import FinercamError
from finercam.models.undisturbed import device_of, undisturbed

ARCHITECTURE = "resnet26"
MODEL_ARGS: dict[str, Any] = {
    # One or two bottlenecks a stage and no stride after the second: the last map has a cell for every 8 pixels. With
    # one 3x3 convolution to a block a cell sees 95 pixels each way at the most, so it can tell where a trait is.
    "layers": [1, 2, 1, 1],
    "channels": [24, 32, 48, 64],
    "stem_type": "deep",
    "stem_width": 12,
    "output_stride": 8,
}
"""How timm builds the network: 16 x 16 cells on a picture of 128 x 128 pixels."""
MEAN = (0.5, 0.5, 0.5)
STD = (0.25, 0.25, 0.25)


def build(folder: str | os.PathLike[str] | None = None) -> nn.Module:
    """Return the network of a folder in timm's format, or with fresh weights; in evaluation mode, in float32."""
    from finercam._torchvision import import_torchvision

    import_torchvision()
    import timm

    if folder is not None:
        return timm.create_model(f"local-dir:{Path(folder)}", pretrained=True).eval()
    return timm.create_model(ARCHITECTURE, pretrained=False, num_classes=len(SPECIES), **MODEL_ARGS).eval()


def predict(module: nn.Module, images: Images, batch: int = 100) -> Float32[np.ndarray, "n classes"]:
    """Return the logits, (n, species), of uint8 pictures."""
    device = device_of(module)
    with undisturbed(module):
        rows = [module(as_input(images[at : at + batch]).to(device)).float() for at in range(0, len(images), batch)]
    return torch.cat(rows).cpu().numpy()


def as_input(images: Images) -> Tensor:
    """Return uint8 pictures as the network takes them: b 3 128 128, normalised, channels last in memory."""
    pixels = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float()
    # permute leaves the memory as it was, so this is channels last without a copy.
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    return (pixels / 255 - mean) / std


def write(module: nn.Module, out: Path) -> int:
    """Write the module as a folder in timm's format, in half precision; return the size of its weights in bytes."""
    state = {
        name: (value.half() if value.is_floating_point() else value).contiguous(memory_format=torch.contiguous_format)
        for name, value in module.state_dict().items()
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=".part-", dir=out.parent))
    try:
        save_file(state, aside / "model.safetensors", metadata={"format": "pt"})
        (aside / "config.json").write_text(json.dumps(_config(), indent=2) + "\n", encoding="utf-8")
        refuse_full(out)
        _open_up(aside)
        if out.is_dir():
            out.rmdir()
        aside.replace(out)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return (out / "model.safetensors").stat().st_size


def _open_up(folder: Path) -> None:
    """Give a folder and its files the rights that new ones have: mkdtemp and safetensors write for the owner alone."""
    umask = os.umask(0)
    os.umask(umask)
    for path in folder.iterdir():
        path.chmod(0o666 & ~umask)
    folder.chmod(0o777 & ~umask)


def refuse_full(out: Path) -> None:
    """Raise if there is anything where a folder is to be written."""
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise FinercamError(f"{str(out)!r} exists already; give a folder that does not, or remove it first")


def _config() -> dict[str, Any]:
    return {
        "architecture": ARCHITECTURE,
        "num_classes": len(SPECIES),
        "model_args": MODEL_ARGS,
        "pretrained_cfg": {
            "tag": "aviary",
            "custom_load": False,
            "input_size": [3, SIZE, SIZE],
            "fixed_input_size": False,
            "interpolation": "bilinear",
            "crop_pct": 1.0,
            "crop_mode": "squash",
            "mean": list(MEAN),
            "std": list(STD),
            "num_classes": len(SPECIES),
            "pool_size": [16, 16],
            "first_conv": "conv1.0",
            "classifier": "fc",
            "license": "apache-2.0",
            "label_names": list(label_names),
        },
    }
