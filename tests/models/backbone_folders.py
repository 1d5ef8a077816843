"""Small backbones with random weights, saved on disk as each library saves its own."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from finercam import Classifier
from finercam._torchvision import import_torchvision
from finercam.models.backbone import Backbone, Probe, load_backbone

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)


def save_timm(folder: Path, name: str = "test_vit", seed: int = 0) -> Path:
    """A timm model with a head of 4 classes, which a backbone leaves out."""
    import_torchvision()
    import timm

    torch.manual_seed(seed)
    model = timm.create_model(name, num_classes=4)
    wake(model)
    timm.models.save_for_hf(model, folder, safe_serialization=True)
    return folder


def save_transformers(folder: Path, kind: str = "ViT") -> Path:
    """A transformers model without any head (``ViTModel``, ``Dinov2Model``)."""
    import_torchvision()
    import transformers

    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = getattr(transformers, f"{kind}Config")(image_size=32, patch_size=8, **sizes)
    options = {"add_pooling_layer": False} if kind == "ViT" else {}
    model = getattr(transformers, f"{kind}Model")(config, **options)
    wake(model)
    model.save_pretrained(folder)
    size = {"height": 32, "width": 32}
    transformers.ViTImageProcessor(size=size, image_mean=list(MEAN), image_std=list(STD)).save_pretrained(folder)
    return folder


def save_open_clip(folder: Path) -> Path:
    """An OpenCLIP model of two towers, the image tower with a class token."""
    import_torchvision()
    from open_clip import CLIP
    from open_clip.push_to_hf_hub import save_for_hf

    torch.manual_seed(0)
    config = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
        "text_cfg": {"context_length": 8, "vocab_size": 64, "width": 16, "heads": 1, "layers": 1},
    }
    model = CLIP(**config)
    model.visual.image_mean, model.visual.image_std = MEAN, STD

    class NoTokenizer:
        def save_pretrained(self, folder: Path) -> None:
            """The image tower needs none."""

    save_for_hf(model, NoTokenizer(), config, folder, safe_serialization=True)
    return folder


def wake(model: nn.Module) -> None:
    """Give norms weights of their own, or leaving one out would go unseen."""
    with torch.no_grad():
        for inner in model.modules():
            if isinstance(inner, nn.LayerNorm):
                inner.weight.uniform_(0.5, 1.5)
                inner.bias.normal_(std=0.3)


def save_all(root: Path) -> dict[str, Path]:
    return {
        "timm": save_timm(root / "timm"),
        "resnet": save_timm(root / "resnet", "test_resnet"),
        "ViT": save_transformers(root / "ViT"),
        "DINOv2": save_transformers(root / "DINOv2", "Dinov2"),
        "open_clip": save_open_clip(root / "open_clip"),
    }


def images(backbone: Backbone, count: int = 3) -> Tensor:
    return torch.randn(count, 3, *backbone.image_size, generator=torch.Generator().manual_seed(1))


def seeded_head(backbone: Backbone, classes: int = 3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    return torch.randn(classes, backbone.features, generator=generator), torch.randn(classes, generator=generator)


def made(folders: dict[str, Path], kind: str, pool: str) -> tuple[Backbone, Classifier]:
    backbone = load_backbone(str(folders[kind]), pool, device="cpu")
    weight, bias = seeded_head(backbone)
    head = nn.Linear(backbone.features, 3)
    head.load_state_dict({"weight": weight, "bias": bias})
    return backbone, Classifier.of(Probe(backbone.module, head).eval(), image_size=backbone.image_size)


def timm_tokens(folder: Path, x: Tensor) -> Tensor:
    import timm

    return timm.create_model(f"local-dir:{folder}", pretrained=True).eval().double().forward_features(x)
