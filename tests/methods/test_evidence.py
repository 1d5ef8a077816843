"""The one look at the model: that it leaves no trace, serves many questions and is right under all circumstances."""

from __future__ import annotations

import copy
import gc
import resource
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from dataclasses import fields

import pytest
import torch
from torch import Tensor, nn

from finercam import (
    METHODS,
    PLAIN,
    Classifier,
    Contrast,
    FinercamError,
    Objective,
    Run,
    answer,
    explain,
    gather,
    saliency,
)
from finercam.methods.evidence import NotCollected, NotGathered
from finercam.methods.gradients import GradientEvidence, gather_gradients
from finercam.models.checks import refuse_probabilities
from finercam.models.passes import forward_pass
from finercam.models.undisturbed import undisturbed
from support import reference
from support.models import (
    CLASSES,
    NETS,
    SIZE,
    AroundNet,
    DeepNet,
    InPlaceNet,
    Net,
    PooledNet,
    Probed,
    build,
    classifier,
    photos,
)
from support.states import disturbing_net, state, untouched

GRADIENT = [name for name, how in METHODS.items() if how.gatherer is gather_gradients]
#: One method per kind of evidence.
KINDS = ["gradcam", "scorecam", "ablationcam", "rise@masks=24@cells=3"]
#: All of them; those that draw masks with fewer.
ALL = [name for name in METHODS if METHODS[name].function is not None] + KINDS[3:]


# --- no trace ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", KINDS)
@pytest.mark.parametrize("kind", NETS.values())
def test_the_model_is_untouched(kind: type[Net], method: str) -> None:
    net = disturbing_net(kind)
    assert len(set(state(net)["training"].values())) == 2
    with untouched(net):
        model = Classifier.of(net, kind.layer, image_size=SIZE)
        saliency(model, photos(), method=method)
        explain(model, photos(), keep=True)[0].again(gamma=0.1)
    with untouched(net):
        found = Classifier.of(net, image_size=SIZE)
        saliency(found, photos())


@pytest.mark.parametrize("method", KINDS)
def test_the_model_is_untouched_when_it_raises(method: str) -> None:
    net = Probed(disturbing_net(DeepNet))
    model = Classifier.of(net, "inner.stem", image_size=SIZE)
    net.fails = True
    with untouched(net), pytest.raises(RuntimeError, match="the model broke"):
        saliency(model, photos(), method=method)
    net.fails = False
    with untouched(net), pytest.raises(FinercamError, match=r"no class is called|has no class names"):
        saliency(model, photos(), "Nobody's Bird", method=method)
    with untouched(net), pytest.raises(ZeroDivisionError):
        saliency(model, photos(), contrast=Objective(lambda y: 1 / 0), method=method)


@pytest.mark.parametrize("method", KINDS)
def test_the_model_is_untouched_when_its_layer_is_not_reached(method: str) -> None:
    class Fickle(DeepNet):
        around = False

        def forward(self, images: Tensor) -> Tensor:
            return self.tail(self.stem[:3](images) if self.around else self.stem(images))

    net = build(Fickle)
    model = Classifier.of(net, "stem", image_size=SIZE)
    net.around = True
    with untouched(net), pytest.raises(FinercamError, match="layer 'stem' is not used in the forward pass"):
        saliency(model, photos(), method=method)


def test_a_probe_that_does_not_look_would_be_caught() -> None:
    net = disturbing_net(DeepNet)
    for disturb in (
        lambda: net.eval(),
        lambda: torch.rand(1),
        lambda: net.head.register_forward_hook(lambda *_: None),
        lambda: net.requires_grad_(),
        lambda: net.zero_grad(),
        lambda: net(photos()).sum().backward(),
    ):
        with pytest.raises(AssertionError), untouched(net):
            disturb()


# --- any model, any caller ---------------------------------------------------------------------------------------


def maps(model: Classifier, images: Tensor, method: str) -> Tensor:
    evidence, (question,) = gather(model, images, [Contrast()], method=method)
    return answer(evidence, question).maps


@pytest.mark.parametrize("method", KINDS)
@pytest.mark.parametrize("name", NETS)
def test_frozen_models(name: str, method: str) -> None:
    net = build(NETS[name]).requires_grad_(False)
    model = Classifier.of(net, NETS[name].layer, image_size=SIZE)
    assert torch.equal(maps(model, photos(), method), maps(classifier(name), photos(), method))


@pytest.mark.parametrize("method", KINDS)
@pytest.mark.parametrize("name", NETS)
def test_models_made_in_inference_mode(name: str, method: str) -> None:
    with torch.inference_mode():
        net = build(NETS[name])
        images = photos()
    assert next(net.parameters()).is_inference()
    model = Classifier.of(net, NETS[name].layer, image_size=SIZE)
    with untouched(net):
        assert torch.equal(maps(model, images, method), maps(classifier(name), photos(), method))
    assert Classifier.of(net, image_size=SIZE).layers == Classifier.of(build(NETS[name]), image_size=SIZE).layers


CALLERS: dict[str, Callable[[], object]] = {
    "inference_mode": torch.inference_mode,
    "no_grad": torch.no_grad,
    "enable_grad": torch.enable_grad,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
}


@pytest.mark.parametrize("method", ALL)
@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("name", NETS)
def test_the_callers_modes_make_no_difference(name: str, caller: str, method: str) -> None:
    model = classifier(name, torch.float32)
    images = photos(dtype=torch.float32)
    contrasts = [Contrast(weighting="softmax"), Objective(lambda y: y.logsumexp(1))]
    evidence, questions = gather(model, images, contrasts, method=method, collect=())
    expected = [answer(evidence, question) for question in questions]
    with CALLERS[caller]():
        modes = state(model.module)["modes"]
        evidence, questions = gather(model, images, contrasts, method=method, collect=())
        found = [answer(evidence, question) for question in questions]
        assert state(model.module)["modes"] == modes
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one.question.rows, other.question.rows)
        assert torch.equal(one.maps, other.maps)
        assert not one.maps.requires_grad
    # What was kept under one mode is answered under another.
    later = answer(evidence, questions[0])
    assert torch.equal(later.saliency, expected[0].saliency)


def test_a_callers_autocast_does_not_choose_the_references() -> None:
    net = build(PooledNet, dtype=torch.float32)
    with torch.no_grad():
        net.head.weight.zero_()
        net.head.weight[0, 0] = 1
        for row, cosine in ((1, 0.9), (2, 0.9002)):  # the same in bfloat16
            net.head.weight[row, 0], net.head.weight[row, row] = cosine, (1 - cosine**2) ** 0.5
    model = Classifier.of(net, "stem", image_size=SIZE)
    with torch.autocast("cpu", torch.bfloat16):
        _, (question,) = gather(model, photos(), [Contrast("weights", references=2)], 0)
    assert question.references.tolist() == [[2, 1], [2, 1]]


def test_the_layer_found_does_not_depend_on_the_callers_modes() -> None:
    for caller in CALLERS.values():
        for kind in NETS.values():
            net = build(kind, dtype=torch.float32)
            with caller():
                found = Classifier.of(net, image_size=SIZE)
            assert (found.layers, found.grids) == (Classifier.of(net, image_size=SIZE).layers, found.grids)


def test_outputs_in_a_container_are_read_with_their_gradient() -> None:
    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = build(DeepNet)

        def forward(self, images: Tensor) -> dict[str, object]:
            return {"scores": [self.inner(images)]}

    model = Classifier.of(Wrapped(), "inner.stem", image_size=SIZE, read=lambda output: 2 * output["scores"][0][:, :4])
    look = reference.Look(model.module.inner, photos()[0])
    gradient = look.gradient(lambda y: 2 * (y[0] - 0.6 * y[1]))
    evidence, (question,) = gather(model, photos(1), [Contrast([1])], 0)
    assert question.rows.shape == (1, 1, 4)
    assert torch.allclose(evidence.gradient(question.rows)[0][0, 0], gradient, rtol=1e-12, atol=0)


def test_a_layer_that_runs_twice_is_looked_at_the_last_time() -> None:
    class Twice(DeepNet):
        def __init__(self) -> None:
            super().__init__()
            self.again = nn.Conv2d(5, 5, 3, 1, 1)

        def split(self, images: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
            return self.again(self.again(self.stem(images))), self.tail

        def forward(self, images: Tensor) -> Tensor:
            output, tail = self.split(images)
            return tail(output)

    net = build(Twice)
    look = reference.Look(net, photos()[0])
    evidence, (question,) = gather(Classifier.of(net, "again", image_size=SIZE), photos(1), [PLAIN], 3)
    assert torch.allclose(evidence.activations[0][0], look.activations)
    assert torch.allclose(evidence.gradient(question.rows)[0][0, 0], look.gradient(lambda y: y[3]))


def test_a_layer_that_returns_a_tuple_is_looked_at_in_its_first_tensor() -> None:
    class Pair(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x: Tensor) -> tuple[Tensor, str]:
            return self.inner(x), "attention"

    class Tupled(DeepNet):
        def __init__(self) -> None:
            super().__init__()
            self.pair = Pair(self.stem)

        def forward(self, images: Tensor) -> Tensor:
            features, word = self.pair(images)
            assert word == "attention"
            return self.tail(features)

    model = Classifier.of(build(Tupled), "pair", image_size=SIZE)
    for method in KINDS:
        assert torch.allclose(maps(model, photos(), method), maps(classifier("deep"), photos(), method))


def test_the_target_layers_output_is_kept_as_it_was() -> None:
    net = build(InPlaceNet)
    evidence, _ = gather(Classifier.of(net, "stem", image_size=SIZE), photos(1), [PLAIN])
    kept = evidence.activations[0][0].clone()
    assert float(kept.min()) < 0  # what follows is a ReLU in place
    assert torch.allclose(kept, reference.Look(net, photos()[0]).activations)
    forward_pass(net, photos(), "float32")
    assert torch.equal(evidence.activations[0][0], kept)


def test_what_goes_around_the_layer_is_not_its_gradient() -> None:
    net = build(AroundNet)
    evidence, (question,) = gather(Classifier.of(net, "same", image_size=SIZE), photos(1), [PLAIN], 3)
    expected = reference.Look(net, photos()[0]).gradient(lambda y: y[3])
    assert torch.allclose(evidence.gradient(question.rows)[0][0, 0], expected)


# --- threads -----------------------------------------------------------------------------------------------------


@pytest.fixture
def restless() -> Iterator[None]:
    """Change threads as often as possible."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def in_threads(*jobs: Callable[[], None]) -> None:
    failures: list[BaseException] = []

    def guarded(job: Callable[[], None]) -> None:
        try:
            job()
        except BaseException as error:  # handed over to the main thread
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


@pytest.mark.usefixtures("restless")
@pytest.mark.parametrize("method", KINDS)
def test_two_threads_explain_with_one_model(method: str) -> None:
    net = build(DeepNet, dtype=torch.float32).train()  # as eval mode is set and taken back around each look
    model = Classifier.of(net, "stem", image_size=SIZE)
    images = photos(4, dtype=torch.float32)
    expected = [maps(model, images[i : i + 1], method) for i in range(4)]

    def job(mine: list[int]) -> Callable[[], None]:
        def explain_all() -> None:
            for _ in range(25):
                for i in mine:
                    assert torch.equal(maps(model, images[i : i + 1], method), expected[i])

        return explain_all

    with untouched(net):
        in_threads(job([0, 1]), job([2, 3]))


@pytest.mark.usefixtures("restless")
@pytest.mark.parametrize("method", KINDS)
def test_a_bare_run_in_another_thread_sees_nothing(method: str) -> None:
    net = build(DeepNet, dtype=torch.float32)
    model = Classifier.of(net, "stem", image_size=SIZE)
    images = photos(4, dtype=torch.float32)
    expected_maps, expected = maps(model, images[:2], method), net(images[2:])
    done = threading.Event()

    def explaining() -> None:
        try:
            for _ in range(40):
                assert torch.equal(maps(model, images[:2], method), expected_maps)
        finally:
            done.set()

    def bare() -> None:
        while not done.is_set():
            output = net(images[2:])
            assert torch.equal(output, expected)
            assert output.requires_grad

    in_threads(explaining, bare)


def test_a_second_thread_waits_its_turn() -> None:
    net = build(DeepNet).train()
    order: list[str] = []
    inside = threading.Event()

    def first() -> None:
        with undisturbed(net):
            inside.set()
            threading.Event().wait(0.05)
            order.append("first done")

    def second() -> None:
        inside.wait()
        with undisturbed(net):
            order.append("second in")
            assert not net.training

    in_threads(first, second)
    assert order == ["first done", "second in"]
    assert net.training


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


def assert_same(ours: Tensor, theirs: Tensor, tolerance: float = 1e-9) -> None:
    peak = float(theirs.abs().max())
    assert peak > 1e-6
    assert float((ours - theirs).abs().max()) <= tolerance * peak


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


# --- precision ---------------------------------------------------------------------------------------------------


def rank_correlation(one: Tensor, other: Tensor) -> float:
    """Cells that differ by less than a thousandth of the peak share a rank: their order is rounding already."""

    def ranks(values: Tensor) -> Tensor:
        flat, near = values.flatten(), 1e-3 * values.abs().max()
        ordered = flat.sort().values
        return (
            torch.searchsorted(ordered, flat - near) + torch.searchsorted(ordered, flat + near, right=True)
        ).double()

    return float(torch.corrcoef(torch.stack([ranks(one), ranks(other)]))[0, 1])


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
@pytest.mark.parametrize("method", ALL)
@pytest.mark.parametrize("name", NETS)
def test_autocast_stays_near_float32(name: str, method: str, precision: str) -> None:
    model = classifier(name, torch.float32)
    images = photos(dtype=torch.float32)
    contrast = Contrast([1, 4])
    evidence, (question,) = gather(model, images, [contrast], [0, 3], method=method)
    exact = answer(evidence, question).maps
    evidence, (question,) = gather(model, images, [contrast], [0, 3], method=method, run=Run(precision=precision))
    found = answer(evidence, question)
    assert found.maps.dtype == found.saliency.dtype == evidence.logits.dtype == torch.float32
    if isinstance(evidence, GradientEvidence):
        # (A LayerNorm's output is float32 under autocast.)
        assert evidence.activations[0].dtype == (torch.float32 if name == "vit" else getattr(torch, precision))
        assert all(gradient.dtype == torch.float32 for gradient in evidence.gradient(question.rows))
    else:
        assert evidence.table.dtype == torch.float32
    assert not torch.equal(found.maps, exact)
    if (name, method) == ("vit", "xgradcam"):
        return  # XGrad-CAM divides by sums of signed activations here; near zero they do not survive rounding
    for one, other in zip(found.maps, exact, strict=True):
        assert rank_correlation(one, other) > (0.98 if precision == "float16" else 0.9)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", NETS)
def test_models_in_half_precision(name: str, dtype: torch.dtype) -> None:
    model = Classifier.of(build(NETS[name], dtype=dtype), NETS[name].layer, image_size=SIZE)
    evidence, (question,) = gather(model, photos(), [Contrast([1, 4])], [0, 3])
    found = answer(evidence, question).maps
    assert found.dtype == evidence.logits.dtype == torch.float32
    gather_exact, (question,) = gather(classifier(name), photos(), [Contrast([1, 4])], [0, 3])
    assert_same(found.double(), answer(gather_exact, question).maps, 0.1 if dtype == torch.bfloat16 else 0.02)


def test_small_gradients_survive_float16() -> None:
    net = build(DeepNet, dtype=torch.float32)
    with torch.no_grad():
        net.head.weight *= 8e-6
        net.head.bias.copy_(torch.linspace(-1, 1, CLASSES))
    model = Classifier.of(net, "stem", image_size=(96, 96))
    images = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    exact, (question,) = gather(model, images, [PLAIN], 0)
    half, _ = gather(model, images, [PLAIN], 0, run=Run(precision="float16"))
    gradient = exact.gradient(question.rows)[0]
    assert float(gradient.abs().max()) < 6e-8  # the smallest number of float16
    assert rank_correlation(gradient, half.gradient(question.rows)[0]) > 0.95


def test_a_closed_form_whose_map_is_wide_and_whose_head_is_narrow() -> None:
    class Wide(PooledNet):
        """As a LayerNorm before the pooling is under autocast on an accelerator: float32, then a narrow head."""

        def __init__(self) -> None:
            super().__init__()
            self.widen = nn.Identity()
            self.widen.register_forward_hook(lambda module, args, output: output.float())

        def forward(self, images: Tensor) -> Tensor:
            return self.tail(self.widen(self.stem(images)))

    model = Classifier.of(build(Wide, dtype=torch.float32), "widen", image_size=SIZE)
    images = photos(dtype=torch.float32)
    for method in ("gradcam", "ablationcam"):
        evidence, (question,) = gather(model, images, [PLAIN], method=method, run=Run(precision="bfloat16"))
        assert_same(answer(evidence, question).maps, maps_plain(model, images, method), 0.1)


def maps_plain(model: Classifier, images: Tensor, method: str) -> Tensor:
    evidence, (question,) = gather(model, images, [PLAIN], method=method)
    return answer(evidence, question).maps


def test_unknown_precision() -> None:
    with pytest.raises(FinercamError, match=r"precision is 'bf16'; (did you mean 'bfloat16'|choose)"):
        saliency(classifier("deep"), photos(), run=Run(precision="bf16"))


# --- refusals ----------------------------------------------------------------------------------------------------


class After(nn.Module):
    """A net with something done to its logits."""

    def __init__(self, function: Callable[[Tensor], Tensor], dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.inner = build(DeepNet, dtype=dtype)
        self.function = function

    def forward(self, images: Tensor) -> Tensor:
        return self.function(self.inner(images))


@pytest.mark.parametrize("method", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_probabilities_are_refused(dtype: torch.dtype, method: str) -> None:
    model = Classifier.of(After(lambda y: y.double().softmax(1).to(dtype), dtype), "inner.stem", image_size=SIZE)
    with pytest.raises(FinercamError, match=r"returns probabilities .* remove the final softmax, or give read="):
        saliency(model, photos(), method=method)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("classes", [2, 1000])
def test_probabilities_are_known_in_every_precision_and_sharpness(classes: int, dtype: torch.dtype) -> None:
    logits = torch.randn(40, classes, generator=torch.Generator().manual_seed(0))
    for sharpness in (0.1, 1, 10):
        for row in (sharpness * logits).to(dtype).softmax(1).split(1):
            with pytest.raises(FinercamError, match="returns probabilities"):
                refuse_probabilities(row)


@pytest.mark.parametrize("method", KINDS)
def test_a_batch_without_images_is_refused(method: str) -> None:
    with pytest.raises(FinercamError, match="there are no images in the batch"):
        saliency(classifier("deep"), photos()[:0], method=method)


def test_logits_that_look_a_little_like_probabilities_are_not_refused() -> None:
    for function in (
        lambda y: 0.01 * y.detach() + 0.0 * y + 0.1,  # positive, of some other sum
        lambda y: y.softmax(1) * 1.0005,
        lambda y: torch.cat([y.softmax(1) + 1, -y.sum(1, keepdim=True) * 0 - CLASSES], 1),
    ):
        net = After(function)
        saliency(Classifier.of(net, "inner.stem", image_size=SIZE), photos(), 0)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("method", KINDS)
def test_logits_that_are_not_numbers_are_refused(bad: float, method: str) -> None:
    model = Classifier.of(
        After(lambda y: torch.where(torch.arange(len(y))[:, None] == 1, bad, y) if len(y) == 2 else y),
        "inner.stem",
        image_size=SIZE,
    )
    with pytest.raises(FinercamError, match=r"logits for image 1 are not numbers \(NaN or infinite\)$"):
        saliency(model, photos(), method=method)
    with pytest.raises(FinercamError, match=r"bfloat16 may be too coarse for this model, try float32"):
        saliency(model, photos(), method=method, run=Run(precision="bfloat16"))


def test_a_class_ruled_out_is_no_obstacle() -> None:
    closed = torch.tensor([0.0, 0, -float("inf"), 0, 0, 0, 0])
    model = Classifier.of(After(lambda y: y + closed), "inner.stem", image_size=SIZE)
    for method in ALL:
        found = maps(model, photos(), method)
        assert bool(found.isfinite().all())
        assert float(found.abs().max()) > 0


def test_a_gradient_that_is_not_finite_is_refused() -> None:
    model = Classifier.of(After(lambda y: y * (y - y).sum(1, keepdim=True).sqrt()), "inner.stem", image_size=SIZE)
    with pytest.raises(FinercamError, match="the gradient at the target layer is not finite: an operation behind"):
        saliency(model, photos(), 0)


def test_a_forward_without_gradients_is_explained_by_scores_only() -> None:
    class Shut(DeepNet):
        @torch.no_grad()
        def forward(self, images: Tensor) -> Tensor:
            maps = self.stem(images)
            with torch.no_grad():
                maps = self.more(maps)
            return self.head(self.norm(maps.mean((2, 3)))).detach()

    model = Classifier.of(build(Shut), "stem", image_size=SIZE)
    with pytest.raises(FinercamError, match=r"the logits do not depend on the target layer .* forward turn gradients"):
        saliency(model, photos())
    for method in ("scorecam", "ablationcam"):
        assert torch.equal(maps(model, photos(), method), maps(classifier("deep"), photos(), method))


# --- memory ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", KINDS)
def test_nothing_outlives_its_evidence(method: str) -> None:
    model = classifier("deep")
    gc.collect()
    gc.disable()  # what only the collector frees would pile up on an accelerator
    try:
        evidence, (question,) = gather(model, photos(), [Contrast()], method=method, collect=())
        found = answer(evidence, question)
        kept = [getattr(evidence, field.name) for field in fields(evidence)]
        tensors = [
            t for value in kept for t in (value if isinstance(value, tuple) else [value]) if isinstance(t, Tensor)
        ]
        assert len(tensors) > 2
        assert not any(tensor.requires_grad for tensor in tensors)  # nor the graph behind it
        held = [weakref.ref(t) for t in (*tensors, found.maps, found.saliency, question.rows)]
        del evidence, found, question, kept, tensors
        assert [ref() for ref in held] == [None] * len(held)
    finally:
        gc.enable()


@pytest.mark.slow
@pytest.mark.parametrize("method", KINDS)
def test_a_thousand_explanations_do_not_grow_memory(method: str) -> None:
    net = build(DeepNet, dtype=torch.float32)
    model = Classifier.of(net, "stem", image_size=(96, 96))
    image = torch.randn(3, 96, 96, generator=torch.Generator().manual_seed(0))

    def tensors() -> int:
        gc.collect()
        return sum(issubclass(type(o), Tensor) for o in gc.get_objects())

    for _ in range(100):
        explain(model, image, method=method)
    before, peak = tensors(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(1000):
        explain(model, image, keep=True, method=method).again(gamma=1.0)
    assert tensors() <= before
    # One map of the target layer, kept each time, would be 45 MB.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 10_000 * (1 if sys.platform == "linux" else 1024)


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
