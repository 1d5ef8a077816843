"""Models of transformers, from the hub or a saved folder: image classifiers; CLIP, SigLIP, SigLIP 2 and their kin."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor, nn

from finercam._torchvision import import_torchvision
from finercam.errors import FinercamError
from finercam.models.backbone import Pooled, check_pools_by, without_head
from finercam.models.layers import find_layers
from finercam.models.outputs import read_logits
from finercam.models.preprocessing import Preprocessing
from finercam.models.source import BackboneParts, Checkpoint, ClassifierParts, Saved, source
from finercam.models.text_image import TextImageModel, Tokens

#: Models of images and text whose logits are a scale times the cosine, and a bias: transformers' ``model_type``.
KINDS = ("clip", "siglip", "siglip2", "metaclip_2", "chinese_clip", "altclip")

#: Where a saved model says how photos are preprocessed.
_PROCESSORS = ("preprocessor_config.json", "processor_config.json")


def classifier(checkpoint: Checkpoint) -> ClassifierParts:
    """Return the module, preprocessing and class names of an image classifier."""
    config, name = _image_config(checkpoint), checkpoint.name
    heads = config.architectures or []
    if checkpoint.pretrained and not any("ForImageClassification" in head for head in heads):
        raise FinercamError(
            f"transformers/{name} was saved as {', '.join(heads) or 'a backbone'}, without an image classification "
            "head; a head made now would have random weights. Train one on photos of your classes: finercam probe "
            f"DATASET --backbone transformers/{name}"
        )
    module, missing = _create(checkpoint, config)
    if missing:
        raise FinercamError(
            f"transformers/{name} has no weights for {', '.join(sorted(missing)[:3])} ({len(missing)} in all); they "
            "would be random"
        )
    names = [str(config.id2label[index]) for index in range(config.num_labels)]
    # LABEL_0, LABEL_1 ... are placeholders, not names.
    placeholders = all(re.fullmatch(r"LABEL_\d+", name) for name in names)
    several = config.problem_type == "multi_label_classification"
    return ClassifierParts(
        module,
        _preprocessing(_processor(checkpoint)),
        None if placeholders else names,
        "sigmoid" if several else "softmax",
    )


def backbone(checkpoint: Checkpoint, pool: str) -> BackboneParts:
    """Return a model without its head (images b 3 H W to features b K), pooled so.

    ``auto`` pools as the library's own image classifier of that family does.
    """
    config, spec = _image_config(checkpoint), f"transformers/{checkpoint.name}"
    module, missing = _create(checkpoint, config)
    preprocessing = _preprocessing(_processor(checkpoint))
    module, head = without_head(module.eval(), preprocessing.size, spec)
    missing -= {f"{head}.weight", f"{head}.bias"}
    if missing:
        raise FinercamError(
            f"{spec} has no weights for {', '.join(sorted(missing)[:3])} ({len(missing)} in all), which its image "
            f"classifier ({type(module).__name__}) needs; they would be random"
        )
    return BackboneParts(module if pool == "auto" else _pooled(module, preprocessing.size, pool, spec), preprocessing)


def text_image(checkpoint: Checkpoint, device: torch.device) -> TextImageModel:
    """Return both towers, the tokenizer and the image processor.

    Raises:
        FinercamError: the model is of another kind.
    """
    config, where = _config(checkpoint), _where(checkpoint)
    import transformers

    name = checkpoint.name
    if config.model_type not in KINDS:
        raise FinercamError(
            f"transformers/{name} is a {config.model_type} model; prompts need one that embeds images and text: "
            f"{', '.join(KINDS)}"
        )
    kind = transformers.AutoModelForZeroShotImageClassification
    if checkpoint.pretrained:
        with _without_bars():
            model = kind.from_pretrained(name, use_safetensors=True, **where)
    else:
        model = kind.from_config(config, trust_remote_code=False)
    # Checkpoints saved in half precision come so.
    model = model.float().to(device).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(name, **where)
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
        preprocessing=_preprocessing(_processor(checkpoint), config.vision_config.patch_size),
    )


def _pooled(module: nn.Module, image_size: tuple[int, int], pool: str, spec: str) -> nn.Module:
    """Return the model of tokens inside an image classifier, its last hidden state pooled so."""
    found = find_layers(module, image_size, read_logits)
    inner = module.get_submodule(found.layers[0].split(".")[0])
    if found.grids[0].layout != "tokens" or next(inner.children(), None) is None:
        check_pools_by(pool, module, image_size, spec)
        return module
    return Pooled(inner, found.grids[0], pool)


def _where(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return where on the hub to find the files; code among them is never run, and nobody is asked whether it may."""
    return {"trust_remote_code": False} | ({} if checkpoint.revision is None else {"revision": checkpoint.revision})


def _config(checkpoint: Checkpoint) -> Any:
    import_torchvision()
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(checkpoint.name, **_where(checkpoint))


def _image_config(checkpoint: Checkpoint) -> Any:
    config, name = _config(checkpoint), checkpoint.name
    if config.model_type == "timm_wrapper":
        kind = "local-dir" if Path(name).is_dir() else "hf-hub"
        raise FinercamError(f"transformers/{name} is a timm model; write timm/{kind}:{name}")
    return config


def _create(checkpoint: Checkpoint, config: Any) -> tuple[Any, set[str]]:
    """Return the image classifier, and which of its weights were not in the files."""
    from transformers import AutoModelForImageClassification

    if not checkpoint.pretrained:
        return AutoModelForImageClassification.from_config(config, trust_remote_code=False), set()
    with _without_bars():
        module, found = AutoModelForImageClassification.from_pretrained(
            checkpoint.name, use_safetensors=True, output_loading_info=True, **_where(checkpoint)
        )
    return module, set(found["missing_keys"])


@contextmanager
def _without_bars() -> Iterator[None]:
    """Load weights without a bar, and without a word on those that are missing: they are looked at here."""
    from transformers.utils import logging

    bars, words = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(words)
        if bars:
            logging.enable_progress_bar()


def _processor(checkpoint: Checkpoint) -> Any:
    from transformers import AutoImageProcessor

    name = checkpoint.name
    if Path(name).is_dir() and not any((Path(name) / file).is_file() for file in _PROCESSORS):
        raise FinercamError(
            f"folder {name!r} does not say how photos are preprocessed: it has no {_PROCESSORS[0]}. Save the image "
            "processor that the model was trained with beside it: "
            f"transformers.AutoImageProcessor.from_pretrained(BASE).save_pretrained({name!r}); or give it in Python: "
            "finercam.Classifier.of(module, preprocess=...)"
        )
    return AutoImageProcessor.from_pretrained(checkpoint.name, **_where(checkpoint))


def _preprocessing(processor: Any, patch: int = 0) -> Preprocessing:
    """Return what an image processor does; ``patch`` is the side of a patch where it cuts images into patches."""

    def transform(picture: Image.Image) -> Tensor:
        given = processor(images=picture, return_tensors="pt")
        pixels: Tensor = given["pixel_values"][0]
        if pixels.ndim == 2:
            # SigLIP 2 with native aspect ratios cuts its input into patches; here an input is an image.
            h, w = given["spatial_shapes"][0].tolist()
            cells = pixels[: h * w].reshape(h, w, patch, patch, -1)
            pixels = cells.permute(4, 0, 2, 1, 3).reshape(-1, h * patch, w * patch)
        return pixels

    height, width = transform(Image.new("RGB", (320, 256))).shape[-2:]
    if not getattr(processor, "do_normalize", False):
        return Preprocessing(transform, (height, width), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    return Preprocessing(transform, (height, width), tuple(processor.image_mean), tuple(processor.image_std))


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


class _Pixels(nn.Module):
    """The image tower and, where there is one, its projection into the common space."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.vision_model = model.vision_model
        self.visual_projection = getattr(model, "visual_projection", None) or nn.Identity()

    def forward(self, images: Float[Tensor, "b c H W"]) -> Float[Tensor, "_b D"]:
        """Return the embeddings."""
        embedding: Tensor = self.visual_projection(self.vision_model(pixel_values=images).pooler_output)
        return embedding


class _Patches(nn.Module):
    """SigLIP 2's image tower for any aspect ratio, which takes patches and says where they lie."""

    def __init__(self, model: Any, config: Any) -> None:
        super().__init__()
        self.vision_model = model.vision_model
        self.patch = int(config.vision_config.patch_size)

    def forward(self, images: Float[Tensor, "b c H W"]) -> Float[Tensor, "_b D"]:
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


TRANSFORMERS = source(
    "transformers",
    specs=("transformers/ORG/NAME", "transformers/FOLDER"),
    classifier=classifier,
    backbone=backbone,
    text_image=text_image,
    # Its wrapper of timm's models has both keys, and is better read by timm.
    saved=Saved("config.json", key="model_type", without="architecture"),
    install="transformers",
)
