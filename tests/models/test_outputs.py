"""Modules whose logits lie inside other things, and modules that cannot be explained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from finercam import Classifier, FinercamError, explain, saliency
from models.small import SIZE, Net, Tokens, classifier, conv, images, made


class Named(NamedTuple):
    features: Tensor
    scores: Tensor


@dataclass
class Output:
    maps: Tensor
    logits: Tensor


@pytest.mark.parametrize(
    "wrap",
    [
        lambda logits, maps: (logits, maps),
        lambda logits, maps: [maps, logits],
        lambda logits, maps: {"features": maps, "scores": logits},
        lambda logits, maps: {"pooled": maps.mean((2, 3)), "logits": logits},
        lambda logits, maps: Named(maps, logits),
        lambda logits, maps: Output(maps, logits),
    ],
    ids=["tuple", "list", "dict", "dict with logits", "named tuple", "dataclass"],
)
def test_logits_inside_other_things(wrap: Callable[[Tensor, Tensor], Any]) -> None:
    found = classifier(made(lambda: Net(wrap)))
    plain = classifier(made(Net))
    assert (found.layers, found.classes, found.pooled) == (plain.layers, 5, True)
    torch.testing.assert_close(saliency(found, images(), 1), saliency(plain, images(), 1))


def test_layers_that_return_more_than_a_tensor() -> None:
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = conv(8, 12)

        def forward(self, maps: Tensor) -> Output:
            return Output(self.inner(maps) + 1, maps)

    class Whole(Net):
        def forward(self, images: Tensor) -> Tensor:
            return self.head(self.body(self.stem(images)).maps.amax((2, 3)))

    module = Whole()
    module.body = Both()
    found = classifier(module.eval())
    assert found.layers == ("body",)
    assert saliency(found, images(), 1, gamma=0).shape == (2, *SIZE)


def test_a_head_that_takes_the_maximum_of_few_cells_beside_the_class_token() -> None:
    """Each class reads the class token and one patch: the layer is still the one whose patches the token reads."""

    class Beside(Tokens):
        def forward(self, images: Tensor) -> Tensor:
            tokens = self.patch(images).flatten(2).mT
            tokens = self.encoder(torch.cat([self.prefix.expand(len(images), -1, -1), tokens], 1))
            return self.head(tokens[:, 0]) + 0.5 * self.aside(tokens[:, 1:]).amax(1)

    module = made(lambda: Beside(1, True))
    module.aside = nn.Linear(16, 5)
    assert classifier(module).layers == ("encoder.layers.2.norm1",)


def test_outputs_without_logits() -> None:
    with pytest.raises(FinercamError, match=r"not logits of shape .images, classes.; give read="):
        classifier(made(lambda: Net(lambda logits, maps: maps)))
    with pytest.raises(FinercamError, match="the model returned str, not logits"):
        classifier(made(lambda: Net(lambda logits, maps: "five classes")))
    found = classifier(made(lambda: Net(lambda logits, maps: [[logits]])), read=lambda output: output[0][0])
    assert found.classes == 5


def test_probabilities_are_refused_when_explaining() -> None:
    found = classifier(made(lambda: Net(lambda logits, maps: logits.softmax(1))))
    assert found.layers == ("body",)
    with pytest.raises(FinercamError, match="returns probabilities"):
        explain(found, images())


class Pixels(nn.Module):
    """A perceptron on flattened pixels, behind a layer that normalises them."""

    def __init__(self) -> None:
        super().__init__()
        self.normalise = nn.InstanceNorm2d(3)
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIZE[0] * SIZE[1], 32), nn.ReLU(), nn.Linear(32, 5))

    def forward(self, images: Tensor) -> Tensor:
        return self.net(self.normalise(images))


class Rows(nn.Module):
    """A recurrent net that reads the image row by row."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(3 * SIZE[1], 16, batch_first=True)
        self.head = nn.Linear(16, 5)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.rnn(images.transpose(1, 2).flatten(2))[0][:, -1])


class Whole(nn.Module):
    """Filters as large as the image: every layer is global."""

    def __init__(self) -> None:
        super().__init__()
        self.look = nn.Conv2d(3, 16, SIZE)
        self.more, self.head = nn.Conv2d(16, 16, 1), nn.Linear(16, 5)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.more(self.look(images).relu()).relu().flatten(1))


@pytest.mark.parametrize("kind", [Pixels, Rows, Whole])
def test_no_layer_on_a_grid(kind: type[nn.Module]) -> None:
    with pytest.raises(FinercamError, match=r"no layer's output lies on a grid .* 24 x 32; give layer= .*grid=Grid"):
        classifier(made(kind))


def test_a_head_of_zeros() -> None:
    module = made(Net)
    nn.init.zeros_(module.head.weight)
    with pytest.raises(FinercamError, match=r"the logits do not depend on any layer .* untrained .all zero."):
        classifier(module)


class NoWayBack(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, given: Tensor) -> Tensor:
        return given.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        raise RuntimeError("no derivative")


def test_logits_that_cannot_be_differentiated() -> None:
    module = made(lambda: Net(lambda logits, maps: NoWayBack.apply(logits)))
    with pytest.raises(FinercamError, match=r"cannot be differentiated \(no derivative\); .* give layer=.*scorecam"):
        classifier(module)
    assert saliency(classifier(module, "body"), images(), 1, method="scorecam").shape == (2, *SIZE)


class TooLarge(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor) -> Tensor:
        return logits.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient + torch.empty(10**15)


def test_a_lack_of_memory_is_not_the_models_fault() -> None:
    with pytest.raises(MemoryError, match="allocate memory"):
        classifier(made(lambda: Net(lambda logits, maps: TooLarge.apply(logits))))


def test_the_wrong_image_size() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 4, 4), nn.Flatten(), nn.Linear(4 * 6 * 8, 5))
    with pytest.raises(FinercamError, match=r"does not run on .*224 x 224 pixels .*; give image_size=\(H, W\)"):
        Classifier.of(module)
    assert classifier(module.eval()).layers == ("0",)


def test_class_names_that_are_too_few() -> None:
    with pytest.raises(FinercamError, match="3 class names were given for a model with 5 logits"):
        classifier(made(Net), class_names=["a", "b", "c"])
