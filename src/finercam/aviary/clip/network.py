"""The text-image model as OpenCLIP builds it, how its attention starts out, and the folder it is kept in."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from safetensors.torch import save
from torch import Tensor

from finercam.aviary.network import MEAN, STD
from finercam.files import whole

SIZE = 96
"""Side of the pictures in pixels. Attention over the cells of larger ones would take most of the time."""

MODEL_CONFIG: dict[str, Any] = {
    "embed_dim": 192,
    # The scale starts at 20. A sigmoid loss has a bias, which OpenCLIP adds to the logits.
    "init_logit_scale": 3.0,
    "init_logit_bias": -3.0,
    "vision_cfg": {
        "image_size": SIZE,
        "patch_size": 8,
        "width": 128,
        "layers": 4,
        "head_width": 64,
        "mlp_ratio": 2.0,
        # Each cell is normed and the mean taken last: a picture's cosine is a sum over what its cells say.
        "pool_type": "avg",
    },
    # The vocabulary is OpenCLIP's own, so its table is nearly all of the file; hence so narrow a tower.
    "text_cfg": {"context_length": 40, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 3, "mlp_ratio": 2.0},
}
"""How OpenCLIP builds the model: 12 x 12 cells on a picture."""

WEIGHTS, CONFIG = "open_clip_model.safetensors", "open_clip_config.json"

Images = UInt8[np.ndarray, "n size size 3"]


def build() -> Any:
    """Return OpenCLIP's model with fresh weights, its attention looking at neighbours (``start_local``)."""
    from finercam._torchvision import import_torchvision

    import_torchvision()
    from open_clip.model import CLIP

    model = CLIP(**MODEL_CONFIG)
    start_local(model.visual)
    return model


def start_local(visual: Any) -> None:
    """Have each head of the image tower start out looking at one neighbour of a cell: left, right, above or below.

    Attention that starts out looking everywhere soon tells every cell of everything, and cells of the background
    then speak for the bird. Started like a convolution it stays local without being made to (the idea is ConViT's,
    arXiv 2103.10697).

    A cell at p has the position code ``u(p) = [sin(w p), cos(w p)]`` of 8 frequencies w for each axis. Keys read it
    as it is; queries turn it by the step d, so that ``q(p) k(p') = sum cos(w (p' - p - d))``, largest at ``p + d``.
    """
    rows, columns = visual.grid_size
    width, blocks = visual.conv1.out_channels, visual.transformer.resblocks
    frequencies = 0.75 ** torch.arange(8.0)
    down, across = (torch.arange(float(n))[:, None] * frequencies for n in (rows, columns))
    code = torch.cat(
        [
            torch.cat([down.sin(), down.cos()], 1).repeat_interleave(columns, 0),
            torch.cat([across.sin(), across.cos()], 1).repeat(rows, 1),
        ],
        1,
    )
    size = code.shape[1]
    with torch.no_grad():
        visual.positional_embedding.zero_()
        # Beside the code its negative: the norms subtract the mean over channels, which then is zero. What a cell
        # shows starts in the other channels, so that it does not drown where the cell is.
        visual.positional_embedding[1:, : 2 * size] = 2 * torch.cat([code, -code], 1)
        visual.conv1.weight[: 2 * size] = 0
        for depth, block in enumerate(blocks):
            heads = block.attn.num_heads
            for head in range(heads):
                step = 1.0 if head % 2 else -1.0
                turned = torch.block_diag(
                    *(_turn(frequencies * (step if axis == depth % 2 else 0.0)) for axis in (0, 1))
                )
                for part, reading in enumerate((turned, torch.eye(size))):
                    start = part * width + head * (width // heads)
                    block.attn.in_proj_weight[start : start + size] = 0
                    both = torch.cat([reading, -reading], 1) / 2
                    block.attn.in_proj_weight[start : start + size, : 2 * size] = _FOCUS * both


def _turn(angles: Float[Tensor, " f"]) -> Float[Tensor, "two_f two_f"]:
    """Return the matrix that takes ``[sin a, cos a]`` to ``[sin (a + angle), cos (a + angle)]``."""
    sine, cosine = torch.diag(angles.sin()), torch.diag(angles.cos())
    return torch.cat([torch.cat([cosine, sine], 1), torch.cat([-sine, cosine], 1)], 0)


_FOCUS = 6.0
"""How sharply heads start out looking at their neighbour."""


def embed_text(model: Any, tokens: Int[Tensor, "m L"]) -> Float[Tensor, "m D"]:
    """Return what ``model.encode_text`` does, but read no further than the longest of these texts goes."""
    longest = int((tokens != 0).sum(1).max())
    tokens = tokens[:, :longest]
    x = model.token_embedding(tokens) + model.positional_embedding[:longest]
    x = model.ln_final(model.transformer(x, attn_mask=model.attn_mask[:longest, :longest]))
    return x[torch.arange(len(x)), tokens.argmax(-1)] @ model.text_projection


def as_input(images: Images) -> Float[Tensor, "n c H W"]:
    """Return uint8 pictures as the image tower takes them, normalised."""
    pixels = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float()
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    return (pixels / 255 - mean) / std


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
