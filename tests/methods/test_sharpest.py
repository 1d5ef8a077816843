"""Sharpest: the formula taken literally, how often the model runs, and what is answered without it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from finercam import PLAIN, Classifier, Contrast, Explanation, FinercamError, answer, explain, gather
from finercam._torchvision import import_torchvision
from finercam.methods.evidence import NotGathered
from finercam.methods.sharp import early_layers
from support import literal_explainers as literal
from support import reference
from support.models import SIZE, DeepNet, PooledNet, Probed, TinyViT, build, photos
from support.taken_apart import taken_apart

torchvision = import_torchvision()

CONTRAST = Contrast([[4, 0, 6], [1, 2, 3]], gamma=0.7)
TARGETS = [2, 5]
SPEC = "sharpest@copies=2@steps=2@smooth=0.2"


def expected_map(net: nn.Module, image: Tensor, row: Tensor, noises: list[Tensor], noise: float) -> Tensor:
    """Two noisy copies, two steps from either baseline, a box of three pixels."""
    a, g, _, _ = taken_apart(net, image, row)
    late = reference.resized(reference.grad_cam(a, g).clamp(min=0), SIZE)
    drawn = 0.0
    for drawing in noises:
        noisy = image + noise * (float(image.max()) - float(image.min())) * drawing
        _, _, b, h = taken_apart(net, noisy, row)
        drawn = drawn + literal.contributions(b, h) / len(noises)
    # The blurring box: 0.14 of 16 pixels, an odd number of them, so 3.
    starts = (torch.zeros_like(image), literal.blurred(image, 1))
    paths = sum(literal.integrated_gradients(net, image, row, start, 2) for start in starts) / 2
    smooth = literal.smoothed(paths, 1).clamp(min=0)
    layers = [late, reference.resized(drawn, SIZE)]
    return literal.geometric([*layers, *layers, smooth], 0.05)


@pytest.mark.parametrize("noise", [0.08, 0.0, 0.5])
@pytest.mark.parametrize(("kind", "layer"), [(PooledNet, "stem"), (DeepNet, "more"), (TinyViT, "last.norm1")])
def test_the_formula(kind: type[nn.Module], layer: str, noise: float) -> None:
    net = build(kind)
    model = Classifier.of(net, layer, image_size=SIZE)
    assert len(early_layers(model)) == 1
    evidence, (question,) = gather(model, photos(), [CONTRAST], TARGETS, method=f"{SPEC}@noise={noise}@seed=3")
    found = answer(evidence, question).maps
    generator = torch.Generator().manual_seed(3)
    noises = [torch.randn(3, *SIZE, generator=generator).double() for _ in range(2)]
    seen = 0
    for i, image in enumerate(photos()):
        expected = expected_map(net, image, question.rows[i, 0], noises, noise)
        peak = float(expected.max())
        assert float((found[i] - expected).abs().max()) <= 1e-9 * peak
        seen += peak > 0
    assert seen > 0


def test_four_resolutions_in_one_map() -> None:
    net = torchvision.models.resnet18(num_classes=6).eval()
    model = Classifier.of(net)
    assert early_layers(model) == ("layer2", "layer3")
    images = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(2))
    evidence, (question,) = gather(model, images, [PLAIN], method="sharpest@copies=1@steps=1")
    assert evidence.maps(question.rows).shape == (1, 1, 224, 224)


def test_eleven_runs_of_the_model() -> None:
    net = Probed(build(DeepNet))
    model = Classifier.of(net, "inner.more", image_size=SIZE)
    early_layers(model)
    net.batches.clear()
    gather(model, photos(), [CONTRAST, PLAIN], TARGETS, method="sharpest")
    assert net.batches == [2] * (1 + 4 + 2 * 3)


def test_it_answers_what_was_asked_only(tmp_path: Path) -> None:
    net = Probed(build(DeepNet))
    model = Classifier.of(net, "inner.more", image_size=SIZE)
    found = explain(model, photos()[0], 0, against=[1], method=SPEC, keep=True)
    net.batches.clear()
    loaded = Explanation.load(found.save(tmp_path / "one.safetensors"))
    for one in (found, loaded):
        torch.testing.assert_close(one.again().map, found.map, check_dtype=False)
        torch.testing.assert_close(one.again(gamma=0).saliency, found.plain, check_dtype=False)
        with pytest.raises(NotGathered, match=r"this question was not asked.*collect=True"):
            one.again(gamma=0.9)
    assert net.batches == []
    again = found.again(gamma=0.9, collect=True)
    assert torch.allclose(again.map, explain(model, photos()[0], 0, against=[1], gamma=0.9, method=SPEC).map)


def test_a_net_without_an_earlier_layer_is_refused() -> None:
    model = Classifier.of(build(DeepNet), "stem", image_size=SIZE)
    with pytest.raises(FinercamError, match=r"sharpest need a layer before stem.*another method"):
        gather(model, photos(), [PLAIN], method="sharpest")
