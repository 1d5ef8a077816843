"""Small models of images and text with seeded random weights, saved as their libraries save them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from finercam._torchvision import import_torchvision

SIZE = 32
WORDS = ("red", "epaulets", "bird", "wing", "a", "photo", "of", "yellow", "beak", "blue", "grosbeak", "the", "in", ".")


def seeded(make: Any) -> Any:
    """Return what this makes, with the same random weights every time and scales that tell prompts apart."""
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        model = make()
        with torch.no_grad():
            for parameter in model.parameters():
                # Freshly made towers hardly tell one input from another.
                if parameter.ndim >= 2:
                    parameter.normal_(std=1.5 / parameter[0].numel() ** 0.5)
    return model.eval()


VISION = {"image_size": SIZE, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8}
TEXT = {"context_length": 12, "vocab_size": 49408, "width": 16, "heads": 1, "layers": 2}


def open_clip_config(vision: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {"embed_dim": 16, "vision_cfg": dict(vision or VISION), "text_cfg": dict(TEXT), **more}


RESNET = {"image_size": 64, "layers": [1, 1, 1, 1], "width": 16, "patch_size": None}
COCA = {
    "embed_dim": 16,
    "vision_cfg": {**VISION, "attentional_pool": True, "attn_pooler_heads": 2, "output_tokens": True},
    "text_cfg": {**TEXT, "embed_cls": True, "output_tokens": True},
    "multimodal_cfg": {**TEXT, "attn_pooler_heads": 2},
    "custom_text": True,
}

#: Those of OpenCLIP, by name: their configurations.
OPEN_CLIP: dict[str, dict[str, Any]] = {
    "ViT": open_clip_config(),
    "ResNet": open_clip_config(RESNET),
    "ViT with bias": open_clip_config(init_logit_bias=-5.0, custom_text=True),
    "CoCa": COCA,
}
#: Those of transformers, by model type.
TRANSFORMERS = ("clip", "siglip", "siglip2")


def save_open_clip(folder: Path, config: dict[str, Any]) -> Any:
    """Save a random model in OpenCLIP's format with its own byte-pair tokenizer; return it."""
    import_torchvision()
    import open_clip
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    kind = open_clip.CoCa if "multimodal_cfg" in config else open_clip.CLIP
    if config.get("custom_text") and kind is open_clip.CLIP:
        kind = open_clip.CustomTextCLIP
    model = seeded(lambda: kind(**{key: value for key, value in config.items() if key != "custom_text"}))
    preprocess = {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.25, 0.3]}
    written = {"model_cfg": config, "preprocess_cfg": preprocess}
    (folder / "open_clip_config.json").write_text(json.dumps(written))
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / "open_clip_model.safetensors")
    return model


def save_transformers(folder: Path, kind: str) -> Any:
    """Save a random ``clip``, ``siglip`` or ``siglip2`` model with a tokenizer of whole words; return it."""
    import_torchvision()
    import transformers

    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    special = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    text = {**sizes, **special, "intermediate_size": 32, "max_position_embeddings": 12, "vocab_size": len(WORDS) + 4}
    vision = {**sizes, "intermediate_size": 48, "patch_size": 8}
    if kind == "siglip2":
        vision["num_patches"] = 16
        # Letters, not words.
        text |= {"vocab_size": 40, "max_position_embeddings": 40}
    else:
        vision["image_size"] = SIZE
    if kind == "clip":
        projection: dict[str, Any] = {"projection_dim": 24}
        text["projection_dim"] = vision["projection_dim"] = 24
    else:
        projection = {}
        text["projection_size"] = 32
    configs = {"clip": "CLIPConfig", "siglip": "SiglipConfig", "siglip2": "Siglip2Config"}
    models = {"clip": "CLIPModel", "siglip": "SiglipModel", "siglip2": "Siglip2Model"}
    config = getattr(transformers, configs[kind])(text_config=text, vision_config=vision, **projection)
    model = seeded(lambda: getattr(transformers, models[kind])(config))
    if kind != "clip":
        model.logit_scale.data.fill_(2.5)
        model.logit_bias.data.fill_(-3.0)
    model.save_pretrained(folder)
    _tokenizer(kind).save_pretrained(folder)
    _processor(kind).save_pretrained(folder)
    return model


def _tokenizer(kind: str) -> Any:
    import transformers

    if kind == "siglip2":
        # Whatever is saved with such a model, transformers reads it as this kind.
        special = ("<pad>", "<bos>", "<eos>", "<unk>", "<mask>", "▁")
        vocabulary = {token: i for i, token in enumerate((*special, *"abcdefghijklmnopqrstuvwxyz."))}
        names = {"vocab": vocabulary, "merges": [], "padding_side": "right", "model_input_names": ["input_ids"]}
        return transformers.Siglip2Tokenizer(**names, model_max_length=40)
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: i for i, word in enumerate(("<pad>", "<s>", "</s>", "<unk>", *WORDS))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    pattern = "<s> $A </s>" if kind == "clip" else "$A </s>"
    tokenizer.post_processor = processors.TemplateProcessing(pattern, special_tokens=[("<s>", 1), ("</s>", 2)])
    names = ["input_ids", "attention_mask"] if kind == "clip" else ["input_ids"]
    special = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_input_names=names, model_max_length=12, **special)


def _processor(kind: str) -> Any:
    import transformers

    look = {"image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.25, 0.3]}
    size = {"height": SIZE, "width": SIZE}
    if kind == "siglip2":
        return transformers.Siglip2ImageProcessor(patch_size=8, max_num_patches=16, **look)
    if kind == "siglip":
        return transformers.SiglipImageProcessor(size=size, **look)
    return transformers.CLIPImageProcessor(size=size, crop_size=size, **look)


def images(count: int = 2, size: tuple[int, int] = (SIZE, SIZE)) -> Tensor:
    return torch.randn(count, 3, *size, generator=torch.Generator().manual_seed(1))
