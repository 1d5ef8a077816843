"""CLIP, SigLIP, SigLIP 2 and their kin in transformers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor, nn

from finercam._torchvision import import_torchvision
from finercam.errors import FinercamError
from finercam.models.text_image import TextImageModel, Tokens

#: Those whose logits are a scale times the cosine, and a bias: transformers' ``model_type``.
KINDS = ("clip", "siglip", "siglip2", "metaclip_2", "chinese_clip", "altclip")


def text_image_model(name: str, *, pretrained: bool, revision: str | None, device: torch.device) -> TextImageModel:
    """Return a hub's model or the one saved in a folder, with its tokenizer and image processor.

    Raises:
        FinercamError: the model is of another kind.
    """
    import_torchvision()
    import transformers

    where = {} if revision is None else {"revision": revision}
    config = transformers.AutoConfig.from_pretrained(name, **where)
    if config.model_type not in KINDS:
        raise FinercamError(
            f"transformers/{name} is a {config.model_type} model; prompts need one that embeds images and text: "
            f"{', '.join(KINDS)}"
        )
    kind = transformers.AutoModelForZeroShotImageClassification
    model = kind.from_pretrained(name, use_safetensors=True, **where) if pretrained else kind.from_config(config)
    # Checkpoints saved in half precision come so.
    model = model.float().to(device).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(name, **where)
    processor = transformers.AutoImageProcessor.from_pretrained(name, **where)
    context = min(config.text_config.max_position_embeddings, tokenizer.model_max_length)
    bias = getattr(model, "logit_bias", None)
    weights = {
        key: tensor
        for key, tensor in model.state_dict().items()
        if not key.startswith(("vision_model.", "visual_projection.", "logit_"))
    }
    return TextImageModel(
        visual=_Patches(model, config) if config.model_type == "siglip2" else _Pixels(model),
        # SigLIP was trained on prompts filled up to the context; CLIP's causal mask hides what comes after the end.
        tokenize=_tokenize_with(tokenizer, context, "max_length" if "siglip" in config.model_type else True),
        encode=lambda inputs: _features(model.get_text_features(**inputs)),
        context=context,
        scale=float(model.logit_scale.detach().exp()),
        bias=None if bias is None else float(bias.detach()),
        text_weights=weights,
        architecture=f"{transformers.__version__} {config.to_json_string()}",
        image_parts=_image_parts(processor, config),
    )


def _tokenize_with(tokenizer: Any, context: int, padding: str | bool) -> Callable[[Sequence[str]], Tokens]:
    def tokenize(prompts: Sequence[str]) -> Tokens:
        own = tokenizer(list(prompts), add_special_tokens=False).input_ids
        special = set(tokenizer.all_special_ids)
        around = tokenizer.num_special_tokens_to_add()
        inputs = tokenizer(list(prompts), padding=padding, truncation=True, max_length=context, return_tensors="pt")
        return Tokens(
            inputs=dict(inputs),
            words=[sum(i not in special for i in ids) for ids in own],
            unknown=[ids.count(tokenizer.unk_token_id) for ids in own],
            lengths=[len(ids) + around for ids in own],
        )

    return tokenize


def _features(output: Any) -> Tensor:
    # A tensor before version 5.
    features: Tensor = output if isinstance(output, Tensor) else output.pooler_output
    return features


def _image_parts(processor: Any, config: Any) -> dict[str, Any]:
    patch = config.vision_config.patch_size

    def preprocess(picture: Image.Image) -> Tensor:
        given = processor(images=picture, return_tensors="pt")
        pixels: Tensor = given["pixel_values"][0]
        if pixels.ndim == 2:
            # SigLIP 2 with native aspect ratios cuts its input into patches; here an input is an image.
            h, w = given["spatial_shapes"][0].tolist()
            cells = pixels[: h * w].reshape(h, w, patch, patch, -1)
            pixels = cells.permute(4, 0, 2, 1, 3).reshape(-1, h * patch, w * patch)
        return pixels

    normalised = getattr(processor, "do_normalize", False)
    return {
        "preprocess": preprocess,
        "image_size": tuple(preprocess(Image.new("RGB", (320, 256))).shape[-2:]),
        "mean": tuple(processor.image_mean) if normalised else (0.0, 0.0, 0.0),
        "std": tuple(processor.image_std) if normalised else (1.0, 1.0, 1.0),
    }


class _Pixels(nn.Module):
    """The image tower and, where there is one, its projection into the common space."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.vision_model = model.vision_model
        self.visual_projection = getattr(model, "visual_projection", None) or nn.Identity()

    def forward(self, images: Float[Tensor, "b 3 H W"]) -> Float[Tensor, "b D"]:
        """Return the embeddings."""
        embedding: Tensor = self.visual_projection(self.vision_model(pixel_values=images).pooler_output)
        return embedding


class _Patches(nn.Module):
    """SigLIP 2's image tower for any aspect ratio, which takes patches and says where they lie."""

    def __init__(self, model: Any, config: Any) -> None:
        super().__init__()
        self.vision_model = model.vision_model
        self.patch = int(config.vision_config.patch_size)

    def forward(self, images: Float[Tensor, "b 3 H W"]) -> Float[Tensor, "b D"]:
        """Return the embeddings; the sides must be multiples of the patch."""
        b, channels, height, width = images.shape
        h, w, p = height // self.patch, width // self.patch, self.patch
        cells = images.reshape(b, channels, h, p, w, p).permute(0, 2, 4, 3, 5, 1)
        patches = cells.reshape(b, h * w, p * p * channels)
        all_of_them = torch.ones(b, h * w, dtype=torch.long, device=images.device)
        shapes = torch.tensor([(h, w)] * b, device=images.device)
        # By position: the mask's name differs between versions.
        embedding: Tensor = self.vision_model(patches, all_of_them, shapes).pooler_output
        return embedding
