"""A gradient is zero where it was computed to be, and an error where it got lost."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from finercam import Classifier, FinercamError, explain
from models.small import made

SIZE = (32, 32)


class Lost(torch.autograd.Function):
    """Doubles, and has no derivative."""

    @staticmethod
    def forward(ctx: Any, given: Tensor) -> Tensor:
        return given * 2

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        return None


class Net(nn.Module):
    """A map, a norm, a layer that may be gone around, and a head."""

    def __init__(self, around: bool = False, lost: bool = False) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU())
        self.norm, self.middle, self.head = nn.LayerNorm(8), nn.Linear(8, 8), nn.Linear(8, 5)
        self.around, self.lost = around, lost

    def forward(self, images: Tensor) -> Tensor:
        given = self.norm(self.stem(images).mean((2, 3)))
        middle = self.middle(Lost.apply(given) if self.lost else given)
        return self.head(middle + given if self.around else middle)


def photo() -> Tensor:
    return torch.randn(3, *SIZE, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("method", ["gradcam", "layercam", "gradient-x-input"])
@pytest.mark.parametrize("around", [False, True])
def test_a_function_without_a_derivative(around: bool, method: str) -> None:
    """Also where a residual connection leads around it: part of the gradient is no gradient."""
    model = Classifier.of(made(lambda: Net(around, lost=True)), "stem", image_size=SIZE)
    layer = "input" if method == "gradient-x-input" else "stem"
    with pytest.raises(FinercamError, match=rf"no gradient reaches layer '{layer}'.*LostBackward"):
        explain(model, photo(), 1, against=[2], method=method)
    assert not explain(model, photo(), 1, against=[2], method="scorecam").empty


@pytest.mark.parametrize("around", [False, True])
@pytest.mark.filterwarnings("ignore")
def test_a_quantised_layer(around: bool) -> None:
    net = made(lambda: Net(around))
    assert not explain(Classifier.of(net, "stem", image_size=SIZE), photo(), 1, against=[2]).empty
    quantised = torch.ao.quantization.quantize_dynamic(net, {nn.Linear})
    model = Classifier.of(quantised, "stem", image_size=SIZE)
    with pytest.raises(FinercamError, match=r"no gradient reaches layer 'stem'.*quantised"):
        explain(model, photo(), 1, against=[2])


def test_a_layer_that_the_logits_do_not_depend_on() -> None:
    class Aside(Net):
        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images) + self.aside(images).mean((1, 2, 3), keepdim=True).flatten(1).detach()

    net = made(Aside)
    net.aside = nn.Conv2d(3, 4, 3, 2, 1)
    model = Classifier.of(net, ["stem", "aside"], image_size=SIZE)
    with pytest.raises(FinercamError, match="no gradient reaches layer 'aside': the logits do not depend on it"):
        explain(model, photo(), 1, against=[2])


def test_a_gradient_that_is_zero_is_an_empty_map() -> None:
    """A class whose logit does not move, and a ReLU that is shut for every image."""

    class Shut(Net):
        def forward(self, images: Tensor) -> Tensor:
            logits = super().forward(images)
            still = torch.zeros_like(logits[:, :1])
            return torch.cat([still, (logits[:, 1:2] - 100).relu(), logits[:, 2:]], 1)

    model = Classifier.of(made(Shut), "stem", image_size=SIZE)
    assert explain(model, photo(), 0, gamma=0).empty
    assert explain(model, photo(), 1, gamma=0).empty
    assert not explain(model, photo(), 2, gamma=0).empty
