"""A model of images and text, whichever library it comes from."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from finercam.models.preprocessing import Preprocessing


@dataclass(frozen=True)
class Tokens:
    """Prompts as the text tower takes them.

    Attributes:
        inputs: by the names the tower knows them by; ``ids`` where it takes but one.
        words: how many tokens of each prompt mean something: not start, end or padding, and not unknown.
        unknown: how many the model knows nothing of: the tokenizer's mark for that, or never read in training.
        lengths: how many tokens each prompt has before anything is cut off, start and end included.
    """

    inputs: Mapping[str, Int[Tensor, "n _L"]]
    words: Sequence[int]
    unknown: Sequence[int]
    lengths: Sequence[int]


@dataclass(frozen=True, eq=False)
class TextImageModel:
    """Two towers into one space, where photos and prompts are compared by the cosine.

    Attributes:
        visual: images b 3 H W to embeddings b D, of any length.
        tokenize: prompts to tokens, cut off at ``context``.
        encode: tokens to embeddings n D, of any length.
        context: the most tokens a prompt may have, start and end included.
        scale, bias: the logit is ``scale * cosine + bias``; the bias is SigLIP's, ``None`` for CLIP.
        text_weights: of the text tower, by name.
        architecture: all else the text embeddings depend on: configuration, and the library's version.
        preprocessing: how a photo becomes an input of the image tower.
    """

    visual: nn.Module
    tokenize: Callable[[Sequence[str]], Tokens]
    encode: Callable[[Mapping[str, Tensor]], Tensor]
    context: int
    scale: float
    bias: float | None
    text_weights: Mapping[str, Tensor]
    architecture: str
    preprocessing: Preprocessing

    def fingerprint(self) -> str:
        """Return a digest of everything but the prompts that their embeddings depend on."""
        digest = hashlib.blake2b(self.architecture.encode(), digest_size=20)
        for name, tensor in sorted(self.text_weights.items()):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            # Bytes, for NumPy has no bfloat16.
            flat = tensor.detach().cpu().contiguous().reshape(-1)
            digest.update(flat.view(torch.uint8).numpy().data)
        return digest.hexdigest()


class ZeroShot(nn.Module):
    """Images to logits over prompts: ``head(f / |f|)`` with f the image's embedding.

    The normalisation is part of the graph, so gradients pass through it: a prompt's logit does not grow with the
    length of the embedding. ``head`` has the prompts' unit embeddings times the scale as its rows, and the bias.

    Neither here nor in other wrappers of towers do the shapes promise as many rows as there were images: a method may
    put tokens of its own in the place of theirs (``models.blocks``).
    """

    def __init__(self, visual: nn.Module, head: nn.Linear) -> None:
        super().__init__()
        self.visual = visual
        self.head = head

    def forward(self, images: Float[Tensor, "b c H W"]) -> Float[Tensor, "_b C"]:
        """Return the logits."""
        embedding: Float[Tensor, "_b D"] = self.visual(images)
        logits: Tensor = self.head(nn.functional.normalize(embedding, dim=-1))
        return logits
