"""Modules in training, frozen, wrapped, compiled, in other precisions, or given one image."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from finercam import saliency
from models.small import Net, Tokens, classifier, images, made
from support.looking import look


def test_a_module_in_training_stays_there() -> None:
    module = made(Net).train()
    module.body.eval()
    before = copy.deepcopy(module.state_dict())
    reference = saliency(classifier(made(Net)), images(), 1)
    torch.testing.assert_close(saliency(classifier(module), images(), 1), reference)
    assert module.training
    assert module.stem.training
    assert not module.body.training
    torch.testing.assert_close(module.state_dict(), before)


def test_frozen_and_inference_weights() -> None:
    for kind in (Net, lambda: Tokens(1, True)):
        reference = saliency(classifier(made(kind)), images(), 1)
        frozen = made(kind).requires_grad_(False)
        torch.testing.assert_close(saliency(classifier(frozen), images(), 1), reference)
        assert not any(parameter.requires_grad for parameter in frozen.parameters())
        with torch.inference_mode():
            inference = made(kind)
        assert next(inference.parameters()).is_inference()
        torch.testing.assert_close(saliency(classifier(inference), images(), 1), reference)


def test_wrappers_are_taken_off() -> None:
    module = made(Net)
    assert classifier(nn.DataParallel(module)).module is module
    compiled = torch.compile(module)
    assert classifier(compiled).module is module
    assert classifier(nn.DataParallel(torch.compile(module))).module is module
    torch.testing.assert_close(
        saliency(classifier(compiled, "stem"), images(), 1), saliency(classifier(module, "stem"), images(), 1)
    )


def test_compiled_parts_run_as_written() -> None:
    """Compiled, they would pass over the hooks, or be compiled anew for each."""
    runs = []

    def backend(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable[..., Any]:
        def run(*given: Tensor) -> Any:
            runs.append(len(given))
            return graph(*given)

        return run

    expected = saliency(classifier(made(Net), "body.0"), images(), 1)
    module = made(Net)
    module.body = torch.compile(module.body, backend=backend)
    module.stem.compile(backend=backend)
    module(images())
    compiled = len(runs)
    assert compiled > 0
    assert classifier(module).layers == ("body",)
    torch.testing.assert_close(saliency(classifier(module, "body._orig_mod.0"), images(), 1), expected)
    assert len(runs) == compiled
    module(images())
    assert len(runs) > compiled


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_weights_of_other_precision(dtype: torch.dtype) -> None:
    reference = classifier(made(Net))
    expected = saliency(reference, images(), 1)
    found = classifier(made(Net).to(dtype))
    assert (found.layers, found.pooled) == (("body",), True)
    close = 0.05 if dtype == torch.bfloat16 else 1e-5
    given = saliency(found, images().to(dtype), 1)
    torch.testing.assert_close(given.float(), expected, rtol=0, atol=close * float(expected.max()))
    assert classifier(made(lambda: Tokens(1, True)).to(dtype)).layers == ("encoder.layers.2.norm1",)


@pytest.mark.parametrize("norm", [nn.BatchNorm2d, nn.InstanceNorm2d])
def test_a_norm_before_tokens_has_one_image_explained_as_several(norm: type[nn.Module]) -> None:
    """PyTorch's backward of these norms on the CPU misreads the gradient that tokens send back for one image."""

    class Hybrid(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 16, 4, 4)
            self.more = nn.Sequential(nn.Conv2d(16, 16, 3, 1, 1), norm(16))
            self.norm, self.head = nn.LayerNorm(16), nn.Linear(16, 5)

        def forward(self, images: Tensor) -> Tensor:
            tokens = self.more(self.stem(images)).flatten(2).transpose(1, 2)
            return self.head(self.norm(tokens).square().mean(1))

    found = classifier(made(Hybrid), "stem")
    rows = torch.eye(5)
    several = look(found, images(3), lambda y: rows.expand(3, -1, -1)).gradients[0]
    single = look(found, images(3)[1:2], lambda y: rows[None]).gradients[0]
    torch.testing.assert_close(single, several[1:2], rtol=0, atol=1e-6 * float(several.abs().max()))
