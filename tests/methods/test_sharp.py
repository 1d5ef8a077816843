"""Sharp: the formula taken literally, which layers it is made of, and what it costs."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from finercam import PLAIN, Classifier, Contrast, FinercamError, answer, gather
from finercam._torchvision import import_torchvision
from finercam.methods.method import find_method
from finercam.methods.sharp import CELLS, early_layers, taps
from finercam.models.stages import layer_cells, stages
from support import literal_explainers as literal
from support import reference
from support.models import SIZE, DeepNet, PooledNet, Probed, TinyViT, build, photos
from support.taken_apart import taken_apart

torchvision = import_torchvision()
import timm  # noqa: E402

CONTRAST = Contrast([[4, 0, 6], [1, 2, 3]], gamma=0.7)
TARGETS = [2, 5]


def assert_same(ours: Tensor, theirs: Tensor, tolerance: float = 1e-10) -> None:
    assert ours.shape == theirs.shape
    peak = float(theirs.abs().max())
    assert peak > 0
    assert float((ours - theirs).abs().max()) <= tolerance * peak


@pytest.mark.parametrize("offset", [0.05, 0.3, 0.0])
@pytest.mark.parametrize(
    ("kind", "layer", "early"),
    [(PooledNet, "stem", "stem.0"), (DeepNet, "more", "stem"), (TinyViT, "last.norm1", "first")],
)
def test_the_formula(kind: type[nn.Module], layer: str, early: str, offset: float) -> None:
    net = build(kind)
    model = Classifier.of(net, layer, image_size=SIZE)
    assert early_layers(model) == (early,)
    evidence, (question,) = gather(model, photos(), [CONTRAST], TARGETS, method=f"sharp@offset={offset}")
    found = answer(evidence, question).maps
    seen = 0
    for i, image in enumerate(photos()):
        a, g, b, h = taken_apart(net, image, question.rows[i, 0])
        drawn = literal.contributions(b, h)
        late = reference.resized(reference.grad_cam(a, g).clamp(min=0), tuple(drawn.shape))
        expected = literal.geometric([late, drawn], offset)
        if float(expected.abs().max()) > 0:
            assert_same(found[i], expected, 1e-9)
            seen += 1
        else:
            assert not found[i].any()
    assert seen > 0


def test_three_resolutions() -> None:
    """ResNet-18 at 64 x 96 pixels: its last map of 2 x 3 cells, and the deepest with 14 cells a side or more, 16 x 24.

    No layer but the stem's has 28 or more.
    """
    net = torchvision.models.resnet18(num_classes=6).double().eval()
    model = Classifier.of(net, image_size=(64, 96))
    assert model.pooled
    assert [stage.cells for stage in stages(model)] == [(32, 48), (16, 24), (8, 12), (4, 6), (2, 3)]
    assert early_layers(model) == ("bn1", "layer1")
    assert early_layers(model, cells=(4,)) == ("layer3",)
    images = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    row = Contrast([1, 2], gamma=1).ask(net(images).detach(), 0).rows
    how = find_method("sharp")
    with model.look(images, at=how.taps(model)) as look:
        found = how.gather(look, row).maps(row)[0, 0]
        assert look.passes == 1
    bn1 = net.bn1(net.conv1(images)).detach()
    layer1 = net.layer1(net.maxpool(bn1.relu())).detach()
    from_layer1 = lambda x: net.fc(net.layer4(net.layer3(net.layer2(x))).mean((2, 3)))  # noqa: E731
    from_bn1 = lambda x: from_layer1(net.layer1(net.maxpool(x.relu())))  # noqa: E731
    late = net.layer4(net.layer3(net.layer2(layer1))).detach()[0]
    weights = row[0, 0] @ net.fc.weight.detach() / 6
    maps = [
        torch.einsum("k,khw->hw", weights, late).clamp(min=0),
        literal.contributions(bn1[0], literal.layer_gradient(from_bn1, bn1[0], row[0, 0])),
        literal.contributions(layer1[0], literal.layer_gradient(from_layer1, layer1[0], row[0, 0])),
    ]
    expected = literal.geometric([reference.resized(one, (32, 48)) for one in maps], 0.05)
    assert_same(found, expected, 1e-9)


# --- which layers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options", "early"),
    [
        ("mobilenetv2_100", {}, ("blocks.2", "blocks.4")),
        ("resnet26", {}, ("layer2", "layer3")),
        ("convnext_atto", {}, ("stages.1", "stages.2")),
        ("swin_tiny_patch4_window7_224", {}, ("layers.1", "layers.2")),
        ("vit_tiny_patch16_224", {}, ("blocks.5",)),
        ("deit_tiny_distilled_patch16_224", {}, ("blocks.5",)),
        ("vit_tiny_patch16_224", {"global_pool": "avg", "class_token": False, "depth": 5}, ("blocks.2",)),
    ],
)
def test_the_layers_of_known_families(name: str, options: dict[str, object], early: tuple[str, ...]) -> None:
    net = timm.create_model(name, num_classes=3, **options).eval()
    model = Classifier.of(net)
    assert early_layers(model) == early
    assert taps(model) == (early if model.pooled else (*early, *model.layers))
    images = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    evidence, (question,) = gather(model, images, [PLAIN], 0, method="sharp")
    plain, _ = gather(model, images, [PLAIN], 0, method="gradcam")
    found = evidence.maps(question.rows)
    # Neither empty where Grad-CAM is not, nor Grad-CAM.
    assert (float(found.max()) > 0) == (float(plain.maps(question.rows).max()) > 0)
    assert float(evidence.early[-1].abs().max()) > 0


def test_a_vit_is_drawn_by_a_block_whose_tokens_matter() -> None:
    """Where the class token is read, the last block's patches lead nowhere, and a norm behind them says nothing."""
    torch.manual_seed(0)
    net = timm.create_model("vit_tiny_patch16_224", img_size=64, num_classes=5).double().eval()
    with torch.no_grad():
        net.head.weight.normal_()
    model = Classifier.of(net, image_size=(64, 64))
    images = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    evidence, (question,) = gather(model, images, [Contrast([1], gamma=1)], 0, method="sharp")
    assert all(float(part.abs().amax((1, 2, 3, 4)).min()) > 0 for part in evidence.early)
    assert evidence.early[0].shape == (2, 1, 192, 4, 4)
    late = evidence.late.relu().amax((1, 2, 3)) > 0
    assert bool(late.any())
    assert torch.equal(evidence.maps(question.rows).amax((1, 2, 3)) > 0, late)


def test_layers_behind_the_target_layer_and_coarser_ones_are_not_early() -> None:
    net = torchvision.models.resnet18(num_classes=6).eval()
    model = Classifier.of(net, "layer2")
    assert early_layers(model) == ("layer1",)
    several = Classifier.of(net, ["layer3", "layer4"])
    assert early_layers(several) == ("layer2",)


def test_several_target_layers_are_averaged_as_grad_cam_averages_them() -> None:
    net = torchvision.models.resnet18(num_classes=6).double().eval()
    model = Classifier.of(net, ["layer3", "layer4"], image_size=(64, 96))
    images = torch.randn(2, 3, 64, 96, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    evidence, (question,) = gather(model, images, [CONTRAST.changed(against=[1, 2])], 0, method="sharp")
    plain, _ = gather(model, images, [CONTRAST.changed(against=[1, 2])], 0, method="gradcam")
    assert_same(evidence.late, plain.maps(question.rows))
    assert evidence.maps(question.rows).shape[-2:] == (32, 48)


def test_a_net_without_an_earlier_layer_is_refused() -> None:
    """Its stem's parts all lie on the one grid, and are of one kind each."""
    for layer in ("stem", "stem.0"):
        model = Classifier.of(build(DeepNet), layer, image_size=SIZE)
        with pytest.raises(FinercamError, match=r"sharp and sharpest need a layer before stem.*another method"):
            gather(model, photos(), [PLAIN], method="sharp")


def test_grids_are_those_of_the_inputs_size() -> None:
    net = torchvision.models.resnet18(num_classes=6).eval()
    small, large = (Classifier.of(net, image_size=(side, side)) for side in (64, 224))
    assert layer_cells(small)["layer3"] == (4, 4)
    assert layer_cells(large)["layer3"] == (14, 14)
    assert early_layers(small) == ("bn1", "layer1")
    assert early_layers(large) == ("layer2", "layer3")
    assert CELLS == (28, 14)


# --- what it promises --------------------------------------------------------------------------------------------


def test_where_grad_cam_is_empty_so_is_sharp() -> None:
    model = Classifier.of(build(DeepNet), "more", image_size=SIZE)
    evidence, (question,) = gather(model, photos(), [CONTRAST], TARGETS, method="sharp")
    late = evidence.late.clone()
    late[0] = -late[0].abs()
    found = answer(replace(evidence, late=late), question)
    assert not found.maps[0].any()
    assert_same(found.maps[1], evidence.maps(question.rows)[1, 0])
    assert float(found.maps.min()) >= 0


@pytest.mark.parametrize("pooled", [True, False])
def test_one_run_and_one_backward_pass_for_each_row(pooled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    net = Probed(build(PooledNet if pooled else DeepNet))
    model = Classifier.of(net, "inner.stem" if pooled else "inner.more", image_size=SIZE)
    assert model.pooled == pooled
    early_layers(model)
    net.batches.clear()
    backwards, differentiate = [], torch.autograd.grad
    monkeypatch.setattr(
        torch.autograd, "grad", lambda *args, **more: backwards.append(1) or differentiate(*args, **more)
    )
    gather(model, photos(), [CONTRAST], TARGETS, method="sharp")
    assert net.batches == [2]
    assert len(backwards) == 1
    gather(model, photos(), [CONTRAST], TARGETS, method="sharp", collect=[])
    # The target and three references, image by image.
    assert len(backwards) == 1 + 4
