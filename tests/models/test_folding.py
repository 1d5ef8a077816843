"""Batch norms folded into convolutions: the same logits, from a copy, or the module itself."""

import copy

import pytest
import torch
from torch import nn

from finercam._torchvision import import_torchvision
from finercam.models import Classifier, load
from finercam.models.folding import folded
from support.models import PooledNet, build, conv_bn_relu

import_torchvision()


def stir(module, seed=0):
    """Give every batch norm statistics and weights that matter."""
    generator = torch.Generator().manual_seed(seed)
    for inner in module.modules():
        if isinstance(inner, nn.BatchNorm2d):
            inner.running_mean.uniform_(-0.5, 0.5, generator=generator)
            inner.running_var.uniform_(0.5, 2, generator=generator)
            if inner.affine:
                inner.weight.data.uniform_(0.5, 1.5, generator=generator)
                inner.bias.data.uniform_(-0.5, 0.5, generator=generator)
    return module.eval()


def norms(module):
    return sum(isinstance(inner, nn.BatchNorm2d) for inner in module.modules())


def state(module):
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


class Head(nn.Module):
    def __init__(self, *layers, channels=8):
        super().__init__()
        self.layers = nn.Sequential(*layers)
        self.head = nn.Linear(channels, 7)

    def forward(self, x):
        return self.head(self.layers(x).mean((2, 3)))


def classifier(module, layer="layers.0", size=(16, 20)):
    return Classifier.of(module, layer, image_size=size)


@pytest.mark.parametrize(
    ("name", "left"),
    [
        ("timm/resnet10t", 0),
        ("timm/mobilenetv3_small_050", 0),
        ("timm/efficientnet_b0", 0),
        ("torchvision/resnet18", 0),
        pytest.param("timm/repvgg_a0", None, marks=pytest.mark.slow),
        # Its norms come before their convolutions, but for the first and those inside layers.
        pytest.param("torchvision/densenet121", None, marks=pytest.mark.slow),
    ],
)
def test_architectures_keep_their_logits(name, left):
    model = load(name, pretrained=False, device="cpu")
    module = stir(model.module)
    before = state(module)
    with torch.no_grad():
        faster = folded(model)
        assert faster is not module
        found = norms(faster)
        assert found < norms(module)
        if left is not None:
            assert found == left
        images = torch.randn(3, 3, *model.image_size, generator=torch.Generator().manual_seed(5))
        expected = module.double()(images.double())
        assert float(expected.std(1).min()) > 1e-3
        scale = float(expected.abs().max())
        torch.testing.assert_close(faster(images).double(), expected, rtol=0, atol=1e-4 * scale)
    assert all(torch.equal(tensor.double(), module.state_dict()[key]) for key, tensor in before.items())


def test_in_double_it_is_exact_and_the_original_is_untouched():
    module = build(PooledNet)
    module.train()
    before, modes = state(module), [inner.training for inner in module.modules()]
    model = Classifier.of(module, "stem", image_size=(12, 16))
    faster = folded(model)
    assert norms(faster) == 0
    assert faster.head.weight.dtype == torch.float64
    assert not faster.training
    assert [inner.training for inner in module.modules()] == modes
    assert all(torch.equal(before[key], tensor) for key, tensor in module.state_dict().items())
    assert all(parameter.requires_grad for parameter in module.parameters())
    images = torch.randn(2, 3, 12, 16, dtype=torch.float64)
    torch.testing.assert_close(faster(images), module.eval()(images), rtol=1e-12, atol=1e-12)
    assert not any(parameter is own for parameter in faster.parameters() for own in module.parameters())


def test_the_literal_formula_of_one_channel():
    conv, norm = nn.Conv2d(3, 8, 1, bias=True).double(), nn.BatchNorm2d(8, eps=0.1).double()
    module = stir(Head(conv, norm).double())
    faster = folded(classifier(module))
    own = faster.layers[0]
    for channel in range(8):
        scale = norm.weight[channel] / (norm.running_var[channel] + 0.1) ** 0.5
        torch.testing.assert_close(own.weight[channel], conv.weight[channel] * scale)
        shift = norm.bias[channel] + (conv.bias[channel] - norm.running_mean[channel]) * scale
        torch.testing.assert_close(own.bias[channel], shift)


@pytest.mark.parametrize("options", [{"affine": False}, {"eps": 0.5}])
def test_kinds_of_norms(options):
    module = stir(Head(nn.Conv2d(3, 8, 3, groups=1), nn.BatchNorm2d(8, **options), nn.ReLU()))
    faster = folded(classifier(module))
    assert norms(faster) == 0
    images = torch.randn(2, 3, 16, 20)
    torch.testing.assert_close(faster(images), module(images), atol=1e-5, rtol=1e-4)


def test_grouped_convolutions_and_same_padding():
    inner = [nn.Conv2d(3, 8, 3, padding="same"), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3, groups=8), nn.BatchNorm2d(8)]
    module = stir(Head(*inner))
    faster = folded(classifier(module))
    assert norms(faster) == 0
    images = torch.randn(2, 3, 16, 20)
    torch.testing.assert_close(faster(images), module(images), atol=1e-5, rtol=1e-4)


class Around(Head):
    """The convolution's own output is used beside the norm's."""

    def forward(self, x):
        raw = self.layers[0](x)
        return self.head((self.layers[1](raw) + raw).mean((2, 3)))


class Twice(Head):
    """One convolution feeds two norms."""

    def __init__(self):
        super().__init__(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))
        self.other = nn.BatchNorm2d(8)

    def forward(self, x):
        raw = self.layers[0](x)
        return self.head(self.layers[1](raw).relu().mean((2, 3)) + self.other(raw).relu().mean((2, 3)))


class Shared(Head):
    """The same convolution and norm run twice."""

    def __init__(self):
        super().__init__(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8))
        self.stem = nn.Conv2d(3, 8, 1)

    def forward(self, x):
        x = self.layers(self.stem(x))
        return self.head(self.layers(x).mean((2, 3)))


class SharedNorm(Head):
    """Two convolutions feed one norm."""

    def __init__(self):
        super().__init__(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))
        self.second = nn.Conv2d(3, 8, 3)

    def forward(self, x):
        norm = self.layers[1]
        return self.head((norm(self.layers[0](x)) - 2 * norm(self.second(x)).relu()).mean((2, 3)))


class InPlace(Head):
    """The convolution's output is changed in place before the norm sees it."""

    def forward(self, x):
        return self.head(self.layers[1](self.layers[0](x).mul_(2)).mean((2, 3)))


@pytest.mark.parametrize("kind", [Around, Twice, Shared, SharedNorm, InPlace])
def test_what_cannot_be_folded_keeps_its_logits(kind):
    own = (nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)) if kind in (Around, InPlace) else ()
    module = stir(kind(*own))
    images = torch.randn(2, 3, 16, 20)
    with torch.no_grad():
        expected = module(images)
        faster = folded(classifier(module))
        torch.testing.assert_close(faster(images), expected, atol=1e-5, rtol=1e-4)
    assert norms(faster) == norms(module)


def test_nothing_to_fold_gives_the_module_itself():
    module = Head(nn.Conv2d(3, 8, 3), nn.GroupNorm(2, 8)).eval()
    assert folded(classifier(module)) is module
    by_batch = Head(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8, track_running_stats=False)).eval()
    assert folded(classifier(by_batch)) is by_batch


def test_what_cannot_be_copied_is_used_as_it_is():
    class Stubborn(Head):
        def __deepcopy__(self, memo):
            raise TypeError("no copies")

    module = stir(Stubborn(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)))
    assert folded(classifier(module)) is module


def test_folding_draws_no_random_numbers():
    module = stir(Head(conv_bn_relu(3, 8, 1)))
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    folded(classifier(copy.deepcopy(module)))
    assert torch.equal(torch.rand(1), expected)
