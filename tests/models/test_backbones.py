"""Backbones of the four libraries: what their features are, and which evidence a linear head on them shows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import finercam
from finercam import Classifier, FinercamError
from finercam._torchvision import import_torchvision
from finercam.models.backbone import Probe, load_backbone, weights_hash
from finercam.models.preprocessing import Preprocessing
from finercam.models.source import Checkpoint, ClassifierParts
from finercam.models.sources import torchvision as from_torchvision
from models.backbone_folders import images, made, save_all, save_transformers, seeded_head, timm_tokens, wake


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return save_all(tmp_path_factory.mktemp("backbones"))


# --- what features are: the tokens by each library's own calls, pooled by hand in float64 -------------------------


def vit_tokens(folder: Path, x: Tensor) -> Tensor:
    from transformers import AutoModel

    return AutoModel.from_pretrained(folder).eval().double()(x).last_hidden_state


def open_clip_tokens(folder: Path, x: Tensor) -> Tensor:
    import open_clip

    visual = open_clip.create_model(f"local-dir:{folder}").visual.eval().double()
    every = visual.forward_intermediates(x, indices=1, output_fmt="NLC", output_extra_tokens=True)
    tokens = torch.cat([every["image_intermediates_prefix"][0], every["image_intermediates"][0]], 1)
    return visual.ln_post(tokens) @ visual.proj


@pytest.mark.parametrize("pool", ["mean", "cls"])
@pytest.mark.parametrize(
    ("kind", "tokens"),
    [("timm", timm_tokens), ("ViT", vit_tokens), ("DINOv2", vit_tokens), ("open_clip", open_clip_tokens)],
)
def test_features_are_the_normed_tokens_pooled(
    folders: dict[str, Path], kind: str, tokens: Callable[[Path, Tensor], Tensor], pool: str
) -> None:
    backbone = load_backbone(str(folders[kind]), pool, device="cpu")
    x = images(backbone)
    with torch.no_grad():
        given = backbone.module(x)
        every = tokens(folders[kind], x.double())
    patches = (backbone.image_size[0] // (16 if kind == "timm" else 8)) ** 2
    literal = every[:, -patches:].mean(1) if pool == "mean" else every[:, 0]
    if kind == "timm" and pool == "cls":
        assert every.shape[1] == patches + 1
    assert given.shape == literal.shape == (3, backbone.features)
    torch.testing.assert_close(given.double(), literal, rtol=1e-4, atol=1e-5)


def test_auto_is_what_each_library_pools_by(folders: dict[str, Path]) -> None:
    def features(kind: str, pool: str) -> Tensor:
        backbone = load_backbone(str(folders[kind]), pool, device="cpu")
        with torch.no_grad():
            given = backbone.module(images(backbone))
        return given if isinstance(given, Tensor) else given.logits

    for kind in ("timm", "ViT", "open_clip"):
        torch.testing.assert_close(features(kind, "auto"), features(kind, "cls"))
    torch.testing.assert_close(features("resnet", "auto"), features("resnet", "mean"))
    # transformers' classifier of DINOv2 is given the class token and the mean beside each other.
    both = torch.cat([features("DINOv2", "cls"), features("DINOv2", "mean")], 1)
    torch.testing.assert_close(features("DINOv2", "auto"), both)


def test_torchvision_loses_its_last_linear_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    models = import_torchvision().models
    torch.manual_seed(0)
    whole = models.shufflenet_v2_x0_5(weights=None).eval()
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", lambda *_, **__: whole.state_dict())
    backbone = load_backbone("torchvision/shufflenet_v2_x0_5", "mean", device="cpu")
    x = images(backbone)
    with torch.no_grad():
        torch.testing.assert_close(whole.fc(backbone.module(x)), whole(x))
    assert not any(isinstance(inner, nn.Linear) for inner in backbone.module.modules())
    with pytest.raises(FinercamError, match="has no class token; pool by 'auto'"):
        load_backbone("torchvision/shufflenet_v2_x0_5", "cls", device="cpu")


def test_torchvisions_vision_transformer_pools_its_patches(monkeypatch: pytest.MonkeyPatch) -> None:
    models = import_torchvision().models
    torch.manual_seed(0)
    vit = models.VisionTransformer(
        image_size=32, patch_size=8, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=16, num_classes=4
    )
    wake(vit)
    parts = ClassifierParts(vit, Preprocessing(size=(32, 32)), list("abcd"))
    monkeypatch.setattr(from_torchvision, "classifier", lambda _: parts)

    def backbone(pool: str) -> nn.Module:
        return from_torchvision.backbone(Checkpoint("vit"), pool).module.eval()

    x = torch.randn(2, 3, 32, 32)
    caught: list[Tensor] = []
    handle = vit.encoder.register_forward_hook(lambda module, args, output: caught.append(output))
    vit.heads = nn.Sequential(nn.Linear(16, 4))
    with torch.no_grad():
        vit.eval()(x)
        handle.remove()
        mean = backbone("mean")(x)
        vit.heads = nn.Sequential(nn.Linear(16, 4))
        torch.testing.assert_close(backbone("auto")(x), caught[0][:, 0])
    torch.testing.assert_close(mean, caught[0][:, 1:].mean(1))


# --- which evidence a probe shows --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "pool", "layer", "prefix"),
    [
        ("timm", "cls", "backbone.blocks.5.norm1", 1),
        ("timm", "mean", "backbone.norm", 1),
        ("resnet", "auto", "backbone.layer4", 0),
        ("ViT", "cls", "backbone.tokens.layers.1.layernorm_before", 1),
        ("ViT", "mean", "backbone.tokens", 1),
        ("open_clip", "cls", "backbone.transformer.resblocks.1.ln_1", 1),
        ("open_clip", "mean", "backbone.ln_post", 1),
    ],
)
def test_the_layer_follows_the_pooling(folders: dict[str, Path], kind: str, pool: str, layer: str, prefix: int) -> None:
    _, classifier = made(folders, kind, pool)
    assert classifier.layers == (layer,)
    assert classifier.grids[0].prefix == prefix
    # OpenCLIP projects after pooling, so its head is not linear in the cells by its own rows alone.
    assert classifier.pooled == (pool != "cls" and kind != "open_clip")
    assert classifier.rows is not None
    torch.testing.assert_close(classifier.rows, seeded_head(load_backbone(str(folders[kind]), pool))[0])


@pytest.mark.parametrize("kind", ["timm", "resnet", "ViT", "DINOv2"])
def test_the_closed_form_is_the_gradient(folders: dict[str, Path], kind: str) -> None:
    backbone, classifier = made(folders, kind, "mean")
    assert classifier.pooled
    x = images(backbone, 1)
    closed = finercam.explain(classifier, x[0], 0, against=[1], gamma=0.6, method="layercam")
    taps: list[Tensor] = []

    def tap(module: nn.Module, args: Any, output: Any) -> Any:
        taps.append((output if isinstance(output, Tensor) else output[0]).detach().requires_grad_())
        return taps[0] if isinstance(output, Tensor) else type(output)(last_hidden_state=taps[0])

    handle = classifier.module.get_submodule(classifier.layers[0]).register_forward_hook(tap)
    logits = classifier.module(x)
    handle.remove()
    (gradient,) = torch.autograd.grad(logits[0, 0] - 0.6 * logits[0, 1], taps)
    a, g = (classifier.grids[0].maps(t.detach().double(), backbone.image_size) for t in (taps[0], gradient))
    literal = (a * g.clamp(min=0)).sum(1)[0]
    torch.testing.assert_close(closed.map.double(), literal, rtol=1e-4, atol=1e-6)


def test_missing_weights_of_a_backbone_are_not_made_up(tmp_path: Path) -> None:
    folder = save_transformers(tmp_path / "ViT")
    state = load_file(folder / "model.safetensors")
    lost = next(name for name in state if "layernorm_before.weight" in name)
    save_file(
        {name: value for name, value in state.items() if name != lost}, folder / "model.safetensors", {"format": "pt"}
    )
    with pytest.raises(FinercamError, match=r"has no weights for .*layernorm_before"):
        load_backbone(folder)


def test_the_hash_sees_values_and_shapes_but_no_names() -> None:
    one, other = nn.Linear(2, 3), nn.Sequential(nn.Linear(2, 3))
    other.load_state_dict({f"0.{name}": value for name, value in one.state_dict().items()})
    assert weights_hash(one) == weights_hash(other)
    other[0].bias.data[0] += 1e-6
    assert weights_hash(one) != weights_hash(other)
    assert weights_hash(one) != weights_hash(one.double())
    assert weights_hash(nn.Linear(2, 3).bfloat16()) != weights_hash(nn.BatchNorm2d(3))


def test_the_tokens_before_the_patches_are_counted_by_the_backbone() -> None:
    class Unfolded(nn.Module):
        """Four patches and five tokens before them, which might be nine patches."""

        num_prefix_tokens = 5

        def __init__(self) -> None:
            super().__init__()
            self.embed, self.norm = nn.Linear(3 * 16 * 16, 8), nn.LayerNorm(8)

        def forward(self, x: Tensor) -> Tensor:
            patches = self.embed(nn.functional.unfold(x, 16, stride=16).mT)
            tokens = torch.cat([patches.mean(1, keepdim=True).expand(-1, 5, -1), patches], 1)
            return self.norm(tokens)[:, 5:].mean(1)

    classifier = Classifier.of(Probe(Unfolded(), nn.Linear(8, 3)).eval(), image_size=(32, 32))
    assert (classifier.layers, classifier.grids[0].prefix, classifier.pooled) == (("backbone.norm",), 5, True)
