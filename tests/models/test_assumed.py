"""Outputs that are no logits are found out; several classes at once, and one alone, have truthful probabilities."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import finercam
from finercam import Classifier, Explanation, FinercamError, explain, saliency
from finercam._torchvision import import_torchvision
from models.small import Net, classifier, images, made


def after(function: Callable[[Tensor], Tensor]) -> nn.Module:
    """A small net whose logits go through a function."""
    return made(lambda: Net(lambda logits, maps: function(logits)))


@pytest.mark.parametrize(
    "function",
    [torch.sigmoid, lambda y: {"logits": y.sigmoid()}, lambda y: y.sigmoid().clone()[:, :3].unsqueeze(2).squeeze(2)],
    ids=["sigmoid", "in a mapping", "and some views"],
)
def test_a_sigmoid_is_found_out(function: Any) -> None:
    with pytest.raises(FinercamError, match=r"by a sigmoid.* read=torch\.logit; .*probabilities='sigmoid'"):
        classifier(after(function))


@pytest.mark.parametrize(
    "function",
    [lambda y: y.log_softmax(1), lambda y: y - y.logsumexp(1, keepdim=True), lambda y: y.softmax(1).log()],
    ids=["log_softmax", "by hand", "of probabilities"],
)
def test_a_log_softmax_is_found_out(function: Any) -> None:
    with pytest.raises(FinercamError, match=r"the model returns log-probabilities.*give read="):
        classifier(after(function))


@pytest.mark.parametrize(
    "function",
    [
        lambda y: y * 0.01 + 0.5,  # between 0 and 1, as a sigmoid's are
        lambda y: y.sigmoid() * 1.5,
        lambda y: y.sigmoid().logit(),
        lambda y: -y.abs(),
        lambda y: y - y.logsumexp(1, keepdim=True) - 0.01,
        lambda y: y.detach().sigmoid() + y,
    ],
)
def test_logits_are_taken_whatever_their_range(function: Any) -> None:
    assert classifier(after(function)).classes == 5


def test_logits_given_back_by_the_inverse() -> None:
    plain = classifier(made(Net))
    found = classifier(after(torch.sigmoid), read=torch.logit, probabilities="sigmoid")
    torch.testing.assert_close(
        saliency(found, images(), 1, gamma=0), saliency(plain, images(), 1, gamma=0), rtol=1e-4, atol=1e-6
    )


def test_several_classes_at_once(tmp_path: Path) -> None:
    found = classifier(made(Net), probabilities="sigmoid", class_names="abcde")
    explanation = explain(found, images()[0], 1, keep=True)
    torch.testing.assert_close(explanation.probabilities, explanation.logits.sigmoid())
    record = explanation.record()
    assert record["probabilities"] == "sigmoid"
    assert record["target"]["probability"] == pytest.approx(float(explanation.logits[1].sigmoid()))
    explanation.save(tmp_path / "maps.safetensors")
    again = Explanation.load(tmp_path / "maps.safetensors")
    torch.testing.assert_close(again.probabilities, explanation.probabilities)
    assert explain(replace(found, probabilities="softmax"), images()[0]).record()["probabilities"] == "softmax"
    with pytest.raises(FinercamError, match="probabilities is 'sigmoids'; did you mean 'sigmoid'"):
        classifier(made(Net), probabilities="sigmoids")


def test_a_single_logit_is_compared_with_what_it_is_not() -> None:
    class One(Net):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(12, 1)

    module = made(One)
    found = classifier(module, class_names=["sick"])
    assert (found.classes, found.head, found.pooled) == (2, None, False)
    assert list(found.labels or ()) == ["sick", "not sick"]
    z = module(images())[:, 0].detach()
    for image, value in zip(images(), z, strict=True):
        for name, sign in (("sick", 1), ("not sick", -1)):
            explanation = explain(found, image, name, gamma=1)
            assert explanation.reference_names == ["not sick" if name == "sick" else "sick"]
            index = explanation.target
            assert float(explanation.probabilities[index]) == pytest.approx(float((sign * value).sigmoid()), abs=1e-6)
            # What tells the two apart is the logit itself.
            maps = module.body(module.stem(image[None])).detach()
            row = module.head.weight.detach()[0] / maps[0, 0].numel()
            expected = sign * (maps[0] * row[:, None, None]).sum(0)
            torch.testing.assert_close(explanation.map, expected, rtol=1e-4, atol=1e-6)
    unnamed = explain(classifier(module), images()[0])
    assert {unnamed.target_name, *unnamed.reference_names} == {"class 0", "not class 0"}
    with pytest.raises(FinercamError, match=r"2 class names .* 1 logits; name the class that the one logit is for"):
        classifier(module, class_names=["well", "sick"])


def test_transformers_says_when_several_classes_may_be_there_at_once(tmp_path: Path) -> None:
    import_torchvision()
    transformers = pytest.importorskip("transformers")

    for problem, expected in (("multi_label_classification", "sigmoid"), (None, "softmax")):
        config = transformers.ViTConfig(
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=32,
            image_size=32,
            patch_size=8,
            num_labels=3,
            problem_type=problem,
        )
        transformers.ViTForImageClassification(config).save_pretrained(tmp_path / expected)
        transformers.ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path / expected)
        assert json.loads((tmp_path / expected / "config.json").read_text()).get("problem_type") == problem
        assert finercam.load(str(tmp_path / expected)).probabilities == expected
    assert isinstance(finercam.load(str(tmp_path / "sigmoid")), Classifier)


def test_a_loaded_model_is_told_how_its_logits_become_probabilities() -> None:
    assert finercam.load("aviary").probabilities == "softmax"
    assert finercam.load("aviary", probabilities="sigmoid").probabilities == "sigmoid"
    worded = finercam.load("aviary-clip", classes=["red bird", "blue bird"], probabilities="sigmoid")
    assert worded.probabilities == "sigmoid"
    with pytest.raises(FinercamError, match="probabilities is 'sigmoids'; did you mean 'sigmoid'"):
        finercam.load("no such model", probabilities="sigmoids")


def test_the_normaliser_of_a_log_softmax_is_in_every_map_unless_gamma_is_1() -> None:
    """Why log-softmax outputs are refused, and not taken for logits."""
    image = images()[:1].requires_grad_()
    logits = made(Net)(image)
    logged = logits.log_softmax(1)

    def gradient(of: Tensor, gamma: float) -> Tensor:
        return torch.autograd.grad((of[:, 1] - gamma * of[:, 2]).sum(), image, retain_graph=True)[0]

    (shared,) = torch.autograd.grad(logits.logsumexp(1).sum(), image, retain_graph=True)
    for gamma in (0.0, 0.6, 1.0):
        left = gradient(logits, gamma) - gradient(logged, gamma)
        torch.testing.assert_close(left, (1 - gamma) * shared, rtol=1e-4, atol=1e-7)
    assert float(shared.abs().max()) > 0.1 * float(gradient(logits, 0.6).abs().max())
