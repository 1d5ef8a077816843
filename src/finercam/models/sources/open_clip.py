"""OpenCLIP models: CLIP, SigLIP, CoCa, EVA and the rest that embed images and text.

As a classifier it is the image tower of one: its "classes" are the dimensions of the embedding.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from finercam._torchvision import import_torchvision
from finercam.errors import FinercamError, nearest
from finercam.models.preprocessing import Preprocessing
from finercam.models.source import BackboneParts, Checkpoint, ClassifierParts, Saved, source
from finercam.models.text_image import TextImageModel, Tokens

_ELSEWHERE = ("hf-hub:", "local-dir:")

#: Modules that tell timm of image towers that are not its own; imported before OpenCLIP builds a model.
TOWERS: list[str] = []


def classifier(checkpoint: Checkpoint) -> ClassifierParts:
    """Return the image tower of ``NAME/WEIGHTS``, ``hf-hub:ORG/NAME`` or ``local-dir:FOLDER``."""
    model = _create(checkpoint)
    return ClassifierParts(model.visual, _preprocessing(model))


def backbone(checkpoint: Checkpoint, pool: str) -> BackboneParts:
    """Return the image tower (images b 3 H W to embeddings b K, not normalised), pooled so."""
    model, spec = _create(checkpoint), f"open_clip/{checkpoint.name}"
    visual, how = model.visual, {"mean": ("avg", "avg"), "cls": ("tok", "token")}.get(pool)
    trunk = getattr(visual, "trunk", None)
    if how is None:
        pass
    elif getattr(visual, "attn_pool", None) is None and getattr(visual, "pool_type", None) in ("avg", "tok"):
        visual.pool_type = how[0]
    elif trunk is not None and getattr(trunk, "num_classes", None) == 0:
        try:
            trunk.reset_classifier(0, how[1])
        except AssertionError as error:
            raise FinercamError(f"{spec} cannot be pooled by {pool!r} ({error}); use 'auto'") from error
    else:
        raise FinercamError(f"{spec} pools its tokens by attention and cannot be pooled by {pool!r}; use 'auto'")
    return BackboneParts(visual, _preprocessing(model))


def text_image(checkpoint: Checkpoint, device: torch.device) -> TextImageModel:
    """Return both towers and the tokenizer."""
    model = _create(checkpoint).to(device).eval()
    import open_clip

    name = checkpoint.name
    called = name if name.startswith(_ELSEWHERE) else name.partition("/")[0]
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
        preprocessing=_preprocessing(model),
    )


def _create(checkpoint: Checkpoint) -> Any:
    """Return the whole model, both towers.

    Raises:
        FinercamError: OpenCLIP has no such model or weights.
    """
    import_torchvision()
    import open_clip

    for module in TOWERS:
        import_module(module)
    if checkpoint.revision is not None:
        raise FinercamError("OpenCLIP's loader takes no revision; download the one you want and give its folder")
    name, pretrained, weights = checkpoint.name, checkpoint.pretrained, ""
    if not name.startswith(_ELSEWHERE):
        name, _, weights = name.partition("/")
        if name not in open_clip.list_models():
            raise FinercamError(f"OpenCLIP has no model {name!r}; {nearest(name, open_clip.list_models())}")
        tags = open_clip.list_pretrained_tags_by_model(name)
        if pretrained and weights not in tags:
            what = f"no weights {weights!r} for {name}" if weights else "several sets of weights to choose from"
            raise FinercamError(f"OpenCLIP has {what}; write open_clip/{name}/WEIGHTS, {nearest(weights, tags)}")
    with _never_unpickling():
        return open_clip.create_model(
            name,
            pretrained=weights if pretrained and weights else None,
            load_weights=pretrained,
            # A folder without weights would be a model with random ones, and no more than a line in a log.
            require_pretrained=pretrained,
        )


def _preprocessing(model: Any) -> Preprocessing:
    import open_clip
    from open_clip.transform import PreprocessCfg, image_transform_v2

    size = model.visual.image_size
    height, width = size if isinstance(size, (tuple, list)) else (size, size)
    config = open_clip.get_model_preprocess_cfg(model)
    transform = image_transform_v2(PreprocessCfg(**config), is_train=False)
    return Preprocessing(transform, (height, width), tuple(config["mean"]), tuple(config["std"]))


@contextmanager
def _never_unpickling() -> Iterator[None]:
    """Have ``torch.load`` read weights only, also where OpenCLIP falls back on reading more.

    It asks for weights only, and after a ``TypeError``, which a file can provoke, it asks again without.
    """
    key = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    before = os.environ.get(key)
    os.environ[key] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[key]
        else:
            os.environ[key] = before


def _tokenize_with(tokenizer: Any, never_read: set[int]) -> Callable[[Sequence[str]], Tokens]:
    around = _around(tokenizer)
    unknown = never_read | {getattr(_inner(tokenizer), "unk_token_id", None)}
    meaningless = unknown | set(_inner(tokenizer).all_special_ids)

    def tokenize(prompts: Sequence[str]) -> Tokens:
        own = [_ids(tokenizer, prompt) for prompt in prompts]
        return Tokens(
            inputs={"ids": tokenizer(list(prompts))},
            words=[sum(i not in meaningless for i in ids) for ids in own],
            unknown=[sum(i in unknown for i in ids) for ids in own],
            lengths=[len(ids) + around for ids in own],
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

    def forward(self, images: Float[Tensor, "b c H W"]) -> Float[Tensor, "_b D"]:
        """Return the embeddings."""
        embedding: Tensor = self.tower(images)[0]
        return embedding


OPEN_CLIP = source(
    "open_clip",
    specs=("open_clip/NAME/WEIGHTS", "open_clip/local-dir:FOLDER"),
    classifier=classifier,
    backbone=backbone,
    text_image=text_image,
    saved=Saved("open_clip_config.json", prefix="local-dir:"),
    install="open_clip_torch",
)
