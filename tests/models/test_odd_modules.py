"""Modules that cannot be explained say why, in one line."""

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import finercam
from finercam import Classifier, FinercamError


class Checkpointed(nn.Module):
    def __init__(self, reentrant):
        super().__init__()
        self.stem, self.body, self.fc = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.Linear(4, 5)
        self.reentrant = reentrant

    def forward(self, images):
        maps = checkpoint(self.body, self.stem(images).relu(), use_reentrant=self.reentrant)
        return self.fc(maps.mean((2, 3)))


class Undefined(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return None


class Severed(nn.Module):
    """The gradient of what the norm puts out is undefined."""

    def __init__(self):
        super().__init__()
        self.stem, self.norm, self.fc = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 5)

    def forward(self, images):
        return self.fc(Undefined.apply(self.norm(self.stem(images))).mean((2, 3)))


def test_reentrant_checkpointing_is_named():
    images = torch.randn(1, 3, 16, 16)
    assert finercam.saliency(Classifier.of(Checkpointed(False), layer="stem", image_size=(16, 16)), images, 1).shape
    classifier = Classifier.of(Checkpointed(True), layer="stem", image_size=(16, 16))
    with pytest.raises(FinercamError, match=r"cannot be differentiated .*heckpoint.*use_reentrant=False") as error:
        finercam.saliency(classifier, images, 1)
    assert "\n" not in str(error.value)


def test_an_undefined_gradient_at_a_batch_norm_is_no_crash():
    with pytest.raises(FinercamError):
        Classifier.of(Severed(), image_size=(16, 16))


def test_a_model_without_values_is_refused():
    with torch.device("meta"):
        model = Checkpointed(False)
    with pytest.raises(FinercamError, match="meta device and has no values; load the weights first"):
        Classifier.of(model, image_size=(16, 16))


def test_torchscript_is_refused_for_what_it_is():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)).eval()
    traced = torch.jit.trace(model, torch.zeros(1, 3, 16, 16))
    for given in (traced, torch.jit.script(model), nn.Sequential(traced, nn.ReLU())):
        with pytest.raises(FinercamError, match=r"is TorchScript.*Python module") as error:
            Classifier.of(given, image_size=(16, 16))
        assert "image_size" not in str(error.value)


def test_a_tensor_without_dimensions_is_a_target(model_folder):
    images = torch.randn(2, 3, 96, 96)
    classifier = finercam.load(model_folder)
    with classifier.look(images) as look:
        top = look.logits[0].argmax()
    found = finercam.explain(classifier, images, top)
    assert [one.target for one in found] == [int(top)] * 2
    assert finercam.explain(classifier, images[0], top).target == int(top)
