"""OpenCLIP models: CLIP, SigLIP, CoCa, EVA and the rest that embed images and text."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from finercam.models.sources.open_clip import create_model, image_parts
from finercam.models.text_image import TextImageModel, Tokens


def text_image_model(name: str, *, pretrained: bool, revision: str | None, device: torch.device) -> TextImageModel:
    """Return the model of ``NAME/WEIGHTS``, ``hf-hub:ORG/NAME`` or ``local-dir:FOLDER``, with its tokenizer."""
    model = create_model(name, pretrained=pretrained, revision=revision).to(device).eval()
    import open_clip

    called = name if name.startswith(("hf-hub:", "local-dir:")) else name.partition("/")[0]
    tokenizer = open_clip.get_tokenizer(called)
    weights = {
        key: tensor
        for key, tensor in model.state_dict().items()
        if not key.startswith(("visual.", "text_decoder.", "logit_"))
    }
    bias = getattr(model, "logit_bias", None)
    # The text tower's settings are not all in its weights: activation, pooling, masks.
    config = open_clip.get_model_config(called) or {}
    return TextImageModel(
        visual=_FirstOutput.around(model.visual),
        tokenize=_tokenize_with(tokenizer, _never_read(model)),
        encode=lambda inputs: model.encode_text(inputs["ids"]),
        context=tokenizer.context_length,
        scale=float(model.logit_scale.detach().exp()),
        bias=None if bias is None else float(bias.detach()),
        text_weights=weights,
        architecture=json.dumps([open_clip.__version__, config], sort_keys=True),
        image_parts=image_parts(model),
    )


def _tokenize_with(tokenizer: Any, never_read: set[int]) -> Callable[[Sequence[str]], Tokens]:
    unknown = never_read | {getattr(_inner(tokenizer), "unk_token_id", None)}
    meaningless = unknown | set(_inner(tokenizer).all_special_ids)

    def tokenize(prompts: Sequence[str]) -> Tokens:
        own = [_ids(tokenizer, prompt) for prompt in prompts]
        return Tokens(
            inputs={"ids": tokenizer(list(prompts))},
            words=[sum(i not in meaningless for i in ids) for ids in own],
            unknown=[sum(i in unknown for i in ids) for ids in own],
            lengths=[len(ids) + _around(tokenizer) for ids in own],
        )

    return tokenize


def _never_read(model: Any) -> set[int]:
    """Return the tokens whose embedding is zero: a small model's, of words that were not in its training text."""
    table = getattr(getattr(model, "text", model), "token_embedding", None)
    # Towers of transformers have theirs elsewhere, and tokenizers that mark what they do not know.
    return set() if table is None else set((~table.weight.any(1)).nonzero().flatten().tolist())


def _inner(tokenizer: Any) -> Any:
    """Return transformers' tokenizer inside OpenCLIP's, or OpenCLIP's own."""
    return getattr(tokenizer, "tokenizer", tokenizer)


def _ids(tokenizer: Any, prompt: str) -> Sequence[int]:
    """Return the prompt's own tokens, without start and end, none cut off."""
    inner = _inner(tokenizer)
    if inner is tokenizer:
        ids: Sequence[int] = tokenizer.encode(prompt)
    else:
        ids = inner(getattr(tokenizer, "clean_fn", str)(prompt), add_special_tokens=False).input_ids
    return ids


def _around(tokenizer: Any) -> int:
    """Return how many tokens are put around a prompt's own."""
    inner = _inner(tokenizer)
    if inner is tokenizer:
        return 2
    # In its "clips" mode the class token comes last, after start and end.
    return 3 if getattr(tokenizer, "tokenizer_mode", "") == "clips" else int(inner.num_special_tokens_to_add())


class _FirstOutput(nn.Module):
    """An image tower that returns its embedding beside its tokens, as CoCa's does: the embedding alone."""

    def __init__(self, tower: nn.Module) -> None:
        super().__init__()
        self.tower = tower

    @staticmethod
    def around(tower: nn.Module) -> nn.Module:
        """Return the tower, wrapped where it returns more than the embedding."""
        return _FirstOutput(tower) if getattr(tower, "output_tokens", False) else tower

    def forward(self, images: Float[Tensor, "b 3 H W"]) -> Float[Tensor, "b D"]:
        """Return the embeddings."""
        embedding: Tensor = self.tower(images)[0]
        return embedding
