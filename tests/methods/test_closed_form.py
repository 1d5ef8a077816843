"""Heads that only look like pooling and one linear layer: their gradient is computed, and is the true one."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from finercam import Classifier, Run, explain
from finercam.contrast.contrast import Contrast
from finercam.explanations.answering import answer, gather

SIZE = (32, 32)


class Net(nn.Module):
    """Pooling and a head, which may be any module."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU())
        self.head = head

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.stem(images).mean((2, 3)))


class LoRA(nn.Linear):
    """An adapter beside the layer's own weight, as of the kinds that inherit from it."""

    def __init__(self, size: float) -> None:
        super().__init__(8, 5)
        self.a, self.b = nn.Parameter(torch.randn(2, 8)), nn.Parameter(torch.randn(5, 2) * size)

    def forward(self, z: Tensor) -> Tensor:
        return super().forward(z) + z @ self.a.T @ self.b.T


class Temperature(nn.Linear):
    def __init__(self) -> None:
        super().__init__(8, 5)

    def forward(self, z: Tensor) -> Tensor:
        return super().forward(z) / 3.0


def biased(head: nn.Linear) -> nn.Linear:
    with torch.no_grad():
        head.bias.add_(100.0)
    return head


def of_equal_rows(head: nn.Linear) -> nn.Linear:
    """Only the adapter tells the classes apart."""
    with torch.no_grad():
        head.weight.copy_(head.weight[:1].expand(5, -1))
        head.bias.zero_()
    return head


def hooked(head: nn.Linear) -> nn.Linear:
    head.register_forward_hook(lambda module, args, output: output * torch.linspace(0.5, 2, 5).to(output))
    return head


def weighed(head: nn.Linear) -> nn.Linear:
    class Doubled(nn.Module):
        def forward(self, weight: Tensor) -> Tensor:
            return 2 * weight.square()

    parametrize.register_parametrization(head, "weight", Doubled())
    return head


def overridden(head: nn.Linear) -> nn.Linear:
    own = type(head).forward
    head.forward = lambda z: own(head, z.square())  # type: ignore[method-assign]
    return head


HEADS: dict[str, Callable[[], nn.Module]] = {
    "adapter": lambda: LoRA(0.3),
    "small adapter": lambda: LoRA(0.02),
    "adapter and a bias of 100": lambda: biased(LoRA(0.3)),
    "adapter over equal rows": lambda: of_equal_rows(LoRA(0.05)),
    "temperature": Temperature,
    "hook": lambda: hooked(nn.Linear(8, 5)),
    "parametrisation": lambda: weighed(nn.Linear(8, 5)),
    "forward of its own": lambda: overridden(nn.Linear(8, 5)),
}


def net_with(head: str) -> Net:
    with torch.random.fork_rng([]):
        torch.manual_seed(3)
        return Net(HEADS[head]()).eval()


def photos() -> Tensor:
    return torch.randn(3, 3, *SIZE, generator=torch.Generator().manual_seed(0))


def true_map(net: nn.Module, images: Tensor, row: Tensor) -> Tensor:
    """Grad-CAM, literally and in float64."""
    precise = copy.deepcopy(net).double()
    maps = precise.stem(images.double()).detach().requires_grad_()
    logits = precise.head(maps.mean((2, 3)))
    (gradient,) = torch.autograd.grad(logits, maps, row.double().expand(len(images), -1))
    return (gradient.mean((2, 3), keepdim=True) * maps).sum(1).detach()


def found_map(net: nn.Module, images: Tensor, run: Run | None = None, **contrast: Any) -> Tensor:
    model = Classifier.of(net, "stem", image_size=SIZE)
    evidence, (question,) = gather(model, images, [Contrast([2], **contrast)], 1, run=run)
    return answer(evidence, question).maps.double()


@pytest.mark.parametrize("head", [head for head in HEADS if head != "forward of its own"])
@pytest.mark.parametrize("half", [None, torch.bfloat16, torch.float16])
def test_a_head_that_is_not_the_plain_one(head: str, half: torch.dtype | None) -> None:
    net = net_with(head).to(half or torch.float32)
    expected = true_map(net, photos(), torch.tensor([0.0, 1.0, -1.0, 0, 0]))
    found = found_map(net, photos(), gamma=1.0)
    off = (found - expected).abs().amax() / expected.abs().amax()
    assert float(off) < {None: 1e-5, torch.float16: 0.01, torch.bfloat16: 0.06}[half]
    assert not Classifier.of(net, "stem", image_size=SIZE).pooled


@pytest.mark.parametrize("head", HEADS)
def test_rows_to_compare_are_those_that_make_the_logits(head: str) -> None:
    """An adapter's base rows are not, nor those of a layer whose output is altered."""
    found = Classifier.of(net_with(head), "stem", image_size=SIZE)
    assert (found.rows is not None) == (head == "parametrisation")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_plain_head_keeps_the_closed_form(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also with a bias of 100, which moves every logit alike; in half precision it then rounds them too much."""
    with torch.random.fork_rng([]):
        torch.manual_seed(3)
        net = Net(nn.Linear(8, 5)).eval().to(dtype)
        far = Net(biased(nn.Linear(8, 5))).eval().to(dtype)
    assert Classifier.of(net, "stem", image_size=SIZE).pooled
    for one in (net, far):
        expected = true_map(one, photos(), torch.tensor([0.0, 1.0, -1.0, 0, 0]))
        off = (found_map(one, photos(), gamma=1.0) - expected).abs().amax() / expected.abs().amax()
        assert float(off) < {torch.float32: 1e-5, torch.float16: 0.01, torch.bfloat16: 0.06}[dtype]
    monkeypatch.setattr(torch.autograd, "grad", lambda *given, **options: pytest.fail("a backward ran"))
    found_map(net, photos(), gamma=1.0)


@pytest.mark.parametrize("method", ["gradcam", "layercam", "ablationcam", "sharp"])
def test_a_model_that_was_changed_since_is_computed(method: str) -> None:
    """An adapter that was put in the head's place, and a hook that was put on it."""
    for change in ("replaced", "hooked"):
        net = net_with("hook")
        net.head = nn.Linear(8, 5)
        net.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 1, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU())
        model = Classifier.of(net, "stem", image_size=SIZE)
        assert model.pooled
        if change == "hooked":
            hooked(net.head)
        else:
            net.head = LoRA(0.3)
        fresh = Classifier.of(net, "stem", image_size=SIZE)
        assert not fresh.pooled
        both = (explain(each, photos(), 1, against=[2], method=method) for each in (model, fresh))
        for one, other in zip(*both, strict=True):
            assert float(one.map.abs().amax()) > 0
            torch.testing.assert_close(one.map, other.map, rtol=0, atol=1e-5 * float(other.map.abs().amax()))
