"""The text-image model as OpenCLIP builds it, and the folder it is kept in."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from safetensors.torch import save
from torch import Tensor

from finercam._torchvision import import_torchvision
from finercam.aviary import MODEL
from finercam.aviary.drawing import SIZE
from finercam.aviary.network import MEAN, STD
from finercam.aviary.network import build as build_classifier
from finercam.files import whole

MODEL_CONFIG: dict[str, Any] = {
    "embed_dim": 192,
    # The scale starts at 33. Of nearly all pairs of a picture and a statement the statement is false, so the bias,
    # which OpenCLIP adds to the logits, starts far below zero: that there is a bird lifts statements about birds.
    "init_logit_scale": 3.5,
    "init_logit_bias": -10.0,
    "vision_cfg": {
        "image_size": SIZE,
        # The mean over the cells and one linear map: a picture's cosine is a sum over what its cells say.
        "timm_model_name": "finercam_aviary",
        "timm_pool": "avg",
        "timm_proj": "linear",
    },
    # The vocabulary is OpenCLIP's own, so its table is nearly all of the file.
    "text_cfg": {"context_length": 40, "vocab_size": 49408, "width": 128, "heads": 2, "layers": 2, "mlp_ratio": 2.0},
}
"""How OpenCLIP builds the model: 16 x 16 cells on a picture of 128 x 128 pixels."""

LOCKED = ("conv1", "bn1", "layer1")
"""Modules of the image tower that stay as the embedded classifier has them."""

WEIGHTS, CONFIG = "open_clip_model.safetensors", "open_clip_config.json"


def build() -> Any:
    """Return OpenCLIP's model with fresh weights, but in the tower those of the embedded classifier.

    Where the classifier looks at 3x3 cells and the tower at one, it starts with what it had for that one.
    """
    import_torchvision()
    from open_clip.model import CLIP

    # Tells timm of the tower's name.
    import finercam.aviary.clip.tower  # noqa: F401

    model = CLIP(**MODEL_CONFIG)
    trunk = model.visual.trunk
    own, kept = trunk.state_dict(), build_classifier(MODEL).state_dict()
    trunk.load_state_dict(
        {name: kept[name] if kept[name].shape == old.shape else kept[name][:, :, 1:2, 1:2] for name, old in own.items()}
    )
    for name in LOCKED:
        getattr(trunk, name).requires_grad_(False)
    return model


def embed_text(model: Any, tokens: Int[Tensor, "m L"]) -> Float[Tensor, "m D"]:
    """Return what ``model.encode_text`` does, but read no further than the longest of these texts goes."""
    longest = int((tokens != 0).sum(1).max())
    tokens = tokens[:, :longest]
    x = model.token_embedding(tokens) + model.positional_embedding[:longest]
    x = model.ln_final(model.transformer(x, attn_mask=model.attn_mask[:longest, :longest]))
    return x[torch.arange(len(x)), tokens.argmax(-1)] @ model.text_projection


def write(model: Any, out: Path, used: Sequence[int]) -> int:
    """Write the model as a folder in OpenCLIP's format, in half precision; return the size of its weights in bytes.

    Args:
        model: trained.
        out: the folder.
        used: tokens that were read in training. What the others mean was never learned; their rows are written as
            zeros, which take no room in a compressed package.
    """
    state = {name: value.detach().half().contiguous() for name, value in model.state_dict().items()}
    table = torch.zeros_like(state["token_embedding.weight"])
    table[list(used)] = state["token_embedding.weight"][list(used)]
    state["token_embedding.weight"] = table
    with whole(out / WEIGHTS) as path:
        path.write_bytes(save(state, metadata={"format": "pt"}))
    config = {
        "model_cfg": MODEL_CONFIG,
        "preprocess_cfg": {
            "size": SIZE,
            "mode": "RGB",
            "mean": list(MEAN),
            "std": list(STD),
            "interpolation": "bilinear",
            "resize_mode": "squash",
        },
    }
    with whole(out / CONFIG) as path:
        path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    return (out / WEIGHTS).stat().st_size
