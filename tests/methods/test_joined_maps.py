"""Multi-scale Grad-CAM and subtracted maps, taken literally."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from finercam import PLAIN, Classifier, Contrast, FinercamError, answer, gather
from finercam._torchvision import import_torchvision
from support import reference
from support.models import NETS, SIZE, DeepNet, Net, Probed, build, classifier, photos

import_torchvision()
import timm  # noqa: E402

CONTRAST = Contrast([[4, 0, 6], [1, 2, 3]], gamma=0.7)
TARGETS = [2, 5]


def assert_same(ours: Tensor, theirs: Tensor, tolerance: float = 1e-9) -> None:
    assert ours.shape == theirs.shape
    peak = float(theirs.abs().max())
    assert peak > 0
    assert float((ours - theirs).abs().max()) <= tolerance * peak


def literal_cam(net: Net, image: Tensor, row: Tensor) -> Tensor:
    look = reference.Look(net, image)
    return reference.grad_cam(look.activations, look.gradient(lambda y: (y * row).sum()))


def divided(one: Tensor) -> tuple[Tensor, float]:
    """The ReLU of a map over its maximum, and that maximum."""
    risen = one.clamp(min=0)
    peak = float(risen.max())
    return (risen / peak if peak > 0 else risen), peak


# --- several scales ----------------------------------------------------------------------------------------------


def literal_join(maps: list[Tensor], join: str) -> Tensor:
    scaled, peaks = zip(*(divided(one) for one in maps), strict=True)
    if join == "mean":
        joined = sum(scaled) / len(scaled)
    else:
        joined = torch.ones_like(maps[0])
        for one in scaled:
            joined = joined * one
        if join == "geometric":
            joined = joined ** (1 / len(scaled))
    return joined * sum(peaks) / len(peaks)


@pytest.mark.parametrize("join", ["product", "mean", "geometric"])
@pytest.mark.parametrize("name", ["pooled", "deep"])
def test_scales_are_joined(name: str, join: str) -> None:
    net = classifier(name).module
    spec = f"multiscale@sizes=1+2+3@join={join}"
    evidence, (question,) = gather(classifier(name), photos(), [CONTRAST], TARGETS, method=spec)
    assert [maps.shape[-2:] for maps in evidence.scales] == [(6, 8), (12, 16), (18, 24)]
    found, seen = answer(evidence, question).maps, 0
    for i, image in enumerate(photos()):
        maps = []
        for factor in (1, 2, 3):
            size = factor * SIZE[0], factor * SIZE[1]
            larger = torch.stack([reference.resized(channel, size) for channel in image])
            cam = literal_cam(net, larger, question.rows[i, 0]).clamp(min=0)
            maps.append(reference.resized(cam, (18, 24)))
        expected = literal_join(maps, join)
        if float(expected.max()) > 0:
            assert_same(found[i], expected)
            seen += 1
        else:
            assert not found[i].any()
    assert seen > 0


def test_one_size_is_grad_cam_and_smaller_ones_work() -> None:
    model = classifier("deep")
    plain, (question,) = gather(model, photos(), [CONTRAST], TARGETS)
    alone, _ = gather(model, photos(), [CONTRAST], TARGETS, method="multiscale@sizes=1")
    assert_same(alone.maps(question.rows), plain.maps(question.rows).relu())
    other, _ = gather(model, photos(), [CONTRAST], TARGETS, method="multiscale@sizes=0.5")
    assert other.maps(question.rows).shape[-2:] == (3, 4)


def test_each_size_is_run_once() -> None:
    net = Probed(build(DeepNet))
    model = Classifier.of(net, "inner.stem", image_size=SIZE)
    net.batches.clear()
    gather(model, photos(3), [PLAIN], 2, method="multiscale")
    assert net.batches == [3, 3, 3]


def test_a_transformer_of_one_size_says_so() -> None:
    fixed = Classifier.of(timm.create_model("vit_tiny_patch16_224", depth=1, num_classes=3))
    images = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with pytest.raises(FinercamError, match=r"not take images of 448 x 448 pixels .*for 224 x 224"):
        gather(fixed, images, [PLAIN], method="multiscale@sizes=1+2")
    with pytest.raises(FinercamError, match="vit does not take images of 24 x 32"):
        gather(
            Classifier.of(build(NETS["vit"]), "last.norm1", image_size=SIZE, name="vit"),
            photos(),
            [PLAIN],
            method="multiscale@sizes=1+2",
        )
    free = Classifier.of(
        timm.create_model("vit_tiny_patch16_224", img_size=64, depth=1, num_classes=3, dynamic_img_size=True),
        image_size=(64, 64),
    )
    evidence, _ = gather(free, images[..., :64, :64], [PLAIN], method="multiscale@sizes=1+2")
    assert [maps.shape[-2:] for maps in evidence.scales] == [(4, 4), (8, 8)]


# --- subtraction -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("contrast", [CONTRAST, CONTRAST.changed(gamma=1.5), CONTRAST.changed(reverse=True), PLAIN])
@pytest.mark.parametrize("name", NETS)
def test_finished_maps_are_subtracted(name: str, contrast: Contrast) -> None:
    net = classifier(name).module
    evidence, (question,) = gather(classifier(name), photos(), [contrast], TARGETS, method="subtraction")
    found, seen = answer(evidence, question).maps, 0
    for i, image in enumerate(photos()):
        against = [0 * i] if contrast is PLAIN else CONTRAST.against[i]
        own, others = torch.zeros(7, dtype=torch.float64), torch.zeros(7, dtype=torch.float64)
        own[TARGETS[i]] = 1
        for d in against:
            others[d] += 1 / len(against)
        if contrast.reverse:
            own, others = others, own
        target, peak = divided(literal_cam(net, image, own))
        reference_map, _ = divided(literal_cam(net, image, others))
        expected = peak * (target - contrast.strength * reference_map)
        if peak > 0:
            assert_same(found[i], expected)
            seen += 1
        else:
            assert not found[i].any()
    assert seen > 0


def test_it_is_not_finer_cam_and_without_comparison_it_is_grad_cam() -> None:
    model = classifier("deep")
    contrasts = [CONTRAST, CONTRAST.changed(gamma=0.0)]
    evidence, questions = gather(model, photos(), contrasts, TARGETS, method="subtraction")
    finer, _ = gather(model, photos(), contrasts, TARGETS)
    subtracted, plain = (evidence.maps(question.rows) for question in questions)
    assert_same(plain, finer.maps(questions[1].rows).relu())
    difference = (subtracted - finer.maps(questions[0].rows)).relu()
    assert float(difference.max()) > 0.05 * float(subtracted.max())
