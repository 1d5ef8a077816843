"""Evidence that was kept answers other questions, and the closed form is the gradient."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from finercam import (
    METHODS,
    PLAIN,
    Classifier,
    Contrast,
    FinercamError,
    answer,
    explain,
    gather,
    saliency,
)
from finercam.methods.evidence import NotCollected, NotGathered
from finercam.methods.gradients import GradientEvidence
from support.evidence import GRADIENT, KINDS, assert_same, maps
from support.models import (
    CLASSES,
    NETS,
    SIZE,
    DeepNet,
    PooledNet,
    Probed,
    build,
    classifier,
    photos,
)

# --- kept evidence -----------------------------------------------------------------------------------------------

QUESTIONS = [
    Contrast([1, 2, 4]),
    Contrast([1, 2, 4], gamma=0),
    Contrast([1, 2, 4], gamma=-1.5),
    Contrast([2], gamma=2),
    Contrast([4, 1], aggregate="max"),
    Contrast([4, 1], aggregate="mean-after-relu", weighting="softmax"),
    Contrast([1, 2, 4], weighting="official"),
    Contrast([1, 2], gamma=0.3, reverse=True),
]


def probed(name: str) -> tuple[Classifier, Probed]:
    net = Probed(build(NETS[name]))
    return Classifier.of(net, f"inner.{NETS[name].layer}", image_size=SIZE), net


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("first", GRADIENT)
def test_kept_gradients_answer_other_questions_as_a_fresh_look_would(name: str, first: str) -> None:
    model, net = probed(name)
    fresh = {}
    for method in GRADIENT:
        for contrast in QUESTIONS:
            evidence, (question,) = gather(model, photos(), [contrast], [0, 3], method=method)
            fresh[method, contrast] = answer(evidence, question).maps
    net.batches.clear()
    evidence, (question,) = gather(model, photos(), [QUESTIONS[0]], [0, 3], method=first, collect=())
    answer(evidence, question)
    assert net.batches == [2]
    for (method, contrast), expected in fresh.items():
        question = contrast.ask(evidence.logits, [0, 3])
        found = answer(evidence.by(METHODS[method]), question).maps
        unit = fresh[method, QUESTIONS[0]]
        assert float((found - expected).abs().max()) <= 1e-9 * float(unit.abs().max())
    assert net.batches == [2]


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("method", ["scorecam", "scorecam-consistent", "scorecam-softmax", *KINDS[2:]])
def test_kept_scores_answer_every_class(name: str, method: str) -> None:
    model, net = probed(name)
    evidence, _ = gather(model, photos(), [PLAIN], [0, 3], method=method)
    net.batches.clear()
    answers = [answer(evidence, c.ask(evidence.logits, [5, 6])).maps for c in QUESTIONS[:-2]]
    assert net.batches == []
    for contrast, found in zip(QUESTIONS[:-2], answers, strict=True):
        evidence, (question,) = gather(model, photos(), [contrast], [5, 6], method=method)
        assert torch.equal(found, answer(evidence, question).maps)


def test_without_collect_any_gamma_of_the_same_references_is_in_reach() -> None:
    model, net = probed("deep")
    evidence, _ = gather(model, photos(), [PLAIN, Contrast([1, 2])], 0)
    net.batches.clear()
    for gamma in (-1, 1e-3, 0.6, 5):
        question = Contrast([1, 2], gamma=gamma).ask(evidence.logits, 0)
        found = answer(evidence.by(METHODS["layercam"]), question).maps
        assert net.batches == []
        fresh, (question,) = gather(model, photos(), [Contrast([1, 2], gamma=gamma)], 0)
        net.batches.clear()
        assert_same(found, answer(fresh.by(METHODS["layercam"]), question).maps)
    with pytest.raises(NotCollected) as caught:
        answer(evidence, Contrast([1]).ask(evidence.logits, 0))
    assert caught.value.classes == [1, 2]


def test_a_class_that_was_not_collected_is_named() -> None:
    names = [f"Bird {letter}" for letter in "ABCDEFG"]
    net = Probed(build(DeepNet))
    model = Classifier.of(net, "inner.stem", image_size=SIZE, class_names=names)
    # The plain CAM beside each explanation collects the target's most similar classes.
    similar = explain(model, photos()[0], "Bird A").references
    reference_name, collected, missing = (names[i] for i in range(1, CLASSES) if i not in similar)
    found = explain(model, photos()[0], "Bird A", against=[reference_name], keep=True, collect=[collected])
    net.batches.clear()
    assert found.again(against=[collected]).reference_names == [collected]
    assert found.again(target=collected, gamma=0).target_name == collected
    with pytest.raises(NotCollected, match=rf"no gradient was collected for {missing}; name .*collect=") as caught:
        found.again(against=[reference_name, missing])
    assert caught.value.classes == [names.index(missing)]
    assert isinstance(caught.value, FinercamError)
    assert net.batches == []
    again = found.again(against=[reference_name, missing], collect=True)
    assert net.batches == [1]
    assert_same(again.map, explain(model, photos()[0], "Bird A", against=[reference_name, missing]).map)
    net.batches.clear()
    # What had been collected before is collected again.
    assert_same(again.again(against=[collected]).map, found.again(against=[collected]).map)
    assert_same(again.again(gamma=0).map, found.again(gamma=0).map)
    assert net.batches == []


def test_each_image_needs_its_own_classes() -> None:
    evidence, _ = gather(classifier("deep"), photos(), [Contrast([[1], [2]])], [0, 3], collect=())
    assert isinstance(evidence, GradientEvidence)
    answer(evidence, Contrast([[1], [2]], gamma=2).ask(evidence.logits, [0, 3]))
    with pytest.raises(NotCollected) as caught:
        answer(evidence, Contrast([[1], [1]]).ask(evidence.logits, [0, 3]))
    assert caught.value.classes == [1]
    answer(evidence.of(slice(0, 1)), Contrast([1]).ask(evidence.logits[:1], 0))
    with pytest.raises(NotCollected):
        answer(evidence.of(slice(1, 2)), Contrast([1]).ask(evidence.logits[1:], 3))
    # However large the other image's coefficients are.
    rows = torch.zeros(2, 1, CLASSES, dtype=torch.float64)
    rows[0, 0, 0], rows[1, 0, 6] = 1e9, 1
    with pytest.raises(NotCollected) as caught:
        evidence.gradient(rows)
    assert caught.value.classes == [6]


def test_evidence_that_was_not_kept() -> None:
    model, net = probed("deep")
    found = explain(model, photos()[0], 0)
    assert found.evidence is None
    with pytest.raises(NotGathered, match="no evidence was kept; explain with keep=True"):
        found.again(gamma=1)
    net.batches.clear()
    assert_same(found.again(gamma=1, collect=True).map, explain(model, photos()[0], 0, gamma=1).map)
    kept = explain(model, photos()[0], 0, keep=True)
    with pytest.raises(NotGathered, match="Score-CAM gathers other evidence than Grad-CAM, which was kept"):
        kept.again(method="scorecam")
    assert_same(kept.again(method="scorecam", collect=True).map, explain(model, photos()[0], 0, method="scorecam").map)


@pytest.mark.parametrize("name", NETS)
def test_an_explanation_asked_again_is_a_fresh_one(name: str) -> None:
    model, net = probed(name)
    kept = explain(model, photos(), [0, 3], against=[1, 2, 4], keep=True)
    net.batches.clear()
    for change in ({"gamma": 1.0}, {"against": [2]}, {"aggregate": "max"}, {"method": "layercam"}, {"reverse": True}):
        again = [one.again(**change) for one in kept]
        assert net.batches == []
        options = {"against": [1, 2, 4], **change}
        for one, other in zip(again, explain(model, photos(), [0, 3], **options), strict=True):
            assert_same(one.map, other.map)
            assert torch.allclose(one.plain, other.plain, rtol=1e-9, atol=1e-9 * float(other.map.abs().max()))
            assert (one.target, one.references, str(one)) == (other.target, other.references, str(other))
        net.batches.clear()


# --- closed form -------------------------------------------------------------------------------------------------


def differentiated(model: Classifier) -> Classifier:
    """The same classifier without its closed form."""
    other = copy.copy(model)
    object.__setattr__(other, "pooled", False)
    return other


@pytest.mark.parametrize("method", GRADIENT)
def test_the_closed_form_is_the_gradient(method: str) -> None:
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-5)):
        model = classifier("pooled", dtype)
        assert model.pooled
        images = photos(dtype=dtype)
        assert_same(maps(model, images, method), maps(differentiated(model), images, method), tolerance)


def test_the_closed_form_runs_no_backward(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*args: object, **kwargs: object) -> None:
        raise AssertionError("a backward ran")

    monkeypatch.setattr(torch.autograd, "grad", never)
    saliency(classifier("pooled"), photos())
    with pytest.raises(AssertionError, match="a backward ran"):
        saliency(classifier("deep"), photos())


@pytest.mark.parametrize("method", ["gradcam", "ablationcam"])
def test_the_closed_form_notices_a_changed_model(method: str) -> None:
    net = build(PooledNet)
    model = Classifier.of(net, "stem", image_size=SIZE)
    net.head.weight.data *= 1.5
    saliency(model, photos(), method=method)  # the same layer with other weights is fine
    net.head = nn.Linear(5, CLASSES).double()
    fresh = Classifier.of(net, "stem", image_size=SIZE)
    assert_same(maps(model, photos(), method), maps(fresh, photos(), method))


def test_logits_scaled_in_place_are_not_taken_for_the_closed_form() -> None:
    class Scaled(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.maps = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, 4), torch.nn.ReLU())
            self.head = torch.nn.Linear(8, 5)

        def forward(self, images: Tensor) -> Tensor:
            logits: Tensor = self.head(self.maps(images).mean((2, 3)))
            logits *= 3.0
            return logits

    torch.manual_seed(0)
    found = Classifier.of(Scaled().eval())
    assert (found.layers, found.pooled) == (("maps",), False)
    assert float(saliency(found, torch.randn(2, 3, 64, 64), 1, contrast=Contrast(gamma=0)).max()) > 0
